"""Walks over graphs: iterative, linear in the number of edges, in an order that depends on the graph alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import cast

from graphc.graph.node import Node


def topological(roots: Iterable[Node], stop: Collection[Node] = ()) -> list[Node]:
    """Return every node that the roots need, operands first; nodes in `stop` (a set or dict) are not entered."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Node | None] = [*reversed(list(roots))]
    while stack:
        node = stack.pop()
        if node is None:  # all that the node below needs stands in the order
            order.append(cast(Node, stack.pop()))
        elif node not in seen:
            seen.add(node)
            if not node.inputs or node in stop:
                order.append(node)
                continue
            stack += (node, None)
            for operand in reversed(node.inputs):
                if operand not in seen:
                    stack.append(operand)
    return order


def users(nodes: Iterable[Node]) -> dict[Node, list[Node]]:
    """Return, for each of these nodes, those of them that read it (once for each use)."""
    found: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in found:
        for operand in node.inputs:
            if operand in found:
                found[operand].append(node)
    return found


def dependents(roots: Iterable[Node], sources: Iterable[Node]) -> dict[Node, None]:
    """Return the nodes under the roots that need a source (sources included), operands first."""
    wanted = set(sources)
    found: dict[Node, None] = {}
    for node in topological(roots):
        if node in wanted or not found.keys().isdisjoint(node.inputs):
            found[node] = None
    return found


def rewrite(roots: Iterable[Node], visit: Callable[[Node], Node]) -> tuple[Node, ...]:
    """Rebuild what the roots need, operands first: `visit` gets a node on new inputs and returns what replaces it."""
    kept = tuple(roots)
    done: dict[Node, Node] = {}
    for node in topological(kept):
        done[node] = visit(node.on(tuple(done[operand] for operand in node.inputs)))
    return tuple(done[root] for root in kept)


def replace(roots: Iterable[Node], new: Mapping[Node, Node]) -> tuple[Node, ...]:
    """Put other nodes in the place of some; what does not depend on them stays the same object."""
    kept = tuple(roots)
    done: dict[Node, Node] = {}
    for node in topological(kept, stop=new.keys()):
        done[node] = new[node] if node in new else node.on(tuple(done[operand] for operand in node.inputs))
    return tuple(done[root] for root in kept)
