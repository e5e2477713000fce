"""Phase folding: `training()` becomes true or false. Legal always: a compilation has one phase."""

from __future__ import annotations

from graphc.graph.graph import Graph
from graphc.graph.node import Leaf, Node, constant
from graphc.passes.rewriting import rewrite


def fold_phase(graph: Graph, training: bool) -> Graph:
    """Return the graph of one phase."""

    def rule(node: Node) -> Node:
        return constant(training) if isinstance(node.op, Leaf) and node.op.kind == "training" else node

    return rewrite(graph, rule)
