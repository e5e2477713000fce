"""Exponentials, logarithms, powers and roots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.graph.node import Node, builder, make
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.elementwise import Elementwise
from graphc.ops.operands import as_node, expand, floating


class Exp(Elementwise):
    """e to the power of x."""

    name = "exp"
    accepts = "f"
    meaning = np.exp

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * node


class Log(Elementwise):
    """Natural logarithm."""

    name = "log"
    accepts = "f"
    meaning = np.log

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow / node.inputs[0]


class Sqrt(Elementwise):
    """Square root."""

    name = "sqrt"
    accepts = "f"
    meaning = np.sqrt

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * 0.5 / node


@dataclass(frozen=True)
class Power(Elementwise):
    """x to a constant power that is no integer: exp(exponent * log(x)), so NaN for negative x."""

    exponent: float

    name = "power"
    accepts = "f"

    def numpy(self, x: Any) -> Any:
        return np.power(x, np.asarray(self.exponent, x.dtype))

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (self.exponent * power(node.inputs[0], self.exponent - 1))

    def scalar(self, *values: Expr) -> Expr:
        scaled = expr.apply("multiply", expr.const(self.exponent, values[0].dtype), expr.apply("log", values[0]))
        return expr.apply("exp", scaled)


@builder("exp")
def exp(x: Any) -> Node:
    """Return e to the power of x."""
    return make(Exp(), floating(x))


@builder("log")
def log(x: Any) -> Node:
    """Return the natural logarithm."""
    return make(Log(), floating(x))


@builder("sqrt")
def sqrt(x: Any) -> Node:
    """Return the square root; NaN for negative numbers."""
    return make(Sqrt(), floating(x))


@builder("power")
def power(x: Any, exponent: Any) -> Node:
    """Return x to a constant power: products for integers (x**2 is exactly x*x), exp(exponent * log(x)) otherwise."""
    if isinstance(exponent, Node) or not isinstance(exponent, int | float | np.integer | np.floating):
        raise DTypeError(
            "power takes a number as its exponent; for a node write graphc.exp(exponent * graphc.log(base))"
        )
    node = as_node(x)
    if isinstance(exponent, int | np.integer) or float(exponent).is_integer():
        if isinstance(exponent, float | np.floating):
            node = floating(node)
        return _integer_power(node, int(exponent))
    node = floating(node)
    return sqrt(node) if exponent == 0.5 else make(Power(float(exponent)), node)


def _integer_power(node: Node, exponent: int) -> Node:
    if exponent < 0:
        return 1.0 / _integer_power(floating(node), -exponent)
    result: Node | None = None
    while exponent:
        if exponent & 1:
            result = node if result is None else result * node
        exponent >>= 1
        node = node * node if exponent else node
    return expand(as_node(1, node.dtype), node.shape) if result is None else result
