"""Uniting scans over the same range: of one step and its derivatives, or of carries with the same rows.

Derivatives of a scan reuse its placeholders, so what they recompute of its step is the same nodes. One scan of both
does that work once. Ordinary common subexpressions cannot see this, for a carry hides what enters it. Scans that have
nothing in common become one loop if their carries have as many rows, the batch's: threads may then own these in both, and
are handed twice the work at once. (Those of gradients do only when their sums over time have been hoisted.) Legal for
scans of equal length and direction, neither of which needs the other, if each placeholder that they share has one role:
a carry with one initial value and one next value, or a slice or shared operand with one array.
"""

from __future__ import annotations

from graphc.dims import Dim
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node
from graphc.ops.nested import Item, item
from graphc.ops.scan import Carry, Scan, assemble
from graphc.passes.rewriting import with_roots, with_subgraphs


def merge_scans(graph: Graph) -> Graph:
    """Return the graph with such scans united, in the graphs inside ops too."""
    inner: dict[Graph, Graph] = {}
    nested = False
    for node in graph.nodes():
        for _, sub in subgraphs(node.op):
            inner[sub] = merge_scans(sub)
            nested |= inner[sub] is not sub
    if nested:
        graph = _rebuilt(graph, inner, {})
    groups = _groups(graph)
    return _rebuilt(graph, {}, groups) if groups else graph


def _groups(graph: Graph) -> dict[Node, list[Node]]:
    """Return, for each scan to be united with others, all of them, in topological order."""
    scans = [node for node in graph.nodes() if isinstance(node.op, Scan)]
    if len(scans) < 2:
        return {}
    bit = {node: 1 << k for k, node in enumerate(scans)}
    needs: dict[Node, int] = {}  # for each node, the scans it needs, as bits
    for node in graph.nodes():
        needs[node] = bit.get(node, 0)
        for operand in node.inputs:
            needs[node] |= needs[operand]

    groups: list[list[Node]] = []
    for scan in scans:
        for group in groups:
            together = sum(bit[member] for member in group)
            apart = not needs[scan] & together and not any(needs[member] & bit[scan] for member in group)
            alike = _have_equal_rows(group[0], scan) or any(_share(member, scan) for member in group)
            if apart and alike and all(_fit(member, scan) for member in group):
                group.append(scan)
                # What needed one of them now needs all, and what those need: a later union must not close a circle.
                together |= bit[scan]
                whole = together | needs[scan]
                for member in group:
                    whole |= needs[member]
                for node, need in needs.items():
                    if need & together:
                        needs[node] = need | whole
                for member in group:
                    needs[member] = whole
                break
        else:
            groups.append([scan])
    return {member: group for group in groups if len(group) > 1 for member in group}


def _roles(node: Node) -> dict[Node, tuple[object, ...]]:
    """Return what stands behind each placeholder of a scan."""
    assert isinstance(node.op, Scan)
    part = node.op.parts(node)
    roles: dict[Node, tuple[object, ...]] = {}
    for inner, initial, new in zip(part.carries, part.initial, part.new, strict=True):
        roles[inner] = "carry", id(initial), id(new)
    roles.update((inner, ("slice", id(array))) for inner, array in zip(part.slices, part.arrays, strict=True))
    roles.update((inner, ("shared", id(operand))) for inner, operand in zip(part.shared, part.operands, strict=True))
    return roles


def _fit(first: Node, second: Node) -> bool:
    a, b = first.op, second.op
    assert isinstance(a, Scan)
    assert isinstance(b, Scan)
    if (a.length, a.reverse, a.lean, a.piece) != (b.length, b.reverse, b.lean, b.piece):
        return False
    roles, others = _roles(first), _roles(second)
    return all(others.get(inner, role) == role for inner, role in roles.items())


def _share(first: Node, second: Node) -> bool:
    others = _roles(second)
    return any(inner in others and role[0] != "shared" for inner, role in _roles(first).items())


def _have_equal_rows(first: Node, second: Node) -> bool:
    """Whether all carries of both are arrays of one leading size."""
    leading: set[Dim | None] = set()
    for node in (first, second):
        assert isinstance(node.op, Scan)
        carries = node.op.parts(node).carries
        leading.update(carry.shape[0] if carry.shape else None for carry in carries)
        if not carries:
            return False
    return len(leading) == 1 and None not in leading


def _rebuilt(graph: Graph, inner: dict[Graph, Graph], groups: dict[Node, list[Node]]) -> Graph:
    done: dict[Node, Node] = {}
    united: dict[Node, tuple[Node, list[int]]] = {}  # for each old scan: the new one, and where its results stand there
    stack = list(reversed(graph.roots))
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        group = groups.get(node, [node])
        pending = [operand for member in group for operand in member.inputs if operand not in done]
        if pending:
            stack.extend(reversed(pending))
            continue
        stack.pop()
        if len(group) > 1:
            merged, places = _united(group, done)
            for member, where in zip(group, places, strict=True):
                done[member] = merged
                united[member] = merged, where
        elif isinstance(node.op, Item) and node.inputs[0] in united:
            merged, where = united[node.inputs[0]]
            done[node] = item(merged, where[node.op.index])
        else:
            op = with_subgraphs(node.op, inner) if inner else None
            done[node] = node.on(tuple(done[operand] for operand in node.inputs), op)
    return with_roots(graph, tuple(done[root] for root in graph.roots))


def _united(group: list[Node], done: dict[Node, Node]) -> tuple[Node, list[list[int]]]:
    """Return one scan for all of the group, and for each member where its outputs stand among the new one's."""
    carries: dict[Node, Carry] = {}
    slices: dict[Node, Node] = {}
    shared: dict[Node, Node] = {}
    results: dict[Node, None] = {}
    parts = [node.op.parts(node) for node in group if isinstance(node.op, Scan)]
    for part in parts:
        for inner, initial, new in zip(part.carries, part.initial, part.new, strict=True):
            carries.setdefault(inner, Carry(inner, done[initial], new, keep=False))
        slices.update((inner, done[array]) for inner, array in zip(part.slices, part.arrays, strict=True))
        shared.update((inner, done[operand]) for inner, operand in zip(part.shared, part.operands, strict=True))
        results.update(dict.fromkeys(part.results))
    first = group[0].op
    assert isinstance(first, Scan)
    merged = assemble(
        list(carries.values()),
        list(slices.items()),
        list(shared.items()),
        list(results),
        first.length,
        first.reverse,
        first.lean,
        first.piece,
    )
    at = {inner: k for k, inner in enumerate(carries)}
    stacked = {result: len(carries) + k for k, result in enumerate(results)}
    return merged, [[*(at[inner] for inner in part.carries), *(stacked[r] for r in part.results)] for part in parts]
