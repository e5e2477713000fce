"""The verifier: whether a graph is one that passes may take and the scheduler may lower.

Run between passes in tests and under GRAPHC_VERIFY=1. It walks the graph once, and the graphs inside loops likewise.
"""

from __future__ import annotations

from typing import NoReturn

from graphc.errors import GraphcError, VerificationError
from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Leaf, Node
from graphc.graph.op import infer
from graphc.graph.types import NodeType, TensorType

STORED = ("parameter", "state")


def verify(graph: Graph) -> Graph:
    """Return the graph if it is valid; raise VerificationError, with the node at fault and what surrounds it, if not.

    Checked: operands come before their users; each type is what the op infers; requirements are kept; leaves are inputs
    of this graph, parameters, states or the training leaf; the graphs in an op's fields are closed and valid.
    """
    _verify(graph, nested=False)
    return graph


def _verify(graph: Graph, nested: bool) -> None:
    inputs = set(graph.inputs)
    kept = set(graph.requirements or ())
    seen: set[Node] = set()
    for node in walk.topological(graph.roots):
        if any(operand not in seen for operand in node.inputs):
            _fail(graph, node, "is read before it is made: the graph has a cycle")
        seen.add(node)
        if isinstance(node.op, Leaf):
            allowed = node in inputs or node.op.kind == "training" or (not nested and node.op.kind in STORED)
            if not allowed:
                _fail(graph, node, "is a leaf that this graph does not know")
            continue
        try:
            expected, _ = infer(node.op, tuple(operand.type for operand in node.inputs))
        except GraphcError as error:
            _fail(graph, node, f"is not well typed: {error}")
        if not _same(expected, node.type):
            _fail(graph, node, f"has type {node.type}, but its op gives {expected}")
        if not kept.issuperset(node.requirements):
            _fail(graph, node, "has requirements that the graph does not carry")
        for _, inner in subgraphs(node.op):
            _verify(inner, nested=True)
    for target, value in graph.updates:
        if target.type != value.type:
            _fail(graph, value, f"updates {target.describe()} of another type")


def _same(expected: NodeType, actual: NodeType) -> bool:
    if isinstance(expected, TensorType) or isinstance(actual, TensorType):
        return expected == actual
    return len(expected.items) == len(actual.items) and all(map(_same, expected.items, actual.items))


def _fail(graph: Graph, node: Node, fault: str) -> NoReturn:
    fragment = Graph((), (node,), requirements=())
    lines = str(fragment).splitlines()
    shown = "\n".join(lines[-12:])
    raise VerificationError(f"{node.describe()} {fault}\n{shown}")
