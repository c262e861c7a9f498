"""Multinomial logistic regression with an ℓ1 penalty: synthetic data and scikit-learn's digits."""

import numpy as np
import scipy.special
from sklearn.datasets import load_digits

import sparsejax as sj
from bench.structures.case import Case, fractions, sklearn_logistic, solved


def multinomial(n: int = 300, p: int = 1000, classes: int = 5) -> Case:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    W = np.zeros((p, classes))
    W[:20] = rng.normal(size=(20, classes))
    labels = np.argmax(X @ W + rng.gumbel(size=(n, classes)), axis=1)
    return _case(f"multinomial {n}x{p}x{classes}", X, labels)


def digits() -> Case:
    X, labels = load_digits(return_X_y=True)
    X = X[:, X.std(axis=0) > 0]
    return _case("multinomial digits", (X - X.mean(axis=0)) / X.std(axis=0), labels)


def _case(name: str, X: np.ndarray, labels: np.ndarray) -> Case:
    X, y = np.asfortranarray(X), np.eye(labels.max() + 1)[labels]
    n, classes = y.shape
    design = sj.designs.as_design(X)

    def error(coef: np.ndarray, strength: float) -> float:
        shares = scipy.special.softmax(X @ coef, axis=1)
        pull = X.T @ (y - shares) / n
        s = min(1.0, strength / np.abs(pull).max())
        dual = np.sum(scipy.special.rel_entr(y + s * (shares - y), shares)) / n
        return (dual + np.sum(strength * np.abs(coef) - s * coef * pull)) / np.log(classes)

    def ours(strength: float, tol: float, solver: object = None) -> np.ndarray:
        problem = sj.Problem(design, y, sj.losses.Multinomial(), sj.penalties.L1(strength))
        return solved(problem, tol, solver)

    return Case(
        name,
        fractions(np.abs(X.T @ (y - 1 / classes)).max() / n),
        1e-8,
        error,
        {
            "sparsejax": ours,
            "sparsejax-fista": lambda strength, tol: ours(strength, tol, sj.solvers.FISTA()),
            "sklearn": sklearn_logistic(X, labels, "saga"),
        },
    )
