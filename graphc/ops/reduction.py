"""Reductions over axes, and the compositions built on them.

axis: one, a sequence of them, or None for all; negative ones count from the end. Reduced axes vanish, or stay with size
1 under `keepdims`; softmax and log_softmax keep x's shape. Sums and products of integers and booleans are int64, max and
min keep x's dtype, and what divides or exponentiates makes floats of integers.

The gradient of a sum or a mean is spread over what was added; that of a product is the product of the others. The rest
follows from their definitions.

Ties: max and min share the gradient evenly, as torch.amax; argmax takes the first of equals, and NaN counts as largest.

Shape: x's without the axes; with `keepdims`, 1 in their place.
Source: `numpy.{name}`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.dtypes import as_dtype, bool_, int64, uint8
from graphc.errors import ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make, require
from graphc.graph.op import Op
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.ops.comparison import isfinite, where
from graphc.ops.cumulative import CumulativeProd, previous
from graphc.ops.exponential import exp, log
from graphc.ops.gradient_control import stop_gradient
from graphc.ops.movement import broadcast_to, expand_dims, permute_dims, reshape
from graphc.ops.operands import as_node, cast, demand, floating, normalize_axes, normalize_axis
from graphc.ops.positions import size as size_of
from graphc.records import record


@record
class Reduction(Op):
    """The family: `axes` (sorted) are combined and vanish from the shape."""

    axes: tuple[int, ...]

    combiner: ClassVar[str]
    accepts: ClassVar[str] = "fiu"

    def infer(self, x: TensorType) -> TensorType:
        demand(x, self.accepts, self.name)
        if any(axis >= x.rank for axis in self.axes):
            raise ShapeError(f"{self.name}: axes {self.axes} do not all exist in {x}")
        return TensorType(tuple(size for k, size in enumerate(x.shape) if k not in self.axes), x.dtype)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        return make(type(self)(tuple(axis + 1 for axis in self.axes)), batched[0])

    def restored(self, reduced: Node, shape: tuple[Dim, ...]) -> Node:
        """Return a reduced node repeated along the axes that vanished."""
        kept = tuple(1 if k in self.axes else size for k, size in enumerate(shape))
        return broadcast_to(reshape(reduced, kept), shape)

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        at = iter(bodies.output_axes(out))
        over = tuple(Axis(f"k{k}", x.shape[axis]) for k, axis in enumerate(self.axes))
        bound = iter(over)
        index = tuple(DimExpr.of(next(bound)) if k in self.axes else next(at) for k in range(x.rank))
        value = expr.load(0, index, x.dtype)
        return bodies.compute(out, expr.reduce(self.combiner, over, value, out.dtype))


class Sum(Reduction):
    """The sum; 0 over nothing."""

    name = "sum"
    combiner = "add"

    def numpy(self, x: Any) -> Any:
        return np.sum(x, self.axes, dtype=x.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        return (self.restored(cotangent, node.inputs[0].shape),)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[0] is None else make(self, tangents[0])


class Prod(Reduction):
    """The product; 1 over nothing."""

    name = "prod"
    combiner = "multiply"

    def numpy(self, x: Any) -> Any:
        return np.prod(x, self.axes, dtype=x.dtype)

    def _others(self, x: Node) -> Node:
        """Return, for each element, the product of all others: right where elements are 0, too."""
        kept = tuple(k for k in range(x.ndim) if k not in self.axes)
        order = (*kept, *self.axes)
        moved = permute_dims(x, order)
        flat = reshape(moved, (*(x.shape[k] for k in kept), dims.product(x.shape[k] for k in self.axes)))
        last = len(kept)
        before = previous(make(CumulativeProd(last, reverse=False), flat), last, 1, reverse=False)
        after = previous(make(CumulativeProd(last, reverse=True), flat), last, 1, reverse=True)
        return permute_dims(reshape(before * after, moved.shape), tuple(order.index(k) for k in range(x.ndim)))

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        (x,) = node.inputs
        return (self.restored(cotangent, x.shape) * self._others(x),)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[0] is None else make(Sum(self.axes), tangents[0] * self._others(node.inputs[0]))


def _demand_elements(x: TensorType, axes: tuple[int, ...]) -> None:
    # No op is named: softmax takes a maximum, argmin an argmax, of which its user knows nothing.
    for axis in axes:
        if x.shape[axis] == 0:
            raise ShapeError(f"expected one element or more along axis {axis}, got {x}, which has none")
        require(x.shape[axis], ">=", 1, f"an element along axis {axis} of {x}")


class _Extreme(Reduction):
    def infer(self, x: TensorType) -> TensorType:
        result = super().infer(x)
        _demand_elements(x, self.axes)
        return result

    def _shares(self, node: Node) -> tuple[Node, Node]:
        """Where the operand reaches the extreme, and how many elements do."""
        x = node.inputs[0]
        reached = x == self.restored(node, x.shape)
        return reached, make(Sum(self.axes), cast(reached, x.dtype))

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        reached, count = self._shares(node)
        return (where(reached, self.restored(cotangent / count, node.inputs[0].shape), 0),)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        if tangents[0] is None:
            return None
        reached, count = self._shares(node)
        return make(Sum(self.axes), where(reached, tangents[0], 0)) / count


class Max(_Extreme):
    """The largest element; NaN if one is."""

    name = "max"
    combiner = "maximum"

    def numpy(self, x: Any) -> Any:
        return np.max(x, self.axes)


class Min(_Extreme):
    """The smallest element; NaN if one is."""

    name = "min"
    combiner = "minimum"

    def numpy(self, x: Any) -> Any:
        return np.min(x, self.axes)


class All(Reduction):
    """Whether all are true."""

    name = "all"
    combiner = "and"
    accepts = "b"

    def numpy(self, x: Any) -> Any:
        return np.all(x, self.axes)


class Any_(Reduction):
    """Whether any is true."""

    name = "any"
    combiner = "or"
    accepts = "b"

    def numpy(self, x: Any) -> Any:
        return np.any(x, self.axes)


class ArgMax(Reduction):
    """The position of the largest element along one axis: int64, the first of equals."""

    name = "argmax"
    combiner = "argmax"

    def infer(self, x: TensorType) -> TensorType:
        result = super().infer(x)
        _demand_elements(x, self.axes)
        return TensorType(result.shape, int64)

    def numpy(self, x: Any) -> Any:
        return np.argmax(x, self.axes[0])


def _reduce(kind: type[Reduction], node: Node, axis: Any, keepdims: bool) -> Node:
    axes = normalize_axes(axis, node.ndim)
    result = make(kind(axes), node) if axes or kind is ArgMax else node
    return expand_dims(result, axes) if keepdims and axes else result


def _accumulating(x: Any, dtype: object) -> Node:
    """Return the operand in the dtype in which it is summed or multiplied."""
    node = as_node(x)
    if dtype is not None:
        return cast(node, as_dtype(dtype))
    return node if node.dtype.is_float else cast(node, int64)


@builder("sum")
def sum(x: Any, axis: Any = None, keepdims: bool = False, dtype: object = None) -> Node:
    """Sum over axes (all, if none are given); booleans and integers are summed as int64 unless a dtype is given.

    Formula: x[0] + x[1] + ..., of several axes one after another.
    Gradient: by x `g`, spread over what was added.
    """
    return _reduce(Sum, _accumulating(x, dtype), axis, keepdims)


@builder("prod")
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: object = None) -> Node:
    """Multiply over axes (all, if none are given); booleans and integers as int64 unless a dtype is given.

    The derivatives hold where elements are 0 too.

    Formula: `exp(sum(log(abs(x)), axis)) * prod(sign(x), axis)`.
    Gradient: by x `g * out / x`, without a division.
    """
    return _reduce(Prod, _accumulating(x, dtype), axis, keepdims)


@builder("mean")
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Average over axes; of no elements, NaN.

    Formula: `sum(x, axis) / (x.size / out.size)`.
    Gradient: by x `g / (x.size / out.size)`.
    """
    node = floating(x)
    count = dims.product(node.shape[k] for k in normalize_axes(axis, node.ndim))
    total = _reduce(Sum, node, axis, keepdims)
    return total / (float(count) if isinstance(count, int) and count else size_of(count, node.dtype))


@builder("var")
def var(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0.0) -> Node:
    """Return the variance over axes: the sum of squared distances from the mean, over the count minus `correction`.

    NaN where the count is 0; where the correction uses it up, a division by 0, as in NumPy.

    Formula: `sum((x - mean(x, axis, keepdims=True)) ** 2, axis) / (x.size / out.size - correction)`.
    Gradient: by x `2 * g * (x - mean(x, axis, keepdims=True)) / (x.size / out.size - correction)`.
    """
    node = floating(x)
    count = dims.product(node.shape[k] for k in normalize_axes(axis, node.ndim))
    centred = node - mean(node, axis, keepdims=True)
    freedom = call("maximum", size_of(count, node.dtype) - correction, 0)
    return _reduce(Sum, centred * centred, axis, keepdims) / freedom


@builder("std")
def std(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0.0) -> Node:
    """Return the standard deviation over axes (see `var`); where nothing varies, its gradient is 0.

    Formula: `sqrt(sum((x - mean(x, axis, keepdims=True)) ** 2, axis) / (x.size / out.size - correction))`.
    Gradient: by x `g * (x - mean(x, axis, keepdims=True)) / (out * (x.size / out.size - correction))`.
    """
    spread = var(x, axis, keepdims, correction)
    # The infinite slope of sqrt at 0 would make NaN of the zeros beside it: PyTorch's slope there is 0.
    flat = spread == 0
    return call("where", flat, 0.0, call("sqrt", call("where", flat, 1.0, spread)))


@builder("max")
def max(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Return the largest element over axes, NaN if one is; equals share the gradient evenly.

    Formula: `-min(-x, axis)`.
    Gradient: by x `g * (x == out) / sum(x == out, axis, keepdims=True)`.
    Source: `numpy.max`; ties as `torch.amax`.
    """
    node = as_node(x)
    return _reduce(Any_ if node.dtype is bool_ else Max, node, axis, keepdims)


@builder("min")
def min(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Return the smallest element over axes, NaN if one is; equals share the gradient evenly.

    Formula: `-max(-x, axis)`.
    Gradient: by x `g * (x == out) / sum(x == out, axis, keepdims=True)`.
    Source: `numpy.min`; ties as `torch.amin`.
    """
    node = as_node(x)
    return _reduce(All if node.dtype is bool_ else Min, node, axis, keepdims)


@builder("all")
def all(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Return whether all elements over axes are true.

    Formula: `min(x != 0, axis)`.
    Gradient: none: a boolean.
    """
    return _reduce(All, cast(as_node(x), bool_), axis, keepdims)


@builder("any")
def any_(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Return whether any element over axes is true.

    Formula: `max(x != 0, axis)`.
    Gradient: none: a boolean.
    """
    return _reduce(Any_, cast(as_node(x), bool_), axis, keepdims)


@builder("argmax")
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """Return the position of the largest element along an axis (in all of x, flattened, for None), as int64.

    Formula: `argmin(-x, axis)`: the first i with x[i] = max(x).
    Gradient: none: a position.
    """
    node = as_node(x)
    node = cast(node, uint8) if node.dtype is bool_ else node
    if axis is None:
        found = make(ArgMax((0,)), reshape(node, (-1,)))
        return reshape(found, (1,) * node.ndim) if keepdims else found
    return _reduce(ArgMax, node, normalize_axis(axis, node.ndim), keepdims)


@builder("argmin")
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """Return the position of the smallest element along an axis (in all of x, flattened, for None), as int64.

    Formula: `argmax(-x, axis)`: the first i with x[i] = min(x).
    Gradient: none: a position.
    """
    node = as_node(x)
    # The negative of an unsigned or extreme integer would wrap around.
    return argmax(-node if node.dtype.is_float else -1 - cast(node, int64), axis, keepdims)


def _shift(node: Node, axis: Any) -> Node:
    """Return the largest element over axes, as a constant to derivatives: it cancels in what follows."""
    return stop_gradient(max(node, axis, keepdims=True))


@builder("logsumexp")
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """Return log(sum(exp(x))) over axes, without overflow; of -infinity alone it is -infinity.

    Formula: `log(sum(exp(x), axis))`.
    Gradient: by x `g * exp(x - out)`.
    Source: `scipy.special.logsumexp`.
    """
    node = floating(x)
    largest = _shift(node, axis)
    shift = where(isfinite(largest), largest, 0)
    result = log(sum(exp(node - shift), axis, keepdims=True)) + shift
    axes = normalize_axes(axis, node.ndim)
    return result if keepdims else call("squeeze", result, axes)


@builder("softmax")
def softmax(x: Any, axis: Any = -1) -> Node:
    """Return exp(x) / sum(exp(x)) over axes, without overflow; NaN where all are -infinity or one is +infinity.

    Shape: `(...) -> (...)`.
    Formula: `exp(x) / sum(exp(x), axis, keepdims=True)`.
    Gradient: by x `out * (g - sum(g * out, axis, keepdims=True))`.
    Source: `scipy.special.softmax`; Bridle, 1990.
    """
    node = floating(x)
    weights = exp(node - _shift(node, axis))
    return weights / sum(weights, axis, keepdims=True)


@builder("log_softmax")
def log_softmax(x: Any, axis: Any = -1) -> Node:
    """Return log(softmax(x)) over axes, without overflow; NaN where softmax is.

    Shape: `(...) -> (...)`.
    Formula: `x - log(sum(exp(x), axis, keepdims=True))`.
    Gradient: by x `g - exp(out) * sum(g, axis, keepdims=True)`.
    Source: `scipy.special.log_softmax`.
    """
    node = floating(x)
    shifted = node - _shift(node, axis)
    return shifted - log(sum(exp(shifted), axis, keepdims=True))
