"""What a target means: how it is read, coded for the loss, predicted and scored."""

import abc
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.metrics import accuracy_score, d2_tweedie_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, validate_data

FLOATS = (np.float64, np.float32)


def read_features(model: Any, X: Any, y: Any, **options: Any) -> tuple[Any, Any]:
    """X and y validated as scikit-learn does; the model notes the features."""
    pair: Any = validate_data(model, X, y, accept_sparse="csc", dtype=FLOATS, **options)
    return pair


class AbstractResponse(abc.ABC):
    """The kind of target that an estimator takes."""

    @abc.abstractmethod
    def read(self, model: Any, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        """Validate the pair."""

    @abc.abstractmethod
    def encode(
        self, model: Any, y: np.ndarray, weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "t n ..."]:
        """What the loss takes, in the dtype of the weights: one problem a row."""

    def check_training(
        self, weights: Float[np.ndarray, "folds n"], targets: Float[np.ndarray, "t n ..."]
    ) -> None:
        """Raise if a fold's training samples cannot be fitted."""
        del weights, targets

    def predict(self, model: Any, linear: Float[np.ndarray, "n ..."]) -> np.ndarray:
        """From X·coef_ + intercept_ to what is predicted."""
        del model
        return linear

    @abc.abstractmethod
    def score(self, y: Any, predictions: np.ndarray, sample_weight: Any) -> float:
        """How good predictions are; the larger the better."""

    @abc.abstractmethod
    def tag(self, tags: Tags) -> None:
        """Say so in scikit-learn's tags."""


class Numbers(AbstractResponse):
    """Real numbers; several targets, where they are taken, are problems of their own."""

    def __init__(self, several: bool = True):
        self.several = several

    def read(self, model: Any, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        X, y = read_features(model, X, y, multi_output=self.several, y_numeric=True)
        return X, check_array(y, dtype=X.dtype, ensure_2d=False, input_name="y")

    def encode(
        self, model: Any, y: np.ndarray, weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "t n ..."]:
        return np.atleast_2d(y.T)

    def score(self, y: Any, predictions: np.ndarray, sample_weight: Any) -> float:
        return float(r2_score(y, predictions, sample_weight=sample_weight))

    def tag(self, tags: Tags) -> None:
        tags.estimator_type = "regressor"
        tags.regressor_tags = RegressorTags()
        tags.target_tags.required = True
        tags.target_tags.multi_output = self.several


class Tasks(Numbers):
    """Several real targets with one penalty on all of their coefficients."""

    def encode(
        self, model: Any, y: np.ndarray, weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "t n ..."]:
        if y.ndim != 2:
            raise ValueError(
                "`y` must have shape (n_samples, n_targets); use Lasso for one target, or "
                "reshape it by y.reshape(-1, 1)."
            )
        return y[None]

    def tag(self, tags: Tags) -> None:
        super().tag(tags)
        tags.target_tags.single_output = False


class Means(Numbers):
    """Nonnegative (counts) or positive numbers, whose mean is exp(X·coef_ + intercept_).

    ``power`` is Tweedie's: 1 for Poisson, 2 for Gamma.
    """

    def __init__(self, power: int):
        super().__init__(several=False)
        self.power = power

    def encode(
        self, model: Any, y: np.ndarray, weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "t n ..."]:
        lowest = np.min(y[weights > 0])
        if lowest < 0 or (lowest == 0 and self.power == 2):
            wanted = "positive" if self.power == 2 else "counts, zero or more"
            raise ValueError(
                f"`y` must be {wanted}; got a minimum of {lowest:g}. Some value(s) of y are out of "
                f"the valid range of the loss of {type(model).__name__}."
            )
        self.check_training(weights[None], y[None])
        return y[None]

    def check_training(
        self, weights: Float[np.ndarray, "folds n"], targets: Float[np.ndarray, "t n ..."]
    ) -> None:
        empty = np.flatnonzero(weights @ targets[0] == 0)
        if empty.size:
            where = f" in the training samples of fold {empty[0]}" if len(weights) > 1 else ""
            raise ValueError(f"`y` holds only zeros{where}: no finite intercept fits them.")

    def predict(self, model: Any, linear: Float[np.ndarray, "n ..."]) -> np.ndarray:
        return np.exp(linear)

    def score(self, y: Any, predictions: np.ndarray, sample_weight: Any) -> float:
        return float(
            d2_tweedie_score(y, predictions, sample_weight=sample_weight, power=self.power)
        )

    def tag(self, tags: Tags) -> None:
        super().tag(tags)
        tags.target_tags.positive_only = True


class Classes(AbstractResponse):
    """Labels of any kind: signs for a loss of two classes, one-hot rows for one of many."""

    def __init__(self, two: bool = True, many: bool = True):
        self.two, self.many = two, many

    def read(self, model: Any, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        X, y = read_features(model, X, y)
        check_classification_targets(y)
        return X, y

    def encode(
        self, model: Any, y: np.ndarray, weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "t n ..."]:
        classes, index = np.unique(y, return_inverse=True)
        if not self.many and classes.size > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(y)}."
            )
        if classes.size < 2:
            raise ValueError(f"`y` holds one class only, {classes[0]}; it must have two or more.")
        one_hot = np.eye(classes.size, dtype=weights.dtype)[index]
        for label, weight in zip(classes, weights @ one_hot, strict=True):
            if weight == 0:
                raise ValueError(f"`sample_weight` is zero for every sample of class {label}.")
        model.classes_ = classes
        return (2 * one_hot[:, 1] - 1)[None] if self.two and classes.size == 2 else one_hot[None]

    def check_training(
        self, weights: Float[np.ndarray, "folds n"], targets: Float[np.ndarray, "t n ..."]
    ) -> None:
        labels = targets[0] if targets.ndim == 3 else np.stack([targets[0] < 0, targets[0] > 0], 1)
        empty = np.argwhere(weights @ labels == 0)
        if empty.size:
            raise ValueError(
                f"`cv`: the training samples of fold {empty[0, 0]} do not have all classes; "
                "use fewer or stratified folds."
            )

    def predict(self, model: Any, linear: Float[np.ndarray, "n ..."]) -> np.ndarray:
        index = linear.argmax(axis=1) if linear.ndim == 2 else (linear > 0).astype(int)
        return model.classes_[index]

    def score(self, y: Any, predictions: np.ndarray, sample_weight: Any) -> float:
        return float(accuracy_score(y, predictions, sample_weight=sample_weight))

    def tag(self, tags: Tags) -> None:
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags(multi_class=self.many)
        tags.target_tags.required = True


class OneVersusRest(Classes):
    """Labels of any kind: signs of the second of two, or of each of many against all others."""

    def encode(
        self, model: Any, y: np.ndarray, weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "t n ..."]:
        targets = super().encode(model, y, weights)
        return targets if targets.ndim == 2 else 2 * targets[0].T - 1


class Survival(AbstractResponse):
    """Times, each with whether the event was seen or the sample was censored.

    Two columns, time and event, or a structured array with a Boolean field for the event (as in
    scikit-survival) or fields named so.
    """

    def read(self, model: Any, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        X = validate_data(model, X, accept_sparse="csc", dtype=FLOATS)
        y = times_and_events(y, X.dtype)
        if y.shape[0] != X.shape[0]:
            raise ValueError(
                f"Found input variables with inconsistent numbers of samples: `X` has "
                f"{X.shape[0]}, `y` has {y.shape[0]}."
            )
        return X, y

    def encode(
        self, model: Any, y: np.ndarray, weights: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "t n ..."]:
        if not np.any(y[weights > 0, 1]):
            raise ValueError("`y` holds no event: all times are censored.")
        return y[None]

    def check_training(
        self, weights: Float[np.ndarray, "folds n"], targets: Float[np.ndarray, "t n ..."]
    ) -> None:
        empty = np.flatnonzero(weights @ targets[0, :, 1] == 0)
        if empty.size:
            raise ValueError(f"`cv`: the training samples of fold {empty[0]} have no event.")

    def score(self, y: Any, predictions: np.ndarray, sample_weight: Any) -> float:
        y = times_and_events(y, np.float64)
        weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
        return concordance(y[:, 0], y[:, 1] > 0, predictions, weights)

    def tag(self, tags: Tags) -> None:
        tags.target_tags.required = True
        tags.target_tags.two_d_labels = True


def times_and_events(y: Any, dtype: Any) -> Float[np.ndarray, "n 2"]:
    """Columns of times and of events, from any form that is taken."""
    names = getattr(getattr(y, "dtype", None), "names", None)
    if names is not None:
        flags = [name for name in names if y.dtype[name].kind == "b"] or ["event"]
        times = [name for name in names if name not in flags]
        if len(names) != 2 or flags[0] not in names:
            raise ValueError(
                "`y` must have two fields, a time and a Boolean event; got the fields "
                f"{', '.join(names)}."
            )
        y = np.column_stack([y[times[0]], y[flags[0]]])
    y = check_array(y, dtype=dtype, input_name="y", ensure_min_features=2)
    if y.shape[1] != 2 or not np.isin(y[:, 1], (0, 1)).all():
        raise ValueError(
            "`y` must have two columns, time and event (1, or 0 if censored), or be a structured "
            "array with those fields."
        )
    return y


def concordance(
    times: Float[np.ndarray, " n"],
    events: np.ndarray,
    risks: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"],
) -> float:
    """Harrell's index: how often, of two samples, the one with the earlier event has more risk.

    Equal risks count half; a sample censored at the time of an event outlived it.
    """
    agreeing = comparable = 0.0
    for event in np.flatnonzero(events & (weights > 0)):
        later = (times > times[event]) | ((times == times[event]) & ~events)
        weight = weights[event] * weights[later]
        agrees = (risks[event] > risks[later]) + 0.5 * (risks[event] == risks[later])
        agreeing += float(weight @ agrees)
        comparable += float(weight.sum())
    if comparable == 0:
        raise ValueError("`y` has no two samples that can be compared: nothing came after an event")
    return agreeing / comparable
