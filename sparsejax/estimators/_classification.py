"""What classifiers do with X·coef_ + intercept_."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit, log_expit, log_softmax, softmax

from ._base import Data, SparseLinearModel
from ._programs import Fit
from ._responses import Classes


class LinearClassifierMethods(SparseLinearModel):
    """Scores of the classes, and the shapes that scikit-learn's classifiers have."""

    classes_: np.ndarray

    def decision_function(self, X: Any) -> Float[np.ndarray, "n ..."]:
        """How much each sample is like each class, or like the second of two.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            X·coef_ + intercept_.
        """
        return self._linear(X)

    def _linear(self, X: Any) -> Float[np.ndarray, "n ..."]:
        linear = super()._linear(X)
        one = isinstance(self._response(), Classes) and linear.shape[1] == 1
        return linear[:, 0] if one else linear

    def _keep(self, data: Data, fits: Sequence[Fit]) -> None:
        super()._keep(data, fits)
        if isinstance(self._response(), Classes):
            self.coef_, self.intercept_ = np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)


class LogitMethods(LinearClassifierMethods):
    """Probabilities of the classes, where the scores are logits."""

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n k"]:
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        linear = self._linear(X)
        if linear.ndim == 2:
            return softmax(linear, axis=1)
        return np.stack([expit(-linear), expit(linear)], axis=1)

    def predict_log_proba(self, X: Any) -> Float[np.ndarray, "n k"]:
        """Logarithms of ``predict_proba``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        linear = self._linear(X)
        if linear.ndim == 2:
            return log_softmax(linear, axis=1)
        return np.stack([log_expit(-linear), log_expit(linear)], axis=1)
