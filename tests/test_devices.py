"""Designs spread over devices and processes: the same solutions as on one device."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # bench is a folder of the repository, not an installed package

from sharded import AXES, FITS, QUICK, X, Y  # noqa: E402

from bench import communication  # noqa: E402

CODE = [sys.executable, "-m", "tests.sharded"]


def _start(
    *arguments: str, devices: int = 1, folder: Path = ROOT, **variables: str
) -> subprocess.Popen:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
    flags += f" --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    environment |= {"PYTHONPATH": str(ROOT)} | variables
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*CODE, *arguments], cwd=folder, env=environment, **pipes)


def _found(process: subprocess.Popen) -> dict:
    try:
        out, error = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, error
    return json.loads(out.splitlines()[-1])


def _check_differences(found: dict, cases) -> None:
    assert len(cases) > 0
    too_far = {case: found[case] for case in cases if not found[case] <= 1e-10}
    assert not too_far


def test_eight_devices():
    found = _found(_start("devices", devices=8))
    _check_differences(found, (*QUICK, "documented"))
    assert found["place"] == "P('x', None)"
    # The cost model of bench/communication.py: eleven sums of 40 predictions, and a few scalars.
    (payload,) = found["bytes"]
    assert 0 <= payload - communication.model("FISTA", "features", 40, 48, 16) < 20 * 8
    assert "`X` is traced over a mesh with explicit axes" in found["traced"]
    assert "`X` contains NaN or infinity (first at index (0, 0))" in found["nan"]
    assert found["uneven"] != "none"  # padding is for this


@pytest.mark.slow
@pytest.mark.parametrize("axes", AXES)
def test_every_solver_on_eight_devices(axes):
    cases = [f"{name} {axes}" for name in FITS if f"{name} {axes}" not in QUICK]
    _check_differences(_found(_start("devices", *cases, devices=8)), cases)


@pytest.mark.slow
def test_two_processes(tmp_path):
    """Which find each other without arguments, as under Slurm."""
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    slurm = {"JOB_ID": "1", "STEP_NODELIST": "127.0.0.1", "NTASKS": "2", "LOCALID": "0"}
    processes = [
        _start(
            "process",
            folder=tmp_path,
            JAX_COORDINATOR_PORT=port,
            **{f"SLURM_{name}": value for name, value in (slurm | {"PROCID": rank}).items()},
        )
        for rank in "01"
    ]
    for process in processes:
        found = _found(process)
        _check_differences(found, ("FISTA",))
        assert "`y` must hold the labels" in found["labels"]
        assert found["nan"] == "ValueError: `X` contains NaN or infinity; remove it."
