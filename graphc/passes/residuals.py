"""What a gradient's loop would compute again is stored by the loop that it is the gradient of.

The reverse derivative of a scan walks the carries that entered each step and makes the rest of the step anew from them, by
the same nodes. Those whose value costs more than a few operations, such as products and activations, become results of
the forward scan and slices of the backward one. Legal where both see the same values at the same position: a carry and
its history, a slice of one array, one shared operand. Lean scans, which must not store more, are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from graphc.dtypes import bool_
from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Constant, Input, Leaf, Node, placeholder
from graphc.graph.types import TensorType
from graphc.ops.arithmetic import Abs, Add, Maximum, Minimum, Multiply, Negative, Sign, Subtract
from graphc.ops.comparison import Where
from graphc.ops.conversion import Astype
from graphc.ops.elementwise import Elementwise
from graphc.ops.movement import Movement
from graphc.ops.nested import Item, item
from graphc.ops.positions import Positions
from graphc.ops.scan import Scan
from graphc.passes.rewriting import with_roots, with_subgraphs
from graphc.records import replace

# Operations an element that are made again rather than stored.
CHEAP = 8
_SIMPLE = (Add, Subtract, Multiply, Negative, Abs, Sign, Maximum, Minimum, Where, Astype)


@dataclass
class _Kept:
    """What a scan gains: nodes of its step to store, and nodes of its step to read from another scan's results."""

    stored: dict[Node, int] = field(default_factory=dict[Node, int])
    read: dict[Node, Node] = field(default_factory=dict[Node, Node])


def keep_residuals(graph: Graph) -> Graph:
    """Return the graph with such values stored once, in the graphs inside ops too."""
    inner = {sub: keep_residuals(sub) for node in graph.nodes() for _, sub in subgraphs(node.op)}
    kept: dict[Node, _Kept] = {}
    for node in graph.nodes():
        if isinstance(node.op, Scan) and not node.op.lean:
            for source in dict.fromkeys(array.inputs[0] for array in node.op.parts(node).arrays if _is_result(array)):
                _share(node, source, kept)
    if not kept and all(old is new for old, new in inner.items()):
        return graph
    done: dict[Node, Node] = {}
    for node in graph.nodes():
        operands = tuple(done[operand] for operand in node.inputs)
        op = with_subgraphs(node.op, inner) if inner else node.op
        done[node] = _extended(node, operands, kept, done) if node in kept else node.on(operands, op)
    return with_roots(graph, tuple(done[root] for root in graph.roots))


def _is_result(array: Node) -> bool:
    return isinstance(array.op, Item) and isinstance(array.inputs[0].op, Scan)


def _is_history(array: Node, source: Node, carry: Node) -> bool:
    """Whether an array holds what entered each step of a scan as this carry."""
    if not isinstance(array.op, Item) or array.inputs[0] is not source:
        return False
    op = source.op
    assert isinstance(op, Scan)
    return array.op.index >= op.carries and op.step.outputs[array.op.index] is carry


def _share(node: Node, source: Node, kept: dict[Node, _Kept]) -> None:
    """Note what of the step of a scan is stored by another one, whose carries it walks."""
    op, other = node.op, source.op
    assert isinstance(op, Scan)
    assert isinstance(other, Scan)
    if other.lean or op.length != other.length:
        return
    mine, theirs = op.parts(node), other.parts(source)
    same = dict(zip(theirs.slices, theirs.arrays, strict=True)) | dict(zip(theirs.shared, theirs.operands, strict=True))
    known: dict[Node, float] = {}
    for inner, outer in zip((*mine.slices, *mine.shared), (*mine.arrays, *mine.operands), strict=True):
        if same.get(inner) is outer or _is_history(outer, source, inner):
            known[inner] = 0
    made = set(other.step.nodes())
    inside = op.step.nodes()
    for one in inside:
        is_given = isinstance(one, Input)
        if one not in known and not is_given and one in made and all(operand in known for operand in one.inputs):
            known[one] = _weight(one)
    users = walk.users(inside)
    entry = kept.get(node, _Kept())
    costs: dict[Node, float] = {}
    for one in inside:
        if one not in known or one.is_leaf:
            costs[one] = 0
            continue
        costs[one] = known[one] + sum(costs[operand] for operand in one.inputs)
        wanted = any(user not in known for user in users[one]) or any(one is root for root in op.step.outputs)
        if wanted and costs[one] > CHEAP and isinstance(one.type, TensorType) and one not in entry.read:
            stored = kept.setdefault(source, _Kept()).stored
            stored.setdefault(one, len(stored))
            entry.read[one] = source
            costs[one] = 0
    if entry.read:
        kept[node] = entry


def _weight(node: Node) -> float:
    """Return about how many operations an element of the node costs, or more than is made again."""
    if isinstance(node.op, Movement | Positions | Leaf | Constant):
        return 0
    is_simple = isinstance(node.op, _SIMPLE) or (isinstance(node.op, Elementwise) and node.dtype is bool_)
    return 1 if is_simple else inf


def _extended(node: Node, operands: tuple[Node, ...], kept: Mapping[Node, _Kept], done: Mapping[Node, Node]) -> Node:
    op, entry = node.op, kept[node]
    assert isinstance(op, Scan)
    new = {one: placeholder(one.type) for one in entry.read}
    arrays: list[Node] = []
    for one, source in entry.read.items():
        assert isinstance(source.op, Scan)
        arrays.append(item(done[source], len(source.op.step.outputs) + kept[source].stored[one]))
    outputs = walk.replace((*op.step.outputs, *entry.stored), new)
    split = op.carries + op.slices
    step = Graph((*op.step.inputs[:split], *new.values(), *op.step.inputs[split:]), outputs, (), op.step.requirements)
    longer = replace(op, step=keep_residuals(step), slices=op.slices + len(arrays))
    return node.on((*operands[:split], *arrays, *operands[split:]), longer)
