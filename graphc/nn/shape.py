"""Modules that change shapes, or nothing.

Source: `torch.nn.{name}`.
"""

from __future__ import annotations

from typing import Any

from graphc import dims
from graphc.errors import ShapeError
from graphc.graph.node import Node
from graphc.nn.arguments import whole
from graphc.nn.module import Module
from graphc.ops.movement import reshape
from graphc.ops.operands import as_node, normalize_axis


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` as one; the axis of the batch stays, unless said otherwise.

    Shape: x's, with the sizes from start_dim to end_dim multiplied into one.
    Formula: `reshape(x, (*x.shape[:start_dim], -1, *x.shape[end_dim + 1:]))`.
    Gradient: by x, g in x's shape.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = whole(start_dim, "Flatten's start_dim", None)
        self.end_dim = whole(end_dim, "Flatten's end_dim", None)

    def forward(self, x: Any) -> Node:
        node = as_node(x)
        first, last = (normalize_axis(axis, node.ndim) for axis in (self.start_dim, self.end_dim))
        if first > last:
            raise ShapeError(f"Flatten: expected start_dim before end_dim, got {first} and {last} of {node.type}")
        middle = dims.product(node.shape[first : last + 1])
        return reshape(node, (*node.shape[:first], middle, *node.shape[last + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """The operand as it is; arguments of `__init__` are ignored, so that it can stand for any module.

    Shape: `(...) -> (...)`.
    Formula: `x`.
    Gradient: by x, g.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Any) -> Node:
        return as_node(x)
