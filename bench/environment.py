"""The same conditions for every solver, and a record of them."""

import datetime
import functools
import importlib.metadata
import os
import platform
import shutil
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
_run = functools.partial(subprocess.run, check=True, capture_output=True)
# A cache of compiled programs would make first calls look short.
_UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "JAX_COMPILATION_CACHE_DIR")
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
    (no network, no Python below 3.13, for which alone such a NumPy has wheels), and the bench
    then goes on without adelie.
    """
    given = os.environ.get("SPARSEJAX_BENCH_ADELIE")
    if given:
        return given
    folder = CACHE / "adelie"
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            _run([_python_below_3_13(), "-m", "venv", folder])
            install = ["-m", "pip", "install", "--only-binary", ":all:", "adelie", "numpy<2"]
            _run([python, *install])
        _run([python, "-c", "import adelie"])
    except (OSError, subprocess.CalledProcessError):
        shutil.rmtree(folder, ignore_errors=True)  # the next bench tries again
        return None
    return str(python)


def _python_below_3_13() -> str:
    if sys.version_info < (3, 13):
        return sys.executable
    pyenv = Path.home().glob(".pyenv/versions/3.1[12].*/bin")
    for python in (
        folder / name
        for folder in [*map(Path, os.get_exec_path()), *pyenv]
        for name in ("python3.12", "python3.11")
    ):
        # pyenv's names on the path may stand for nothing.
        if (
            python.exists()
            and not subprocess.run([python, "-c", ""], capture_output=True).returncode
        ):
            return str(python)
    raise FileNotFoundError("Python 3.11 or 3.12")
