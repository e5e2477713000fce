"""Common subexpressions: nodes with equal ops on the same operands become one, the first in topological order.

Legal because ops are pure; what is not (random draws) is left alone. One table serves the graphs inside ops too: steps
of two scans over the same placeholders come to share their nodes, which `merge_scans` looks for.
"""

from __future__ import annotations

from typing import Any

from graphc.graph.graph import Graph
from graphc.graph.node import Leaf, Node
from graphc.graph.op import Op
from graphc.passes.rewriting import rewrite
from graphc.records import names_of


def cse(graph: Graph) -> Graph:
    """Return the graph with each subexpression once."""
    first: dict[tuple[Any, ...], Node] = {}

    def rule(node: Node) -> Node:
        if isinstance(node.op, Leaf) or not node.op.pure:
            return node
        return first.setdefault((_key(node.op), node.inputs), node)

    return rewrite(graph, rule)


def _key(op: Op) -> Any:
    """Return what equal ops share; a graph is known by its placeholders and outputs."""
    parts = [getattr(op, name) for name in names_of(op)]
    if any(isinstance(part, Graph) for part in parts):
        return type(op), *((part.inputs, part.outputs) if isinstance(part, Graph) else part for part in parts)
    return op
