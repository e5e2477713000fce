"""Algebra: nodes that equal simpler ones.

Legal because each rule keeps the value for every input, NaN and infinity included, so x * 0 stays (it may be NaN); what
rounding a rule may change, its docstring says. The rules stand in `algebra`, by theme.
"""

from __future__ import annotations

from functools import partial

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.reduction import Sum
from graphc.passes.algebra import REORDERING, rules_of
from graphc.passes.rewriting import rewrite


def simplify(graph: Graph) -> Graph:
    """Return the graph with every rule applied until none fits."""
    return rewrite(graph, _simpler)


def simplify_in_order(graph: Graph) -> Graph:
    """Return the graph with every rule applied that leaves sums in their order, until none fits.

    For what stood in a loop and is outside of it now: the same loop in pieces keeps it inside, and must give the same bits.
    """
    return rewrite(graph, partial(_simpler, in_order=True))


def _simpler(node: Node, *, in_order: bool = False) -> Node:
    is_ordered = in_order and type(node.op) is Sum and node.dtype.is_float
    for rule in rules_of(type(node.op)):
        new = None if is_ordered and rule in REORDERING else rule(node)
        if new is not None and new.type == node.type:
            return new
    return node
