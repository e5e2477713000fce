"""A sum of disjoint pads becomes one pad of a concat.

The gradient of T slices of one array is a sum of T arrays, each zero but for its slice; that would cost T full arrays.
Legal where the pads have value 0, no interior, agree on all axes but one, and cover that one without overlap. What is
-0.0 stays so, where the sum, by adding 0.0, would have made 0.0 of it.
"""

from __future__ import annotations

from graphc.dims import Dim
from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node, call, made_at, make
from graphc.ops.arithmetic import Add
from graphc.ops.slicing import Pad
from graphc.passes.rewriting import with_roots, with_subgraphs


def join_pads(graph: Graph) -> Graph:
    """Return the graph with such sums joined, in the graphs inside ops too."""
    inner = {sub: join_pads(sub) for node in graph.nodes() for _, sub in subgraphs(node.op)}
    users = walk.users(graph.nodes())
    roots = set(graph.roots)
    done: dict[Node, Node] = {}
    for node in graph.nodes():
        done[node] = node.on(tuple(done[x] for x in node.inputs), with_subgraphs(node.op, inner) if inner else None)
        # Only the top of a tree of additions is looked at, so a sum of T terms is read once.
        if isinstance(node.op, Add) and (node in roots or not _is_inside(node, users)):
            with made_at(node.origin):
                done[node] = _joined(node, users, roots, done)
    return with_roots(graph, tuple(done[root] for root in graph.roots))


def _is_inside(node: Node, users: dict[Node, list[Node]]) -> bool:
    return len(users[node]) == 1 and isinstance(users[node][0].op, Add)


def _joined(top: Node, users: dict[Node, list[Node]], roots: set[Node], done: dict[Node, Node]) -> Node:
    terms: list[Node] = []
    stack = [top]
    while stack:
        node = stack.pop()
        if node is top or (isinstance(node.op, Add) and node not in roots and _is_inside(node, users)):
            stack.extend(reversed(node.inputs))
        else:
            terms.append(done[node])
    pads = [term for term in terms if isinstance(term.op, Pad) and term.op.value == 0 and not any(term.op.interior)]
    groups: dict[tuple[object, ...], list[Node]] = {}
    for pad in pads:
        groups.setdefault(_elsewhere(pad), []).append(pad)
    joined = {id(pad): whole for group in groups.values() if len(group) > 1 for pad, whole in _whole(group)}
    if not joined:
        return done[top]
    results = dict.fromkeys(joined.get(id(term), term) for term in terms)
    total, *rest = results
    for term in rest:
        total = total + term
    # A term that occurs twice counts twice.
    seen: set[Node] = set()
    for term in terms:
        if id(term) not in joined:
            if term in seen:
                total = total + term
            seen.add(term)
    return total


def _axis(pad: Node) -> int | None:
    """Return the one axis along which a node is padded."""
    assert isinstance(pad.op, Pad)
    axes = [k for k, (low, high) in enumerate(zip(pad.op.low, pad.op.high, strict=True)) if low != 0 or high != 0]
    return axes[0] if len(axes) == 1 else None


def _elsewhere(pad: Node) -> tuple[object, ...]:
    axis = _axis(pad)
    return (id(pad),) if axis is None else (axis,)


def _whole(group: list[Node]) -> list[tuple[Node, Node]]:
    """Return each pad of a group with the joined node that stands for it; nothing where two may overlap."""
    if len(set(group)) < len(group):
        return []
    axis = _axis(group[0])
    assert axis is not None
    by_start: dict[Dim, Node] = {}
    for pad in group:
        assert isinstance(pad.op, Pad)
        if pad.op.low[axis] in by_start:
            return []
        by_start[pad.op.low[axis]] = pad
    starts = list(by_start)
    if all(isinstance(start, int) for start in starts):
        starts.sort()  # pyright: ignore[reportCallIssue]
    else:
        starts = _chained(by_start, axis)
    parts: list[Node] = []
    end = starts[0] if starts else 0
    for start in starts:
        part = by_start[start].inputs[0]
        gap = start - end
        if gap != 0:
            if not isinstance(gap, int) or gap < 0:
                return []
            shape = (*part.shape[:axis], gap, *part.shape[axis + 1 :])
            parts.append(call("zeros", shape, dtype=part.dtype))
        parts.append(part)
        end = start + part.shape[axis]
    if len(starts) < len(group):
        return []
    whole = call("concat", parts, axis=axis)
    low = tuple(starts[0] if k == axis else 0 for k in range(whole.ndim))
    high = tuple(group[0].shape[axis] - end if k == axis else 0 for k in range(whole.ndim))
    whole = make(Pad(low, high, (0,) * whole.ndim), whole)
    return [(pad, whole) for pad in group]


def _chained(by_start: dict[Dim, Node], axis: int) -> list[Dim]:
    """Return symbolic starts in the order in which each pad ends where the next begins."""
    ends = {start + pad.inputs[0].shape[axis] for start, pad in by_start.items()}
    heads = [start for start in by_start if start not in ends]
    if len(heads) != 1:
        return []
    order = heads
    while (following := order[-1] + by_start[order[-1]].inputs[0].shape[axis]) in by_start and len(order) < len(
        by_start
    ):
        order.append(following)
    return order
