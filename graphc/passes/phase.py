"""Phase folding: `training()` becomes true or false. Legal always: a compilation has one phase."""

from __future__ import annotations

from graphc.errors import GraphError
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Leaf, Node, constant
from graphc.ops.custom_vjp import CustomVjp
from graphc.ops.gradient_control import OfPhase
from graphc.passes.rewriting import rewrite


def fold_phase(graph: Graph, training: bool) -> Graph:
    """Return the graph of one phase."""

    def rule(node: Node) -> Node:
        if isinstance(node.op, OfPhase):
            return node.inputs[0]
        return constant(training) if isinstance(node.op, Leaf) and node.op.kind == "training" else node

    return rewrite(graph, rule)


def refuse_unknown_phase(graph: Graph) -> None:
    """Raise GraphError where a derivative depends on a phase that nobody named."""
    for node in graph.nodes():
        if isinstance(node.op, OfPhase):
            raise GraphError(
                "a derivative differs between training and evaluation (dropout, batch normalisation and the like read "
                "graphc.training()), and neither updates= nor training= says which is meant\n"
                f"  give training=True or training=False to compile\n  {node.describe()}"
            )
        # A rule that was not asked for is not computed; where it was, what came of it is marked.
        for _, sub in () if isinstance(node.op, CustomVjp) else subgraphs(node.op):
            refuse_unknown_phase(sub)
