"""Ways of training that are compared, by name."""

from typing import Any

from ..._checks import check_integer
from ...penalties import L1, ElasticNet, RowL2
from ._algorithm import AbstractAlgorithm
from ._awac import AWAC
from ._bc import BC
from ._iql import IQL
from ._rules import SET, SNIP, Magnitude, RigL
from ._td3_bc import TD3BC

ALGORITHMS = {"td3+bc": TD3BC, "iql": IQL, "awac": AWAC, "bc": BC}

# The part of all steps that lies between two decisions about masks.
_DECISIONS = 200


def methods(
    algorithm: AbstractAlgorithm, steps: int, width: int, keep: float = 0.05
) -> dict[str, dict[str, Any]]:
    """Arguments of ``train`` for dense networks, for masks, penalties and other controls.

    Parameters
    ----------
    algorithm
        Says which networks there are to be penalised.
    steps, width
        Of the training and of its dense networks.
    keep
        The part of the weights that masks leave.

    Returns
    -------
    methods
        ``dense``; masks: ``single-shot`` and ``iterative`` SNIP, ``magnitude``, ``set``, ``rigl``,
        decided anew after every 200th part of the training until a fifth of it (SET and RigL: until
        three quarters); ``l1`` and ``group`` (the inputs of a unit together), penalties of critics
        and value if there are; and as controls ``l2``, the weight decay of all networks,
        ``dropout`` of a tenth, and ``small``, dense networks of about as many weights as masks
        leave.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> rl.methods(rl.BC(), 1000, 64)["iterative"]
    {'rule': SNIP(keep=0.05, every=5, until=200)}
    """
    check_integer("steps", steps)
    check_integer("width", width)
    every, until = max(steps // _DECISIONS, 1), steps // 5
    names = list(algorithm.losses())
    judges = [name for name in names if name != "actor"]
    found = {
        "dense": {},
        "single-shot": {"rule": SNIP(keep)},
        "iterative": {"rule": SNIP(keep, every, until)},
        "magnitude": {"rule": Magnitude(keep, every, until)},
        "set": {"rule": SET(keep, every, 3 * steps // 4)},
        "rigl": {"rule": RigL(keep, every, 3 * steps // 4)},
        "l2": {"penalties": dict.fromkeys(names, ElasticNet(1e-1, 0.0))},
        "dropout": {"dropout": 0.1},
        "small": {"width": max(round(width * keep**0.5), 1)},
    }
    if judges:
        found["l1"] = {"penalties": dict.fromkeys(judges, L1(1e-2))}
        found["group"] = {"penalties": dict.fromkeys(judges, RowL2(1e-1))}
    return found
