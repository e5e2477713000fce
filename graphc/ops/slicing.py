"""Slices, and their adjoint: padding around an array and between its elements.

Source: `numpy.{name}`.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, DimExpr
from graphc.dtypes import DType, bool_
from graphc.errors import DTypeError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make, require
from graphc.graph.types import TensorType, as_shape
from graphc.loops import expr
from graphc.ops.movement import Movement
from graphc.ops.operands import as_node, normalize_axes, whole
from graphc.records import record


@record
class Slice(Movement):
    """Element i along each axis is element start + i * step of the operand; `size` elements, a step may be negative."""

    start: tuple[Dim, ...]
    size: tuple[Dim, ...]
    step: tuple[int, ...]

    name = "slice"

    def infer(self, x: TensorType) -> TensorType:
        if not len(self.start) == len(self.size) == len(self.step) == x.rank:
            raise ShapeError(f"expected a start, a size and a step for each of the {x.rank} axes of {x}")
        for start, size, step, extent in zip(self.start, self.size, self.step, x.shape, strict=True):
            last = start + step * (size - 1)
            if step == 0:
                raise ShapeError("a slice's step must not be 0")
            require(size, ">=", 0, f"slice of {x}")
            if size == 0:
                continue
            low, high = (start, last) if step > 0 else (last, start)
            require(low, ">=", 0, f"slice of {x}")
            require(extent - 1, ">=", high, f"slice of {x}")
        return TensorType(self.size, x.dtype)

    def numpy(self, x: Any) -> Any:
        for axis, (start, size, step) in enumerate(zip(self.start, self.size, self.step, strict=True)):
            assert isinstance(start, int)
            assert isinstance(size, int)
            stop = start + size * step
            at: list[Any] = [slice(None)] * x.ndim
            at[axis] = slice(start, None if stop < 0 else stop, step) if size else slice(0, 0)
            x = x[tuple(at)]
        return x

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        start, low, high = list(self.start), list[Dim](), list[Dim]()
        backward = tuple(k for k, step in enumerate(self.step) if step < 0)
        for k in backward:
            start[k] = start[k] + self.step[k] * (self.size[k] - 1)
        for extent, first, size, step in zip(node.inputs[0].shape, start, self.size, self.step, strict=True):
            low.append(first)
            high.append(extent - first - _dilated(size, abs(step) - 1))
        cotangent = flip(cotangent, backward) if backward else cotangent
        return (make(Pad(tuple(low), tuple(high), tuple(abs(step) - 1 for step in self.step)), cotangent),)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        size = batched[0].shape[0]
        return make(Slice((0, *self.start), (size, *self.size), (1, *self.step)), batched[0])

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        steps = zip(self.start, bodies.output_axes(out), self.step, strict=True)
        return bodies.compute(out, expr.load(0, tuple(start + i * step for start, i, step in steps), x.dtype))


@record
class Pad(Movement):
    """`low` and `high` fill elements around each axis and `interior` between neighbours."""

    low: tuple[Dim, ...]
    high: tuple[Dim, ...]
    interior: tuple[int, ...]
    value: float = 0.0

    name = "pad"

    @property
    def is_margin(self) -> bool:
        """Whether known numbers of elements go around, none along the last axis and none between neighbours."""
        if any(self.interior) or (self.low[-1:], self.high[-1:]) != ((0,), (0,)):
            return False
        return all(isinstance(width, int) for width in (*self.low, *self.high))

    def infer(self, x: TensorType) -> TensorType:
        if not len(self.low) == len(self.high) == len(self.interior) == x.rank:
            raise ShapeError(f"expected low, high and interior padding for each of the {x.rank} axes of {x}")
        for amount in (*self.low, *self.high, *self.interior):
            require(amount, ">=", 0, f"padding of {x}")
        spread = (_dilated(size, between) for size, between in zip(x.shape, self.interior, strict=True))
        return TensorType(tuple(a + b + c for a, b, c in zip(self.low, spread, self.high, strict=True)), x.dtype)

    def numpy(self, x: Any) -> Any:
        spread = [_dilated(size, between) for size, between in zip(x.shape, self.interior, strict=True)]
        shape: Any = [a + b + c for a, b, c in zip(self.low, spread, self.high, strict=True)]
        result = np.full(shape, self.value, x.dtype)
        where: Any = zip(self.low, spread, self.interior, strict=True)
        result[tuple(slice(low, low + size, between + 1) for low, size, between in where)] = x
        return result

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[0] is None else make(Pad(self.low, self.high, self.interior), tangents[0])

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        step = tuple(between + 1 for between in self.interior)
        return (make(Slice(self.low, node.inputs[0].shape, step), cotangent),)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        return make(Pad((0, *self.low), (0, *self.high), (0, *self.interior), self.value), batched[0])

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        index: list[Dim] = []
        guard: expr.Expr | None = None
        for i, low, size, between in zip(bodies.output_axes(out), self.low, x.shape, self.interior, strict=True):
            guard = expr.both(guard, expr.within(i - low, 0, _dilated(size, between)))
            if between:
                gap = expr.index(dims.remainder(i - low, between + 1))
                guard = expr.both(guard, expr.apply("eq", gap, expr.index(0), dtype=bool_))
            index.append(dims.floordiv(i - low, between + 1))
        value = expr.load(0, tuple(index), x.dtype, guard)
        if self.value != 0 and guard is not None:
            value = expr.select(guard, value, expr.const(self.value, x.dtype))
        return bodies.compute(out, value)


def _dilated(size: Dim, between: int) -> Dim:
    return size + between * dims.maximum(size - 1, 0) if between else size


@builder("slice")
def slice_(x: Any, start: Sequence[Dim], size: Sequence[Dim], step: Sequence[int] | None = None) -> Node:
    """Return `size` elements along each axis, from `start` by `step` (1 unless given; it may be negative)."""
    node = as_node(x)
    return make(Slice(tuple(start), as_shape(tuple(size)), tuple(step) if step else (1,) * node.ndim), node)


@builder("pad")
def pad(
    x: Any,
    pad_width: Any,
    mode: str = "constant",
    constant_values: float = 0.0,
    interior: Sequence[int] | None = None,
) -> Node:
    """Put elements around x.

    pad_width: one number, or a pair (before, after), for all axes; or one pair for each axis.
    mode: "constant" puts the number `constant_values` there; "reflect" what lies as far inside of the edge, which is not
    repeated; "replicate" the edge; "circular" what stands at the other end.
    interior: how many times that number goes between neighbours along each axis, in mode "constant".

    Shape: size k is before + n + after, and interior * (n - 1) more with `interior`.
    Formula: `pad(x, pad_width, mode, constant_values=constant_values)`: out[before + i * (1 + interior)] = x[i].
    Gradient: by x, the part of g where its elements stand; in the other modes, g added up over an element's copies.
    Source: `numpy.pad`; modes as `torch.nn.functional.pad`; interior as `jax.lax.pad`.
    """
    node = as_node(x)
    pairs: list[Any]
    if not isinstance(pad_width, tuple | list):
        pairs = [(pad_width, pad_width)] * node.ndim
    elif len(pad_width) == 2 and not any(isinstance(w, tuple | list) for w in pad_width):
        pairs = [tuple(pad_width)] * node.ndim
    else:
        pairs = [w if isinstance(w, tuple | list) else (w, w) for w in pad_width]
    low, high = as_shape(tuple(a for a, _ in pairs)), as_shape(tuple(b for _, b in pairs))
    fill = _filling(constant_values, node.dtype)
    if mode == "constant":
        if fill == 0 and math.copysign(1, fill) < 0:  # equal to 0.0 as an attribute, and not as a value
            return -pad(-node, pad_width, interior=interior)
        between = tuple(whole(count, "how many values go between neighbours") for count in interior or (0,) * node.ndim)
        return make(Pad(low, high, between, fill), node)
    if mode not in _SPARE:
        raise ShapeError(f"pad: expected mode 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    if interior is not None or len(pairs) != node.ndim:
        raise ShapeError(
            f"pad: with mode {mode!r} expected a pair of widths for each axis of {node.type} and nothing between, got "
            f"{pad_width!r} and {interior!r}"
        )
    for axis, (before, after) in enumerate(zip(low, high, strict=True)):
        node = _extended(node, axis, before, after, mode)
    return node


def _filling(value: Any, dtype: DType) -> float:
    """Return the number that fills; DTypeError if it is none, or one that the dtype does not hold."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DTypeError(f"pad: expected a number to fill with, got {value!r}") from None
    if dtype.is_float:
        return number
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max)
    if not low <= value <= high or value != int(value):
        raise DTypeError(f"pad: {value!r} does not fit {dtype}")
    # A float does not hold every integer.
    return number if number == int(value) else int(value)


# The elements that each mode needs beyond those that it puts there.
_SPARE = {"reflect": 1, "replicate": 1, "circular": 0}


def _extended(x: Node, axis: int, before: Dim, after: Dim, mode: str) -> Node:
    """Return x with elements of its own before and after it along an axis."""
    extent = x.shape[axis]

    def part(start: Dim, size: Dim) -> Node:
        at = tuple(start if k == axis else 0 for k in range(x.ndim))
        return make(Slice(at, tuple(size if k == axis else n for k, n in enumerate(x.shape)), (1,) * x.ndim), x)

    parts: list[Node] = []
    for width, edge, inside, across in ((before, 0, 1, extent - before), (after, extent - 1, extent - 1 - after, 0)):
        needed = 1 if mode == "replicate" else width + _SPARE[mode]
        if width != 0 and isinstance(extent - needed, int) and not dims.is_nonnegative(extent - needed):
            raise ShapeError(
                f"pad: with mode {mode!r} a width of {width} along axis {axis} of {x.type} needs {needed} elements, "
                f"got {extent}"
            )
        if width == 0:
            parts.append(x)
        elif mode == "replicate":
            parts.append(
                call("broadcast_to", part(edge, 1), tuple(width if k == axis else n for k, n in enumerate(x.shape)))
            )
        else:
            found = part(inside if mode == "reflect" else across, width)
            parts.append(flip(found, axis) if mode == "reflect" else found)
    first, last = parts
    return call("concat", [*([] if first is x else [first]), x, *([] if last is x else [last])], axis)


@builder("flip")
def flip(x: Any, axis: int | Sequence[int] | None = None) -> Node:
    """Reverse the order along axes (all, if none are given).

    Shape: `(...) -> (...)`.
    Formula: `x[::-1]` for axis 0.
    Gradient: by x `flip(g, axis)`.
    """
    node = as_node(x)
    axes = normalize_axes(axis, node.ndim)
    start = tuple(size - 1 if k in axes else 0 for k, size in enumerate(node.shape))
    return make(Slice(start, node.shape, tuple(-1 if k in axes else 1 for k in range(node.ndim))), node)


def slice_bounds(key: slice, extent: Dim) -> tuple[Dim, Dim, int]:
    """Return start, size and step of a Python slice on an axis.

    On a symbolic axis nothing is clipped: the bounds must lie within it, which becomes a requirement. So x[1:] has
    size n - 1, and not max(n - 1, 0).
    """
    if any(isinstance(bound, Node) for bound in (key.start, key.stop, key.step)):
        raise ShapeError("a slice's bounds must be known when the graph is built; use graphc.dynamic_slice")
    step = 1 if key.step is None else whole(key.step, "a slice's step")
    first, end = (bound if bound is None else _index(bound) for bound in (key.start, key.stop))
    if step == 0:
        raise ShapeError("a slice's step must not be 0")
    if isinstance(extent, int) and not isinstance(first, DimExpr) and not isinstance(end, DimExpr):
        found = range(*slice(first, end, step).indices(extent))
        return (found.start if len(found) else 0), len(found), step
    start = (0 if step > 0 else extent - 1) if first is None else _from_end(first, extent)
    stop = (extent if step > 0 else -1) if end is None else _from_end(end, extent)
    distance = stop - start if step > 0 else start - stop
    return start, dims.floordiv(distance + abs(step) - 1, abs(step)), step


def _index(bound: Any) -> Dim:
    return bound if isinstance(bound, DimExpr) else whole(bound, "a slice's bound")


def _from_end(at: Dim, extent: Dim) -> Dim:
    return at + extent if isinstance(at, int) and at < 0 else at
