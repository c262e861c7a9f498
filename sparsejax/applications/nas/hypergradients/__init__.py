"""How a loss of held-out samples is differentiated through the training of weights."""

from ._base import AbstractHypergradient as AbstractHypergradient
from ._conjugate_gradients import ConjugateGradients as ConjugateGradients
from ._first_order import FirstOrder as FirstOrder
from ._neumann import Neumann as Neumann
from ._unrolled import Unrolled as Unrolled

HYPERGRADIENTS: dict[str, type[AbstractHypergradient]] = {
    "first-order": FirstOrder,
    "unrolled": Unrolled,
    "neumann": Neumann,
    "cg": ConjugateGradients,
}
