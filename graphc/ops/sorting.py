"""Sorting and searching, by functions over whole arrays; what they give are positions, so gradients go by indexing.

Shape: `(...) -> (...)`.
Source: `numpy.{name}`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.dtypes import bool_, int64, uint8
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, constant, make, require
from graphc.graph.op import Op
from graphc.graph.types import TensorType, as_dim
from graphc.ops.comparison import isnan, where
from graphc.ops.indexing import take_along_axis
from graphc.ops.movement import moveaxis, permute_dims, reshape
from graphc.ops.operands import as_node, cast, expand, floating, normalize_axes, normalize_axis, promoted
from graphc.ops.positions import size as size_of
from graphc.records import record


def sort_rows(order: Any, values: Any) -> None:
    """Fill each row of `order` with the positions that sort that row of `values`: stable, NaN last.

    A heap sort on (value, position): the position makes all keys distinct, so the order is that of a stable sort, and
    nothing is allocated. Everything stands in one function because it is compiled alone.
    """
    rows, count = values.shape
    for row in range(rows):
        for k in range(count):
            order[row, k] = k
        build = count // 2
        for turn in range(build + max(count - 1, 0)):
            root = 0
            end = count
            if turn < build:
                root = build - 1 - turn
            else:
                end = count - 1 - (turn - build)
                largest = order[row, 0]
                order[row, 0] = order[row, end]
                order[row, end] = largest
            while 2 * root + 1 < end:
                child = 2 * root + 1
                i = order[row, child]
                a = values[row, i]
                if child + 1 < end:
                    j = order[row, child + 1]
                    b = values[row, j]
                    if a < b or (not b < a and ((b != b and a == a) or ((a != a) == (b != b) and i < j))):
                        child += 1
                        i = j
                        a = b
                j = order[row, root]
                b = values[row, j]
                if not (b < a or (not a < b and ((a != a and b == b) or ((a != a) == (b != b) and j < i)))):
                    break
                order[row, root] = i
                order[row, child] = j
                root = child


@record
class ArgSort(Op):
    """The positions that sort each row of a matrix: stable, NaN last."""

    name = "argsort"
    is_native = True

    def infer(self, x: TensorType) -> TensorType:
        if x.rank != 2:
            raise ShapeError(f"argsort: expected a matrix, got {x}")
        return TensorType(x.shape, int64)

    def numpy(self, x: Any) -> Any:
        return np.argsort(x, axis=-1, kind="stable")

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        (x,) = batched
        assert x is not None
        rows = reshape(x, (x.shape[0] * x.shape[1], x.shape[2]))
        return reshape(make(self, rows), x.shape)

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        return bodies.Native(sort_rows)


@builder("argsort")
def argsort(x: Any, axis: int = -1, descending: bool = False) -> Node:
    """Return the positions that sort x along an axis, as int64: equals keep their order, NaN comes last.

    Formula: the order with x[out[0]] <= x[out[1]] <= ... along the axis.
    Gradient: none: positions.
    """
    node = as_node(x)
    at = normalize_axis(axis, node.ndim)
    node = cast(node, uint8) if node.dtype is bool_ else node
    if descending:
        node = -node if node.dtype.is_float else -1 - cast(node, int64)
    last = moveaxis(node, at, -1)
    rows = reshape(last, (dims.product(last.shape[:-1]), last.shape[-1]))
    return moveaxis(reshape(make(ArgSort(), rows), last.shape), -1, at)


@builder("sort")
def sort(x: Any, axis: int = -1, descending: bool = False) -> Node:
    """Return x sorted along an axis: NaN last. Its gradient goes where the elements came from.

    Formula: `take_along_axis(x, argsort(x, axis), axis)`.
    Gradient: by x `take_along_axis(g, argsort(argsort(x, axis), axis), axis)`.
    """
    return take_along_axis(x, argsort(x, axis, descending), axis)


@builder("topk")
def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Node, Node]:
    """Return the k largest (or smallest) elements along an axis, in order, and their positions, as int64.

    Of equals the first comes first; NaN comes last. The gradient goes where the elements came from.

    Shape: x's with k along the axis, for both results.
    Formula: the first k of x and its positions, sorted down (up, if not `largest`).
    Gradient: by x, the values' g where they came from; positions have none.
    Source: `torch.topk`.
    """
    node = as_node(x)
    at = normalize_axis(axis, node.ndim)
    count, there = as_dim(k), node.shape[at]
    if isinstance(count, int) and isinstance(there, int) and count > there:
        raise ShapeError(f"topk: expected at most {there}, the elements along axis {at} of {node.type}; got {count}")
    order = argsort(node, at, descending=largest)
    start = (0,) * node.ndim
    sizes = tuple(count if axis == at else size for axis, size in enumerate(node.shape))
    chosen = call("slice", order, start, sizes)
    return take_along_axis(node, chosen, at), chosen


@builder("median")
def median(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Return the median over axes (all, if none are given), as numpy.median: of an even count, the mean of the middle two.

    NaN where an element is NaN, or where there is none. The gradient goes to the middle elements.

    Shape: x's without the axes; with `keepdims`, 1 in their place.
    Formula: `sort(ravel(x))[(x.size - 1) // 2 : x.size // 2 + 1].mean()` for axis None.
    Gradient: by x, g to the middle element, or half of it to each of the middle two.
    """
    node = floating(x)
    axes = normalize_axes(axis, node.ndim)
    kept = tuple(size for k, size in enumerate(node.shape) if k not in axes)
    count = dims.product(node.shape[k] for k in axes)
    narrow = tuple(1 if k in axes else size for k, size in enumerate(node.shape))
    if count == 0:
        return call("full", narrow if keepdims else kept, float("nan"), dtype=node.dtype)
    order = (*(k for k in range(node.ndim) if k not in axes), *axes)
    ordered = sort(reshape(permute_dims(node, order), (*kept, count)))

    low, high, last = (ordered[..., k] for k in (dims.floordiv(count - 1, 2), dims.floordiv(count, 2), count - 1))
    odd = count % 2 == 1 if isinstance(count, int) else size_of(count) % 2 == 1
    middle = where(odd, low, (low + high) * 0.5)
    return reshape(where(isnan(last), last, middle), narrow if keepdims else kept)


def search_rows(places: Any, ordered: Any, values: Any, right: Any) -> None:
    """Fill `places` with where each value belongs in its row of `ordered`, after equals if `right`; NaN is largest."""
    rows, count = values.shape
    for row in range(rows):
        for k in range(count):
            value = values[row, k]
            low = 0
            high = ordered.shape[1]
            while low < high:
                middle = (low + high) // 2
                other = ordered[row, middle]
                before = other < value or (value != value and other == other)
                same = other == value or (value != value and other != other)
                if before or (right[0] != 0 and same):
                    low = middle + 1
                else:
                    high = middle
            places[row, k] = low


@record
class SearchSorted(Op):
    """Where values (R, M) belong in sorted rows (R, N): int64, before equals, or after them if the last operand, (1,), is 1."""

    name = "searchsorted"
    is_native = True

    def infer(self, ordered: TensorType, values: TensorType, right: TensorType) -> TensorType:
        if ordered.rank != 2 or values.rank != 2 or right.shape != (1,):
            raise ShapeError(f"searchsorted: expected two matrices and a side, got {ordered}, {values} and {right}")
        if ordered.dtype is not values.dtype:
            raise DTypeError(f"searchsorted: expected equal dtypes, got {ordered} and {values}")
        require(ordered.shape[0], "==", values.shape[0], f"searchsorted of {values} in {ordered}")
        return TensorType(values.shape, int64)

    def numpy(self, ordered: Any, values: Any, right: Any) -> Any:
        side = "right" if right[0] else "left"
        rows: list[Any] = [np.searchsorted(a, v, side) for a, v in zip(ordered, values, strict=True)]
        return np.array(rows, np.int64).reshape(values.shape)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        size = next(operand.shape[0] for operand in batched if operand is not None)
        pairs = zip(batched[:2], node.inputs[:2], strict=True)
        rows = (expand(x, (size, *x.shape)) if b is None else b for b, x in pairs)
        flat = (reshape(x, (x.shape[0] * x.shape[1], x.shape[2])) for x in rows)
        return reshape(make(self, *flat, node.inputs[2]), (size, *node.shape))

    def lower(self, out: TensorType, *inputs: TensorType) -> bodies.Body:
        return bodies.Native(search_rows)


@builder("searchsorted")
def searchsorted(sorted: Any, values: Any, side: str = "left") -> Node:
    """Return where values belong in a sorted vector to keep it sorted, as int64: before equals, or after ("right").

    NaN counts as largest, as in numpy.searchsorted.

    Shape: `(n), (...) -> (...)`.
    Formula: `sum(sorted < values[..., None], -1)`; with side "right", <=.
    Gradient: none: positions.
    """
    ordered, wanted = promoted(sorted, values)
    if ordered.ndim != 1:
        raise ShapeError(f"searchsorted: expected a sorted vector, got {ordered.type}; use graphc.vmap for more")
    if side not in ("left", "right"):
        raise GraphError(f'searchsorted: expected side "left" or "right", got {side!r}')
    rows = reshape(ordered, (1, ordered.shape[0]))
    places = make(SearchSorted(), rows, reshape(wanted, (1, wanted.tensor.size)), constant([int(side == "right")]))
    return reshape(places, wanted.shape)
