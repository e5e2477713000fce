"""Activations as modules."""

from __future__ import annotations

from graphc.graph.node import Node
from graphc.nn.module import Module
from graphc.ops.activation import relu, sigmoid
from graphc.ops.trigonometric import tanh


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Node) -> Node:
        return relu(x)


class Tanh(Module):
    """Hyperbolic tangent."""

    def forward(self, x: Node) -> Node:
        return tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def forward(self, x: Node) -> Node:
        return sigmoid(x)
