"""How the choice of one operation an edge is made continuous, to be learned by its gradient."""

from ._base import AbstractRelaxation as AbstractRelaxation
from ._dirichlet import Dirichlet as Dirichlet
from ._entmax import Entmax as Entmax
from ._exponentiated import ExponentiatedGradient as ExponentiatedGradient
from ._softmax import Softmax as Softmax
from ._sparse_coding import SparseCoding as SparseCoding
from ._sparsemax import Sparsemax as Sparsemax
from ._temperature import Temperature as Temperature

RELAXATIONS: dict[str, type[AbstractRelaxation]] = {
    "softmax": Softmax,
    "temperature": Temperature,
    "sparsemax": Sparsemax,
    "entmax": Entmax,
    "gaea": ExponentiatedGradient,
    "dirichlet": Dirichlet,
    "sparse-coding": SparseCoding,
}
