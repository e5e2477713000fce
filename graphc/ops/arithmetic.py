"""Arithmetic of elements: sums, products, quotients, signs, and the larger or smaller of two.

Ties: maximum and minimum give each operand half, as torch.maximum; abs'(0) = 0.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from graphc.graph.node import Node, builder, call, make
from graphc.ops.elementwise import Elementwise
from graphc.ops.operands import aligned, as_node, broadcasted, cast, floating, promoted


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


class _Extremum(Elementwise):
    wins: ClassVar[str]

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        mine, other = node.inputs[position], node.inputs[1 - position]
        won = call("where", call(self.wins, mine, other), flow, 0)
        return call("where", mine == other, flow * 0.5, won)


class Maximum(_Extremum):
    """The larger of two; NaN if one is. A tie sends half the gradient to each."""

    name = "maximum"
    wins = "greater"
    meaning = np.maximum


class Minimum(_Extremum):
    """The smaller of two; NaN if one is. A tie sends half the gradient to each."""

    name = "minimum"
    wins = "less"
    meaning = np.minimum


@builder("add")
def add(x: Any, y: Any) -> Node:
    """Return x + y, elementwise."""
    return make(Add(), *aligned(x, y))


@builder("subtract")
def subtract(x: Any, y: Any) -> Node:
    """Return x - y, elementwise."""
    return make(Subtract(), *aligned(x, y))


@builder("multiply")
def multiply(x: Any, y: Any) -> Node:
    """Return x * y, elementwise."""
    return make(Multiply(), *aligned(x, y))


@builder("divide")
def divide(x: Any, y: Any) -> Node:
    """Return x / y, elementwise; integers give floats."""
    left, right = promoted(x, y)
    return make(Divide(), *broadcasted(floating(left), floating(right)))


@builder("floor_divide")
def floor_divide(x: Any, y: Any) -> Node:
    """Return x / y rounded down; an integer divided by 0 is 0."""
    return make(FloorDivide(), *aligned(x, y))


@builder("remainder")
def remainder(x: Any, y: Any) -> Node:
    """Return x - floor(x / y) * y."""
    return make(Remainder(), *aligned(x, y))


@builder("maximum")
def maximum(x: Any, y: Any) -> Node:
    """Return the larger of x and y, elementwise; NaN if one is."""
    return make(Maximum(), *aligned(x, y))


@builder("minimum")
def minimum(x: Any, y: Any) -> Node:
    """Return the smaller of x and y, elementwise; NaN if one is."""
    return make(Minimum(), *aligned(x, y))


@builder("negative")
def negative(x: Any) -> Node:
    """Return -x."""
    return make(Negative(), as_node(x))


@builder("abs")
def abs(x: Any) -> Node:
    """Return the absolute value."""
    return make(Abs(), as_node(x))


@builder("square")
def square(x: Any) -> Node:
    """Return x * x."""
    node = as_node(x)
    return node * node


@builder("sign")
def sign(x: Any) -> Node:
    """Return -1, 0 or 1."""
    node = as_node(x)
    return cast(node > 0, node.dtype) - cast(node < 0, node.dtype)


@builder("clip")
def clip(x: Any, low: Any = None, high: Any = None) -> Node:
    """Return x limited to the range from low to high (None: no limit on that side)."""
    node = as_node(x)
    node = node if low is None else maximum(node, low)
    return node if high is None else minimum(node, high)
