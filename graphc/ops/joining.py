"""Arrays joined along an axis, and what undoes it or is made of it: split, roll, tile, repeat.

Operands of different dtypes are promoted; a negative axis counts from the end. All are linear: the gradient of each part
is the part of the gradient that stands in its place, summed where elements are repeated.

Source: `numpy.{name}`.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, DimExpr
from graphc.dtypes import as_dtype, bool_
from graphc.errors import DTypeError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make, require
from graphc.graph.op import Op
from graphc.graph.types import TensorType, as_shape
from graphc.loops import expr
from graphc.ops.movement import expand_dims, reshape
from graphc.ops.operands import as_node, expand, normalize_axis, promoted, whole
from graphc.ops.slicing import Slice, slice_bounds
from graphc.records import record


@record
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


@record
class Interleave(Op):
    """The operands in turns along an axis of `size`: element i is element i // count of operand i % count."""

    axis: int
    size: Dim

    name = "interleave"

    def infer(self, *inputs: TensorType) -> TensorType:
        first = inputs[0]
        for n, other in enumerate(inputs):
            if other.dtype is not first.dtype or other.rank != first.rank:
                raise ShapeError(f"interleave: expected equal dtypes and ranks, got {first} and {other}")
            for k, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)):
                wanted = turns(self.size, n, len(inputs)) if k == self.axis else a
                require(wanted, "==", b, f"operand {n} of {len(inputs)} interleaved along axis {self.axis}")
        return TensorType((*first.shape[: self.axis], self.size, *first.shape[self.axis + 1 :]), first.dtype)

    def numpy(self, *inputs: Any) -> Any:
        shape: Any = self.infer(*(TensorType(x.shape, as_dtype(x.dtype)) for x in inputs)).shape
        result = np.empty(shape, inputs[0].dtype)
        for n, operand in enumerate(inputs):
            result[(slice(None),) * self.axis + (slice(n, None, len(inputs)),)] = operand
        return result

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node, ...]:
        along = [k == self.axis for k in range(node.ndim)]
        step = tuple(len(node.inputs) if a else 1 for a in along)
        starts = [tuple(n if a else 0 for a in along) for n in range(len(node.inputs))]
        return tuple(make(Slice(at, x.shape, step), cotangent) for at, x in zip(starts, node.inputs, strict=True))

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node:
        pairs = zip(tangents, node.inputs, strict=True)
        return make(self, *(call("zeros_like", x) if t is None else t for t, x in pairs))

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        size = next(operand.shape[0] for operand in batched if operand is not None)
        pairs = zip(batched, node.inputs, strict=True)
        whole = (expand(x, (size, *x.shape)) if b is None else b for b, x in pairs)
        return make(Interleave(self.axis + 1, self.size), *whole)

    def lower(self, out: TensorType, *inputs: TensorType) -> bodies.Body:
        at, count = bodies.output_axes(out), len(inputs)
        turn = expr.index(dims.remainder(at[self.axis], count))
        index = (*at[: self.axis], dims.floordiv(at[self.axis], count), *at[self.axis + 1 :])
        value: expr.Expr | None = None
        for n, type in enumerate(inputs):
            guard = expr.apply("eq", turn, expr.index(n), dtype=bool_)
            found = expr.load(n, index, type.dtype, guard)
            value = found if value is None else expr.select(guard, found, value)
        assert value is not None
        return bodies.compute(out, value)


def turns(size: Dim, turn: int, count: int) -> Dim:
    """Return how many of `size` elements, dealt to `count` in turns, go to this one."""
    return dims.floordiv(size - turn + count - 1, count)


def _listed(arrays: Any, what: str) -> tuple[Node, ...]:
    """Return the nodes of a list of arrays, of one dtype."""
    if isinstance(arrays, Node | str) or not isinstance(arrays, Iterable):
        given = arrays.describe() if isinstance(arrays, Node) else repr(arrays)
        raise ShapeError(f"{what}: expected a list of arrays, as in {what}([a, b]); got {given}")
    listed = list(arrays)
    if not listed:
        raise ShapeError(f"{what}: expected at least one array")
    return promoted(*listed)


@builder("concat")
def concat(arrays: Sequence[Any], axis: int | None = 0) -> Node:
    """Join arrays along an axis that they have; for None they are flattened first.

    Shape: the arrays' sizes along the axis added up; the others are equal.
    Formula: `concat(arrays, axis)`: the parts one after another.
    Gradient: by each of the arrays, the part of g that stands in its place.
    """
    nodes = _listed(arrays, "concat")
    if axis is None:
        nodes, axis = tuple(reshape(node, (-1,)) for node in nodes), 0
    if nodes[0].ndim == 0:
        raise ShapeError("concat: expected arrays of 1 or more dimensions; use graphc.stack")
    return nodes[0] if len(nodes) == 1 else make(Concat(normalize_axis(axis, nodes[0].ndim)), *nodes)


@builder("stack")
def stack(arrays: Sequence[Any], axis: int = 0) -> Node:
    """Join arrays along a new axis.

    Shape: the arrays', which are equal, with their number at the axis.
    Formula: out[..., k, ...] = arrays[k], with k at the axis.
    Gradient: by arrays `unstack(g, axis=axis)`.
    """
    nodes = _listed(arrays, "stack")
    for node in nodes:
        if node.ndim != nodes[0].ndim:
            raise ShapeError(f"stack: expected equal shapes, got {nodes[0].type} and {node.type}")
    at = normalize_axis(axis, nodes[0].ndim + 1)
    return concat([expand_dims(node, at) for node in nodes], at)


@builder("split")
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> tuple[Node, ...]:
    """Cut x along an axis: into so many equal parts, or before each of the given positions, as numpy.split.

    The parts of a symbolic size must come out even, which becomes a requirement.

    Shape: parts of n / sections along the axis, or up to each position.
    Formula: part k is x[positions[k - 1] : positions[k]] along the axis.
    Gradient: by x `concat(g, axis)`, of the parts' gradients.
    """
    node = as_node(x)
    at = normalize_axis(axis, node.ndim)
    size = node.shape[at]
    if not isinstance(indices_or_sections, Sequence | np.ndarray) or isinstance(indices_or_sections, str):
        count = whole(indices_or_sections, "how many parts, or positions")
        if count < 1 or (isinstance(size, int) and size % count):
            raise ShapeError(f"cannot split {node.type} into {count} equal parts along axis {at}")
        # A reshape says what a symbolic size must satisfy.
        parts = reshape(node, (*node.shape[:at], count, dims.floordiv(size, count), *node.shape[at + 1 :]))
        return unstack(parts, at)
    bounds = [slice_bounds(slice(0, end), size)[1] for end in indices_or_sections]
    pieces = zip([0, *bounds], [*bounds, size], strict=True)
    return tuple(_piece(node, at, start, dims.maximum(stop - start, 0)) for start, stop in pieces)


@builder("unstack")
def unstack(x: Any, axis: int = 0) -> tuple[Node, ...]:
    """Return the parts of x at each position of an axis, whose size must be known; the axis vanishes.

    Shape: x's without the axis, for each part.
    Formula: part k is x[..., k, ...], with k at the axis.
    Gradient: by x `stack(g, axis)`, of the parts' gradients.
    """
    node = as_node(x)
    at = normalize_axis(axis, node.ndim)
    count = node.shape[at]
    if not isinstance(count, int):
        raise ShapeError(
            f"unstack: expected an axis of known size, got {node.type}; walk it with graphc.scan or graphc.map"
        )
    rest = (*node.shape[:at], *node.shape[at + 1 :])
    return tuple(reshape(_piece(node, at, k, 1), rest) for k in range(count))


def _piece(x: Node, axis: int, start: Dim, size: Dim) -> Node:
    starts = tuple(start if k == axis else 0 for k in range(x.ndim))
    return make(Slice(starts, tuple(size if k == axis else n for k, n in enumerate(x.shape)), (1,) * x.ndim), x)


@builder("roll")
def roll(x: Any, shift: Any, axis: Any = None) -> Node:
    """Move each element by `shift` places along an axis; what leaves at one end enters at the other.

    shift, axis: one each, or as many; for None x is rolled flattened. Its gradient is a roll back.

    Shape: `(...) -> (...)`.
    Formula: `ravel(x)[(arange(x.size) - shift) % x.size].reshape(x.shape)` for axis None.
    Gradient: by x `roll(g, -shift, axis)`.
    """
    node = as_node(x)
    if axis is None:
        return reshape(roll(reshape(node, (-1,)), shift, 0), node.shape)
    shifts = tuple(shift) if isinstance(shift, Sequence) else (shift,)
    axes = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    if len(shifts) != len(axes) and 1 not in (len(shifts), len(axes)):
        raise ShapeError(f"roll: expected one shift for each axis, got {len(shifts)} for {len(axes)} axes")
    count = max(len(shifts), len(axes))
    for places, one in zip(shifts * (count // len(shifts)), axes * (count // len(axes)), strict=True):
        at = normalize_axis(one, node.ndim)
        size = node.shape[at]
        moved = dims.remainder(places if isinstance(places, DimExpr) else whole(places, "a shift"), size)
        if moved != 0:
            node = concat([_piece(node, at, size - moved, moved), _piece(node, at, 0, size - moved)], at)
    return node


@builder("tile")
def tile(x: Any, reps: Any) -> Node:
    """Repeat x as a whole: so often along each axis, the last if fewer numbers than axes are given, as numpy.tile.

    Shape: size k is n * reps[k]; missing axes and numbers are 1, in front.
    Formula: out[i, ...] = x[i % n, ...].
    Gradient: by x, g summed over the copies.
    """
    node = as_node(x)
    counts = as_shape(reps)
    rank = max(len(counts), node.ndim)
    counts = (*(1,) * (rank - len(counts)), *counts)
    sizes: tuple[Dim, ...] = (*(1,) * (rank - node.ndim), *node.shape)
    return _repeated(node, list(zip(counts, sizes, strict=True)), before=True)


@builder("repeat")
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Node:
    """Repeat each element along an axis (of x flattened, for None): so often, or each as often as an array says.

    Shape: n times the repeats along the axis, or their sum.
    Formula: `ravel(x)[arange(x.size * repeats) // repeats]` for axis None and one number.
    Gradient: by x, g summed over the copies of each element.
    """
    node = reshape(as_node(x), (-1,)) if axis is None else as_node(x)
    at = normalize_axis(axis or 0, node.ndim)
    if isinstance(repeats, Sequence | np.ndarray) and not isinstance(repeats, str):
        times = np.array([whole(count, "how often to repeat") for count in repeats], "int64")
        if (times < 0).any():
            raise ShapeError(f"repeat: expected numbers of 0 or more, got {repeats}")
        if len(times) == 1:
            return repeat(node, int(times[0]), at)
        if node.shape[at] == 1:
            raise ShapeError(
                f"repeat: expected a number for each element along axis {at} of {node.type}, got {repeats}"
            )
        known = expand(node, (*node.shape[:at], len(times), *node.shape[at + 1 :]))
        return call("take", known, np.repeat(np.arange(len(times)), times), axis=at)
    (count,) = as_shape(repeats)
    return _repeated(node, [(count if k == at else 1, size) for k, size in enumerate(node.shape)], before=False)


def _repeated(x: Node, factors: list[tuple[Dim, Dim]], *, before: bool) -> Node:
    """Return x with each axis (count, size) repeated: as a whole, or (not `before`) element by element.

    By a broadcast, so that the gradient is a sum over the repetitions.
    """
    narrow = [part for _, size in factors for part in ((1, size) if before else (size, 1))]
    wide = [part for count, size in factors for part in ((count, size) if before else (size, count))]
    return reshape(expand(reshape(x, narrow), tuple(wide)), tuple(count * size for count, size in factors))
