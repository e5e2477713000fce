"""The user functions that a graph's kernels call, by names made from what the functions do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from graphc.graph import bodies
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.text import attribute_text


def native_name(function: Callable[..., Any]) -> str:
    """Return the name by which kernels call a function: equal code has equal names, so objects can be cached."""
    digest = hashlib.sha256(attribute_text(function).encode()).hexdigest()[:16]
    return f"native_{digest}"


def natives(graph: Graph) -> dict[str, Callable[..., Any]]:
    """Return the functions that the kernels of a graph, and of the loops in it, call."""
    found: dict[str, Callable[..., Any]] = {}
    waiting = [graph]
    while waiting:
        for node in waiting.pop().nodes():
            waiting += [inner for _, inner in subgraphs(node.op)]
            if node.op.is_native:
                body = node.op.lower(node.type, *(i.type for i in node.inputs))
                assert isinstance(body, bodies.Native)
                found[native_name(body.function)] = body.function
    return found
