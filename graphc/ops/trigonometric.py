"""Trigonometric and hyperbolic functions and their inverses; angles are in radians, integers give floats.

Outside the domain of an inverse the result is NaN, as in NumPy. At its ends the derivative is infinite, with the sign
of the slope beside it. atan2(0, 0) has the gradient 0, as in PyTorch.

Shape: `(...) -> (...)`.
Source: `numpy.{name}`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.graph.node import Node, builder, call, make
from graphc.ops.elementwise import Elementwise
from graphc.ops.exponential import rsqrt
from graphc.ops.operands import broadcasted, floating, promoted


class Sin(Elementwise):
    """Sine."""

    name = "sin"
    accepts = "f"
    meaning = np.sin

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * cos(node.inputs[0])


class Cos(Elementwise):
    """Cosine."""

    name = "cos"
    accepts = "f"
    meaning = np.cos

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return -flow * sin(node.inputs[0])


class Tan(Elementwise):
    """Tangent."""

    name = "tan"
    accepts = "f"
    meaning = np.tan

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (node * node + 1)


class Asin(Elementwise):
    """The angle from -pi/2 to pi/2 with this sine."""

    name = "asin"
    accepts = "f"
    meaning = np.arcsin

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * _inverse_of_cathetus(node.inputs[0])


class Acos(Elementwise):
    """The angle from 0 to pi with this cosine."""

    name = "acos"
    accepts = "f"
    meaning = np.arccos

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return -flow * _inverse_of_cathetus(node.inputs[0])


def _inverse_of_cathetus(x: Node) -> Node:
    """Return 1 / sqrt(1 - x^2), as a product so that nothing is lost near 1 and -1."""
    return rsqrt((1 - x) * (1 + x))


class Atan(Elementwise):
    """The angle from -pi/2 to pi/2 with this tangent."""

    name = "atan"
    accepts = "f"
    meaning = np.arctan

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        (x,) = node.inputs
        return flow / (x * x + 1)


class Atan2(Elementwise):
    """The angle from -pi to pi of the point (x, y); the operands are y, x."""

    name = "atan2"
    accepts = "f"
    meaning = np.arctan2

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        y, x = node.inputs
        distance = x * x + y * y
        share = flow / call("where", distance == 0, 1, distance)
        return -share * y if position else share * x


class Sinh(Elementwise):
    """Hyperbolic sine."""

    name = "sinh"
    accepts = "f"
    meaning = np.sinh

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * cosh(node.inputs[0])


class Cosh(Elementwise):
    """Hyperbolic cosine."""

    name = "cosh"
    accepts = "f"
    meaning = np.cosh

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * sinh(node.inputs[0])


class Tanh(Elementwise):
    """Hyperbolic tangent."""

    name = "tanh"
    accepts = "f"
    meaning = np.tanh

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (1.0 - node * node)


class Asinh(Elementwise):
    """Inverse of the hyperbolic sine."""

    name = "asinh"
    accepts = "f"
    meaning = np.arcsinh

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        (x,) = node.inputs
        return flow * rsqrt(x * x + 1)


class Acosh(Elementwise):
    """Inverse of the hyperbolic cosine, not negative."""

    name = "acosh"
    accepts = "f"
    meaning = np.arccosh

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        (x,) = node.inputs
        return flow * rsqrt((x - 1) * (x + 1))


class Atanh(Elementwise):
    """Inverse of the hyperbolic tangent."""

    name = "atanh"
    accepts = "f"
    meaning = np.arctanh

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        (x,) = node.inputs
        return flow / ((1 - x) * (1 + x))


@builder("sin")
def sin(x: Any) -> Node:
    """Return the sine, `sin(x)`."""
    return make(Sin(), floating(x))


@builder("cos")
def cos(x: Any) -> Node:
    """Return the cosine, `cos(x)`."""
    return make(Cos(), floating(x))


@builder("tan")
def tan(x: Any) -> Node:
    """Return the tangent, `sin(x) / cos(x)`."""
    return make(Tan(), floating(x))


@builder("asin")
def asin(x: Any) -> Node:
    """Return the angle from -pi/2 to pi/2 whose sine is x, `atan(x / sqrt(1 - x * x))`; NaN outside -1 to 1."""
    return make(Asin(), floating(x))


@builder("acos")
def acos(x: Any) -> Node:
    """Return the angle from 0 to pi whose cosine is x, `pi / 2 - asin(x)`; NaN outside -1 to 1."""
    return make(Acos(), floating(x))


@builder("atan")
def atan(x: Any) -> Node:
    """Return the angle from -pi/2 to pi/2 whose tangent is x, `asin(x / sqrt(1 + x * x))`."""
    return make(Atan(), floating(x))


@builder("atan2")
def atan2(y: Any, x: Any) -> Node:
    """Return the angle from -pi to pi between the first axis and the point (x, y): where x > 0, `atan(y / x)`.

    Shape: `(...), (...) -> (...)`, by broadcasting.
    """
    up, along = promoted(y, x)
    return make(Atan2(), *broadcasted(floating(up), floating(along)))


@builder("sinh")
def sinh(x: Any) -> Node:
    """Return the hyperbolic sine, `(exp(x) - exp(-x)) / 2`."""
    return make(Sinh(), floating(x))


@builder("cosh")
def cosh(x: Any) -> Node:
    """Return the hyperbolic cosine, `(exp(x) + exp(-x)) / 2`."""
    return make(Cosh(), floating(x))


@builder("tanh")
def tanh(x: Any) -> Node:
    """Return the hyperbolic tangent, `(exp(x) - exp(-x)) / (exp(x) + exp(-x))`."""
    return make(Tanh(), floating(x))


@builder("asinh")
def asinh(x: Any) -> Node:
    """Return the inverse of the hyperbolic sine, `log(x + sqrt(x * x + 1))`."""
    return make(Asinh(), floating(x))


@builder("acosh")
def acosh(x: Any) -> Node:
    """Return the inverse of the hyperbolic cosine, `log(x + sqrt(x * x - 1))`; NaN below 1."""
    return make(Acosh(), floating(x))


@builder("atanh")
def atanh(x: Any) -> Node:
    """Return the inverse of the hyperbolic tangent, `log((1 + x) / (1 - x)) / 2`; NaN outside -1 to 1."""
    return make(Atanh(), floating(x))
