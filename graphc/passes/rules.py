"""Rules of a user's own vanish: once derivatives are taken, the nodes that carry them are identities.

Legal because passes run on a finished graph: nothing asks for a derivative after them.
"""

from __future__ import annotations

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.custom_vjp import CustomVjp
from graphc.ops.nested import Item
from graphc.passes.rewriting import rewrite


def drop_rules(graph: Graph) -> Graph:
    """Return the graph without `custom_vjp`."""

    def rule(node: Node) -> Node:
        if isinstance(node.op, Item) and isinstance(node.inputs[0].op, CustomVjp):
            return node.inputs[0].inputs[node.op.index]
        return node

    return rewrite(graph, rule)
