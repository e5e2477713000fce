"""Dropping what nobody reads of scans and branches: results, histories, carries, and the operands only they needed.

A builder's scan yields every carry's history and a derivative all it can; most of it is not read. A carry stays if its
final value is read or another kept part of the step needs it. Legal always: ops are pure.
"""

from __future__ import annotations

from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node
from graphc.graph.op import Op
from graphc.graph.types import TupleType
from graphc.ops.control import Cond
from graphc.ops.nested import Item, item
from graphc.ops.scan import Scan
from graphc.passes.rewriting import with_roots
from graphc.records import record, replace


@record
class _Reduced:
    """What a node with several results becomes: op, operands before the pass, and where each kept result stands."""

    op: Op
    operands: tuple[Node, ...]
    places: dict[int, int]


def drop_unused(graph: Graph) -> Graph:
    """Return the graph with scans and branches reduced to what is read of them, in the graphs inside them too."""
    if not any(isinstance(node.op, Scan | Cond) for node in graph.nodes()):
        return graph
    plans = _plans(graph)
    done: dict[Node, Node] = {}
    for node in graph.nodes():
        if isinstance(node.op, Item) and node.inputs[0] in plans:
            place = plans[node.inputs[0]].places.get(node.op.index)
            if place is not None and node.inputs[0] in done:
                several = done[node.inputs[0]]
                done[node] = node if several is node.inputs[0] else item(several, place)
        elif node in plans:
            plan = plans[node]
            done[node] = node.on(tuple(done[operand] for operand in plan.operands), plan.op)
        elif all(operand in done for operand in node.inputs):
            done[node] = node.on(tuple(done[operand] for operand in node.inputs))
    return with_roots(graph, tuple(done[root] for root in graph.roots))


def _plans(graph: Graph) -> dict[Node, _Reduced]:
    """Return, users first, what each needed scan and branch is reduced to."""
    plans: dict[Node, _Reduced] = {}
    wanted: dict[Node, set[int]] = {}
    needed = set(graph.roots)
    for node in reversed(graph.nodes()):
        if node not in needed:
            continue
        if isinstance(node.op, Item):
            wanted.setdefault(node.inputs[0], set()).add(node.op.index)
        elif isinstance(node.op, Scan | Cond):
            assert isinstance(node.type, TupleType)
            read = wanted.get(node, set(range(len(node.type.items))))
            plans[node] = _reduced_scan(node, read) if isinstance(node.op, Scan) else _reduced_cond(node, read)
        needed.update(plans[node].operands if node in plans else node.inputs)
    return plans


def _reduced_scan(node: Node, read: set[int]) -> _Reduced:
    op = node.op
    assert isinstance(op, Scan)
    part = op.parts(node)
    kept = set(read)
    while True:  # until no kept part of the step reads a further carry
        outputs = sorted(kept)
        step = drop_unused(Graph(op.step.inputs, tuple(op.step.outputs[k] for k in outputs), (), op.step.requirements))
        reached = set(step.nodes())
        more = {k for k, carry in enumerate(part.carries) if carry in reached} - kept
        if not more:
            break
        kept |= more
    carries = [k for k in outputs if k < op.carries]
    stays = [k in kept if k < op.carries else inner in reached for k, inner in enumerate(op.step.inputs)]
    places = {old: new for new, old in enumerate(outputs)}
    if all(stays) and len(outputs) == len(op.step.outputs) and _same(step.outputs, op.step.outputs):
        return _Reduced(op, node.inputs, places)
    inputs = tuple(inner for inner, stay in zip(op.step.inputs, stays, strict=True) if stay)
    slices = sum(stays[op.carries : op.carries + op.slices])
    new = replace(op, step=Graph(inputs, step.outputs, (), op.step.requirements), carries=len(carries), slices=slices)
    return _Reduced(new, tuple(x for x, stay in zip(node.inputs, stays, strict=True) if stay), places)


def _reduced_cond(node: Node, read: set[int]) -> _Reduced:
    op = node.op
    assert isinstance(op, Cond)
    outputs = sorted(read)
    places = {old: new for new, old in enumerate(outputs)}
    branches = {
        name: drop_unused(Graph(sub.inputs, tuple(sub.outputs[k] for k in outputs), (), sub.requirements))
        for name, sub in subgraphs(op)
    }
    reached = set(walk.topological(root for sub in branches.values() for root in sub.outputs))
    stays = [inner in reached for inner in op.then.inputs]
    unchanged = all(_same(branches[name].outputs, sub.outputs) for name, sub in subgraphs(op))
    if all(stays) and len(outputs) == len(op.then.outputs) and unchanged:
        return _Reduced(op, node.inputs, places)
    inputs = tuple(inner for inner, stay in zip(op.then.inputs, stays, strict=True) if stay)
    new = Cond(**{name: Graph(inputs, sub.outputs, (), sub.requirements) for name, sub in branches.items()})
    operands = (x for x, stay in zip(node.inputs[1:], stays, strict=True) if stay)
    return _Reduced(new, (node.inputs[0], *operands), places)


def _same(first: tuple[Node, ...], second: tuple[Node, ...]) -> bool:
    return len(first) == len(second) and all(a is b for a, b in zip(first, second, strict=True))
