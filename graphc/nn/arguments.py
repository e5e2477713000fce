"""What modules and losses demand of their arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.errors import GraphError, ShapeError
from graphc.graph.node import Node
from graphc.graph.types import shape_text


def whole(value: Any, what: str, low: int | None = 0) -> int:
    """Return a whole number of `low` or more (any, for None); ShapeError if it is none."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or (low is not None and value < low):
        range = "" if low is None else f" of {low} or more"
        raise ShapeError(f"{what}: expected a whole number{range}, got {value!r}")
    return int(value)  # pyright: ignore[reportUnknownArgumentType]


def number(value: Any, what: str, low: float = -np.inf, high: float = np.inf, open: bool = False) -> float:
    """Return a number from `low` to `high` (if `open`, without both, but infinity); GraphError if it is none."""
    numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not numeric or not (low < value and (value < high or high == np.inf) if open else low <= value <= high):
        if low == -np.inf:
            range = ""
        elif high == np.inf:
            range = f" above {low}" if open else f" of {low} or more"
        else:
            range = f" between {low} and {high}" if open else f" from {low} to {high}"
        raise GraphError(f"{what}: expected a number{range}, got {value!r}")
    return float(value)  # pyright: ignore[reportUnknownArgumentType]


def choice(value: Any, what: str, *choices: str) -> str:
    """Return a word that is among the choices; GraphError if it is not."""
    if value not in choices:
        raise GraphError(f"{what}: expected {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}, got {value!r}")
    return value


def sizes(value: Any, what: str) -> tuple[int, ...]:
    """Return a size, or a sequence of sizes, as a tuple."""
    given: Any = value if isinstance(value, tuple | list) else (value,)  # pyright: ignore[reportUnknownVariableType]
    return tuple(whole(size, what) for size in given)


def differ(left: Dim, right: Dim) -> bool:
    """Whether two sizes are sure to differ."""
    return left != right and isinstance(left - right, int)


def last_axes(x: Node, shape: tuple[Dim, ...], what: str) -> None:
    """Raise ShapeError unless the last dimensions are these; symbolic ones are compared when the graph is used."""
    given = x.shape[max(x.ndim - len(shape), 0) :]
    if len(given) < len(shape) or any(map(differ, given, shape)):
        axes = f"a last axis of {shape[0]}" if len(shape) == 1 else f"last axes of {shape_text(shape)}"
        raise ShapeError(f"{what}: expected {axes}, got {x.describe()}")
