"""Movement ops: each element of the result is one element of an operand, or a fill value; only the index changes.

The result has x's dtype; a negative axis counts from the end. All are linear: the gradient goes back to where each
element came from, and is summed where elements are repeated. Adjoint pairs: broadcast_to and sum, permute_dims and its
inverse, reshape and reshape; slice and pad are in `slicing`, concat in `joining`.

Gradient: by x `reshape(g, x.shape)`.
Source: `numpy.{name}`.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.errors import ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make, require
from graphc.graph.op import Op
from graphc.graph.types import TensorType, as_dim, as_shape, shape_text
from graphc.loops import expr
from graphc.ops.operands import as_node, expand, normalize_axes, normalize_axis
from graphc.records import record


class Movement(Op):
    """The family with one operand: linear, so a tangent moves as the value does."""

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[0] is None else make(self, tangents[0])


@record
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
                require(size, "==", wanted, lambda: f"broadcast of {x} to {shape_text(self.shape)}")
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


@record
class Reshape(Movement):
    """The same elements, in row-major order, in another shape of equal size."""

    shape: tuple[Dim, ...]

    name = "reshape"

    def infer(self, x: TensorType) -> TensorType:
        require(x.size, "==", dims.product(self.shape), lambda: f"reshape of {x} to {shape_text(self.shape)}")
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
        return bodies.compute(out, expr.load(0, reshaped(bodies.output_axes(out), out.shape, x.shape), x.dtype))


def reshaped(at: Sequence[Dim], shape: Sequence[Dim], source: Sequence[Dim]) -> tuple[Dim, ...]:
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


def _matching_run(shape: Sequence[Dim], source: Sequence[Dim], i: int, j: int) -> tuple[int, int]:
    """Return the ends of the shortest runs from i and j with equal products; both shapes' ends if there is none."""
    ends = {dims.product(source[j:stop]): stop for stop in range(len(source), j, -1)}
    for stop in range(i + 1, len(shape) + 1):
        if (end := ends.get(dims.product(shape[i:stop]))) is not None:
            return stop, end
    return len(shape), len(source)


def _unravel(flat: Dim, shape: Sequence[Dim]) -> list[Dim]:
    index: list[Dim] = []
    for k, size in enumerate(shape):
        inner = dims.product(shape[k + 1 :])
        whole = dims.floordiv(flat, inner)
        index.append(whole if k == 0 else dims.remainder(whole, size))
    return index


@record
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


@builder("broadcast_to")
def broadcast_to(x: Any, shape: object) -> Node:
    """Repeat x to a shape, by NumPy's broadcasting; dims that may differ become a requirement.

    Shape: the one given; x's sizes stand at its end, or are 1 there.
    Formula: `x + zeros(shape)`.
    Gradient: by x, g summed over the axes along which x was repeated.
    """
    node, wanted = as_node(x), as_shape(shape)
    return node if node.shape == wanted else make(BroadcastTo(wanted), node)


@builder("reshape")
def reshape(x: Any, shape: object) -> Node:
    """Return the same elements in another shape; one dimension may be -1, what the size leaves for it.

    Shape: the one given, of as many elements as x.
    Formula: `ravel(x)[arange(x.size).reshape(shape)]`, in row-major order.
    """
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
def permute_dims(x: Any, axes: int | Sequence[int] | None = None) -> Node:
    """Reorder the axes: axis k of the result is axis axes[k] of x; without axes, in reverse order.

    Shape: size k is x.shape[axes[k]].
    Formula: `transpose(x, axes)`: out[i[axes[0]], i[axes[1]], ...] = x[i].
    Gradient: by x `transpose(g, argsort(axes))`.
    """
    node = as_node(x)
    if axes is None:
        axes = tuple(reversed(range(node.ndim)))
    given: Any = axes if isinstance(axes, Sequence) else (axes,)
    order = tuple(normalize_axis(axis, node.ndim) for axis in given)
    return node if order == tuple(range(node.ndim)) else make(PermuteDims(order), node)


@builder("matrix_transpose")
def matrix_transpose(x: Any) -> Node:
    """Exchange the last two axes.

    Shape: `(..., n, m) -> (..., m, n)`.
    Formula: `swapaxes(x, -1, -2)`.
    Gradient: by x `matrix_transpose(g)`.
    """
    node = as_node(x)
    if node.ndim < 2:
        raise ShapeError(f"matrix_transpose: expected 2 or more dimensions, got {node.type}")
    return permute_dims(node, (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2))


@builder("moveaxis")
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Node:
    """Move axes to other places; the others keep their order.

    Shape: x's, with source's sizes at destination.
    Formula: `moveaxis(x, source, destination)`: out[..., i at destination, ...] = x[..., i at source, ...].
    Gradient: by x `moveaxis(g, destination, source)`.
    """
    node = as_node(x)
    sources, destinations = (
        [normalize_axis(axis, node.ndim) for axis in (axes if isinstance(axes, Sequence) else (axes,))]
        for axes in (source, destination)
    )
    normalize_axes(sources, node.ndim)
    if len(sources) != len(normalize_axes(destinations, node.ndim)):
        raise ShapeError(f"moveaxis: expected as many places as axes, got {source} and {destination}")
    order = [axis for axis in range(node.ndim) if axis not in sources]
    for place, axis in sorted(zip(destinations, sources, strict=True)):
        order.insert(place, axis)
    return permute_dims(node, order)


@builder("swapaxes")
def swapaxes(x: Any, axis1: int, axis2: int) -> Node:
    """Exchange two axes.

    Shape: x's, with two sizes exchanged.
    Formula: `moveaxis(moveaxis(x, axis1, axis2), axis2 - 1, axis1)` for axis1 < axis2.
    Gradient: by x `swapaxes(g, axis1, axis2)`.
    """
    node = as_node(x)
    first, second = normalize_axis(axis1, node.ndim), normalize_axis(axis2, node.ndim)
    order = list(range(node.ndim))
    order[first], order[second] = second, first
    return permute_dims(node, order)


@builder("expand_dims")
def expand_dims(x: Any, axis: int | Sequence[int] = 0) -> Node:
    """Insert axes of size 1 at these positions of the result.

    Shape: x's, with 1 at each of these axes.
    Formula: `reshape(x, out.shape)`.
    """
    node = as_node(x)
    count = len(axis) if isinstance(axis, Sequence) else 1
    axes = normalize_axes(axis, node.ndim + count)
    sizes = iter(node.shape)
    return reshape(node, tuple(1 if k in axes else next(sizes) for k in range(node.ndim + count)))


@builder("squeeze")
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Node:
    """Remove axes of size 1 (all of them, if none are named).

    Shape: x's, without these axes.
    Formula: `reshape(x, out.shape)`.
    """
    node = as_node(x)
    if axis is None:
        axis = tuple(k for k, size in enumerate(node.shape) if size == 1)
    axes = normalize_axes(axis, node.ndim)
    for k in axes:
        if node.shape[k] != 1:
            raise ShapeError(f"cannot squeeze axis {k} of {node.type}: its size is not 1")
    return reshape(node, tuple(size for k, size in enumerate(node.shape) if k not in axes))
