"""The order of sums is settled before loops are cut into pieces, wherever it could hang on how they are.

What a loop in pieces keeps in its step, one that stores everything may make before or after it, for all steps at once: as
other rows of a larger contraction, which then suits a register tile, or no longer does. So contractions that may leave a step
are made position by position from here on, if they suit a tile once all steps are its rows; what reads a loop's results
through views is, too, for these views may then be of something else. Sums of rows are made in two steps, as in the loop.
Legal because only the order of additions changes.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.dims import DimExpr, Symbol
from graphc.graph import walk
from graphc.graph.bodies import Contract as Body
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node, made_at, make, placeholder
from graphc.graph.op import Op
from graphc.graph.products import Operand, scalar_operand
from graphc.graph.types import TensorType
from graphc.ops.contraction import Contract, InOrder, Reduced
from graphc.ops.movement import Movement
from graphc.ops.nested import Item
from graphc.ops.reduction import Sum
from graphc.ops.scan import Scan
from graphc.passes.hoist import is_long, sums_of
from graphc.passes.rewriting import with_roots, with_subgraphs

# As many steps as there may be.
TIME = DimExpr.of(Symbol("_time"))


def settle(graph: Graph) -> Graph:
    """Return the graph with such orders settled, in the graphs inside ops too."""
    found: dict[Node, type[Contract] | type[Sum]] = {}
    _look(graph, found)
    return _settled(graph, found, {}) if found else graph


def _settled(graph: Graph, found: Mapping[Node, type[Contract] | type[Sum]], done: dict[Node, Node]) -> Graph:
    """Return the graph with these nodes in order; what two graphs share they share afterwards."""
    for node in graph.nodes():
        if node in done:
            continue
        inner = {sub: _settled(sub, found, done) for _, sub in subgraphs(node.op)}
        with made_at(node.origin):
            inputs = tuple(done[x] for x in node.inputs)
            op = with_subgraphs(node.op, inner) if inner else node.op
            done[node] = _in_order(op, found[node], inputs) if node in found else node.on(inputs, op)
    return with_roots(graph, tuple(done[root] for root in graph.roots))


def _in_order(op: Op, kind: type[Contract] | type[Sum], inputs: tuple[Node, ...]) -> Node:
    if isinstance(op, Contract):
        assert issubclass(kind, Contract)
        return make(kind(op.domain, op.left, op.right, op.out, op.shape, op.inside), *inputs)
    assert isinstance(op, Sum)
    rows = make(Sum(op.axes[1:]), *inputs)
    return make(Sum((0,)), rows)


def _look(graph: Graph, found: dict[Node, type[Contract] | type[Sum]]) -> None:
    """Add the nodes of a graph, and of those inside, whose order is to be settled."""
    for node in graph.nodes():
        for _, sub in subgraphs(node.op):
            _look(sub, found)
        if isinstance(node.op, Scan):
            _look_inside(node, found)
        elif type(node.op) is Contract and any(_is_of_loop(x) for x in node.inputs):
            found[node] = _kind(node.op, *(x.tensor for x in node.inputs))


def _look_inside(loop: Node, found: dict[Node, type[Contract] | type[Sum]]) -> None:
    """Add what may leave the step of a loop, in front of it or behind it."""
    op = loop.op
    assert isinstance(op, Scan)
    part = op.parts(loop)
    sums = sums_of(part.carries, part.new, part.results)
    core = set(walk.topological([new for carry, new in zip(part.carries, part.new, strict=True) if carry not in sums]))
    outputs = (*part.new, *part.results)
    recurring = walk.dependents(outputs, part.carries)
    for node in (varying := walk.dependents(outputs, (*part.carries, *part.slices))):
        if node in core and node in recurring:
            continue
        if type(node.op) is Contract:
            types = (TensorType((TIME, *x.shape), x.dtype) if x in varying else x.tensor for x in node.inputs)
            found[node] = _kind(_at_all_times(node, [x in varying for x in node.inputs]), *types)
        elif type(node.op) is Sum and len(node.op.axes) > 1 and node.op.axes[0] == 0 and is_long(node):
            found[node] = Sum


def _is_of_loop(node: Node) -> bool:
    """Whether a node is a result of a loop, or a view of one."""
    while isinstance(node.op, Movement):
        (node,) = node.inputs
    return isinstance(node.op, Item) and isinstance(node.inputs[0].op, Scan)


def _at_all_times(node: Node, varying: list[bool]) -> Contract:
    """Return a contraction of a step as one for all steps."""
    batched = (
        placeholder(TensorType((TIME, *x.shape), x.dtype)) if varies else None
        for x, varies in zip(node.inputs, varying, strict=True)
    )
    op = node.op.vmap(node, tuple(batched)).op
    assert isinstance(op, Contract)
    return op


def _kind(op: Contract, left: TensorType, right: TensorType) -> type[Contract]:
    """Return the kind of a contraction, its operands in arrays of their own: whether a register tile makes it."""
    operands = [Operand.of(placeholder(type), at) for type, at in ((left, op.left), (right, op.right))]
    suits = left.dtype.is_float and scalar_operand(Body(op.domain, op.left, op.right, op.out), operands) is not None
    return InOrder if suits else Reduced
