"""Trigonometric and hyperbolic functions and their inverses; angles are in radians."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.graph.node import Node, builder, make
from graphc.ops.elementwise import Elementwise
from graphc.ops.operands import floating


class Tanh(Elementwise):
    """Hyperbolic tangent."""

    name = "tanh"
    accepts = "f"
    meaning = np.tanh

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (1.0 - node * node)


@builder("tanh")
def tanh(x: Any) -> Node:
    """Return the hyperbolic tangent."""
    return make(Tanh(), floating(x))
