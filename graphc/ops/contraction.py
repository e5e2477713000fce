"""Contractions: bilinear sums whose operands and result are read and written through affine maps.

One op covers matmul, batched matmul, einsum and convolution. Its derivatives are the same op with the roles of the
three arrays exchanged, so they need no code of their own.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.dtypes import bool_
from graphc.errors import DTypeError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, make, require
from graphc.graph.op import Op
from graphc.graph.types import TensorType, shape_text
from graphc.ops.operands import broadcast_shapes, promoted
from graphc.ops.positions import values
from graphc.records import record

Map = tuple[Dim, ...]


@record
class Contract(Op):
    """out[out(d)] += left[left(d)] * right[right(d)] for every d in `domain`; 0 where nothing is added.

    The maps hold one affine index over the domain's axes for each dimension; `shape` is the result's. Axes are named
    d0, d1, ... in the domain's order, so equal contractions are equal ops. With `inside`, pairs of an index and its extent,
    only positions count at which each index lies in its extent. At the others an operand is zero, but times infinity that is NaN.
    """

    domain: tuple[Axis, ...]
    left: Map
    right: Map
    out: Map
    shape: tuple[Dim, ...]
    inside: tuple[tuple[Dim, Dim], ...] = ()

    name = "contract"

    def infer(self, left: TensorType, right: TensorType) -> TensorType:
        if left.dtype is not right.dtype or left.dtype is bool_:
            raise DTypeError(f"contract: expected two operands of one number dtype, got {left} and {right}")
        result = TensorType(self.shape, left.dtype)

        def reason() -> str:
            return f"contraction of {left} and {right}"

        for at, type in ((self.left, left), (self.right, right), (self.out, result)):
            if len(at) != type.rank:
                raise ShapeError(f"contract: a map of {len(at)} indices reads {type}")
            for index, extent in zip(at, type.shape, strict=True):
                if (axis := _lone_axis(index)) is not None:
                    # An axis that stands alone walks its dimension to the end: sizes that are shared must be equal.
                    require(extent, "==", axis.extent, reason)
                    continue
                for axis in sorted(dims.axes(index), key=str):
                    require(axis.extent, ">=", 1, reason)  # windows of which none fits
                low, high = bounds(index)
                require(low, ">=", 0, reason)
                require(extent - 1, ">=", high, reason)
        return result

    def numpy(self, left: Any, right: Any) -> Any:
        if self.inside and not (np.isfinite(left).all() and np.isfinite(right).all()):
            return _by_positions(self, left, right)
        return _by_einsum(self, left, right) if self.is_plain(left.shape, right.shape) else _by_views(self, left, right)

    def is_plain(self, left: tuple[Dim, ...], right: tuple[Dim, ...]) -> bool:
        """Whether every map reads or writes whole dimensions, one axis each: what einsum can express."""
        for at, shape in ((self.left, left), (self.right, right), (self.out, self.shape)):
            if any(plain_axis(index, extent) is None for index, extent in zip(at, shape, strict=True)):
                return False
        read = {axis for index in (*self.left, *self.right) for axis in dims.axes(index)}
        return len(set(self.out)) == len(self.out) and read == set(self.domain)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node, Node]:
        left, right = node.inputs
        return (
            make(Contract(self.domain, self.out, self.right, self.left, left.shape, self.inside), cotangent, right),
            make(Contract(self.domain, self.left, self.out, self.right, right.shape, self.inside), left, cotangent),
        )

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        left, right = node.inputs
        first = None if tangents[0] is None else make(self, tangents[0], right)
        second = None if tangents[1] is None else make(self, left, tangents[1])
        if first is None or second is None:
            return second if first is None else first
        return first + second

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        left, right = batched
        size = (left if left is not None else right).shape[0]  # type: ignore[union-attr]
        batch = Axis("batch", size)
        lead = (DimExpr.of(batch),)
        op = contraction(
            (batch, *self.domain),
            (*lead, *self.left) if left is not None else self.left,
            (*lead, *self.right) if right is not None else self.right,
            (*lead, *self.out),
            (size, *self.shape),
            type(self),
            self.inside,
        )
        pairs = zip(batched, node.inputs, strict=True)
        return make(op, *(x if b is None else b for b, x in pairs))

    def lower(self, out: TensorType, left: TensorType, right: TensorType) -> bodies.Body:
        return bodies.Contract(self.domain, self.left, self.right, self.out, inside=self.inside)


class InOrder(Contract):
    """A contraction that makes its sums position by position, wherever a pass takes it to."""

    name = "contract_in_order"

    def lower(self, out: TensorType, left: TensorType, right: TensorType) -> bodies.Body:
        return bodies.Contract(self.domain, self.left, self.right, self.out, in_order=True, inside=self.inside)


class Reduced(Contract):
    """A contraction that is a reduction of products, not made by a register tile, wherever a pass takes it to."""

    name = "contract_reduced"

    def lower(self, out: TensorType, left: TensorType, right: TensorType) -> bodies.Body:
        return bodies.Contract(self.domain, self.left, self.right, self.out, is_reduced=True, inside=self.inside)


class Forwards(Contract):
    """A contraction that makes its sums position by position: what a loop adds up, step by step."""

    name = "contract_forwards"

    def lower(self, out: TensorType, left: TensorType, right: TensorType) -> bodies.Body:
        return bodies.Contract(
            self.domain, self.left, self.right, self.out, in_order=True, is_share=True, inside=self.inside
        )


class Backwards(Contract):
    """A contraction that begins its sums with the last position: what a loop that runs backwards adds up, step by step."""

    name = "contract_backwards"

    def lower(self, out: TensorType, left: TensorType, right: TensorType) -> bodies.Body:
        kept = {axis for index in self.out for axis in dims.axes(index)}
        turned: dict[Atom, Dim] = {a: a.extent - 1 - DimExpr.of(a) for a in self.domain if a not in kept}
        first, second = (tuple(dims.substitute(index, turned) for index in at) for at in (self.left, self.right))
        inside = tuple((dims.substitute(index, turned), extent) for index, extent in self.inside)
        return bodies.Contract(self.domain, first, second, self.out, in_order=True, is_share=True, inside=inside)


def contraction(
    domain: Sequence[Axis],
    left: Map,
    right: Map,
    out: Map,
    shape: tuple[Dim, ...],
    kind: type[Contract] = Contract,
    inside: Sequence[tuple[Dim, Dim]] = (),
) -> Contract:
    """Return a contraction of a kind with its axes renamed d0, d1, ... in order."""
    named = tuple(Axis(f"d{k}", axis.extent) for k, axis in enumerate(domain))
    new: dict[Atom, Dim] = {old: DimExpr.of(axis) for old, axis in zip(domain, named, strict=True)}

    def rename(at: Map) -> Map:
        return tuple(dims.substitute(index, new) for index in at)

    counted = tuple((dims.substitute(index, new), extent) for index, extent in inside)
    return kind(named, rename(left), rename(right), rename(out), shape, counted)


def bounds(index: Dim) -> tuple[Dim, Dim]:
    """Return the least and the greatest value of an affine index."""
    low = high = index
    for axis in dims.axes(index):
        slope, _ = dims.linear(index, axis)
        if slope is None:
            raise ShapeError(f"contract: an index must be affine, got {index}")
        last: Dim = axis.extent - 1
        rising = dims.is_nonnegative(slope)
        low = dims.substitute(low, {axis: 0 if rising else last})
        high = dims.substitute(high, {axis: last if rising else 0})
    return low, high


def plain_axis(index: Dim, extent: Dim) -> Axis | None:
    """Return the axis that an index is, if it runs over a whole dimension of this extent."""
    axis = _lone_axis(index)
    return axis if axis is not None and axis.extent == extent else None


def _lone_axis(index: Dim) -> Axis | None:
    found = dims.axes(index)
    axis = next(iter(found)) if len(found) == 1 else None
    return axis if axis is not None and index == DimExpr.of(axis) else None


def _letters(domain: tuple[Axis, ...]) -> dict[Axis, int]:
    return {axis: k for k, axis in enumerate(domain)}


def _by_einsum(op: Contract, left: Any, right: Any) -> Any:
    number = _letters(op.domain)

    def subscripts(at: Map) -> list[int]:
        return [number[next(iter(dims.axes(index)))] for index in at]

    result = _einsum(left, subscripts(op.left), right, subscripts(op.right), subscripts(op.out))
    return result.astype(left.dtype, copy=False)


def _einsum(left: Any, left_axes: list[int], right: Any, right_axes: list[int], out: list[int]) -> Any:
    """Sum products. NumPy takes an operand out of a sum that it does not vary in, and inf * (a - b) is not NaN."""

    def varied(array: Any, axes: list[int], other: Any, others: list[int]) -> tuple[Any, list[int]]:
        alone = [k for k in dict.fromkeys(others) if k not in axes and k not in out]
        if not alone or np.isfinite(array).all():
            return array, axes
        sizes = tuple(other.shape[others.index(k)] for k in alone)
        return np.ascontiguousarray(
            np.broadcast_to(array.reshape(array.shape + (1,) * len(alone)), array.shape + sizes)
        ), [*axes, *alone]

    first = varied(left, left_axes, right, right_axes)
    second = varied(right, right_axes, left, left_axes)
    return np.einsum(*first, *second, out, optimize=True)


def _by_views(op: Contract, left: Any, right: Any) -> Any:
    """Contract through strided views of the operands, one dimension for each axis that a map mentions."""
    shape: Any = op.shape
    result = np.zeros(shape, left.dtype)
    if any(axis.extent == 0 for axis in op.domain):
        return result
    number = _letters(op.domain)
    left_view, left_axes = _view(left, op.left, number)
    right_view, right_axes = _view(right, op.right, number)
    mentioned = {axis for index in op.out for axis in dims.axes(index)}
    kept = [axis for axis in op.domain if axis in mentioned]
    repeats = dims.product(a.extent for a in op.domain if a not in {*left_axes, *right_axes, *kept})
    missing = [axis for axis in kept if axis not in {*left_axes, *right_axes}]
    summed = _einsum(
        left_view,
        [number[a] for a in left_axes],
        right_view,
        [number[a] for a in right_axes],
        [number[a] for a in kept if a not in missing],
    )
    full: Any = [axis.extent for axis in kept]
    grid: Any = np.indices(full, sparse=True)
    at: dict[Axis, Any] = dict(zip(kept, grid, strict=True))
    where = tuple(np.asarray(values(index, at)) for index in op.out)
    summed = np.expand_dims(summed, tuple(kept.index(axis) for axis in missing)) * np.asarray(repeats, left.dtype)
    np.add.at(result, where, np.broadcast_to(summed, full))
    return result


def _by_positions(op: Contract, left: Any, right: Any) -> Any:
    """Make every product of the domain, and add up those that count."""
    sizes: Any = [axis.extent for axis in op.domain]
    at: dict[Axis, Any] = dict(zip(op.domain, np.indices(sizes, sparse=True), strict=True))

    def places(indices: Map) -> tuple[Any, ...]:
        return tuple(np.asarray(values(index, at)) for index in indices)

    products = np.broadcast_to(left[places(op.left)] * right[places(op.right)], sizes)
    for index, extent in op.inside:
        place = np.asarray(values(index, at))
        products = np.where((place >= 0) & (place < extent), products, 0)
    shape: Any = op.shape
    result = np.zeros(shape, left.dtype)
    np.add.at(result, tuple(np.broadcast_to(place, sizes) for place in places(op.out)), products)
    return result


def _view(array: Any, at: Map, number: dict[Axis, int]) -> tuple[Any, list[Axis]]:
    """Return a view of the array with one dimension for each axis in the map, and those axes."""
    axes = sorted({axis for index in at for axis in dims.axes(index)}, key=number.__getitem__)
    strides = dict.fromkeys(axes, 0)
    array = np.ascontiguousarray(array).reshape(array.shape)
    offset = 0
    for index, extent, stride in zip(at, array.shape, array.strides, strict=True):
        low, high = bounds(index)
        if not (isinstance(low, int) and isinstance(high, int) and low >= 0 and high < extent):
            raise ShapeError(f"contract: index {index} leaves {shape_text(array.shape)}")
        base = index
        for axis in axes:
            slope, _ = dims.linear(index, axis)
            assert isinstance(slope, int)
            strides[axis] += slope * stride
            base = dims.substitute(base, {axis: 0})
        assert isinstance(base, int)
        offset += base * stride
    flat = array.reshape(-1)[offset // array.itemsize :]
    shape: Any = [axis.extent for axis in axes]
    view = np.lib.stride_tricks.as_strided(flat, shape, [strides[axis] for axis in axes], writeable=False)
    return view, axes


@builder("matmul")
def matmul(x: Any, y: Any) -> Node:
    """Return the matrix product over the last axis of x and the last but one of y, with NumPy's broadcasting.

    A vector stands for a row (left) or a column (right), and its axis vanishes from the result.

    Shape: `(..., n, k), (..., k, m) -> (..., n, m)`.
    Formula: `sum(x[..., :, :, None] * y[..., None, :, :], -2)`.
    Gradient: by x `g @ y.mT`, by y `x.mT @ g`.
    Source: `numpy.matmul`.
    """
    left, right = promoted(x, y)
    if left.ndim == 0 or right.ndim == 0:
        raise ShapeError(f"matmul: expected 1 or more dimensions, got {left.type} and {right.type}")
    _same_inner(left.shape[-1], right.shape[-2:][0], left, right)
    batch = broadcast_shapes(left.shape[:-2], right.shape[:-2])
    domain = [Axis(f"b{k}", size) for k, size in enumerate(batch)]
    out: list[Dim] = [DimExpr.of(axis) for axis in domain]

    def batch_map(shape: tuple[Dim, ...]) -> list[Dim]:
        # A batch dimension of size 1 is read at 0: nothing is repeated.
        own = out[len(batch) - len(shape) : len(batch)]
        return [
            0 if size == 1 and wanted != 1 else i
            for size, i, wanted in zip(shape, own, batch[-len(shape) :], strict=True)
        ]

    left_map = batch_map(left.shape[:-2]) if left.ndim > 2 else []
    right_map = batch_map(right.shape[:-2]) if right.ndim > 2 else []
    shape = list(batch)
    inner = Axis("k", left.shape[-1])
    if left.ndim > 1:
        domain.append(row := Axis("m", left.shape[-2]))
        left_map.append(DimExpr.of(row))
        out.append(DimExpr.of(row))
        shape.append(row.extent)
    right_map.append(DimExpr.of(inner))
    if right.ndim > 1:
        domain.append(column := Axis("n", right.shape[-1]))
        right_map.append(DimExpr.of(column))
        out.append(DimExpr.of(column))
        shape.append(column.extent)
    left_map.append(DimExpr.of(inner))
    op = contraction([*domain, inner], tuple(left_map), tuple(right_map), tuple(out), tuple(shape))
    return make(op, left, right)


def _same_inner(left: Dim, right: Dim, x: Node, y: Node) -> None:
    difference = left - right
    if isinstance(difference, int) and difference != 0:
        raise ShapeError(f"matmul: expected the last axis of {x.type} to match {y.type}, got {left} and {right}")
