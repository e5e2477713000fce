"""Indexing: by brackets, and by indices read from data: take, scatter_add, one_hot, and their kin.

Every index is range-checked: when the graph is built if it is a constant, else when the graph runs. In brackets, `take`
and `scatter_add` negative ones count from the end, once, as in NumPy; in `one_hot`, `embedding` and `gather`, whose
indices are labels and positions, they are out of range, as in PyTorch.

In brackets NumPy's rules hold. Arrays of indices broadcast together; their dimensions take the place of the axes that
they index where these stand side by side, and come first where something stands between them. An integer counts as an
array where there is one.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, DimExpr
from graphc.dtypes import as_dtype, bool_, default_dtype
from graphc.errors import DTypeError, IndexOutOfRangeError, ShapeError
from graphc.graph.node import Node, builder, make
from graphc.graph.types import as_dim
from graphc.ops.gathering import FlatIndex, Indexing, OneHot, ScatterAdd, Take
from graphc.ops.movement import moveaxis, permute_dims, reshape
from graphc.ops.operands import as_node, broadcast_shapes, broadcasted, cast, expand, normalize_axis
from graphc.ops.slicing import Slice, slice_bounds
from graphc.records import replace


def as_indices(op: Indexing, values: Any, size: Dim) -> Node:
    """Return indices as a node; those that are known, into an axis of known size, are checked at once."""
    if isinstance(values, Node):
        return as_node(values)
    array = np.asarray(values)
    if array.size == 0 and not hasattr(values, "dtype"):
        array = array.astype(np.int64)  # NumPy makes floats of an empty list
    if isinstance(size, int) and array.dtype.kind in "iu":
        op.checked(array, size)
    return as_node(array)


@builder("take")
def take(x: Any, indices: Any, axis: int | None = None) -> Node:
    """Return elements of an axis at integer indices, whose dimensions take its place.

    The axis may be left out for one dimension. Negative indices count from the end; out of range is an IndexError.

    Shape: x's, with the indices' in the place of the axis.
    Formula: `x[indices]` for axis 0.
    Gradient: by x, g added up at the elements that were read.
    Source: `numpy.take`.
    """
    node = as_node(x)
    if axis is None and node.ndim != 1:
        raise ShapeError(f"take from {node.type} needs an axis: give axis=")
    op = Take(normalize_axis(axis or 0, node.ndim))
    return make(op, node, as_indices(op, indices, node.shape[op.axis]))


@builder("take_along_axis")
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Node:
    """Return x[..., indices[..., j, ...], ...]: indices have x's dimensions except along the axis, or 1.

    Negative indices count from the end; out of range is an IndexError.

    Shape: that of the indices, with x's sizes where theirs are 1.
    Formula: `stack([row[i] for row, i in zip(x, indices)])` of matrices along the last axis.
    Gradient: by x, g added up at the elements that were read.
    Source: `numpy.take_along_axis`.
    """
    return _along(x, indices, axis, Take(0, site="take_along_axis"))


@builder("gather")
def gather(x: Any, axis: int, index: Any) -> Node:
    """Return x[..., index[..., j, ...], ...], as torch.gather: in other axes index may be shorter than x.

    Out of range is an IndexError; so is a negative index.

    Shape: that of index.
    Formula: `take_along_axis(x, index, axis)` where index has x's other sizes.
    Gradient: by x, g added up at the elements that were read.
    Source: `torch.gather`.
    """
    node, op = as_node(x), Take(0, site="gather", wraps=False)
    at = normalize_axis(axis, node.ndim)
    chosen = as_indices(op, index, node.shape[at])
    if chosen.ndim != node.ndim:
        raise ShapeError(f"gather: expected an index with {node.ndim} dimensions, as x has; got {chosen.type}")
    shape = tuple(size if k == at else chosen.shape[k] for k, size in enumerate(node.shape))
    for k, (taken, there) in enumerate(zip(shape, node.shape, strict=True)):
        if isinstance(taken, int) and isinstance(there, int) and taken > there:
            raise ShapeError(f"gather: expected an index of at most {there} along axis {k} of {node.type}, got {taken}")
    zero, one = (0,) * node.ndim, (1,) * node.ndim
    return _along(node if shape == node.shape else make(Slice(zero, shape, one), node), chosen, at, op)


def _along(x: Any, indices: Any, axis: int, op: Take) -> Node:
    node = as_node(x)
    at = normalize_axis(axis, node.ndim)
    index = as_indices(op, indices, node.shape[at])
    if node.ndim != index.ndim:
        raise ShapeError(f"{op.label}: expected equal ranks, got {node.type} and {index.type}")
    node, index = moveaxis(node, at, -1), moveaxis(index, at, -1)
    shared = broadcast_shapes(node.shape[:-1], index.shape[:-1])
    node, index = expand(node, (*shared, node.shape[-1])), expand(index, (*shared, index.shape[-1]))
    return moveaxis(make(replace(op, axis=node.ndim - 1, batch=node.ndim - 1), node, index), -1, at)


@builder("embedding")
def embedding(weight: Any, indices: Any) -> Node:
    """Return the rows of a table (count, ...) at integer indices of any shape.

    Out of range is an IndexError; so is a negative index. The gradient adds to the rows that were read.

    Shape: `(n, d), (...) -> (..., d)`.
    Formula: `weight[indices]`.
    Gradient: by weight `scatter_add(ravel(indices), reshape(g, (-1, *weight.shape[1:])), len(weight))`.
    Source: `torch.nn.functional.embedding`.
    """
    table, op = as_node(weight), Take(0, site="embedding", wraps=False)
    return make(op, table, as_indices(op, indices, table.shape[0]))


@builder("scatter_add")
def scatter_add(indices: Any, updates: Any, size: object) -> Node:
    """Return zeros of shape (size, *rest) with updates (J, *rest) added at rows `indices` (J,), in order.

    Negative indices count from the end; out of range is an IndexError.

    Shape: `(j), (j, ...) -> (size, ...)`.
    Formula: out[indices[j]] += updates[j] for j = 0, 1, ..., from zeros.
    Gradient: by updates `g[indices]`.
    Source: `jax.ops.segment_sum`; as `torch.Tensor.index_add_`.
    """
    op = ScatterAdd(as_dim(size))
    return make(op, as_indices(op, indices, op.size), as_node(updates))


@builder("one_hot")
def one_hot(indices: Any, num_classes: object, dtype: object = None) -> Node:
    """Return 1 at each index along a new last axis of `num_classes`, 0 elsewhere.

    Out of range is an IndexError; so is a negative index, as in PyTorch.

    Shape: `(...) -> (..., num_classes)`.
    Formula: `indices[..., None] == arange(num_classes)`.
    Gradient: none: indices are integers.
    Source: `torch.nn.functional.one_hot`.
    """
    op = OneHot(as_dim(num_classes), wraps=False)
    node = make(op, as_indices(op, indices, op.size))
    return cast(node, default_dtype() if dtype is None else as_dtype(dtype))


_INDEX = Take(0, site="indexing")


@builder("getitem")
def getitem(x: Node, key: Any) -> Node:
    """Index as NumPy does; indices that are nodes are range-checked when the graph runs, all others now.

    A mask must be a constant: how many elements a node of booleans chooses is known only when the graph runs.
    """
    keys = _expanded(x, key)
    shape = list(x.shape)
    start: list[Dim] = []
    size: list[Dim] = []
    step: list[int] = []
    kept: list[Dim] = []
    arrays: dict[int, Node] = {}  # by the axis of what is left that each indexes
    places: list[int] = []  # in the key, of arrays and integers
    for place, item in enumerate(keys):
        if item is None:
            kept.append(1)
        elif isinstance(item, slice):
            first, count, stride = slice_bounds(item, shape[len(start)])
            start.append(first)
            size.append(count)
            step.append(stride)
            kept.append(count)
        elif _is_integer(item):
            places.append(place)
            start.append(_single(item, shape[len(start)]))
            size.append(1)
            step.append(1)
        else:
            places.append(place)
            for index in _indices(item, shape, len(start)):
                extent = shape[len(start)]
                arrays[len(kept)] = as_indices(_INDEX, index, extent)
                start.append(0)
                size.append(extent)
                step.append(1)
                kept.append(extent)
    x = expand(x, tuple(shape))
    whole = all(a == 0 and s == 1 and n == m for a, s, n, m in zip(start, step, size, shape, strict=True))
    left = reshape(x if whole else make(Slice(tuple(start), tuple(size), tuple(step)), x), tuple(kept))
    if not arrays:
        return left
    together = places == list(range(places[0], places[-1] + 1))
    return _taken(left, arrays, min(arrays) if together else 0)


def _expanded(x: Node, key: Any) -> list[Any]:
    """Return the items of a key, with `...` spelled out as slices, and lists and masks as arrays."""
    keys: list[Any] = []
    given = 0
    for item in key if isinstance(key, tuple) else (key,):
        if item is None or item is Ellipsis:
            keys.append(item)
            continue
        if isinstance(item, Node) and item.dtype is bool_:
            raise DTypeError("how many elements a mask chooses is known only when the graph runs; use graphc.where")
        plain = isinstance(item, Node | slice) or _is_integer(item)
        keys.append(item if plain or (isinstance(item, list) and not item) else np.asarray(item))
        given += keys[-1].ndim if _is_mask(keys[-1]) else 1
    dots = [k for k, item in enumerate(keys) if item is Ellipsis]
    if given > x.ndim:
        raise ShapeError(f"too many indices ({given}) for {x.type}")
    if len(dots) > 1:
        raise ShapeError("more than one ... in an index")
    at = dots[0] if dots else len(keys)
    keys[at : at + 1] = [slice(None)] * (x.ndim - given)
    return keys


def _is_integer(item: Any) -> bool:
    if isinstance(item, np.ndarray):
        array: Any = item
        return not array.ndim and array.dtype.kind in "iu"
    return isinstance(item, DimExpr) or (hasattr(item, "__index__") and not isinstance(item, bool | np.bool_ | Node))


def _is_mask(item: Any) -> bool:
    array: Any = item
    return isinstance(item, np.ndarray) and array.dtype.kind == "b"


def _indices(item: Any, shape: list[Dim], axis: int) -> tuple[Any, ...]:
    """Return the arrays of indices that an item stands for, one for each axis it covers: a mask may cover several.

    A mask fixes the sizes of its axes: `shape` is changed to them, and what is symbolic must turn out to be that.
    """
    if not _is_mask(item):
        return (item,)
    if not item.ndim:
        raise ShapeError("a single boolean is no index; use graphc.where")
    for k, size in enumerate(item.shape, axis):
        if isinstance(shape[k], int) and shape[k] != size:
            raise ShapeError(f"a mask of shape {item.shape} does not fit axis {k}, whose size is {shape[k]}")
        shape[k] = size
    return np.nonzero(item)


def _taken(x: Node, arrays: dict[int, Node], at: int) -> Node:
    """Return the elements of the axes that `arrays` index; the dimensions of the indices begin at axis `at`."""
    rest = [k for k in range(x.ndim) if k not in arrays]
    moved = permute_dims(x, (*rest[:at], *arrays, *rest[at:]))
    indices = broadcasted(*arrays.values())
    if len(arrays) == 1:
        return make(replace(_INDEX, axis=at), moved, *indices)
    sizes = moved.shape[at : at + len(arrays)]
    flat = make(FlatIndex(sizes, site=_INDEX.label), *indices)
    together = reshape(moved, (*moved.shape[:at], dims.product(sizes), *moved.shape[at + len(arrays) :]))
    return make(replace(_INDEX, axis=at), together, flat)


def _single(item: Any, extent: Dim) -> Dim:
    at: Dim = item if isinstance(item, DimExpr) else item.__index__()
    if isinstance(at, int) and isinstance(extent, int) and not -extent <= at < extent:
        raise IndexOutOfRangeError(f"index {at} is out of range for an axis of size {extent}")
    return at + extent if isinstance(at, int) and at < 0 else at
