"""The chain rule, backward: from the outputs to what they were made of.

Each node on a path from `wrt` to the outputs is visited once, after all its users. Its op's `vjp` turns the sum of the
cotangents that arrived into one for each operand. Nodes off those paths get no rule called, so what is not
differentiable may stand there. Griewank and Walther, Evaluating Derivatives, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from graphc.chain.paths import paths
from graphc.graph.node import Node, call, made_at

Cotangent: TypeAlias = "Node | tuple[Node | None, ...]"


def reverse(outputs: Sequence[Node], cotangents: Sequence[Node | None], wrt: Sequence[Node]) -> list[Node | None]:
    """Return the sum over outputs of cotangent * d output / d wrt, for each of `wrt`; None where no path leads.

    Where one of `wrt` is made from another, the path through it counts for both.
    """
    active = paths(outputs, wrt)
    arrived: dict[Node, list[Cotangent]] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None and output in active:
            arrived.setdefault(output, []).append(cotangent)

    wanted, found = set(wrt), dict[Node, Cotangent]()
    for node in reversed(active):
        if node not in arrived:
            continue
        with made_at(node.origin):
            cotangent = _total(arrived.pop(node))
        if cotangent is None:
            continue
        if node in wanted:
            found[node] = cotangent
        if active.keys().isdisjoint(node.inputs):
            continue
        with made_at(node.origin):  # so that an error or a kernel of a gradient names the forward line
            shares = node.op.vjp(node, cotangent)
        for operand, share in zip(node.inputs, shares, strict=True):
            if share is not None and operand in active:
                with made_at(node.origin):
                    arrived.setdefault(operand, []).append(_shaped_as(share, operand))
    results = [found.get(node) for node in wrt]
    assert not any(isinstance(result, tuple) for result in results)
    return results  # pyright: ignore[reportReturnType]


def _shaped_as(share: Cotangent, operand: Node) -> Cotangent:
    """Return a cotangent in its operand's own shape: a rule may write 3 for a size n that is required to be 3."""
    if isinstance(share, tuple) or share.shape == operand.shape:
        return share
    return call("broadcast_to", share, operand.shape)


def _total(terms: list[Cotangent]) -> Cotangent | None:
    """Return the sum of what arrived at one node, in the order of arrival; tuples are added item by item."""
    if not isinstance(terms[0], tuple):
        total = terms[0]
        for term in terms[1:]:
            total = call("add", total, term)
        return total
    columns = [[item for item in column if item is not None] for column in zip(*terms, strict=True)]  # pyright: ignore[reportArgumentType]
    totals = tuple(_total(column) if column else None for column in columns)
    return totals if any(total is not None for total in totals) else None  # pyright: ignore[reportReturnType]
