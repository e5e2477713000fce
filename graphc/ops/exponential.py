"""Exponentials, logarithms, powers and roots; integers give floats, but for powers.

At the ends of their domains the derivatives are the limits: sqrt'(0), cbrt'(0) and log'(0) are infinite. Outside the
domain the result is NaN, as in NumPy. A power's derivative follows PyTorch: for x it is 0 where y = 0, and for y it is
0 where x = 0 and y >= 0, so that x**2 at 0 gives no NaN.

Shape: `(...) -> (...)`.
Source: `numpy.{name}`.
"""

# NumPy's stubs leave dtypes open.
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.dtypes import bool_
from graphc.errors import DTypeError
from graphc.graph.node import Node, builder, call, make
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.elementwise import Elementwise
from graphc.ops.operands import aligned, as_node, expand, floating, number_of

# Up to this exponent a product of squares is within a few units in the last place, and quicker than `pow`.
PRODUCTS = 16


class Exp(Elementwise):
    """e to the power of x."""

    name = "exp"
    accepts = "f"
    meaning = np.exp

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * node


class Exp2(Elementwise):
    """2 to the power of x."""

    name = "exp2"
    accepts = "f"
    meaning = np.exp2

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (node * math.log(2))


class Expm1(Elementwise):
    """e to the power of x, less 1."""

    name = "expm1"
    accepts = "f"
    meaning = np.expm1

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (node + 1)


class Log(Elementwise):
    """Natural logarithm."""

    name = "log"
    accepts = "f"
    meaning = np.log

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow / node.inputs[0]


class Log1p(Elementwise):
    """Natural logarithm of 1 + x."""

    name = "log1p"
    accepts = "f"
    meaning = np.log1p

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow / (node.inputs[0] + 1)


class Log2(Elementwise):
    """Logarithm to the base 2."""

    name = "log2"
    accepts = "f"
    meaning = np.log2

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow / (node.inputs[0] * math.log(2))


class Log10(Elementwise):
    """Logarithm to the base 10."""

    name = "log10"
    accepts = "f"
    meaning = np.log10

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow / (node.inputs[0] * math.log(10))


class Sqrt(Elementwise):
    """Square root."""

    name = "sqrt"
    accepts = "f"
    meaning = np.sqrt

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * 0.5 / node


class Rsqrt(Elementwise):
    """1 / sqrt(x)."""

    name = "rsqrt"
    accepts = "f"

    def numpy(self, x: Any) -> Any:
        return 1 / np.sqrt(x)

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (node * node * node * -0.5)


class Cbrt(Elementwise):
    """Cube root."""

    name = "cbrt"
    accepts = "f"
    meaning = np.cbrt

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow / (node * node * 3)


class Pow(Elementwise):
    """x to the power of y. With a negative y an integer gives the quotient 1 / x**-y without its fraction, 0 for x = 0."""

    name = "pow"

    def numpy(self, x: Any, y: Any) -> Any:
        if x.dtype.kind != "i":
            return np.power(x, y)
        inverse = np.where(np.abs(x) == 1, np.where(y & 1, x, 1), 0)
        return np.where(y < 0, inverse, np.power(x, np.maximum(y, 0))).astype(x.dtype)

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        x, y = node.inputs
        if position:
            settled = call("logical_and", x == 0, y >= 0)
            return flow * call("where", settled, 0, node * log(x))
        exponent = number_of(y)
        if exponent:
            return flow * (y * pow(x, exponent - 1))
        # 0 * x**-1 would be NaN at 0 (x * x is 0 wherever x**-1 overflows), and so would what is derived from it.
        settled = call("logical_and", y == 0, x * x == 0)
        return flow * (y * pow(x, call("where", settled, 1, y) - 1))

    def scalar(self, *values: Expr) -> Expr:
        x, y = values
        if x.dtype.is_float:
            return super().scalar(x, y)
        # Squares of x, of which the bits of y take their share; there is no loop in an expression.
        zero, one = expr.const(0, x.dtype), expr.const(1, x.dtype)
        result, square = one, x
        for bit in range(8 * x.dtype.itemsize - (x.dtype.kind == "i")):
            share = expr.apply("and", y, expr.const(1 << bit, y.dtype))
            taken = expr.apply("multiply", result, square)
            result = expr.select(expr.apply("ne", share, zero, dtype=bool_), taken, result)
            square = expr.apply("multiply", square, square)
        if x.dtype.kind == "u":
            return result
        # The lowest bit of a negative y says what it makes of 1 and -1.
        units = (expr.apply("eq", x, expr.const(unit, x.dtype), dtype=bool_) for unit in (1, -1))
        whole = expr.apply("or", expr.apply("ge", y, zero, dtype=bool_), expr.apply("or", *units))
        return expr.select(whole, result, zero)


@builder("exp")
def exp(x: Any) -> Node:
    """Return e to the power of x, `e ** x`."""
    return make(Exp(), floating(x))


@builder("exp2")
def exp2(x: Any) -> Node:
    """Return 2 to the power of x, `2.0 ** x`."""
    return make(Exp2(), floating(x))


@builder("expm1")
def expm1(x: Any) -> Node:
    """Return e to the power of x, less 1, `exp(x) - 1`, without loss for small x."""
    return make(Expm1(), floating(x))


@builder("log")
def log(x: Any) -> Node:
    """Return the natural logarithm, `log(x)`; -inf at 0, NaN below."""
    return make(Log(), floating(x))


@builder("log1p")
def log1p(x: Any) -> Node:
    """Return the natural logarithm of 1 + x, `log(1 + x)`, without loss for small x."""
    return make(Log1p(), floating(x))


@builder("log2")
def log2(x: Any) -> Node:
    """Return the logarithm to the base 2, `log(x) / log(2)`."""
    return make(Log2(), floating(x))


@builder("log10")
def log10(x: Any) -> Node:
    """Return the logarithm to the base 10, `log(x) / log(10)`."""
    return make(Log10(), floating(x))


@builder("sqrt")
def sqrt(x: Any) -> Node:
    """Return the square root, `x ** 0.5`; NaN for negative numbers."""
    return make(Sqrt(), floating(x))


@builder("rsqrt")
def rsqrt(x: Any) -> Node:
    """Return `1 / sqrt(x)`; infinite at 0, NaN for negative numbers.

    Source: `torch.rsqrt`.
    """
    return make(Rsqrt(), floating(x))


@builder("cbrt")
def cbrt(x: Any) -> Node:
    """Return the cube root, `sign(x) * abs(x) ** (1 / 3)`, of negative numbers too."""
    return make(Cbrt(), floating(x))


@builder("pow")
def pow(x: Any, y: Any) -> Node:
    """Return x to the power of y, `x ** y`; y is a number or a node.

    Small whole numbers give products (x**2 is exactly x*x), 0.5 and -0.5 give sqrt and rsqrt. Integers stay integers:
    a node of negative exponents gives the quotient without its fraction (0, but for 1 and -1), as PyTorch.
    Raises DTypeError for a negative number as the exponent of an integer.

    Shape: `(...), (...) -> (...)`, by broadcasting.
    """
    if isinstance(y, int | float | np.integer | np.floating):
        node = as_node(x) if isinstance(y, int | np.integer) else floating(x)
        if y == y // 1 and (not node.dtype.is_float or -PRODUCTS <= y <= PRODUCTS):
            return _product(node, int(y))
        if y in (0.5, -0.5):
            return sqrt(node) if y > 0 else rsqrt(node)
        x = node
    return make(Pow(), *aligned(x, y))


def _product(node: Node, exponent: int) -> Node:
    """Return the node to a constant power, by squaring."""
    if exponent < 0:
        if not node.dtype.is_float:
            raise DTypeError(f"integers have no negative powers, got {exponent}; use x.astype('float32') ** {exponent}")
        return 1.0 / _product(node, -exponent)
    result: Node | None = None
    while exponent:
        if exponent & 1:
            result = node if result is None else result * node
        exponent >>= 1
        node = node * node if exponent else node
    return expand(as_node(1, node.dtype), node.shape) if result is None else result
