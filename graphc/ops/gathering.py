"""Ops whose indices are read from data: take, its adjoint scatter_add, one_hot; the builders are in `indexing`.

Every index that is read is range-checked. Negative ones count from the end, once, as in NumPy, where the op `wraps`.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import bool_, int64
from graphc.errors import IndexOutOfRangeError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, make, require
from graphc.graph.op import Op
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.ops.movement import moveaxis, permute_dims, reshape
from graphc.ops.operands import demand, expand
from graphc.ops.positions import arange
from graphc.ops.positions import size as size_of
from graphc.records import keyword, record, replace


@record
class Indexing(Op):
    """The family: integers read from data say where.

    `site` is the operation that an error names, this op unless given. Without `wraps` negative ones are out of range.
    """

    site: str = keyword(default="")
    wraps: bool = keyword(default=True)

    @property
    def label(self) -> str:
        """What an error calls the operation."""
        return self.site or self.name

    def checked(self, indices: Any, size: int) -> Any:
        """Return an array of indices, each from 0 to size - 1; IndexOutOfRangeError names one that is not."""
        used = np.where(indices < 0, indices.astype(np.int64) + size, indices) if self.wraps else indices
        outside: Any = (used < 0) | (used >= size)
        if np.any(outside):
            raise IndexOutOfRangeError(
                f"index {indices[outside].flat[0]} is out of range for an axis of size {size}: {self.label}"
            )
        return used

    def position(self, index: expr.Expr, size: Dim) -> Dim:
        """Return an index that a kernel read, checked likewise."""
        return expr.check(index, size, self.label, wraps=self.wraps)


@record
class Take(Indexing):
    """Elements of `axis` at integer indices: x (*b, *before, n, *after), indices (*b, *j) -> (*b, *before, *j, *after).

    The first `batch` dimensions b are shared; each of their positions has indices of its own.
    """

    axis: int
    batch: int = 0

    name = "take"

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        demand(indices, "iu", f"{self.label}'s indices")
        if not self.batch <= self.axis < x.rank or indices.rank < self.batch:
            raise ShapeError(
                f"{self.label}: axis {self.axis} with {self.batch} shared dimensions does not fit {x} and {indices}"
            )
        for a, b in zip(x.shape[: self.batch], indices.shape[: self.batch], strict=True):
            require(a, "==", b, f"take from {x} at {indices}")
        chosen = indices.shape[self.batch :]
        return TensorType((*x.shape[: self.axis], *chosen, *x.shape[self.axis + 1 :]), x.dtype)

    def numpy(self, x: Any, indices: Any) -> Any:
        indices = self.checked(indices, x.shape[self.axis])
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
        updates = reshape(permute_dims(cotangent, order), (dims.product(indices.shape), *rest))
        total = _scattered(rows, updates, size, self)
        return moveaxis(reshape(total, (*shared, size, *rest)), count, self.axis), None

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[0] is None else make(self, tangents[0], node.inputs[1])

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        x, indices = batched
        if not self.batch and indices is None:
            assert x is not None
            return make(replace(self, axis=self.axis + 1), x, node.inputs[1])
        if not self.batch and x is None:
            assert indices is not None
            return moveaxis(make(self, node.inputs[0], indices), self.axis, 0)
        size = (x if x is not None else indices).shape[0]  # type: ignore[union-attr]
        x = expand(node.inputs[0], (size, *node.inputs[0].shape)) if x is None else x
        indices = expand(node.inputs[1], (size, *node.inputs[1].shape)) if indices is None else indices
        return make(replace(self, axis=self.axis + 1, batch=self.batch + 1), x, indices)

    def lower(self, out: TensorType, x: TensorType, indices: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        after = self.axis + indices.rank - self.batch
        index = expr.load(1, (*at[: self.batch], *at[self.axis : after]), indices.dtype)
        position = self.position(index, x.shape[self.axis])
        return bodies.compute(out, expr.load(0, (*at[: self.axis], position, *at[after:]), x.dtype))


@record
class ScatterAdd(Indexing):
    """out[indices[j], ...] += updates[j, ...] in the order of j: indices (J,), updates (J, *rest) -> (size, *rest)."""

    size: Dim

    name = "scatter_add"

    def infer(self, indices: TensorType, updates: TensorType) -> TensorType:
        demand(indices, "iu", f"{self.label}'s indices")
        demand(updates, "fiu", "scatter_add's updates")
        if indices.rank != 1 or updates.rank < 1:
            raise ShapeError(f"scatter_add: expected indices (J,) and updates (J, ...), got {indices} and {updates}")
        require(indices.shape[0], "==", updates.shape[0], f"scatter_add of {updates} at {indices}")
        return TensorType((self.size, *updates.shape[1:]), updates.dtype)

    def numpy(self, indices: Any, updates: Any) -> Any:
        size: Any = self.size
        result = np.zeros((size, *updates.shape[1:]), updates.dtype)
        np.add.at(result, self.checked(indices, size), updates)
        return result

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return None, make(Take(0, site=self.site, wraps=self.wraps), cotangent, node.inputs[0])

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
        total = _scattered(indices, rows, self.size, self)
        return reshape(total, (size, self.size, *rest))

    def lower(self, out: TensorType, indices: TensorType, updates: TensorType) -> bodies.Body:
        return bodies.Scatter(self.label, self.wraps)


@record
class FlatIndex(Indexing):
    """The row-major position, in an array of shape `sizes`, of one index for each of its axes: int64."""

    sizes: tuple[Dim, ...]

    name = "flat_index"

    def infer(self, *indices: TensorType) -> TensorType:
        if len(indices) != len(self.sizes):
            raise ShapeError(f"{self.label}: expected {len(self.sizes)} arrays of indices, got {len(indices)}")
        for one in indices:
            demand(one, "iu", f"{self.label}'s indices")
            if one.shape != indices[0].shape:
                raise ShapeError(f"{self.label}: expected indices of one shape, got {indices[0]} and {one}")
        return TensorType(indices[0].shape, int64)

    def numpy(self, *indices: Any) -> Any:
        sizes: Any = self.sizes
        total: Any = np.zeros(indices[0].shape, np.int64)
        for index, size in zip(indices, sizes, strict=True):
            total = total * size + self.checked(index, size)
        return total

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        size = next(operand.shape[0] for operand in batched if operand is not None)
        pairs = zip(batched, node.inputs, strict=True)
        return make(self, *(expand(x, (size, *x.shape)) if b is None else b for b, x in pairs))

    def lower(self, out: TensorType, *indices: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        total: Dim = 0
        for k, (index, size) in enumerate(zip(indices, self.sizes, strict=True)):
            total = total * size + self.position(expr.load(k, at, index.dtype), size)
        return bodies.compute(out, expr.index(total))


def _scattered(rows: Node, updates: Node, size: Dim, like: Indexing) -> Node:
    """Return updates (B * J, *rest) added at rows (B, J) of B arrays of `size` rows, put one after another."""
    count, width = rows.shape
    if count == 1:
        plain = ScatterAdd(size, site=like.label, wraps=like.wraps)
        return make(plain, reshape(rows, (width,)), updates)
    # Checked in its own axis: one that is out of range never reaches a neighbour, and the error gives its true number.
    inside = make(FlatIndex((size,), site=like.label, wraps=like.wraps), rows)
    offset = reshape(arange(count), (count, 1)) * size_of(size)
    return make(ScatterAdd(count * size), reshape(inside + offset, (count * width,)), updates)


@record
class OneHot(Indexing):
    """True at the index along a new last axis of `size`."""

    size: Dim

    name = "one_hot"

    def infer(self, indices: TensorType) -> TensorType:
        demand(indices, "iu", f"{self.label}'s indices")
        return TensorType((*indices.shape, self.size), bool_)

    def numpy(self, indices: Any) -> Any:
        size: Any = self.size
        positions: Any = np.arange(size)
        return self.checked(indices, size)[..., None] == positions

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        return make(self, batched[0])

    def lower(self, out: TensorType, indices: TensorType) -> bodies.Body:
        *at, last = bodies.output_axes(out)
        position = self.position(expr.load(0, tuple(at), indices.dtype), self.size)
        return bodies.compute(out, expr.apply("eq", expr.index(position), expr.index(last), dtype=bool_))
