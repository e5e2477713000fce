"""Activations: functions of one element, and their modules.

Each is a composition of a few ops, so that it fuses with what stands around it. Branches that are not taken are fed a
harmless number where their slope could be infinite: 0 * infinity would make the gradient NaN.

Shape: `(...) -> (...)`.
Gradient: the chain rule's, through the formula.
Source: `torch.nn.{name}`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.graph.node import Node, Parameter, builder, make, parameter
from graphc.nn.arguments import choice, last_axes, number, whole
from graphc.nn.module import Module
from graphc.ops import activation
from graphc.ops.activation import Gelu, relu, sigmoid
from graphc.ops.comparison import where
from graphc.ops.exponential import expm1
from graphc.ops.operands import as_node, as_optional_dtype, floating
from graphc.ops.reduction import log_softmax, softmax
from graphc.ops.trigonometric import tanh


@builder("nn.leaky_relu")
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Node:
    """Return x where it is positive, and negative_slope * x elsewhere.

    Formula: `where(x > 0, x, negative_slope * x)`.
    Source: `torch.nn.functional.leaky_relu`; Maas, Hannun and Ng, Rectifier Nonlinearities Improve Neural Network
    Acoustic Models, 2013.
    """
    node = floating(x)
    return where(node > 0, node, node * negative_slope)


@builder("nn.elu")
def elu(x: Any, alpha: float = 1.0) -> Node:
    """Return x where it is positive, and alpha * (e^x - 1) elsewhere.

    Formula: `where(x > 0, x, alpha * (exp(x) - 1))`.
    Source: `torch.nn.functional.elu`; Clevert, Unterthiner and Hochreiter, 2016.
    """
    node = floating(x)
    return where(node > 0, node, alpha * expm1(where(node > 0, 0.0, node)))


# Solutions of the equations for a fixed point of mean 0 and variance 1: Klambauer et al., appendix A1.
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@builder("nn.selu")
def selu(x: Any) -> Node:
    """Return s * x where x is positive, and s * a * (e^x - 1) elsewhere, with a = 1.67326 and s = 1.05070.

    Formula: `1.0507009873554805 * where(x > 0, x, 1.6732632423543772 * (exp(x) - 1))`.
    Source: `torch.nn.functional.selu`; Klambauer et al., Self-Normalizing Neural Networks, 2017.
    """
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


@builder("nn.silu")
def silu(x: Any) -> Node:
    """Return x * sigmoid(x), also called swish.

    Formula: `x / (1 + exp(-x))`.
    Source: `torch.nn.functional.silu`; Elfwing, Uchibe and Doya, 2018.
    """
    node = floating(x)
    return node * sigmoid(node)


@builder("nn.gelu")
def gelu(x: Any, approximate: str = "none") -> Node:
    """Return x times the probability that a standard normal variable lies below x.

    approximate: "none", or "tanh" for x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2.

    Formula: `x * (1 + erf(x / sqrt(2))) / 2`.
    Source: `torch.nn.functional.gelu`; Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """
    node = floating(x)
    if choice(approximate, "gelu's approximate", "none", "tanh") == "tanh":
        # (1 + tanh(u)) / 2 = sigmoid(2 u), which keeps its digits where tanh(u) is near -1.
        return node * sigmoid(node * (1.0 + 0.044715 * node * node) * (2 * math.sqrt(2 / math.pi)))
    return make(Gelu(), node)


@builder("nn.softplus")
def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Node:
    """Return log(1 + e^(beta * x)) / beta, and x where beta * x is above the threshold.

    Formula: `where(beta * x > threshold, x, log(1 + exp(beta * x)) / beta)`.
    """
    node = floating(x)
    number(beta, "softplus's beta", 0.0, open=True)
    scaled = node if beta == 1.0 else node * beta
    smooth = activation.softplus(scaled)
    return where(scaled > threshold, node, smooth if beta == 1.0 else smooth / beta)


@builder("nn.logsigmoid")
def logsigmoid(x: Any) -> Node:
    """Return log(sigmoid(x)), without overflow.

    Formula: `-log(1 + exp(-x))`.
    """
    return -activation.softplus(-floating(x))


@builder("nn.hardsigmoid")
def hardsigmoid(x: Any) -> Node:
    """Return 0 up to -3, 1 from 3 on, and x / 6 + 1 / 2 between.

    Formula: `clip(x / 6 + 1 / 2, 0, 1)`.
    """
    node = floating(x)
    return where(node <= -3, 0.0, where(node >= 3, 1.0, node * (1 / 6) + 0.5))


@builder("nn.hardswish")
def hardswish(x: Any) -> Node:
    """Return x * hardsigmoid(x).

    Formula: `x * clip(x / 6 + 1 / 2, 0, 1)`.
    Source: `torch.nn.functional.hardswish`; Howard et al., Searching for MobileNetV3, 2019.
    """
    node = floating(x)
    return node * hardsigmoid(node)


@builder("nn.mish")
def mish(x: Any) -> Node:
    """Return x * tanh(log(1 + e^x)).

    Formula: `x * tanh(log(1 + exp(x)))`.
    Source: `torch.nn.functional.mish`; Misra, Mish: A Self Regularized Non-Monotonic Activation Function, 2019.
    """
    node = floating(x)
    return node * tanh(activation.softplus(node))


@builder("nn.prelu")
def prelu(x: Any, weight: Any) -> Node:
    """Return x where it is positive, and weight * x elsewhere.

    weight: one slope, or one for each channel, which is the last axis.

    Shape: `(..., c), (c) -> (..., c)`.
    Formula: `where(x > 0, x, weight * x)`.
    Source: `torch.nn.functional.prelu`; He et al., Delving Deep into Rectifiers, 2015.
    """
    node, slope = floating(x), as_node(weight)
    if slope.ndim and slope.shape[-1] != 1:
        last_axes(node, (slope.shape[-1],), "prelu")
    return where(node > 0, node, slope * node)


class ReLU(Module):
    """max(x, 0); the derivative at 0 is 0.

    Formula: `relu(x)`.
    """

    def forward(self, x: Any) -> Node:
        return relu(x)


class LeakyReLU(Module):
    """x where it is positive, and negative_slope * x elsewhere; see `leaky_relu`.

    Formula: `leaky_relu(x, negative_slope)`.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number(negative_slope, "LeakyReLU's negative_slope")

    def forward(self, x: Any) -> Node:
        return leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """x where it is positive, and weight * x elsewhere; the slope is trained.

    weight: (num_parameters,): one slope for all, or one for each channel. Channels are the last axis, as in every image
    here; in PyTorch they are axis 1.

    Formula: `prelu(x, weight)`.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: object = None) -> None:
        self.num_parameters = whole(num_parameters, "PReLU's num_parameters", 1)
        start = np.full(self.num_parameters, number(init, "PReLU's init"), as_optional_dtype(dtype).numpy)
        self.weight: Parameter = parameter(start, "weight")

    def forward(self, x: Any) -> Node:
        return prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """x where it is positive, and alpha * (e^x - 1) elsewhere; see `elu`.

    Formula: `elu(x, alpha)`.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number(alpha, "ELU's alpha")

    def forward(self, x: Any) -> Node:
        return elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class SELU(Module):
    """The exponential linear unit that keeps mean 0 and variance 1; see `selu`.

    Formula: `selu(x)`.
    """

    def forward(self, x: Any) -> Node:
        return selu(x)


class SiLU(Module):
    """x * sigmoid(x).

    Formula: `silu(x)`.
    """

    def forward(self, x: Any) -> Node:
        return silu(x)


class GELU(Module):
    """x times the probability that a standard normal variable lies below x; approximate: "none" or "tanh".

    Formula: `gelu(x, approximate)`.
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = choice(approximate, "GELU's approximate", "none", "tanh")

    def forward(self, x: Any) -> Node:
        return gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """log(1 + e^(beta * x)) / beta, and x where beta * x is above the threshold.

    Formula: `softplus(x, beta, threshold)`.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = number(beta, "Softplus's beta", 0.0, open=True)
        self.threshold = number(threshold, "Softplus's threshold")

    def forward(self, x: Any) -> Node:
        return softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Tanh(Module):
    """Hyperbolic tangent.

    Formula: `tanh(x)`.
    """

    def forward(self, x: Any) -> Node:
        return tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x).

    Formula: `sigmoid(x)`.
    """

    def forward(self, x: Any) -> Node:
        return sigmoid(x)


class LogSigmoid(Module):
    """log(sigmoid(x)).

    Formula: `logsigmoid(x)`.
    """

    def forward(self, x: Any) -> Node:
        return logsigmoid(x)


class Hardsigmoid(Module):
    """0 up to -3, 1 from 3 on, and x / 6 + 1 / 2 between.

    Formula: `hardsigmoid(x)`.
    """

    def forward(self, x: Any) -> Node:
        return hardsigmoid(x)


class Hardswish(Module):
    """x * hardsigmoid(x).

    Formula: `hardswish(x)`.
    """

    def forward(self, x: Any) -> Node:
        return hardswish(x)


class Mish(Module):
    """x * tanh(log(1 + e^x)).

    Formula: `mish(x)`.
    """

    def forward(self, x: Any) -> Node:
        return mish(x)


class Softmax(Module):
    """exp(x) / sum(exp(x)) over an axis, the last one unless said otherwise.

    Formula: `softmax(x, dim)`.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Node:
        return softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log(softmax(x)) over an axis, the last one unless said otherwise.

    Formula: `log_softmax(x, dim)`.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Node:
        return log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
