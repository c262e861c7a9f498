"""Basis pursuit."""

from sklearn.base import RegressorMixin

from ..losses import AbstractLoss, Equality
from ._base import FixedStrengthModel


class BasisPursuit(RegressorMixin, FixedStrengthModel):
    """The coefficients of least ℓ1 norm that fit the targets exactly, with a certificate.

    Minimises ``||w||_1`` over ``Xw = y``: a linear programme, which recovers sparse signals from
    fewer samples than features.

    Parameters
    ----------
    fit_intercept : bool, default=False
        Whether to fit an unpenalised intercept as well.
    positive : bool, default=False
        Whether to forbid negative coefficients.
    tol : float, default=1e-10
        Largest duality gap that counts as converged, as a fraction of ``||w||_1``. Never taken
        below rounding.
    max_iter : int, default=None
        Largest number of steps of the solver; None leaves it to the solver.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.
    n_iter_ : int or list of int
        Number of steps of the solver.

    Notes
    -----
    ``fit`` raises ``ValueError`` where no coefficients fit the targets, as is usual for more
    samples than features. Samples of weight zero need not be fitted; other weights do not matter.

    Chen, Donoho & Saunders, Atomic decomposition by basis pursuit, SIAM J. Sci. Comput. 20, 1998.

    Examples
    --------
    >>> from sparsejax.estimators import BasisPursuit
    >>> BasisPursuit().fit([[1.0, 2.0, 0.0], [1.0, 0.0, 3.0]], [2.0, 3.0]).coef_.round(4).tolist()
    [0.0, 1.0, 1.0]
    """

    alpha = 1.0  # any strength has the same solution

    def __init__(
        self,
        *,
        fit_intercept: bool = False,
        positive: bool = False,
        tol: float = 1e-10,
        max_iter: int | None = None,
    ):
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter

    def _loss(self) -> AbstractLoss:
        return Equality()
