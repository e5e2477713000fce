"""Running sums and products along an axis, and the linear recurrence that their derivatives are made of.

y[t] = factor[t] * y[t-1] + term[t] is closed under differentiation: the derivatives of a recurrence, and those of a
running product, are recurrences that walk the other way. So they hold where elements are 0, which a division by the
elements would not.

Shape: `(...) -> (...)`.
Source: `numpy.{name}`.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from graphc.dtypes import as_dtype, int64
from graphc.errors import ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, make
from graphc.graph.op import Op
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.ops.operands import aligned, as_node, cast, demand, expand, normalize_axis, same
from graphc.ops.slicing import Pad, Slice
from graphc.records import record


@record
class Cumulative(Op):
    """The family: what is accumulated along `axis`, from its end if `reverse`; the result has the operands' type."""

    axis: int
    reverse: bool

    accepts: ClassVar[str] = "fiu"

    def infer(self, *inputs: TensorType) -> TensorType:
        demand(inputs[0], self.accepts, self.name)
        if self.axis >= inputs[0].rank:
            raise ShapeError(f"{self.name}: axis {self.axis} does not exist in {inputs[0]}")
        return same(*inputs, what=self.name)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        size = next(operand.shape[0] for operand in batched if operand is not None)
        pairs = zip(batched, node.inputs, strict=True)
        operands = (expand(x, (size, *x.shape)) if b is None else b for b, x in pairs)
        return make(type(self)(self.axis + 1, self.reverse), *operands)

    def ordered(self, array: Any) -> Any:
        """Return an array in the order of the walk along the axis; twice gives the array."""
        return np.flip(array, self.axis) if self.reverse else array


class CumulativeSum(Cumulative):
    """Running sums."""

    name = "cumulative_sum"

    def numpy(self, x: Any) -> Any:
        return self.ordered(np.cumsum(self.ordered(x), self.axis, dtype=x.dtype))

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        return (make(CumulativeSum(self.axis, not self.reverse), cotangent),)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[0] is None else make(self, tangents[0])

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        value = expr.load(0, bodies.output_axes(out), x.dtype)
        return bodies.compute(out, value, ("add", self.axis, self.reverse))


class CumulativeProd(Cumulative):
    """Running products."""

    name = "cumulative_prod"

    def numpy(self, x: Any) -> Any:
        return self.ordered(np.cumprod(self.ordered(x), self.axis, dtype=x.dtype))

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        (x,) = node.inputs
        back = LinearRecurrence(self.axis, not self.reverse)
        after = make(back, previous(x, self.axis, 0, reverse=not self.reverse), cotangent)
        return (after * previous(node, self.axis, 1, reverse=self.reverse),)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        if tangents[0] is None:
            return None
        before = previous(node, self.axis, 1, reverse=self.reverse)
        return make(LinearRecurrence(self.axis, self.reverse), node.inputs[0], tangents[0] * before)

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        value = expr.load(0, bodies.output_axes(out), x.dtype)
        return bodies.compute(out, value, ("multiply", self.axis, self.reverse))


class LinearRecurrence(Cumulative):
    """y[t] = factor[t] * y[t-1] + term[t], from term[0]: the operands are the factors and the terms."""

    name = "linear_recurrence"
    accepts = "f"

    def numpy(self, factor: Any, term: Any) -> Any:
        factor, term = (np.moveaxis(self.ordered(array), self.axis, 0) for array in (factor, term))
        result = np.array(term)
        for t in range(1, len(result)):
            result[t] += factor[t] * result[t - 1]
        return self.ordered(np.moveaxis(result, 0, self.axis))

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node, Node]:
        back = LinearRecurrence(self.axis, not self.reverse)
        term = make(back, previous(node.inputs[0], self.axis, 0, reverse=not self.reverse), cotangent)
        return term * previous(node, self.axis, 0, reverse=self.reverse), term

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        factor, term = tangents
        if factor is not None:
            moved = factor * previous(node, self.axis, 0, reverse=self.reverse)
            term = moved if term is None else moved + term
        return None if term is None else make(self, node.inputs[0], term)

    def lower(self, out: TensorType, factor: TensorType, term: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        t, extent = at[self.axis], out.shape[self.axis]
        # The first factor is not used: if it were infinite, times the 0 before it, it would make NaN.
        guard = expr.within(t, 0, extent - 1) if self.reverse else expr.within(t, 1, extent)
        value = expr.apply("affine", expr.load(0, at, factor.dtype, guard), expr.load(1, at, term.dtype))
        return bodies.compute(out, value, ("affine", self.axis, self.reverse))


def previous(x: Node, axis: int, first: float, *, reverse: bool) -> Node:
    """Return, at each position of an axis, the element before it in the order of a walk; `first` where there is none."""
    zero = (0,) * x.ndim
    one = tuple(int(k == axis) for k in range(x.ndim))
    # Padded before it is cut, so that an axis of size 0 is no special case.
    padded = make(Pad(*((zero, one) if reverse else (one, zero)), zero, first), x)
    return make(Slice(one if reverse else zero, x.shape, (1,) * x.ndim), padded)


def _accumulated(kind: type[Cumulative], x: Any, axis: int | None, reverse: bool, dtype: object) -> Node:
    node = as_node(x)
    if dtype is not None:
        node = cast(node, as_dtype(dtype))
    elif not node.dtype.is_float:
        node = cast(node, int64)
    if axis is None and node.ndim != 1:
        raise ShapeError(f"{kind.name} of {node.type} needs an axis: give axis=")
    return make(kind(normalize_axis(axis or 0, node.ndim), reverse), node)


@builder("cumulative_sum")
def cumulative_sum(x: Any, axis: int | None = None, reverse: bool = False, dtype: object = None) -> Node:
    """Return running sums along an axis (it may be left out for one dimension), from its end if `reverse`.

    dtype: that of x if it is floating, else int64, unless said otherwise.

    Formula: out[t] = out[t - 1] + x[t], out[0] = x[0].
    Gradient: by x `flip(cumsum(flip(g, axis), axis), axis)`; along the other way with `reverse`.
    """
    return _accumulated(CumulativeSum, x, axis, reverse, dtype)


@builder("cumulative_prod")
def cumulative_prod(x: Any, axis: int | None = None, reverse: bool = False, dtype: object = None) -> Node:
    """Return running products along an axis (it may be left out for one dimension), from its end if `reverse`.

    dtype: that of x if it is floating, else int64, unless said otherwise. The derivatives hold at 0 too.

    Formula: out[t] = out[t - 1] * x[t], out[0] = x[0].
    Gradient: by x `flip(cumsum(flip(g * out, axis), axis), axis) / x`, without a division.
    """
    return _accumulated(CumulativeProd, x, axis, reverse, dtype)


@builder("linear_recurrence")
def linear_recurrence(factor: Any, term: Any, axis: int = 0, reverse: bool = False) -> Node:
    """Return y[t] = factor[t] * y[t-1] + term[t] along an axis, from y[0] = term[0]; from its end if `reverse`.

    The operands are floating and broadcast together. Discounted returns are one, so is an exponential average.
    """
    left, right = aligned(factor, term)
    return make(LinearRecurrence(normalize_axis(axis, left.ndim), reverse), left, right)
