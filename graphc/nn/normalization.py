"""Normalisation over the features of each example.

Shape: `(...) -> (...)`.
Gradient: the chain rule's, through the formula.
Source: `torch.nn.{name}`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.graph.copies import built_once
from graphc.graph.node import Node, Parameter, builder, parameter
from graphc.graph.types import shape_text
from graphc.nn.arguments import differ, last_axes, number, sizes
from graphc.nn.module import Module
from graphc.ops.custom_vjp import custom_vjp
from graphc.ops.exponential import rsqrt
from graphc.ops.operands import as_node, as_optional_dtype, floating
from graphc.ops.reduction import mean


@builder("nn.layer_norm")
def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Node:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias; mean and variance are over the last axes of each example.

    normalized_shape: the sizes of those axes, or that of the last one; weight, bias: of that shape, or None.

    Formula: `(x - x.mean(-1, keepdims=True)) / sqrt(x.var(-1, keepdims=True) + eps)`, times weight, plus bias; over
    one axis.
    Source: `torch.nn.functional.layer_norm`; Ba, Kiros and Hinton, Layer Normalization, 2016.
    """
    node, axes = _normalized(x, normalized_shape, "layer_norm")
    shift = None if bias is None else _of_shape(bias, node, axes, "bias")
    return _of_layer(node, axes, None if weight is None else _of_shape(weight, node, axes, "weight"), shift, eps)


@built_once
def _of_layer(node: Node, axes: tuple[int, ...], weight: Node | None, bias: Node | None, eps: float) -> Node:
    def parts(x: Node) -> tuple[Node, Node]:
        centred = x - mean(x, axes, keepdims=True)
        return centred, rsqrt(mean(centred * centred, axes, keepdims=True) + eps)

    def unit(x: Node) -> Node:
        centred, inverse = parts(x)
        return centred * inverse

    def of_input(inputs: tuple[Node, ...], output: Node, cotangent: Node) -> Node:
        # The chain rule would go through the mean twice, one pass over the row after another: here one pass makes both sums.
        centred, inverse = parts(*inputs)
        average, along = (mean(one, axes, keepdims=True) for one in (cotangent, cotangent * centred))
        return (cotangent - average - centred * (along * inverse * inverse)) * inverse

    scaled = custom_vjp(unit, of_input)(node)
    scaled = scaled if weight is None else scaled * weight
    return scaled if bias is None else scaled + bias


@builder("nn.rms_norm")
def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Node:
    """Return x / sqrt(mean of x^2 + eps) * weight; the mean is over the last axes of each example.

    normalized_shape: the sizes of those axes, or that of the last one; weight: of that shape, or None. eps: the
    distance from 1 to the next number of x's dtype, unless given.

    Formula: `x / sqrt((x**2).mean(-1, keepdims=True) + eps)`, times weight; over one axis.
    Source: `torch.nn.functional.rms_norm`; Zhang and Sennrich, Root Mean Square Layer Normalization, 2019.
    """
    node, axes = _normalized(x, normalized_shape, "rms_norm")
    smallest = float(np.finfo(node.dtype.numpy).eps) if eps is None else eps
    return _of_scale(node, axes, None if weight is None else _of_shape(weight, node, axes, "weight"), smallest)


@built_once
def _of_scale(node: Node, axes: tuple[int, ...], weight: Node | None, eps: float) -> Node:
    def inverse_of(x: Node) -> Node:
        return rsqrt(mean(x * x, axes, keepdims=True) + eps)

    def unit(x: Node) -> Node:
        return x * inverse_of(x)

    def of_input(inputs: tuple[Node, ...], output: Node, cotangent: Node) -> Node:
        (x,), inverse = inputs, inverse_of(*inputs)
        along = mean(cotangent * x, axes, keepdims=True)
        return (cotangent - x * (along * inverse * inverse)) * inverse

    scaled = custom_vjp(unit, of_input)(node)
    return scaled if weight is None else scaled * weight


def _of_shape(value: Any, node: Node, axes: tuple[int, ...], what: str) -> Node:
    given, wanted = as_node(value), tuple(node.shape[axis] for axis in axes)
    if given.ndim != len(wanted) or any(map(differ, given.shape, wanted)):
        raise ShapeError(
            f"expected a {what} of shape {shape_text(wanted)}, that of the normalised axes, got {given.type}"
        )
    return given


def _normalized(x: Any, normalized_shape: Any, what: str) -> tuple[Node, tuple[int, ...]]:
    node, shape = floating(x), sizes(normalized_shape, f"{what}'s normalized_shape")
    last_axes(node, shape, what)
    return node, tuple(range(node.ndim - len(shape), node.ndim))


class _Norm(Module):
    """What both share: the shape, and a weight of ones."""

    def __init__(self, normalized_shape: Any, eps: float | None, elementwise_affine: bool, dtype: object) -> None:
        kind = type(self).__name__
        self.normalized_shape = sizes(normalized_shape, f"{kind}'s normalized_shape")
        self.eps = None if eps is None else number(eps, f"{kind}'s eps", 0.0)
        self.elementwise_affine = elementwise_affine
        self.weight: Parameter | None = None
        if elementwise_affine:
            self.weight = parameter(np.ones(self.normalized_shape, as_optional_dtype(dtype).numpy), "weight")

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LayerNorm(_Norm):
    """The last axes of each example shifted to mean 0 and scaled to variance 1, then by weight and bias.

    weight: normalized_shape, ones at the start, or None; bias: normalized_shape, zeros at the start, or None. The
    variance is over the count, and eps is added to it. See `layer_norm`.

    Formula: `layer_norm(x, normalized_shape, weight, bias, eps)`.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: object = None,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, dtype)
        self.bias: Parameter | None = None
        if elementwise_affine and bias:
            self.bias = parameter(np.zeros(self.normalized_shape, as_optional_dtype(dtype).numpy), "bias")

    def forward(self, x: Any) -> Node:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps or 0.0)


class RMSNorm(_Norm):
    """The last axes of each example divided by their root mean square, then scaled by weight.

    weight: normalized_shape, ones at the start, or None. eps is added to the mean of the squares: the distance from 1 to
    the next number of the dtype, unless given. See `rms_norm`.

    Formula: `rms_norm(x, normalized_shape, weight, eps)`.
    """

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True, dtype: object = None
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, dtype)

    def forward(self, x: Any) -> Node:
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)
