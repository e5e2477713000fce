"""The chain rule, forward: tangents carried from `wrt` to the outputs beside the values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.chain.paths import paths
from graphc.graph.node import Node, call, made_at


def forward(outputs: Sequence[Node], wrt: Sequence[Node], tangents: Sequence[Node | None]) -> list[Node | None]:
    """Return sum over wrt of d output / d wrt * tangent, for each output; None where no path leads.

    Where one of `wrt` is made from another, its tangent is added to what the other's brings: `reverse` transposed.
    """
    known: dict[Node, Any] = {}
    for node, tangent in zip(wrt, tangents, strict=True):
        if tangent is not None:
            known[node] = call("add", known[node], tangent) if node in known else tangent
    given = dict(known)
    order = paths(outputs, wrt)
    read = set(outputs)
    for node in reversed(order):
        if node in read:
            read.update(node.op.tangents_read(node))
    for node in order:
        if node not in read or not any(operand in known for operand in node.inputs):
            continue
        with made_at(node.origin):
            tangent = node.op.jvp(node, tuple(known.get(operand) for operand in node.inputs))
            if tangent is not None and node in given:
                tangent = call("add", given[node], tangent)
        if tangent is not None:
            known[node] = tangent
    return [known.get(output) for output in outputs]
