"""What is stored with margins is stored once: who reads the array itself reads the inside of the padded one instead.

A convolution reads its image with margins of zeros, and the gradient by its filters, a shortcut around it, or the mask of a
ReLU read the image too. Legal always, for the inside is the image. What makes the image then writes it inside of the
margins at once (`schedule/margins.py`), so that it is never copied. Arrays that exist anyway, those of inputs and
parameters, results, and what loops give, are padded as they are.
"""

from __future__ import annotations

from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Constant, Leaf, Node, made_at, make
from graphc.graph.op import Op
from graphc.graph.types import TupleType
from graphc.ops.contraction import Contract, Map
from graphc.ops.nested import Item
from graphc.ops.slicing import Pad, Slice
from graphc.passes.rewriting import with_roots, with_subgraphs
from graphc.records import replace


def halo(graph: Graph) -> Graph:
    """Return the graph with readers moved to padded arrays, in the graphs inside ops too."""
    inner = {sub: halo(sub) for node in graph.nodes() for _, sub in subgraphs(node.op)}
    users, roots = walk.users(graph.nodes()), set(graph.roots)
    done: dict[Node, Node] = {}
    padded: dict[Node, tuple[Node, Node]] = {}  # for each array: the pad that others read it in, and that pad made anew
    for node in graph.nodes():
        op = with_subgraphs(node.op, inner) if inner else None
        with made_at(node.origin):
            done[node] = _rebuilt(node, op, padded, done)
        pad = _chosen(node, users[node], roots)
        if pad is not None:
            with made_at(pad.origin):
                padded[node] = pad, pad.on((done[node],))
    return with_roots(graph, tuple(done[root] for root in graph.roots))


def _chosen(node: Node, users: list[Node], roots: set[Node]) -> Node | None:
    """Return the pad of an array that all its readers may use, or None."""
    if node in roots or isinstance(node.op, Leaf | Constant | Item) or isinstance(node.type, TupleType):
        return None
    return next((one for one in users if _is_halo(one)), None) if len(set(users)) > 1 else None


def _is_halo(node: Node) -> bool:
    """Whether a node puts margins around that a contraction may step over."""
    op = node.op
    if not isinstance(op, Pad) or not op.is_margin:
        return False
    # An index that is an axis alone goes to the end of its dimension.
    return all(low != 0 or high == 0 for low, high in zip(op.low, op.high, strict=True))


def _rebuilt(node: Node, new: Op | None, padded: dict[Node, tuple[Node, Node]], done: dict[Node, Node]) -> Node:
    """Return the node on its new operands, read in padded arrays where there are any; a pad made before, where it is one."""
    for operand in node.inputs:
        if operand in padded and padded[operand][0] is node:
            return padded[operand][1]
    if isinstance(node.op, Contract) and any(x in padded for x in node.inputs):
        op = node.op
        left, right = (_shifted(at, x, padded) for at, x in zip((op.left, op.right), node.inputs, strict=True))
        operands = (padded[x][1] if x in padded else done[x] for x in node.inputs)
        return make(replace(op, left=left, right=right), *operands)
    return node.on(tuple(_inside(x, padded[x][1]) if x in padded else done[x] for x in node.inputs), new)


def _shifted(at: Map, operand: Node, padded: dict[Node, tuple[Node, Node]]) -> Map:
    if operand not in padded:
        return at
    op = padded[operand][1].op
    assert isinstance(op, Pad)
    return tuple(index + low for index, low in zip(at, op.low, strict=True))


def _inside(node: Node, pad: Node) -> Node:
    assert isinstance(pad.op, Pad)
    return make(Slice(pad.op.low, node.shape, (1,) * node.ndim), pad)
