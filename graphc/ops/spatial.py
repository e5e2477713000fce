"""What convolutions, pooling and resampling ask of their arguments: numbers for each axis of space, margins, places.

Arrays are (N, *space, C): examples first, channels last. A window of `size` elements that lie `dilation` apart reaches over
(size - 1) * dilation + 1 of them; windows stand `stride` apart.
"""

# What a user gives is a number or a sequence, of anything.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import DTypeError, ShapeError
from graphc.graph.node import Node
from graphc.graph.types import TensorType
from graphc.ops.operands import as_node

Margins = list[tuple[Dim, Dim]]
SPACE = {1: "L", 2: "H, W"}


def image(x: Any, rank: int, name: str) -> Node:
    """Return an operand (N, *space, C) with `rank` axes of space."""
    node = as_node(x)
    if node.ndim != rank + 2:
        raise ShapeError(f"{name}: expected (N, {SPACE[rank]}, C), got {node.type}")
    if node.dtype.kind == "b":
        raise DTypeError(f"{name}: expected numbers, got {node.type}; use astype")
    return node


def each(value: Any, rank: int, what: str, low: int = 1) -> tuple[int, ...]:
    """Return one whole number of `low` or more for each axis of space, from one for all or a sequence."""
    given: Any = tuple(value) if isinstance(value, tuple | list) else (value,) * rank
    if len(given) != rank or any(not _is_whole(v) or v < low for v in given):
        several = f", or {rank} of them" if rank > 1 else ""
        raise ShapeError(f"expected {what} to be a whole number of {low} or more{several}, got {value!r}")
    return tuple(int(v) for v in given)


def reaches(sizes: Sequence[Dim], dilations: Sequence[int]) -> list[Dim]:
    """Return what windows of these sizes reach over."""
    return [(size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True)]


def margins(padding: Any, space: Sequence[Dim], reach: Sequence[Dim], strides: Sequence[int], name: str) -> Margins:
    """Return the padding before and after each axis of space.

    padding: "valid", "same" (there are ceil(size / stride) windows; of an odd number the larger part goes after), a number,
    a number for each axis, or a pair (before, after) for each.
    """
    rank = len(space)
    if isinstance(padding, str) and padding == "valid":
        return [(0, 0)] * rank
    if isinstance(padding, str) and padding == "same":
        result: Margins = []
        for size, needed, step in zip(space, reach, strides, strict=True):
            total = dims.maximum((dims.floordiv(size + step - 1, step) - 1) * step + needed - size, 0)
            before = dims.floordiv(total, 2)
            result.append((before, total - before))
        return result
    given: Any = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * rank
    pairs: list[Any] = [tuple(p) if isinstance(p, tuple | list) else (p, p) for p in given]
    if len(pairs) != rank or any(len(p) != 2 or any(not _is_whole(v) or v < 0 for v in p) for p in pairs):
        forms = "a number, two numbers or two pairs" if rank == 2 else "a number, or one pair in a list"
        raise ShapeError(f"{name}: expected padding to be 'valid', 'same', {forms} of 0 or more, got {padding!r}")
    return [(before, after) for before, after in pairs]


def windows_demanded(kernel_size: Any, stride: Any, padding: Any, dilation: Any, rank: int, name: str) -> None:
    """Raise ShapeError unless these may be the arguments of windows; what depends on an array's sizes is left to a call."""
    sizes, strides, dilations = (
        each(value, rank, f"{name}'s {what}")
        for value, what in ((kernel_size, "kernel_size"), (stride, "stride"), (dilation, "dilation"))
    )
    margins(padding, sizes, reaches(sizes, dilations), strides, name)


def places(
    type: TensorType, padding: Margins, sizes: Sequence[Dim], dilations: Sequence[int], strides: Sequence[int],
    name: str, ceil_mode: bool = False,
) -> list[Dim]:  # fmt: skip
    """Return how many windows fit along each axis of space.

    With `ceil_mode` one more if it starts inside of x or before it, though it ends beyond the padding. ShapeError, with the
    sum that failed, if none fits.
    """
    counts: list[Dim] = []
    reach = reaches(sizes, dilations)
    for k, ((before, after), needed, step) in enumerate(zip(padding, reach, strides, strict=True)):
        if sizes[k] == 0:
            raise ShapeError(f"{name}: expected a kernel of 1 or more elements along axis {k + 1} of {type}, got 0")
        extent = type.shape[k + 1]
        span = extent + before + after - needed
        if isinstance(span, int) and span < 0:
            spread = f" ({sizes[k]} elements, {dilations[k]} apart)" if dilations[k] > 1 else ""
            total = f"{extent} + {before} + {after} = {extent + before + after}" if before or after else f"{extent}"
            raise ShapeError(
                f"{name}: a kernel that reaches over {needed}{spread} does not fit along axis {k + 1} of {type}: "
                f"expected {needed} or more, got {total}{' with padding' if before or after else ''}"
            )
        count = dims.floordiv(span, step) + 1
        if ceil_mode:
            most = dims.floordiv(extent + before - 1, step) + 1
            count = dims.minimum(dims.floordiv(span + step - 1, step) + 1, most)
        counts.append(count)
    return counts


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
