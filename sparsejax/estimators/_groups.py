"""Groups of features as users name them."""

from typing import Any

import numpy as np
from jaxtyping import Int


def group_labels(groups: Any, num_features: int) -> Int[np.ndarray, " p"]:
    """Labels 0, 1, … in the order of those given; a group for each feature where there are none.

    Raises
    ------
    ValueError
        Unless there is one label a feature.
    """
    if groups is None:
        return np.arange(num_features)
    labels = np.asarray(groups)
    if labels.shape != (num_features,):
        raise ValueError(
            f"`groups` must hold a label for each of the {num_features} features; got shape "
            f"{labels.shape}."
        )
    return np.unique(labels, return_inverse=True)[1]
