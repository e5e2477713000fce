"""Affine maps."""

from __future__ import annotations

import numpy as np

from graphc.errors import ShapeError
from graphc.graph.node import Node, Parameter, parameter
from graphc.nn.module import Module
from graphc.ops.contraction import matmul
from graphc.ops.random import draw_uniform


class Linear(Module):
    """x @ weight.T + bias over the last axis.

    weight: (out_features, in_features); bias: (out_features,) or None.
    Both start uniform within 1 / sqrt(in_features), as in PyTorch.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: object = None) -> None:
        if not (isinstance(in_features, int | np.integer) and isinstance(out_features, int | np.integer)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ShapeError(f"Linear: expected whole sizes, got {in_features!r} and {out_features!r}")
        if in_features < 0 or out_features < 0:
            raise ShapeError(f"Linear: expected sizes of 0 or more, got {in_features} and {out_features}")
        bound = in_features**-0.5 if in_features else 0.0
        self.in_features, self.out_features = in_features, out_features
        self.weight: Parameter = parameter(draw_uniform((out_features, in_features), -bound, bound, dtype), "weight")
        self.bias: Parameter | None = None
        if bias:
            self.bias = parameter(draw_uniform((out_features,), -bound, bound, dtype), "bias")

    def forward(self, x: Node) -> Node:
        if x.ndim == 0 or (isinstance(x.shape[-1], int) and x.shape[-1] != self.in_features):
            raise ShapeError(f"Linear: expected a last axis of {self.in_features}, got {x.describe()}")
        product = matmul(x, self.weight.T)
        return product if self.bias is None else product + self.bias

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
