"""Classification accuracy, honestly: nothing is chosen on the samples it is measured on."""

from typing import NamedTuple

import numpy as np

from ._folds import stratified_folds
from ._numerics import (
    Settings,
    held_out_errors,
    path_on,
    problem_on,
    scaled,
    splits,
    strength_grid,
)
from ._tables import Table


class Accuracy(NamedTuple):
    """How many samples were put into the right class, and how many the larger class has."""

    correct: int
    total: int
    baseline: int


def nested_accuracy(table: Table, settings: Settings) -> Accuracy:
    """Count right classes (y is 0 or 1, predicted above or below 1/2) by nested cross-validation.

    In each outer fold the scaling, the strength (by an inner cross-validation) and the coefficients
    come from the other folds alone.
    """
    y = table.y
    outer = stratified_folds(y, settings.folds, seed=1)
    correct = 0
    for f, (train, test) in enumerate(splits(outer, settings.folds)):
        X = scaled(table.X, settings, train).X
        inner = np.full(y.size, -1)
        inner[train] = stratified_folds(y[train], settings.folds, seed=f)
        problem = problem_on(X, y, train, settings)
        strengths = strength_grid(problem)
        errors = held_out_errors(X, y, inner, settings, strengths).mean(axis=0)
        best = int(np.argmin(errors))
        path = path_on(problem, strengths, settings)
        predicted = X[test] @ np.asarray(path.coefs[best]) + float(path.intercepts[best])
        correct += int(np.sum((predicted > 0.5) == (y[test] > 0.5)))
    ones = int(np.sum(y > 0.5))
    return Accuracy(correct, y.size, max(ones, y.size - ones))
