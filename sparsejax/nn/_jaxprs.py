"""Operations of a traced function, one at a time."""

from collections.abc import Sequence
from typing import Any

# Calls whose insides are walked through, by the parameter that holds them.
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
LOOPS = ("scan", "while", "cond")


def called(equation: Any) -> tuple[Any, Sequence[Any]] | None:
    """The function that an operation calls, and its constants."""
    for key in _CALLS:
        inner = equation.params.get(key)
        if inner is not None:  # closed over its constants or without any
            return getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())
    return None


def bind(equation: Any, operands: Sequence[Any]) -> Sequence[Any]:
    """The operation on other operands."""
    parameters = equation.primitive.get_bind_params(equation.params)
    results = equation.primitive.bind(*operands, **parameters)
    return results if equation.primitive.multiple_results else [results]
