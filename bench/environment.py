"""The same conditions for every solver, and a record of them."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("SPARSEJAX_BENCH_CACHE", Path.home() / ".cache" / "sparsejax-bench"))

_ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "NPROC": "1",  # XLA's pool for matrix products, which heeds none of its flags
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
}
_UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_PACKAGES = (
    *("jax", "jaxlib", "equinox", "jaxopt", "celer", "skglm", "scikit-learn"),
    *("numba", "numpy", "scipy"),
)


def single_thread() -> dict[str, str]:
    """This process's environment, with one thread for every library and float64 in JAX."""
    kept = {key: value for key, value in os.environ.items() if key not in _UNSET}
    return kept | _ONE_THREAD


def pin() -> None:
    """Put this process under the same conditions; only before NumPy or JAX is imported."""
    for key in _UNSET:
        os.environ.pop(key, None)
    os.environ.update(_ONE_THREAD)


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "missing"
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_name(),
        "cores": str(os.cpu_count()),
        "threads": "1",
        "python": platform.python_version(),
        **versions,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def adelie_python() -> str | None:
    """A Python that can import adelie, which pins NumPy below 2 and so needs its own venv.

    Taken from ``SPARSEJAX_BENCH_ADELIE`` or made in the cache folder; None where that fails
    (no network), and the bench then goes on without adelie.
    """
    given = os.environ.get("SPARSEJAX_BENCH_ADELIE")
    if given:
        return given
    folder = CACHE / "adelie"
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
            install = [python, "-m", "pip", "install", "--quiet", "adelie", "numpy<2"]
            subprocess.run(install, check=True, capture_output=True)
        subprocess.run([python, "-c", "import adelie"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(python)
