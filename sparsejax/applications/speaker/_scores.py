"""How well scores tell apart trials of one speaker from trials of two."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class ErrorRates(NamedTuple):
    """Errors at every threshold that gives others: trials with a score at or above it are accepted.

    Attributes
    ----------
    thresholds
        (thresholds,) from the lowest score to infinity.
    misses
        Which part of trials of one speaker is rejected.
    false_alarms
        Which part of trials of two speakers is accepted.
    """

    thresholds: Float[np.ndarray, " thresholds"]
    misses: Float[np.ndarray, " thresholds"]
    false_alarms: Float[np.ndarray, " thresholds"]


class EqualError(NamedTuple):
    """Where both errors are equal.

    Attributes
    ----------
    rate
        The error there, by a straight line between the two thresholds around it.
    threshold
        The first at which misses are not fewer than false alarms.
    """

    rate: float
    threshold: float


def error_rates(
    scores: Float[np.ndarray, " trials"], same: Bool[np.ndarray, " trials"]
) -> ErrorRates:
    """Misses and false alarms at every threshold.

    Parameters
    ----------
    scores
        Of trials, higher for one speaker.
    same
        Whether a trial is of one speaker.

    Returns
    -------
    rates

    Raises
    ------
    ValueError
        If shapes do not agree, a score is not finite, or one kind of trials is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import speaker
    >>> rates = speaker.error_rates(np.array([0.1, 0.6, 0.4, 0.9]), np.array([0, 0, 1, 1]))
    >>> rates.misses.tolist(), rates.false_alarms.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [1.0, 0.5, 0.5, 0.0, 0.0])
    """
    scores, same = np.asarray(scores, float), np.asarray(same).astype(bool)
    if scores.ndim != 1 or scores.shape != same.shape:
        raise ValueError(f"`scores` {scores.shape} and `same` {same.shape} must be vectors alike.")
    if not np.isfinite(scores).all():
        raise ValueError("`scores` must be finite.")
    if same.all() or not same.any():
        raise ValueError("`same` must have trials of one speaker and of two.")
    order = np.argsort(scores, kind="stable")
    scores, same = scores[order], same[order]
    first = np.flatnonzero(np.r_[True, scores[1:] > scores[:-1]])
    below = np.r_[np.searchsorted(scores, scores[first]), same.size]  # trials rejected
    missed = np.r_[0, np.cumsum(same)][below]
    rejected = below - missed
    return ErrorRates(
        np.r_[scores[first], np.inf], missed / same.sum(), 1 - rejected / (~same).sum()
    )


def equal_error(
    scores: Float[np.ndarray, " trials"], same: Bool[np.ndarray, " trials"]
) -> EqualError:
    """The rate at which misses and false alarms are equal: the EER.

    Parameters
    ----------
    scores, same
        As of ``error_rates``.

    Returns
    -------
    error

    Raises
    ------
    ValueError
        As of ``error_rates``.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import speaker
    >>> speaker.equal_error(np.array([0.1, 0.6, 0.4, 0.9]), np.array([0, 0, 1, 1])).rate
    0.5
    """
    rates = error_rates(scores, same)
    excess = rates.misses - rates.false_alarms
    i = int(np.argmax(excess >= 0))  # one is: the last is 1 − 0; never the first, 0 − 1
    part = excess[i] / (excess[i] - excess[i - 1])
    rate = part * rates.misses[i - 1] + (1 - part) * rates.misses[i]
    return EqualError(float(rate), float(rates.thresholds[i]))


def min_dcf(
    scores: Float[np.ndarray, " trials"],
    same: Bool[np.ndarray, " trials"],
    *,
    prior: float = 0.05,
    miss_cost: float = 1.0,
    false_alarm_cost: float = 1.0,
) -> float:
    """The least detection cost of any threshold, over that of the better constant answer.

    min (miss_cost·prior·misses + false_alarm_cost·(1 − prior)·false alarms)
    / min(miss_cost·prior, false_alarm_cost·(1 − prior)).

    Parameters
    ----------
    scores, same
        As of ``error_rates``.
    prior
        How often a trial is of one speaker.
    miss_cost, false_alarm_cost
        What each error costs.

    Raises
    ------
    ValueError
        As of ``error_rates``, or if ``prior`` does not lie between 0 and 1 or a cost is not
        positive.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import speaker
    >>> speaker.min_dcf(np.array([0.1, 0.6, 0.4, 0.9]), np.array([0, 0, 1, 1]))
    0.5

    Notes
    -----
    NIST's speaker recognition evaluation plans; a prior of .05 is that of VoxSRC.
    """
    if not 0 < prior < 1:
        raise ValueError(f"`prior` must lie between 0 and 1; got {prior}.")
    for name, cost in (("miss_cost", miss_cost), ("false_alarm_cost", false_alarm_cost)):
        if not 0 < cost < np.inf:
            raise ValueError(f"`{name}` must be positive; got {cost}.")
    rates = error_rates(scores, same)
    miss, alarm = miss_cost * prior, false_alarm_cost * (1 - prior)
    costs = miss * rates.misses + alarm * rates.false_alarms
    return float(costs.min() / min(miss, alarm))
