"""Contractions absorb what is around them: transposes and broadcasts of operands, a transpose or a sum of the result.

An operand that is read through an affine map costs nothing, a transposed copy costs a pass over memory. Legal always,
for only maps change; what follows the result is absorbed where nothing else reads the result itself. A sum becomes part
of the contraction where both operands run over its axis (a sum over a batch of products): in one operand alone the axis
serves as rows or lanes of a register tile, which a sum would cost more than it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType

from graphc import dims
from graphc.dims import Axis, Dim
from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node, make
from graphc.graph.op import Op
from graphc.ops.contraction import Contract, Reduced, plain_axis
from graphc.ops.movement import BroadcastTo, PermuteDims, Reshape
from graphc.ops.reduction import Sum
from graphc.passes.rewriting import rewrite
from graphc.records import replace

Map = tuple[Dim, ...]


def absorb(graph: Graph) -> Graph:
    """Return the graph with movement and sums absorbed."""
    return _absorbing(graph, PermuteDims | Sum)


def absorb_in_order(graph: Graph) -> Graph:
    """Return the graph with movement absorbed, and no sums: for what stood in a loop and is outside of it now."""
    return _absorbing(graph, PermuteDims)


def _absorbing(graph: Graph, followers: type[Op] | UnionType) -> Graph:
    graph = rewrite(graph, _operands)
    shared = read_often(graph)

    def rule(node: Node) -> Node:
        if not isinstance(node.op, followers) or node.inputs[0] in shared:
            return node
        source = node.inputs[0]
        if not isinstance(source.op, Contract):
            return node
        if isinstance(node.op, Sum):
            found = summed(source, node.op.axes)
            return node if found is None else found
        return permuted(node)

    return rewrite(graph, rule)


def permuted(node: Node) -> Node:
    """Return a transposed contraction as one contraction; another node as it is."""
    if not isinstance(node.op, PermuteDims):
        return node
    (source,) = node.inputs
    if not isinstance(source.op, Contract) or isinstance(source.op, Reduced):
        return node  # the order of a reduction hangs on how its result lies, too
    out = tuple(source.op.out[axis] for axis in node.op.axes)
    return make(replace(source.op, out=out, shape=node.shape), *source.inputs)


def summed(node: Node, axes: Sequence[int]) -> Node | None:
    """Return the sum of a contraction's result over axes as one contraction; None if they do not run in both operands."""
    if not isinstance(node.op, Contract) or not all(_runs_in_both(node, axis) for axis in axes):
        return None
    kept = [k for k in range(node.ndim) if k not in axes]
    out, shape = tuple(node.op.out[k] for k in kept), tuple(node.shape[k] for k in kept)
    return make(replace(node.op, out=out, shape=shape), *node.inputs)


def _runs_in_both(node: Node, k: int) -> bool:
    """Whether axis k of a contraction's result is one axis of its domain, in both operands, and stands nowhere else."""
    op = node.op
    assert isinstance(op, Contract)
    axis = plain_axis(op.out[k], node.shape[k])
    elsewhere = (index for n, index in enumerate(op.out) if n != k)
    if axis is None or any(axis in dims.axes(index) for index in elsewhere):
        return False
    return all(any(axis in dims.axes(index) for index in at) for at in (op.left, op.right))


def read_often(graph: Graph) -> set[Node]:
    """Return the contractions with more than one reader, in the graphs inside ops too."""
    found: set[Node] = set()
    seen: set[Node] = set()
    pending = [graph]
    while pending:
        current = pending.pop()
        readers = walk.users(current.nodes())
        for node, users in readers.items():
            if isinstance(node.op, Contract) and (
                len(users) > 1 or node in seen or any(node is r for r in current.roots)
            ):
                found.add(node)
            seen.add(node)
            pending.extend(sub for _, sub in subgraphs(node.op))
    return found


def _operands(node: Node) -> Node:
    op = node.op
    if not isinstance(op, Contract) or isinstance(op, Reduced):
        return node  # a reduction reads what it does through views, in the order of its own operands
    left, right = node.inputs
    kept = {axis for index in op.out for axis in dims.axes(index)}
    left_map, left = _absorbed(op.left, left, kept)
    right_map, right = _absorbed(op.right, right, kept)
    mentioned = {axis for index in (*left_map, *right_map, *op.out) for axis in dims.axes(index)}
    if (left is node.inputs[0] and right is node.inputs[1]) or not mentioned.issuperset(_axes(op)):
        return node  # an axis that nothing mentions any more would only repeat an addition
    return make(replace(op, left=left_map, right=right_map), left, right)


def _axes(op: Contract) -> set[Axis]:
    return {axis for index in (*op.left, *op.right, *op.out) for axis in dims.axes(index)}


def _absorbed(at: Map, node: Node, kept: set[Axis]) -> tuple[Map, Node]:
    """Return the map and the array from which a moved operand may be read instead.

    What is repeated along an axis that is summed stays so: the other operand alone would be summed in another order, and
    what a loop repeats may be an array in a piece of the loop.
    """
    while True:
        match node.op:
            case PermuteDims():
                at = tuple(at[k] for k in node.op.inverse)
            case BroadcastTo():
                source = node.inputs[0]
                inner = at[len(at) - source.ndim :]
                gone = [
                    *at[: len(at) - source.ndim],
                    *(i for size, i in zip(source.shape, inner, strict=True) if size == 1),
                ]
                if not all(dims.axes(index) <= kept for index in gone):
                    return at, node
                at = tuple(0 if size == 1 else index for size, index in zip(source.shape, inner, strict=True))
            case Reshape() if _squeezed(node.shape) == _squeezed(node.inputs[0].shape):
                rest = iter(index for index, size in zip(at, node.shape, strict=True) if size != 1)
                at = tuple(0 if size == 1 else next(rest) for size in node.inputs[0].shape)
            case _:
                return at, node
        node = node.inputs[0]


def _squeezed(shape: tuple[Dim, ...]) -> Map:
    return tuple(size for size in shape if size != 1)
