"""The graphical Lasso."""

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_array

from ._covariance import Matrix, SparseCovariance, symmetric


class GraphicalLasso(SparseCovariance):
    """Sparse inverse covariance, solved to a certified duality gap.

    Minimises ``-log det K + trace(S K) + alpha * sum_{i != j} weights_ij * |K_ij|`` over positive
    definite K, for the empirical covariance S: :class:`sklearn.covariance.GraphicalLasso`.

    Parameters
    ----------
    alpha : float, default=0.01
        Strength of the penalty, in [0, inf).
    weights : array-like of shape (n_features, n_features), default=None
        Symmetric nonnegative factors, all one for None; the diagonal is not used. Zero leaves an
        entry unpenalised, infinity makes it zero.
    covariance : "precomputed", default=None
        If so, ``fit`` takes S in the place of data.
    assume_centered : bool, default=False
        Whether the features have mean zero, so that none is subtracted.
    tol : float, default=1e-12
        Largest duality gap that counts as converged. The objective is a log-likelihood per
        sample, so that the gap does not depend on the units of the features. Zero asks for all
        digits: what rounding hides is no failure.
    max_iter : int, default=100
        Largest number of proximal steps; 5 to 25 are usual.

    Attributes
    ----------
    precision_ : ndarray of shape (n_features, n_features)
        K, with exact zeros.
    covariance_ : ndarray of shape (n_features, n_features)
        Its inverse.
    location_ : ndarray of shape (n_features,)
        Means of the features.
    dual_gap_ : float
        Duality gap: no other precision lowers the objective by more.
    n_iter_ : int
        Number of proximal steps.
    n_features_in_, feature_names_in_
        As in :class:`Lasso`.

    See Also
    --------
    AdaptiveGraphicalLasso : With less bias on the entries that are not zero.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.estimators import GraphicalLasso
    >>> S = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.1], [0.1, 0.1, 1.0]])
    >>> GraphicalLasso(0.2, covariance="precomputed").fit(S).precision_.round(3).tolist()
    [[1.099, -0.33, 0.0], [-0.33, 1.099, 0.0], [0.0, 0.0, 1.0]]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SparseCovariance._parameter_constraints,
        "weights": ["array-like", None],
    }

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        weights: Any = None,
        covariance: Any = None,
        assume_centered: bool = False,
        tol: float = 1e-12,
        max_iter: int = 100,
    ):
        self.alpha = alpha
        self.weights = weights
        self.covariance = covariance
        self.assume_centered = assume_centered
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_features, n_features)
            Data, or their covariance for ``covariance="precomputed"``, computed in its own
            precision: float32 or else float64.
        y : None
            Not used.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            For NaN or infinity in the data, features without variance, arguments out of range, or
            where no precision matrix is found.

        Warns
        -----
        ConvergenceWarning
            If the duality gap is above ``tol``.
        """
        del y
        S = self._second_moments(X)
        self.n_iter_ = self._solve(S, self._given_weights(S))
        return self

    def _given_weights(self, S: Matrix) -> Matrix:
        if self.weights is None:
            return np.ones_like(S)
        weights = check_array(
            self.weights, dtype=S.dtype.name, ensure_all_finite=False, input_name="weights"
        )
        if not np.all(weights >= 0):
            raise ValueError("`weights` must be nonnegative and not NaN.")
        return symmetric("weights", weights, len(S))


class AdaptiveGraphicalLasso(SparseCovariance):
    """Sparse inverse covariance by reweighting: entries that are large pay less.

    Descends on ``-log det K + trace(S K) + alpha * sum_{i != j} sqrt(|K_ij|)``, which is not
    convex, by graphical Lassos: the first with weights one, every other one with the weights
    ``1 / (2 * sqrt(|K_ij|))`` of the K before it. What is zero once stays so.

    Parameters
    ----------
    alpha : float, default=0.01
        Strength of the penalty, in [0, inf).
    n_reweights : int, default=4
        Number of fits after the first.
    covariance, assume_centered, tol, max_iter
        As in :class:`GraphicalLasso`, for every fit.

    Attributes
    ----------
    dual_gap_ : float
        Duality gap of the last graphical Lasso, which is convex.
    n_iter_ : int
        Number of proximal steps, of all fits.
    precision_, covariance_, location_, n_features_in_, feature_names_in_
        As in :class:`GraphicalLasso`.

    Notes
    -----
    Candès, Wakin & Boyd, Enhancing sparsity by reweighted ℓ1 minimization, 2008; Fan, Feng & Wu,
    Network exploration via the adaptive Lasso and SCAD penalties, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.estimators import AdaptiveGraphicalLasso
    >>> S = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.1], [0.1, 0.1, 1.0]])
    >>> model = AdaptiveGraphicalLasso(0.2, covariance="precomputed").fit(S)
    >>> model.precision_[0, :2].round(3).tolist()
    [1.129, -0.381]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SparseCovariance._parameter_constraints,
        "n_reweights": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        n_reweights: int = 4,
        covariance: Any = None,
        assume_centered: bool = False,
        tol: float = 1e-12,
        max_iter: int = 100,
    ):
        self.alpha = alpha
        self.n_reweights = n_reweights
        self.covariance = covariance
        self.assume_centered = assume_centered
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the model; arguments, errors and warnings are those of ``GraphicalLasso.fit``."""
        del y
        S = self._second_moments(X)
        self.n_iter_ = self._solve(S, np.ones_like(S))
        for _ in range(self.n_reweights):
            with np.errstate(divide="ignore"):
                weights = 0.5 / np.sqrt(np.abs(self.precision_))
            self.n_iter_ += self._solve(S, weights)
        return self
