"""One adapter a solver: prepared outside the clock, then ``fit`` and ``path`` inside it.

All solve min ‖y − Xw‖²/(2n) + strength·‖w‖₁ without an intercept. ``tol`` is meant relative to
the objective at zero and is translated to each library's own criterion; the bench scans it
downward and judges the result itself, so only the order matters. Iteration limits are out of
reach: the bench stops a solver by the clock.
"""

import warnings
from typing import Protocol

import numpy as np
import scipy.sparse

UNLIMITED = 10_000_000
GROUP = 10  # features in every group of the group Lasso


class Adapter(Protocol):
    def fit(self, strength: float, tol: float) -> np.ndarray:
        """Coefficients (p,)."""
        ...

    def path(self, strengths: np.ndarray, tol: float) -> np.ndarray:
        """Coefficients (k, p) at decreasing strengths."""
        ...


class Celer:
    def __init__(self, X, y):
        import celer

        self.X, self.y, self.celer = _by_columns(X), y, celer

    def fit(self, strength, tol):
        model = self.celer.Lasso(
            strength, fit_intercept=False, tol=tol / 2, max_iter=1000, max_epochs=UNLIMITED
        )
        return model.fit(self.X, self.y).coef_

    def path(self, strengths, tol):
        _, coefs, _ = self.celer.celer_path(
            self.X,
            self.y,
            "lasso",
            alphas=strengths,
            tol=tol / 2,
            max_iter=1000,
            max_epochs=UNLIMITED,
            prune=True,
        )
        return coefs.T


class Skglm:
    """Stops on the violation of optimality, taken relative to the largest correlation."""

    def __init__(self, X, y):
        import skglm

        self.X, self.y, self.skglm = _by_columns(X), y, skglm
        self.scale = np.abs(X.T @ y).max() / len(y)

    def _model(self, strength, tol):
        return self.skglm.Lasso(
            strength,
            fit_intercept=False,
            tol=tol * self.scale,
            max_iter=1000,
            max_epochs=UNLIMITED,
        )

    def fit(self, strength, tol):
        return self._model(strength, tol).fit(self.X, self.y).coef_

    def path(self, strengths, tol):
        return self._model(strengths[-1], tol).path(self.X, self.y, strengths)[1].T


class ScikitLearn:
    def __init__(self, X, y):
        from sklearn import linear_model

        self.X, self.y, self.linear_model = _by_columns(X), y, linear_model
        n, p = X.shape
        self.precompute = n > p  # the Gram matrix, where that is the faster way

    def fit(self, strength, tol):
        model = self.linear_model.Lasso(
            strength,
            fit_intercept=False,
            tol=tol / 2,
            max_iter=UNLIMITED,
            precompute=self.precompute,
        )
        return model.fit(self.X, self.y).coef_

    def path(self, strengths, tol):
        _, coefs, _ = self.linear_model.lasso_path(
            self.X,
            self.y,
            alphas=strengths,
            tol=tol / 2,
            max_iter=UNLIMITED,
            precompute=self.precompute,
        )
        return coefs.T


class Adelie:
    """Stops on squared changes of the coefficients, hence the squared tolerance."""

    def __init__(self, X, y):
        import adelie

        self.adelie = adelie
        wrap = adelie.matrix.sparse if scipy.sparse.issparse(X) else adelie.matrix.dense
        self.X = wrap(_by_columns(X), method="naive", n_threads=1)
        self.glm, self.groups = adelie.glm.gaussian(y=y), {}

    def fit(self, strength, tol):
        return self.path(np.array([strength]), tol)[-1]

    def path(self, strengths, tol):
        state = self.adelie.grpnet(
            self.X,
            self.glm,
            lmda_path=np.asarray(strengths),
            intercept=False,
            tol=tol**2,
            irls_tol=tol**2,
            max_iters=UNLIMITED,
            early_exit=False,
            n_threads=1,
            progress_bar=False,
            **self.groups,
        )
        return state.betas.toarray()


class AdelieGroups(Adelie):
    """The group Lasso, all groups of one size and weight one."""

    def __init__(self, X, y):
        super().__init__(X, y)
        starts = np.arange(0, X.shape[1], GROUP)
        self.groups = {"groups": starts, "penalty": np.ones(len(starts))}


class AdelieLogistic(Adelie):
    """Logistic regression, for targets of -1 and 1."""

    def __init__(self, X, y):
        super().__init__(X, y)
        self.glm = self.adelie.glm.binomial(y=(y > 0).astype(float))


class Jaxopt:
    """FISTA, compiled once for all strengths and tolerances, with the exact step 1/L."""

    def __init__(self, X, y):
        import jax
        import jax.numpy as jnp
        import jaxopt
        from jax.experimental import sparse as jsparse

        sparse = scipy.sparse.issparse(X)
        array = jsparse.BCOO.from_scipy_sparse(X) if sparse else jnp.asarray(X)
        self.data = (array, jnp.asarray(y))
        self.start = jnp.zeros(X.shape[1])
        self.scale = np.abs(X.T @ y).max() / len(y)
        step = 1 / _largest_curvature(X)

        def loss(w, data):
            residual = data[0] @ w - data[1]
            return residual @ residual / (2 * data[1].shape[0])

        def run(start, strength, tol, data):
            solver = jaxopt.ProximalGradient(
                loss,
                jaxopt.prox.prox_lasso,
                stepsize=step,
                tol=tol,
                maxiter=UNLIMITED,
                implicit_diff=False,  # forward solves only
                unroll=False,
            )
            return solver.run(start, strength, data=data).params

        self.run = jax.jit(run)

    def fit(self, strength, tol):
        return np.asarray(self.run(self.start, strength, tol * self.scale, self.data))

    def path(self, strengths, tol):
        coefs = [self.start]
        for strength in strengths:
            coefs.append(self.run(coefs[-1], strength, tol * self.scale, self.data))
        return np.asarray(coefs[1:])


class SparseJax:
    """Ours: X and y are on the device before the clock starts, as a second fit finds them."""

    dtype = np.float64

    def __init__(self, X, y):
        import jax.numpy as jnp

        import sparsejax as sj

        self.sj, self.solve = sj, sj.solve  # imported here, before the clock starts
        self.X = sj.designs.as_design(X.astype(self.dtype))
        self.y = jnp.asarray(y.astype(self.dtype))
        self.solution = None

    def solver(self):
        return self.sj.solvers.Auto()

    def _problem(self, strength):
        return self.sj.Problem(self.X, self.y, penalty=self.sj.penalties.L1(strength))

    def fit(self, strength, tol):
        solution = self.solve(self._problem(strength), solver=self.solver(), tol=tol, throw=False)
        self.solution = solution
        return np.asarray(solution.coef)

    @property
    def claimed(self):
        """What the last fit says of itself: asked for by the bench, after the clock."""
        converged = bool(self.solution.result == self.sj.RESULTS.successful)
        return {"converged": converged, "gap": float(self.solution.gap)}

    def path(self, strengths, tol):
        problem = self._problem(float(strengths[-1]))
        return np.asarray(self.sj.path(problem, strengths=strengths, tol=tol).coefs)


class WorkingSetVarPro(SparseJax):
    def solver(self):
        return self.sj.solvers.WorkingSet(inner=self.sj.solvers.VarPro())


class PlainVarPro(SparseJax):
    def solver(self):
        return self.sj.solvers.VarPro()


class SparseJaxFloat32(SparseJax):
    dtype = np.float32


ADAPTERS: dict[str, type[Adapter]] = {
    "sparsejax": SparseJax,
    "sparsejax-ws-varpro": WorkingSetVarPro,
    "sparsejax-varpro": PlainVarPro,
    "sparsejax-float32": SparseJaxFloat32,
    "celer": Celer,
    "skglm": Skglm,
    "sklearn": ScikitLearn,
    "adelie": Adelie,
    "jaxopt": Jaxopt,
}
OTHERS: dict[str, type[Adapter]] = {  # of other problems than the Lasso
    "adelie-groups": AdelieGroups,
    "adelie-logistic": AdelieLogistic,
}
PEERS = ("celer", "skglm", "sklearn", "adelie", "jaxopt")


def make(name: str, X, y: np.ndarray) -> Adapter:
    """The adapter ``name``, prepared for one design."""
    # Asked for tolerances that float64 cannot reach, the peers warn at every scan.
    warnings.simplefilter("ignore")
    return (ADAPTERS | OTHERS)[name](X, y)


def _by_columns(X):
    return X if scipy.sparse.issparse(X) else np.asfortranarray(X)


def _largest_curvature(X, steps: int = 100) -> float:
    """‖X‖²/n by the power method, and 1 % for what is missing."""
    v = np.random.default_rng(0).normal(size=X.shape[1])
    for _ in range(steps):
        v = X.T @ (X @ (v / np.linalg.norm(v)))
    return 1.01 * float(np.linalg.norm(v)) / X.shape[0]
