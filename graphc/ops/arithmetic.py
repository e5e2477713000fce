"""Arithmetic of elements: sums, products, quotients, signs, and limits.

Integers wrap around, as in NumPy: the absolute value of the smallest is itself, and negating 1 in uint8 gives 255. An
integer divided by 0 is 0, and so is the remainder. Booleans are no numbers here: `astype` makes them such, while a
Python True beside a node is 1.

Ties: maximum and minimum give each operand half of the gradient, as torch.maximum; clip gives all of it to x at its
limits, as torch.clamp; abs'(0) = 0. Where one operand of maximum or minimum is NaN, so is the result, and both get the
gradient.

Shape: `(...), (...) -> (...)`, by broadcasting.
Source: `numpy.{name}`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from graphc.dtypes import bool_
from graphc.graph.node import Node, builder, call, make
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.elementwise import Elementwise
from graphc.ops.operands import aligned, as_node, broadcasted, demand, floating, promoted


class Add(Elementwise):
    """x + y."""

    name = "add"
    meaning = np.add

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow


class Subtract(Elementwise):
    """x - y."""

    name = "subtract"
    meaning = np.subtract

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return -flow if position else flow


class Multiply(Elementwise):
    """x * y."""

    name = "multiply"
    meaning = np.multiply

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * node.inputs[1 - position]


class Divide(Elementwise):
    """x / y, of floats."""

    name = "divide"
    accepts = "f"
    meaning = np.divide

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        share = flow / node.inputs[1]
        return -share * node if position else share


class FloorDivide(Elementwise):
    """x / y rounded down; an integer divided by 0 is 0."""

    name = "floor_divide"
    function = "floordiv"
    meaning = np.floor_divide


class Remainder(Elementwise):
    """x - floor(x / y) * y, with the sign of y; an integer's remainder by 0 is 0."""

    name = "remainder"
    meaning = np.remainder

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return -flow * floor_divide(*node.inputs) if position else flow


class Negative(Elementwise):
    """-x."""

    name = "negative"
    meaning = np.negative

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return -flow


class Abs(Elementwise):
    """Absolute value; the derivative at 0 is 0."""

    name = "abs"
    meaning = np.abs

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * sign(node.inputs[0])


class Sign(Elementwise):
    """-1, 0 or 1; NaN for NaN."""

    name = "sign"
    meaning = np.sign

    def scalar(self, *values: Expr) -> Expr:
        (x,) = values
        zero, one = expr.const(0, x.dtype), expr.const(1, x.dtype)
        if x.dtype.kind == "u":
            return expr.apply("minimum", x, one)
        # What is neither above nor below 0 is 0, -0.0 or NaN: adding 0 makes -0.0 the 0 that NumPy gives.
        level = expr.apply("add", x, zero)
        below = expr.select(expr.apply("lt", x, zero, dtype=bool_), expr.const(-1, x.dtype), level)
        return expr.select(expr.apply("gt", x, zero, dtype=bool_), one, below)


class _Extremum(Elementwise):
    loses: ClassVar[str]

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        mine, other = node.inputs[position], node.inputs[1 - position]
        kept = call("where", call(self.loses, mine, other), 0, flow)
        return call("where", mine == other, flow * 0.5, kept)


class Maximum(_Extremum):
    """The larger of two; NaN if one is. A tie sends half the gradient to each."""

    name = "maximum"
    loses = "less"
    meaning = np.maximum


class Minimum(_Extremum):
    """The smaller of two; NaN if one is. A tie sends half the gradient to each."""

    name = "minimum"
    loses = "greater"
    meaning = np.minimum


@builder("add")
def add(x: Any, y: Any) -> Node:
    """Return `x + y`, elementwise."""
    return make(Add(), *aligned(x, y))


@builder("subtract")
def subtract(x: Any, y: Any) -> Node:
    """Return `x - y`, elementwise."""
    return make(Subtract(), *aligned(x, y))


@builder("multiply")
def multiply(x: Any, y: Any) -> Node:
    """Return `x * y`, elementwise."""
    return make(Multiply(), *aligned(x, y))


@builder("divide")
def divide(x: Any, y: Any) -> Node:
    """Return `x / y`, elementwise; integers give floats."""
    left, right = promoted(x, y)
    return make(Divide(), *broadcasted(floating(left), floating(right)))


@builder("floor_divide")
def floor_divide(x: Any, y: Any) -> Node:
    """Return x / y rounded down, `floor(x / y)`; an integer divided by 0 is 0."""
    return make(FloorDivide(), *aligned(x, y))


@builder("remainder")
def remainder(x: Any, y: Any) -> Node:
    """Return `x - floor(x / y) * y`, with the sign of y; an integer's remainder by 0 is 0."""
    return make(Remainder(), *aligned(x, y))


@builder("maximum")
def maximum(x: Any, y: Any) -> Node:
    """Return the larger of x and y, `where(x > y, x, y)`; NaN if one is."""
    return make(Maximum(), *aligned(x, y))


@builder("minimum")
def minimum(x: Any, y: Any) -> Node:
    """Return the smaller of x and y, `where(x < y, x, y)`; NaN if one is."""
    return make(Minimum(), *aligned(x, y))


@builder("negative")
def negative(x: Any) -> Node:
    """Return `-x`; unsigned integers wrap.

    Shape: `(...) -> (...)`.
    """
    return make(Negative(), as_node(x))


@builder("reciprocal")
def reciprocal(x: Any) -> Node:
    """Return `1 / x`; integers give floats.

    Shape: `(...) -> (...)`.
    """
    return divide(1, x)


@builder("abs")
def abs(x: Any) -> Node:
    """Return the absolute value, `maximum(x, -x)`; the smallest signed integer is its own.

    Shape: `(...) -> (...)`.
    """
    return make(Abs(), as_node(x))


@builder("square")
def square(x: Any) -> Node:
    """Return `x * x`.

    Shape: `(...) -> (...)`.
    """
    node = as_node(x)
    return node * node


@builder("sign")
def sign(x: Any) -> Node:
    """Return -1, 0 or 1, `(x > 0) * 1.0 - (x < 0) * 1.0`; NaN for NaN.

    Shape: `(...) -> (...)`.
    """
    return make(Sign(), as_node(x))


@builder("clip")
def clip(x: Any, min: Any = None, max: Any = None) -> Node:
    """Return x limited to the range from min to max, `minimum(max, maximum(min, x))`; None is no limit, and max wins.

    NaN if x or a limit is. At a limit the gradient goes to x, as in torch.clamp.

    Shape: `(...), (...), (...) -> (...)`, by broadcasting.
    Gradient: by x `where((x >= min) & (x <= max), g, 0)`, by min `where((x < min) & (min <= max), g, 0)`, by max
    `where(maximum(min, x) > max, g, 0)`.
    Source: `numpy.clip`; ties as `torch.clamp`.
    """
    node = as_node(x)
    demand(node.tensor, "fiu", "clip")
    node = node if min is None else _limited(node, min, "less")
    return node if max is None else _limited(node, max, "greater")


def _limited(x: Node, limit: Any, is_beyond: str) -> Node:
    x, bound = aligned(x, limit)
    beyond = call(is_beyond, x, bound)
    if bound.dtype.is_float:
        beyond = call("logical_or", beyond, call("isnan", bound))
    return call("where", beyond, bound, x)
