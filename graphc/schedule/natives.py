"""The user functions that a graph's kernels call, by names made from what the functions do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.graph import bodies
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.text import function_name
from graphc.ops.user import UserFunction


def natives(graph: Graph) -> dict[str, Callable[..., Any]]:
    """Return the functions that the kernels of a graph, and of the loops in it, call."""
    found: dict[str, Callable[..., Any]] = {}
    waiting = [graph]
    while waiting:
        for node in waiting.pop().nodes():
            waiting += [inner for _, inner in subgraphs(node.op)]
            if isinstance(node.op, UserFunction):
                found[node.op.kernel_name] = node.op.lanewise
            elif node.op.is_native:
                body = node.op.lower(node.type, *(i.type for i in node.inputs))
                assert isinstance(body, bodies.Native)
                found[function_name(body.function, "native")] = body.function
    return found
