"""What every test shares: precision, seeds, hypothesis profiles and the compilation cache."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest

# Workers and reruns share what one has compiled; CI sets its own directory.
_cache = Path(tempfile.gettempdir()) / f"sparsejax-tests-jax-{jax.__version__}"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_cache)  # for the interpreters that tests start
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    jax.config.update("jax_compilation_cache_dir", str(_cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

# `HYPOTHESIS_PROFILE=thorough pytest` looks for new failures; the default repeats itself.
hypothesis.settings.register_profile(
    "ci",
    deadline=None,
    max_examples=7,
    derandomize=True,
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),  # shrinking may take minutes
)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=300)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="module", autouse=True)
def _free_programs() -> Iterator[None]:
    """Unload a module's compiled programs after it.

    Each maps memory a few times, and Linux allows a process 65530 maps: a worker that keeps all
    of the suite's programs crashes.
    """
    yield
    jax.clear_caches()


@pytest.fixture(scope="module", autouse=True)
def _same_environment() -> Iterator[None]:
    """What a module changes is for itself: benches pin threads when they are imported."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """Double precision for one module; the library itself never flips this switch."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the name of the test, so that tests do not depend on each other."""
    return np.random.default_rng(list(request.node.name.encode()))
