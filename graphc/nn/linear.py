"""Affine maps, of one operand and of two.

Gradient: the chain rule's, through the formula.
Source: `torch.nn.{name}`.
"""

from __future__ import annotations

from typing import Any

from graphc.graph.node import Node, Parameter, builder, parameter
from graphc.nn.arguments import last_axes, whole
from graphc.nn.layouts import ReadsFeatures
from graphc.nn.module import Module
from graphc.ops.contraction import matmul
from graphc.ops.einsum import einsum
from graphc.ops.operands import as_node
from graphc.ops.random import draw_uniform


@builder("nn.linear")
def linear(x: Any, weight: Any, bias: Any = None) -> Node:
    """Return x @ weight.T + bias. x: (..., in), weight: (out, in), bias: (out,) or None; the result: (..., out).

    Shape: `(..., i), (o, i) -> (..., o)`.
    Formula: `x @ weight.T`, plus the bias.
    """
    product = matmul(x, as_node(weight).T)
    return product if bias is None else product + bias


@builder("nn.bilinear")
def bilinear(x1: Any, x2: Any, weight: Any, bias: Any = None) -> Node:
    """Return sum(x1[..., i] * weight[o, i, j] * x2[..., j]) + bias[o] over i and j.

    x1: (..., in1), x2: (..., in2) with equal leading dimensions, weight: (out, in1, in2), bias: (out,) or None; the
    result: (..., out).

    Shape: `(..., i), (..., j), (o, i, j) -> (..., o)`.
    Formula: `einsum("...i,oij,...j->...o", x1, weight, x2)`, plus the bias.
    """
    product = einsum("...i,oij,...j->...o", x1, weight, x2)
    return product if bias is None else product + bias


class Linear(ReadsFeatures):
    """x @ weight.T + bias over the last axis.

    weight: (out_features, in_features); bias: (out_features,) or None.
    Both start uniform within 1 / sqrt(in_features), as in PyTorch.

    Shape: `(..., in_features) -> (..., out_features)`.
    Formula: `linear(x, weight, bias)`.
    """

    by_feature = ("weight",)

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: object = None) -> None:
        self.in_features = whole(in_features, "Linear's in_features")
        self.out_features = whole(out_features, "Linear's out_features")
        bound = self.in_features**-0.5 if self.in_features else 0.0
        shape = (self.out_features, self.in_features)
        self.weight: Parameter = parameter(draw_uniform(shape, -bound, bound, dtype), "weight")
        self.bias: Parameter | None = None
        if bias:
            self.bias = parameter(draw_uniform(shape[:1], -bound, bound, dtype), "bias")

    def forward(self, x: Any) -> Node:
        node = as_node(x)
        last_axes(node, (self.in_features,), "Linear")
        self.sees(node)
        return linear(node, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """x1 @ weight[o] @ x2 + bias[o] for each output o, over the last axes.

    weight: (out_features, in1_features, in2_features); bias: (out_features,) or None.
    Both start uniform within 1 / sqrt(in1_features), as in PyTorch.

    Shape: `(..., in1_features), (..., in2_features) -> (..., out_features)`.
    Formula: `bilinear(x1, x2, weight, bias)`.
    """

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, dtype: object = None
    ) -> None:
        self.in1_features = whole(in1_features, "Bilinear's in1_features", 1)
        self.in2_features = whole(in2_features, "Bilinear's in2_features")
        self.out_features = whole(out_features, "Bilinear's out_features")
        bound = self.in1_features**-0.5
        shape = (self.out_features, self.in1_features, self.in2_features)
        self.weight: Parameter = parameter(draw_uniform(shape, -bound, bound, dtype), "weight")
        self.bias: Parameter | None = None
        if bias:
            self.bias = parameter(draw_uniform(shape[:1], -bound, bound, dtype), "bias")

    def forward(self, x1: Any, x2: Any) -> Node:
        left, right = as_node(x1), as_node(x2)
        last_axes(left, (self.in1_features,), "Bilinear's first input")
        last_axes(right, (self.in2_features,), "Bilinear's second input")
        return bilinear(left, right, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
