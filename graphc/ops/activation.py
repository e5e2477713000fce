"""Functions that networks put between their layers, and the error function; integers give floats, but for relu.

relu'(0) = 0.

Shape: `(...) -> (...)`.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.graph.node import Node, builder, call, make
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.elementwise import Elementwise
from graphc.ops.exponential import exp
from graphc.ops.operands import as_node, floating


def _sigmoid(x: Any) -> Any:
    decayed = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, decayed) / (1 + decayed)


class Sigmoid(Elementwise):
    """1 / (1 + e^-x)."""

    name = "sigmoid"
    accepts = "f"
    meaning = _sigmoid

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (node * (1.0 - node))


class Softplus(Elementwise):
    """log(1 + e^x)."""

    name = "softplus"
    accepts = "f"

    def numpy(self, x: Any) -> Any:
        return np.logaddexp(x, np.zeros((), x.dtype))

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * sigmoid(node.inputs[0])


class Relu(Elementwise):
    """max(x, 0); the derivative at 0 is 0."""

    name = "relu"

    def numpy(self, x: Any) -> Any:
        return np.maximum(x, np.zeros((), x.dtype))

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        # The result is positive where the operand is, so the operand need not be kept for the backward pass.
        return call("where", node > 0, flow, 0)

    def scalar(self, *values: Expr) -> Expr:
        return expr.apply("maximum", values[0], expr.const(0, values[0].dtype))


class Erf(Elementwise):
    """The error function: 2 / sqrt(pi) times the integral of e^-t^2 from 0 to x."""

    name = "erf"
    accepts = "f"

    def numpy(self, x: Any) -> Any:
        return np.vectorize(math.erf, otypes=[x.dtype])(x)

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * _bell(node.inputs[0])


class Erfc(Elementwise):
    """1 - erf(x)."""

    name = "erfc"
    accepts = "f"

    def numpy(self, x: Any) -> Any:
        return np.vectorize(math.erfc, otypes=[x.dtype])(x)

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return -flow * _bell(node.inputs[0])


def _bell(x: Node) -> Node:
    return exp(-(x * x)) * (2 / math.sqrt(math.pi))


# sqrt(1 / 2) in two parts, and what splits a float64 into two halves whose products are exact (Dekker, 1971).
_ROOT_HALF, _ROOT_HALF_REST, _SPLIT = math.sqrt(0.5), -4.833646656726457e-17, 134217729.0


def _halves(x: Any) -> tuple[Any, Any]:
    large = x * _SPLIT
    high = large - (large - x)
    return high, x - high


def _over_root_two(x: Any) -> tuple[Any, Any]:
    """Return float64 numbers below 10^290 over sqrt(2), and what that is rounded by."""
    quotient = x * _ROOT_HALF
    high, low = _halves(x)
    root, root_rest = _halves(_ROOT_HALF)
    error = ((high * root - quotient) + high * root_rest + low * root) + low * root_rest
    return quotient, error + x * _ROOT_HALF_REST


class NormalCdf(Elementwise):
    """The probability that a standard normal variable lies below x."""

    name = "normal_cdf"
    accepts = "f"

    def numpy(self, x: Any) -> Any:
        # Far below 0 the function doubles with each unit in the last place of x / sqrt(2) many times over: what that
        # rounds away is made good by the slope.
        near = np.clip(x.astype(np.float64), -40.0, 40.0)
        scaled, rest = _over_root_two(near)
        slope = 2 / math.sqrt(math.pi) * np.exp(-scaled * scaled)
        return ((np.vectorize(math.erfc, otypes=[np.float64])(-scaled) + slope * rest) / 2).astype(x.dtype)

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * normal_pdf(node.inputs[0])


class NormalPdf(Elementwise):
    """The density of a standard normal variable."""

    name = "normal_pdf"
    accepts = "f"

    def numpy(self, x: Any) -> Any:
        return (np.exp(np.square(x.astype(np.float64)) / -2) / math.sqrt(2 * math.pi)).astype(x.dtype)

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return -flow * (node.inputs[0] * node)


class Gelu(Elementwise):
    """x normal_cdf(x).

    An op rather than a product: the chain rule would spell the slope as two products with the cotangent, but together
    both terms are one number that can be made, and kept, where x is at hand.
    """

    name = "gelu"
    accepts = "f"

    def numpy(self, x: Any) -> Any:
        return x * NormalCdf().numpy(x)

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        (x,) = node.inputs
        return flow * (normal_cdf(x) + x * normal_pdf(x))

    def scalar(self, *values: Expr) -> Expr:
        return expr.apply("multiply", values[0], expr.apply("normal_cdf", values[0]))


@builder("sigmoid")
def sigmoid(x: Any) -> Node:
    """Return `1 / (1 + exp(-x))`.

    Source: `torch.sigmoid`, `scipy.special.expit`.
    """
    return make(Sigmoid(), floating(x))


@builder("softplus")
def softplus(x: Any) -> Node:
    """Return `log(1 + exp(x))`, which neither overflows nor loses digits where e^x is small.

    Source: `torch.nn.functional.softplus`; Dugas et al., Incorporating Second-Order Functional Knowledge for Better
    Option Pricing, 2000.
    """
    return make(Softplus(), floating(x))


@builder("relu")
def relu(x: Any) -> Node:
    """Return `maximum(x, 0)`.

    Source: `torch.relu`; Nair and Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, 2010.
    """
    return make(Relu(), as_node(x))


@builder("erf")
def erf(x: Any) -> Node:
    """Return the error function: 2 / sqrt(pi) times the integral of e^-t^2 from 0 to x.

    Formula: `erf(x)`, 2 / sqrt(pi) times the integral of e^-t^2 from 0 to x.
    Source: `scipy.special.erf`; NIST Digital Library of Mathematical Functions, 7.2.1.
    """
    return make(Erf(), floating(x))


@builder("erfc")
def erfc(x: Any) -> Node:
    """Return `1 - erf(x)`, with relative accuracy where erf(x) is near 1.

    Source: `scipy.special.erfc`; NIST Digital Library of Mathematical Functions, 7.2.2.
    """
    return make(Erfc(), floating(x))


@builder("normal_cdf")
def normal_cdf(x: Any) -> Node:
    """Return the probability that a standard normal variable lies below x, `(1 + erf(x / sqrt(2))) / 2`.

    Source: `scipy.special.ndtr`.
    """
    return make(NormalCdf(), floating(x))


@builder("normal_pdf")
def normal_pdf(x: Any) -> Node:
    """Return the density of a standard normal variable at x, `exp(-x * x / 2) / sqrt(2 * pi)`.

    Source: `scipy.stats.norm.pdf`.
    """
    return make(NormalPdf(), floating(x))
