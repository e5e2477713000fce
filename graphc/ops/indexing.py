"""Indexing: by brackets, and by indices read from data: take, its adjoint scatter_add, one_hot, and their kin.

Every index that is read is range-checked; negative ones count from the end, once, as in NumPy.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, DimExpr
from graphc.dtypes import as_dtype, bool_, default_dtype, int64
from graphc.errors import DTypeError, IndexOutOfRangeError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, make, require
from graphc.graph.op import Op
from graphc.graph.types import TensorType, as_dim
from graphc.loops import expr
from graphc.ops.comparison import where
from graphc.ops.movement import expand_dims, moveaxis, permute_dims, reshape
from graphc.ops.operands import as_node, cast, demand, expand, normalize_axis
from graphc.ops.positions import arange
from graphc.ops.positions import size as size_of
from graphc.ops.slicing import Slice


def _wrapped(indices: Any, size: int, what: str) -> Any:
    wrapped: Any = np.where(indices < 0, indices.astype(np.int64) + size, indices)
    outside: Any = (wrapped < 0) | (wrapped >= size)
    if np.any(outside):
        raise IndexOutOfRangeError(f"{what}: index {indices[outside].flat[0]} is outside an axis of size {size}")
    return wrapped


@dataclass(frozen=True)
class Take(Op):
    """Elements of `axis` at integer indices: x (*b, *before, n, *after), indices (*b, *j) -> (*b, *before, *j, *after).

    The first `batch` dimensions b are shared; each of their positions has indices of its own.
    """

    axis: int
    batch: int = 0

    name = "take"

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        demand(indices, "iu", "take's indices")
        if not self.batch <= self.axis < x.rank or indices.rank < self.batch:
            raise ShapeError(
                f"take: axis {self.axis} with {self.batch} shared dimensions does not fit {x} and {indices}"
            )
        for a, b in zip(x.shape[: self.batch], indices.shape[: self.batch], strict=True):
            require(a, "==", b, f"take from {x} at {indices}")
        chosen = indices.shape[self.batch :]
        return TensorType((*x.shape[: self.axis], *chosen, *x.shape[self.axis + 1 :]), x.dtype)

    def numpy(self, x: Any, indices: Any) -> Any:
        indices = _wrapped(indices, x.shape[self.axis], self.name)
        if not self.batch:
            return np.take(x, indices, self.axis)
        result = np.empty((*x.shape[: self.axis], *indices.shape[self.batch :], *x.shape[self.axis + 1 :]), x.dtype)
        for at in np.ndindex(x.shape[: self.batch]):
            result[at] = np.take(x[at], indices[at], self.axis - self.batch)
        return result

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        x, indices = node.inputs
        count, chosen = self.batch, indices.ndim - self.batch
        size, shared = x.shape[self.axis], x.shape[: self.batch]
        first = (*range(count), *range(self.axis, self.axis + chosen))
        order = (*first, *range(count, self.axis), *range(self.axis + chosen, node.ndim))
        rest = tuple(extent for k, extent in enumerate(x.shape) if k >= count and k != self.axis)
        rows = reshape(indices, (dims.product(shared), dims.product(indices.shape[count:])))
        flat = reshape(rows, (-1,)) if not count else separated(rows, size)
        updates = reshape(permute_dims(cotangent, order), (dims.product(indices.shape), *rest))
        total = scatter_add(flat, updates, dims.product(shared) * size)
        return moveaxis(reshape(total, (*shared, size, *rest)), count, self.axis), None

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[0] is None else make(self, tangents[0], node.inputs[1])

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        x, indices = batched
        if not self.batch and indices is None:
            assert x is not None
            return make(Take(self.axis + 1), x, node.inputs[1])
        if not self.batch and x is None:
            assert indices is not None
            return moveaxis(make(self, node.inputs[0], indices), self.axis, 0)
        size = (x if x is not None else indices).shape[0]  # type: ignore[union-attr]
        x = expand(node.inputs[0], (size, *node.inputs[0].shape)) if x is None else x
        indices = expand(node.inputs[1], (size, *node.inputs[1].shape)) if indices is None else indices
        return make(Take(self.axis + 1, self.batch + 1), x, indices)

    def lower(self, out: TensorType, x: TensorType, indices: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        after = self.axis + indices.rank - self.batch
        index = expr.load(1, (*at[: self.batch], *at[self.axis : after]), indices.dtype)
        position = expr.check(index, x.shape[self.axis], self.name)
        return bodies.compute(out, expr.load(0, (*at[: self.axis], position, *at[after:]), x.dtype))


@dataclass(frozen=True)
class ScatterAdd(Op):
    """out[indices[j], ...] += updates[j, ...] in the order of j: indices (J,), updates (J, *rest) -> (size, *rest)."""

    size: Dim

    name = "scatter_add"

    def infer(self, indices: TensorType, updates: TensorType) -> TensorType:
        demand(indices, "iu", "scatter_add's indices")
        demand(updates, "fiu", "scatter_add's updates")
        if indices.rank != 1 or updates.rank < 1:
            raise ShapeError(f"scatter_add: expected indices (J,) and updates (J, ...), got {indices} and {updates}")
        require(indices.shape[0], "==", updates.shape[0], f"scatter_add of {updates} at {indices}")
        return TensorType((self.size, *updates.shape[1:]), updates.dtype)

    def numpy(self, indices: Any, updates: Any) -> Any:
        size: Any = self.size
        result = np.zeros((size, *updates.shape[1:]), updates.dtype)
        np.add.at(result, _wrapped(indices, size, self.name), updates)
        return result

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return None, make(Take(0), cotangent, node.inputs[0])

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[1] is None else make(self, node.inputs[0], tangents[1])

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        indices, updates = batched
        if indices is None:
            assert updates is not None
            return moveaxis(make(self, node.inputs[0], moveaxis(updates, 0, 1)), 1, 0)
        size, rest = indices.shape[0], node.shape[1:]
        updates = expand(node.inputs[1], (size, *node.inputs[1].shape)) if updates is None else updates
        rows = reshape(updates, (size * node.inputs[1].shape[0], *rest))
        total = make(ScatterAdd(size * self.size), separated(indices, self.size), rows)
        return reshape(total, (size, self.size, *rest))

    def lower(self, out: TensorType, indices: TensorType, updates: TensorType) -> bodies.Body:
        return bodies.Scatter(self.name)


def separated(indices: Node, size: Dim) -> Node:
    """Return indices (B, J) of B axes of `size` as indices (B * J,) of one axis of B * size.

    One that is out of range in its own axis stays out of range, and never reaches a neighbour.
    """
    rows, columns = indices.shape
    index, extent = cast(indices, int64), size_of(size)
    index = where(index < 0, index + extent, index)
    offset = reshape(arange(rows), (rows, 1)) * extent
    inside = (index >= 0) & (index < extent)
    return reshape(where(inside, index + offset, size_of(rows * size)), (rows * columns,))


@dataclass(frozen=True)
class OneHot(Op):
    """True at the index along a new last axis of `size`."""

    size: Dim

    name = "one_hot"

    def infer(self, indices: TensorType) -> TensorType:
        demand(indices, "iu", "one_hot's indices")
        return TensorType((*indices.shape, self.size), bool_)

    def numpy(self, indices: Any) -> Any:
        size: Any = self.size
        positions: Any = np.arange(size)
        return _wrapped(indices, size, self.name)[..., None] == positions

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None]:
        return (None,)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        return make(self, batched[0])

    def lower(self, out: TensorType, indices: TensorType) -> bodies.Body:
        *at, last = bodies.output_axes(out)
        position = expr.check(expr.load(0, tuple(at), indices.dtype), self.size, self.name)
        return bodies.compute(out, expr.apply("eq", expr.index(position), expr.index(last), dtype=bool_))


@builder("take")
def take(x: Any, indices: Any, axis: int = 0) -> Node:
    """Return elements of an axis at integer indices, whose dimensions take its place; out of range is an IndexError."""
    node = as_node(x)
    return make(Take(normalize_axis(axis, node.ndim)), node, as_node(indices))


@builder("take_along_axis")
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Node:
    """Return x[..., indices[..., j, ...], ...]: indices have x's dimensions except along the axis."""
    node, index = as_node(x), as_node(indices)
    if node.ndim != index.ndim:
        raise ShapeError(f"take_along_axis: expected equal ranks, got {node.type} and {index.type}")
    at = normalize_axis(axis, node.ndim)
    node, index = moveaxis(node, at, -1), moveaxis(index, at, -1)
    index = expand(index, (*node.shape[:-1], index.shape[-1]))
    return moveaxis(make(Take(node.ndim - 1, node.ndim - 1), node, index), -1, at)


@builder("scatter_add")
def scatter_add(indices: Any, updates: Any, size: object) -> Node:
    """Return zeros of shape (size, *rest) with updates (J, *rest) added at rows `indices` (J,), in order."""
    return make(ScatterAdd(as_dim(size)), as_node(indices), as_node(updates))


@builder("one_hot")
def one_hot(indices: Any, size: object, dtype: object = None) -> Node:
    """Return 1 at each index along a new last axis of `size`, 0 elsewhere. Out of range raises IndexError."""
    node = make(OneHot(as_dim(size)), as_node(indices))
    return cast(node, default_dtype() if dtype is None else as_dtype(dtype))


@builder("repeat")
def repeat(x: Any, repeats: int, axis: int) -> Node:
    """Repeat each element along an axis."""
    node = as_node(x)
    at = normalize_axis(axis, node.ndim)
    wider = expand_dims(node, at + 1)
    shape = (*node.shape[: at + 1], repeats, *node.shape[at + 1 :])
    return reshape(expand(wider, shape), (*node.shape[:at], node.shape[at] * repeats, *node.shape[at + 1 :]))


@builder("getitem")
def getitem(x: Node, key: Any) -> Node:
    """Index as NumPy does: integers, slices, `...` and None; one array or node of integers takes along its axis."""
    keys: list[Any] = list(key) if isinstance(key, tuple) else [key]
    given = sum(item is not None and item is not Ellipsis for item in keys)
    dots = [k for k, item in enumerate(keys) if item is Ellipsis]
    if given > x.ndim or len(dots) > 1:
        raise ShapeError(
            f"too many indices ({given}) for {x.type}" if given > x.ndim else "more than one ... in an index"
        )
    at = dots[0] if dots else len(keys)
    keys[at : at + 1] = [slice(None)] * (x.ndim - given)
    start: list[Dim] = []
    size: list[Dim] = []
    step: list[int] = []
    shape: list[Dim] = []
    gathers: list[tuple[int, Any]] = []
    axis = 0
    for item in keys:
        if item is None:
            shape.append(1)
            continue
        extent = x.shape[axis]
        axis += 1
        if isinstance(item, slice):
            first, count, stride = slice_bounds(item, extent)
        elif isinstance(item, DimExpr) or (
            hasattr(item, "__index__") and not isinstance(item, Node | bool | np.ndarray)
        ):
            first, count, stride = _single(item, extent), 1, 1
        else:
            first, count, stride = 0, extent, 1
            gathers.append((len(shape), item))
        start.append(first)
        size.append(count)
        step.append(stride)
        if isinstance(item, slice) or (gathers and gathers[-1][1] is item):
            shape.append(count)
    whole = all(a == 0 and s == 1 and n == m for a, s, n, m in zip(start, step, size, x.shape, strict=True))
    result = x if whole else make(Slice(tuple(start), tuple(size), tuple(step)), x)
    result = reshape(result, tuple(shape))
    if len(gathers) > 1:
        raise ShapeError("one index array at a time: take along one axis, then along the next")
    for position, item in gathers:
        if (item.dtype if isinstance(item, Node) else np.asarray(item).dtype).kind == "b":
            raise DTypeError("how many elements a mask chooses is known only when the graph runs; use graphc.where")
        result = take(result, item, position)
    return result


def _single(item: Any, extent: Dim) -> Dim:
    at: Dim = item if isinstance(item, DimExpr) else item.__index__()
    if isinstance(at, int) and isinstance(extent, int) and not -extent <= at < extent:
        raise ShapeError(f"index {at} is outside an axis of size {extent}")
    return at + extent if isinstance(at, int) and at < 0 else at


def slice_bounds(key: slice, extent: Dim) -> tuple[Dim, Dim, int]:
    """Return start, size and step of a Python slice on an axis.

    On a symbolic axis nothing is clipped: the bounds must lie within it, which becomes a requirement. So x[1:] has
    size n - 1, and not max(n - 1, 0).
    """
    step = 1 if key.step is None else int(key.step)
    if step == 0:
        raise ShapeError("a slice's step must not be 0")
    if isinstance(extent, int) and not isinstance(key.start, DimExpr) and not isinstance(key.stop, DimExpr):
        found = range(*key.indices(extent))
        return (found.start if len(found) else 0), len(found), step
    start = (0 if step > 0 else extent - 1) if key.start is None else _bound(key.start, extent)
    stop = (extent if step > 0 else -1) if key.stop is None else _bound(key.stop, extent)
    distance = stop - start if step > 0 else start - stop
    return start, dims.floordiv(distance + abs(step) - 1, abs(step)), step


def _bound(bound: Any, extent: Dim) -> Dim:
    at: Dim = bound if isinstance(bound, DimExpr) else bound.__index__()
    return at + extent if isinstance(at, int) and at < 0 else at
