"""Tuning: criteria of prediction, minimised through the solution's derivative."""

from ._bracket_steps import bracket_steps as bracket_steps
from ._criteria import (
    AbstractCriterion as AbstractCriterion,
    Folds as Folds,
    Holdout as Holdout,
    KFold as KFold,
)
from ._sure import SURE as SURE
from ._trust_steps import trust_steps as trust_steps
from ._tune import History as History, Tuned as Tuned, tune as tune
