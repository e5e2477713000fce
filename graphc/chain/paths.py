"""The nodes that derivatives flow through: floats on the way from `wrt` to the outputs.

Integers and booleans have none, so ops that give nothing else need no rules.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.graph.node import Node
from graphc.graph.types import TensorType
from graphc.graph.walk import dependents


def paths(outputs: Sequence[Node], wrt: Sequence[Node]) -> dict[Node, None]:
    """Return the nodes under the outputs that need one of `wrt` and are floating in part, operands first."""
    return {node: None for node in dependents(outputs, wrt) if _is_differentiable(node)}


def _is_differentiable(node: Node) -> bool:
    items = (node.type,) if isinstance(node.type, TensorType) else node.type.items
    return any(item.dtype.is_float for item in items)
