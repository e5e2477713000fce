"""Movement ops: each element of the result is one element of an operand, or a fill value; only the index changes.

All are linear. Adjoint pairs: broadcast_to and sum, slice and pad, permute_dims and its inverse, reshape and reshape,
concat and slices.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, DimExpr
from graphc.dtypes import bool_
from graphc.errors import DTypeError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make, require
from graphc.graph.op import Op
from graphc.graph.types import TensorType, as_dim, as_shape, shape_text
from graphc.loops import expr
from graphc.ops.operands import as_node, expand, normalize_axes, normalize_axis, promoted


class Movement(Op):
    """The family with one operand: linear, so a tangent moves as the value does."""

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[0] is None else make(self, tangents[0])


@dataclass(frozen=True)
class BroadcastTo(Movement):
    """The operand repeated: NumPy's rule, dimensions aligned at the end, those of size 1 stretched."""

    shape: tuple[Dim, ...]

    name = "broadcast_to"

    def infer(self, x: TensorType) -> TensorType:
        extra = len(self.shape) - x.rank
        if extra < 0:
            raise ShapeError(f"cannot broadcast {x} to fewer dimensions: {shape_text(self.shape)}")
        for size, wanted in zip(x.shape, self.shape[extra:], strict=True):
            if size != 1:
                require(size, "==", wanted, f"broadcast of {x} to {shape_text(self.shape)}")
        return TensorType(self.shape, x.dtype)

    def numpy(self, x: Any) -> Any:
        shape: Any = self.shape
        return np.broadcast_to(x, shape)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        x = node.inputs[0]
        extra = len(self.shape) - x.ndim
        stretched = [extra + k for k, size in enumerate(x.shape) if size == 1 and self.shape[extra + k] != 1]
        total = call("sum", cotangent, axis=(*range(extra), *stretched)) if extra or stretched else cotangent
        return (reshape(total, x.shape) if stretched else total,)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        (x,) = batched
        assert x is not None
        # The operand's own dimensions stay aligned at the end: those it lacks go between the batch and them.
        ones: tuple[Dim, ...] = (1,) * (len(self.shape) - node.inputs[0].ndim)
        return expand(reshape(x, (x.shape[0], *ones, *x.shape[1:])), (x.shape[0], *self.shape))

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)[out.rank - x.rank :]
        index = tuple(0 if size == 1 else i for size, i in zip(x.shape, at, strict=True))
        return bodies.compute(out, expr.load(0, index, x.dtype))


@dataclass(frozen=True)
class Reshape(Movement):
    """The same elements, in row-major order, in another shape of equal size."""

    shape: tuple[Dim, ...]

    name = "reshape"

    def infer(self, x: TensorType) -> TensorType:
        require(x.size, "==", dims.product(self.shape), f"reshape of {x} to {shape_text(self.shape)}")
        return TensorType(self.shape, x.dtype)

    def numpy(self, x: Any) -> Any:
        shape: Any = self.shape
        return np.reshape(x, shape)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        return (reshape(cotangent, node.inputs[0].shape),)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        return reshape(batched[0], (batched[0].shape[0], *self.shape))

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        return bodies.compute(out, expr.load(0, _reshaped(bodies.output_axes(out), out.shape, x.shape), x.dtype))


def _reshaped(at: tuple[DimExpr, ...], shape: tuple[Dim, ...], source: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """Return the index in `source` of the element at `at` in `shape`.

    Dimensions that survive keep their own axis: only runs of dimensions with equal products are linearised together, so
    that expand_dims and squeeze cost no division.
    """
    index: list[Dim] = []
    i = j = 0
    while j < len(source):
        if source[j] == 1:
            index.append(0)
            j += 1
            continue
        while i < len(shape) and shape[i] == 1:
            i += 1
        stop_i, stop_j = _matching_run(shape, source, i, j)
        flat: Dim = 0
        for k in range(i, stop_i):
            flat = flat * shape[k] + at[k]
        index += _unravel(flat, source[j:stop_j])
        i, j = stop_i, stop_j
    return tuple(index)


def _matching_run(shape: tuple[Dim, ...], source: tuple[Dim, ...], i: int, j: int) -> tuple[int, int]:
    """Return the ends of the shortest runs from i and j with equal products; both shapes' ends if there is none."""
    ends = {dims.product(source[j:stop]): stop for stop in range(len(source), j, -1)}
    for stop in range(i + 1, len(shape) + 1):
        if (end := ends.get(dims.product(shape[i:stop]))) is not None:
            return stop, end
    return len(shape), len(source)


def _unravel(flat: Dim, shape: tuple[Dim, ...]) -> list[Dim]:
    index: list[Dim] = []
    for k, size in enumerate(shape):
        inner = dims.product(shape[k + 1 :])
        whole = dims.floordiv(flat, inner)
        index.append(whole if k == 0 else dims.remainder(whole, size))
    return index


@dataclass(frozen=True)
class PermuteDims(Movement):
    """Axis k of the result is axis axes[k] of the operand."""

    axes: tuple[int, ...]

    name = "permute_dims"

    @property
    def inverse(self) -> tuple[int, ...]:
        """The permutation that undoes this one."""
        return tuple(self.axes.index(k) for k in range(len(self.axes)))

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.axes) != list(range(x.rank)):
            raise ShapeError(f"expected a permutation of the {x.rank} axes of {x}, got {self.axes}")
        return TensorType(tuple(x.shape[axis] for axis in self.axes), x.dtype)

    def numpy(self, x: Any) -> Any:
        return np.transpose(x, self.axes)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        return (permute_dims(cotangent, self.inverse),)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        return permute_dims(batched[0], (0, *(axis + 1 for axis in self.axes)))

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        return bodies.compute(out, expr.load(0, tuple(at[k] for k in self.inverse), x.dtype))


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Pad(Movement):
    """`low` and `high` fill elements around each axis and `interior` between neighbours."""

    low: tuple[Dim, ...]
    high: tuple[Dim, ...]
    interior: tuple[int, ...]
    value: float = 0.0

    name = "pad"

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


@dataclass(frozen=True)
class Concat(Op):
    """The operands one after another along an axis."""

    axis: int

    name = "concat"

    def infer(self, *inputs: TensorType) -> TensorType:
        first = inputs[0]
        for other in inputs[1:]:
            if other.dtype is not first.dtype:
                raise DTypeError(f"concat: expected equal dtypes, got {first} and {other}")
            if other.rank != first.rank:
                raise ShapeError(f"concat: expected equal ranks, got {first} and {other}")
            for k, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)):
                if k != self.axis:
                    require(a, "==", b, f"concat of {first} and {other} along axis {self.axis}")
        total = sum((type.shape[self.axis] for type in inputs), start=0)
        return TensorType((*first.shape[: self.axis], total, *first.shape[self.axis + 1 :]), first.dtype)

    def numpy(self, *inputs: Any) -> Any:
        return np.concatenate(inputs, self.axis)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node, ...]:
        shares: list[Node] = []
        offset: Dim = 0
        for operand in node.inputs:
            at = tuple(offset if k == self.axis else 0 for k in range(node.ndim))
            shares.append(make(Slice(at, operand.shape, (1,) * node.ndim), cotangent))
            offset = offset + operand.shape[self.axis]
        return tuple(shares)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node:
        pairs = zip(tangents, node.inputs, strict=True)
        return make(self, *(call("zeros_like", x) if t is None else t for t, x in pairs))

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        size = next(operand.shape[0] for operand in batched if operand is not None)
        pairs = zip(batched, node.inputs, strict=True)
        return make(Concat(self.axis + 1), *(expand(x, (size, *x.shape)) if b is None else b for b, x in pairs))

    def lower(self, out: TensorType, *inputs: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        position = at[self.axis]
        offset: Dim = 0
        parts: list[tuple[Dim, expr.Expr]] = []
        for k, type in enumerate(inputs):
            end = offset + type.shape[self.axis]
            index = (*at[: self.axis], position - offset, *at[self.axis + 1 :])
            parts.append((end, expr.load(k, index, type.dtype, expr.within(position, offset, end))))
            offset = end

        def chosen(first: int, last: int) -> expr.Expr:
            # By halves: a chain of selects as long as the operands are many would be too deep to walk.
            if first == last:
                return parts[first][1]
            middle = (first + last) // 2
            guard = expr.within(position, 0, parts[middle][0])
            left = chosen(first, middle)
            return left if guard is None else expr.select(guard, left, chosen(middle + 1, last))

        return bodies.compute(out, chosen(0, len(parts) - 1))


@builder("broadcast_to")
def broadcast_to(x: Any, shape: object) -> Node:
    """Repeat x to a shape, by NumPy's broadcasting; dims that may differ become a requirement."""
    node, wanted = as_node(x), as_shape(shape)
    return node if node.shape == wanted else make(BroadcastTo(wanted), node)


@builder("reshape")
def reshape(x: Any, shape: object) -> Node:
    """Return the same elements in another shape; one dimension may be -1, what the size leaves for it."""
    node = as_node(x)
    given: Any = shape if isinstance(shape, tuple | list) else (shape,)
    open_at = [k for k, size in enumerate(given) if isinstance(size, int) and size == -1]
    if len(open_at) > 1:
        raise ShapeError(f"reshape: at most one dimension may be -1, got {tuple(given)}")
    wanted = [1 if k in open_at else as_dim(size) for k, size in enumerate(given)]
    if open_at:
        rest = dims.product(wanted)
        if rest == 0:
            raise ShapeError(f"reshape of {node.type}: -1 is ambiguous beside a dimension of 0")
        wanted[open_at[0]] = dims.floordiv(node.tensor.size, rest)
    return node if node.shape == tuple(wanted) else make(Reshape(tuple(wanted)), node)


@builder("permute_dims")
def permute_dims(x: Any, axes: Sequence[int] | None = None) -> Node:
    """Reorder the axes: axis k of the result is axis axes[k] of x; without axes, in reverse order."""
    node = as_node(x)
    if axes is None:
        axes = tuple(reversed(range(node.ndim)))
    order = tuple(normalize_axis(axis, node.ndim) for axis in axes)
    return node if order == tuple(range(node.ndim)) else make(PermuteDims(order), node)


@builder("matrix_transpose")
def matrix_transpose(x: Any) -> Node:
    """Exchange the last two axes."""
    node = as_node(x)
    return permute_dims(node, (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2))


@builder("moveaxis")
def moveaxis(x: Any, source: int, destination: int) -> Node:
    """Move one axis to another place; the others keep their order."""
    node = as_node(x)
    source, destination = normalize_axis(source, node.ndim), normalize_axis(destination, node.ndim)
    order = [axis for axis in range(node.ndim) if axis != source]
    order.insert(destination, source)
    return permute_dims(node, order)


@builder("expand_dims")
def expand_dims(x: Any, axis: int | Sequence[int] = 0) -> Node:
    """Insert axes of size 1 at these positions of the result."""
    node = as_node(x)
    count = len(axis) if isinstance(axis, Sequence) else 1
    axes = normalize_axes(axis, node.ndim + count)
    sizes = iter(node.shape)
    return reshape(node, tuple(1 if k in axes else next(sizes) for k in range(node.ndim + count)))


@builder("squeeze")
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Node:
    """Remove axes of size 1 (all of them, if none are named)."""
    node = as_node(x)
    if axis is None:
        axis = tuple(k for k, size in enumerate(node.shape) if size == 1)
    axes = normalize_axes(axis, node.ndim)
    for k in axes:
        if node.shape[k] != 1:
            raise ShapeError(f"cannot squeeze axis {k} of {node.type}: its size is not 1")
    return reshape(node, tuple(size for k, size in enumerate(node.shape) if k not in axes))


@builder("slice")
def slice_(x: Any, start: Sequence[Dim], size: Sequence[Dim], step: Sequence[int] | None = None) -> Node:
    """Return `size` elements along each axis, from `start` by `step` (1 unless given; it may be negative)."""
    node = as_node(x)
    return make(Slice(tuple(start), as_shape(tuple(size)), tuple(step) if step else (1,) * node.ndim), node)


@builder("pad")
def pad(x: Any, widths: Any, value: float = 0.0, interior: Sequence[int] | None = None) -> Node:
    """Put a fill value around x.

    widths: one number, or a pair (before, after), for all axes; or one pair for each axis. interior: how many fill
    values go between neighbours along each axis.
    """
    node = as_node(x)
    pairs: list[Any]
    if not isinstance(widths, tuple | list):
        pairs = [(widths, widths)] * node.ndim
    elif len(widths) == 2 and not any(isinstance(w, tuple | list) for w in widths):
        pairs = [tuple(widths)] * node.ndim
    else:
        pairs = [w if isinstance(w, tuple | list) else (w, w) for w in widths]
    low, high = as_shape(tuple(a for a, _ in pairs)), as_shape(tuple(b for _, b in pairs))
    return make(Pad(low, high, tuple(interior) if interior else (0,) * node.ndim, float(value)), node)


@builder("flip")
def flip(x: Any, axis: int | Sequence[int] | None = None) -> Node:
    """Reverse the order along axes (all, if none are given)."""
    node = as_node(x)
    axes = normalize_axes(axis, node.ndim)
    start = tuple(size - 1 if k in axes else 0 for k, size in enumerate(node.shape))
    return make(Slice(start, node.shape, tuple(-1 if k in axes else 1 for k in range(node.ndim))), node)


@builder("concat")
def concat(arrays: Sequence[Any], axis: int = 0) -> Node:
    """Join arrays along an axis that they have."""
    if isinstance(arrays, Node):
        raise ShapeError("concat: expected a list of arrays, as in concat([a, b])")
    if not arrays:
        raise ShapeError("concat: expected at least one array")
    nodes = promoted(*arrays)
    if nodes[0].ndim == 0:
        raise ShapeError("concat: expected arrays of 1 or more dimensions; use graphc.stack")
    return nodes[0] if len(nodes) == 1 else make(Concat(normalize_axis(axis, nodes[0].ndim)), *nodes)


@builder("stack")
def stack(arrays: Sequence[Any], axis: int = 0) -> Node:
    """Join arrays along a new axis."""
    if isinstance(arrays, Node):
        raise ShapeError("stack: expected a list of arrays, as in stack([a, b])")
    if not arrays:
        raise ShapeError("stack: expected at least one array")
    nodes = promoted(*arrays)
    at = normalize_axis(axis, nodes[0].ndim + 1)
    return concat([expand_dims(node, at) for node in nodes], at)
