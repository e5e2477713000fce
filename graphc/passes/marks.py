"""Marks vanish, and the phase is known: `training()` becomes true or false.

Marks are identities: of carried updates, of derivatives that depend on the phase, of rules of a user's own. Legal once the
updates are collected, for a compilation has one phase, and nothing asks for a derivative of a graph that is being compiled.
"""

from __future__ import annotations

from graphc.errors import GraphError
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Leaf, Node, constant
from graphc.ops.custom_vjp import CustomVjp
from graphc.ops.gradient_control import OfPhase, WithUpdate
from graphc.ops.nested import Item
from graphc.passes.rewriting import rewrite


def drop_marks(graph: Graph, training: bool) -> Graph:
    """Return the graph of one phase, without marks."""

    def rule(node: Node) -> Node:
        match node.op:
            case OfPhase() | WithUpdate():
                return node.inputs[0]
            case Item(index) if isinstance(node.inputs[0].op, CustomVjp):
                return node.inputs[0].inputs[index]
            case Leaf("training"):
                return constant(training)
            case _:
                return node

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
