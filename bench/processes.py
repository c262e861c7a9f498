"""The bench's side of the workers: ask, wait within a budget, judge what comes back."""

import json
import select
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from bench import environment

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 600.0  # a busy machine compiles slowly


class OutOfTime(Exception):
    """The worker did not answer within the budget, and was ended."""


class SolverError(Exception):
    """The solver raised, or its process died."""


class Worker:
    """One solver on one design, in a process that is started again if it had to be ended."""

    def __init__(self, solver: str, folder: Path, warm_up: dict, python: str = sys.executable):
        self.solver, self.folder, self.python = solver, folder, python
        self.warm_up = warm_up
        self.out = folder / f"{solver}.npy"
        self.process: subprocess.Popen | None = None
        self.peak_mb = 0.0

    def start(self) -> dict[str, float]:
        """Start the process and warm it up; seconds of the first call (compilation) and second.

        ``prepare_seconds`` are its imports, loading and conversion of the design.
        """
        begin = time.perf_counter()
        with open(self.folder / f"{self.solver}.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", "bench.worker", self.solver, str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment.single_thread(),
            )
        self._receive(START_SECONDS)
        prepare = time.perf_counter() - begin
        once = self.warm_up | {"once": True}
        first, second = (self._ask(dict(once), START_SECONDS)[1] for _ in range(2))
        return {
            "prepare_seconds": prepare,
            "first_call_seconds": first["seconds"],
            "second_call_seconds": second["seconds"],
        }

    def fit(self, strength: float, tol: float, budget: float) -> tuple[np.ndarray, dict]:
        """Coefficients (p,) and the worker's answer with its ``seconds``."""
        return self._ask({"strength": strength, "tol": tol}, budget)

    def path(self, strengths: np.ndarray, tol: float, budget: float) -> tuple[np.ndarray, dict]:
        """Coefficients (k, p) and the worker's answer with its ``seconds``."""
        return self._ask({"strengths": list(map(float, strengths)), "tol": tol}, budget)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def _ask(self, request: dict, budget: float) -> tuple[np.ndarray, dict]:
        if self.process is None:
            self.start()
        request["out"] = str(self.out)
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        answer = self._receive(budget)
        if "error" in answer:
            raise SolverError(f"{self.solver}: {answer['error']}")
        self.peak_mb = max(self.peak_mb, answer["peak_mb"])
        return np.load(self.out), answer

    def _receive(self, budget: float) -> dict:
        # One line an answer and one answer a request, so the pipe's buffer holds no other line.
        if not select.select([self.process.stdout], [], [], max(budget, 0.0))[0]:
            self.stop()
            raise OutOfTime(f"{self.solver}: no answer within {budget:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise SolverError(f"{self.solver} ended: see {self.folder / self.solver}.log")
        return json.loads(line)
