"""The leaves of a model by name, and which of them are to become sparse."""

import inspect
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import equinox as eqx
import jax
import jax.tree_util as jtu

# Which leaves: a pattern of names, or several; a function of the model that returns leaves or
# subtrees, as in `equinox.tree_at`; a predicate of name and leaf; None for the weights of layers.
Where = str | Iterable[str] | Callable[..., Any] | None

_WEIGHTED = (eqx.nn.Linear, eqx.nn.Conv, eqx.nn.ConvTranspose)
_UNPRUNED = (
    eqx.nn.Embedding,
    eqx.nn.LayerNorm,
    eqx.nn.RMSNorm,
    eqx.nn.GroupNorm,
    eqx.nn.BatchNorm,
    eqx.nn.PReLU,
)


def is_none(x: Any) -> bool:
    """Whether a leaf is absent: a place of its own in a tree of masks."""
    return x is None


def name_of(path: tuple[Any, ...]) -> str:
    """A key path as in ``layers.0.weight``."""
    return jtu.keystr(path, simple=True, separator=".")


def named_leaves(tree: Any, is_leaf: Callable[[Any], bool] = is_none) -> dict[str, Any]:
    """Every leaf, absent ones too, under its name and in order."""
    return {name_of(path): leaf for path, leaf in jtu.tree_flatten_with_path(tree, is_leaf)[0]}


def replace_leaves(tree: Any, leaves: dict[str, Any]) -> Any:
    """The tree with new leaves, all of them in order."""
    return jtu.tree_unflatten(jtu.tree_structure(tree, is_leaf=is_none), list(leaves.values()))


def chosen_leaves(model: Any, where: Where) -> dict[str, jax.Array]:
    """The arrays that ``where`` chooses, by name; an error where it chooses none."""
    leaves = named_leaves(model)
    names = _chosen_names(model, leaves, where)
    chosen = {name: leaf for name, leaf in leaves.items() if name in names and is_weight(leaf)}
    if not chosen:
        raise ValueError(f"`where` chooses no floating-point array; the leaves are {_few(leaves)}.")
    return chosen


def aligned(tree: Any, names: Iterable[str], argument: str) -> dict[str, Any]:
    """The leaves of a second tree that lie where the model has ``names``; None where it has none.

    Names that the model has not mean another model, and raise an error.
    """
    names = list(names)
    leaves = {name: leaf for name, leaf in named_leaves(tree).items() if leaf is not None}
    unknown = [name for name in leaves if name not in set(names)]
    if unknown:
        raise ValueError(
            f"`{argument}` has a leaf at {unknown[0]!r}, where the model has none; "
            f"its leaves are {_few(names)}."
        )
    return {name: leaves.get(name) for name in names}


def is_weight(leaf: Any) -> bool:
    """Whether a leaf holds numbers that can be made zero."""
    return eqx.is_inexact_array(leaf)


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _chosen_names(model: Any, leaves: dict[str, Any], where: Where) -> set[str]:
    if where is None:
        return _weights_of_layers(model)
    if isinstance(where, str):
        return _matching(leaves, where)
    if callable(where):
        if len(inspect.signature(where).parameters) == 2:
            return {name for name, leaf in leaves.items() if is_weight(leaf) and where(name, leaf)}
        # Names in the place of leaves show which ones a function of the model returns.
        return set(jax.tree.leaves(where(replace_leaves(model, {name: name for name in leaves}))))
    return set().union(*(_matching(leaves, pattern) for pattern in where))


def _matching(leaves: dict[str, Any], pattern: str) -> set[str]:
    names = {name for name in leaves if fnmatchcase(name, pattern)}
    if not names:
        raise ValueError(f"`where`: no leaf is called {pattern!r}; there are {_few(leaves)}.")
    return names


def _weights_of_layers(model: Any) -> set[str]:
    """Weights of linear layers and convolutions; outside of Equinox's layers, any matrix."""
    layers = _WEIGHTED + _UNPRUNED
    names = set()
    for name, node in named_leaves(model, lambda x: isinstance(x, layers)).items():
        if isinstance(node, _WEIGHTED):
            names.add(f"{name}.weight" if name else "weight")
        elif is_weight(node) and node.ndim >= 2:
            names.add(name)
    return names
