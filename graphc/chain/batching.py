"""Batching: the graph of one example rewritten to work on many at once, with the batch axis first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.graph.node import Node, made_at
from graphc.graph.walk import dependents


def batch(outputs: Sequence[Node], batched: Mapping[Node, Node]) -> list[Node | None]:
    """Return each output with a leading batch axis, given nodes that have one.

    None stands for an output that is the same for all examples and needs none of the nodes in `batched`.
    """
    known: dict[Node, Any] = dict(batched)
    for node in dependents(outputs, batched):
        if node in known:
            continue
        operands = tuple(known.get(operand) for operand in node.inputs)
        if any(operand is not None for operand in operands):
            with made_at(node.origin):
                result = node.op.vmap(node, operands)
            if result is not None:
                known[node] = result
    return [known.get(output) for output in outputs]
