"""Uniting carries of a loop that are equal at every step: what two gradients of one loss carry backward, for example.

Carries are equal if they begin with one value and, taken to be equal, become equal: so by induction they are. The largest
such classes are found by assuming that all which begin alike are one and splitting what does not stay together. Slices of
one array, and operands that are one, count as one, too. Legal always: the same values are computed, once.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node, made_at
from graphc.ops.nested import Item, item
from graphc.ops.scan import Carry, Parts, Scan, assemble
from graphc.passes.cse import cse
from graphc.passes.rewriting import with_roots, with_subgraphs


def unite_carries(graph: Graph) -> Graph:
    """Return the graph with such carries united, in the graphs inside ops too."""
    inner = {sub: unite_carries(sub) for node in graph.nodes() for _, sub in subgraphs(node.op)}
    done: dict[Node, Node] = {}
    united: dict[Node, list[Node]] = {}
    for node in graph.nodes():
        if isinstance(node.op, Item) and node.inputs[0] in united:
            done[node] = united[node.inputs[0]][node.op.index]
            continue
        op = with_subgraphs(node.op, inner) if inner else None
        done[node] = node.on(tuple(done[operand] for operand in node.inputs), op)
        if isinstance(node.op, Scan) and node.op.carries > 1:
            with made_at(node.origin):
                outputs = _united(done[node])
            if outputs is not None:
                united[node] = outputs
    return with_roots(graph, tuple(done[root] for root in graph.roots))


def _united(node: Node) -> list[Node] | None:
    """Return the outputs of a scan with fewer carries, or None where all differ."""
    op = node.op
    assert isinstance(op, Scan)
    part = op.parts(node)
    alike = _first_of(zip(part.initial, part.carries, strict=True))
    if len(set(alike.values())) == op.carries:
        return None
    given = _first_of(zip(part.arrays, part.slices, strict=True)) | _first_of(
        zip(part.operands, part.shared, strict=True)
    )
    outputs = op.step.outputs
    while True:  # until all that are taken to be equal become equal
        outputs = _with(op.step, given | alike)
        after = {carry: (alike[carry], new) for carry, new in zip(part.carries, outputs, strict=False)}
        split = _first_of((key, carry) for carry, key in after.items())
        if all(split[carry] is first for carry, first in alike.items()):
            break
        alike = split
    kept = [k for k, carry in enumerate(part.carries) if alike[carry] is carry]
    return None if len(kept) == op.carries else _rebuilt(op, part, outputs, kept, alike, given)


def _rebuilt(
    op: Scan, part: Parts, outputs: tuple[Node, ...], kept: list[int], alike: dict[Node, Node], given: dict[Node, Node]
) -> list[Node]:
    made = assemble(
        [Carry(part.carries[k], part.initial[k], outputs[k], keep=False) for k in kept],
        [(x, array) for x, array in zip(part.slices, part.arrays, strict=True) if given[x] is x],
        [(x, operand) for x, operand in zip(part.shared, part.operands, strict=True) if given[x] is x],
        outputs[op.carries :],
        op.length,
        op.reverse,
        op.lean,
        op.piece,
    )
    place = {part.carries[k]: number for number, k in enumerate(kept)}
    finals = [item(made, place[alike[carry]]) for carry in part.carries]
    return [*finals, *(item(made, len(kept) + k) for k in range(len(part.results)))]


def _first_of(pairs: Iterable[tuple[object, Node]]) -> dict[Node, Node]:
    """Return, for each placeholder of pairs (key, placeholder), the first one with the same key."""
    first: dict[object, Node] = {}
    return {inner: first.setdefault(key, inner) for key, inner in pairs}


def _with(step: Graph, same: dict[Node, Node]) -> tuple[Node, ...]:
    """Return the outputs of a step with placeholders replaced, equal work united."""
    outputs = walk.replace(step.outputs, {old: new for old, new in same.items() if old is not new})
    return cse(Graph(step.inputs, outputs, (), step.requirements)).outputs
