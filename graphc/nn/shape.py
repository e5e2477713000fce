"""Modules that change shapes."""

from __future__ import annotations

from graphc import dims
from graphc.graph.node import Node
from graphc.nn.module import Module
from graphc.ops.movement import reshape
from graphc.ops.operands import normalize_axis


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Node) -> Node:
        first, last = (normalize_axis(axis, x.ndim) for axis in (self.start_dim, self.end_dim))
        middle = dims.product(x.shape[first : last + 1])
        return reshape(x, (*x.shape[:first], middle, *x.shape[last + 1 :]))
