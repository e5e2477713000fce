"""Algebra: nodes that equal simpler ones.

Legal because each rule keeps the value for every input, NaN and infinity included, so x * 0 stays (it may be NaN). The
sign of a zero may change (x + 0). Rules for movement and sums stand in `movement.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node, call, constant, make
from graphc.graph.op import Op
from graphc.ops.arithmetic import Add, Divide, Maximum, Minimum, Multiply, Negative, Subtract
from graphc.ops.comparison import LogicalAnd, LogicalNot, LogicalOr, Where
from graphc.ops.control import Cond
from graphc.ops.conversion import Astype
from graphc.ops.elementwise import Elementwise
from graphc.ops.gradient_control import StopGradient
from graphc.ops.movement import BroadcastTo
from graphc.ops.nested import Item, enclose
from graphc.ops.scan import Scan
from graphc.passes import movement
from graphc.passes.movement import uniform
from graphc.passes.rewriting import rewrite, with_subgraphs

Rule = Callable[[Node], "Node | None"]


def simplify(graph: Graph) -> Graph:
    """Return the graph with every rule applied until none fits."""

    def rule(node: Node) -> Node:
        for candidate in RULES.get(type(node.op), ()):
            new = candidate(node)
            if new is not None and new.type == node.type:
                return new
        new = _repeated_last(node) if isinstance(node.op, Elementwise) else None
        return node if new is None else new

    return rewrite(graph, rule)


def _add(node: Node) -> Node | None:
    x, y = node.inputs
    for this, other in ((x, y), (y, x)):
        if uniform(other) == 0:
            return this
        if isinstance(other.op, Negative):
            return this - other.inputs[0]
    return None


def _subtract(node: Node) -> Node | None:
    x, y = node.inputs
    if uniform(y) == 0:
        return x
    if uniform(x) == 0:
        return -y
    return x + y.inputs[0] if isinstance(y.op, Negative) else None


def _multiply(node: Node) -> Node | None:
    x, y = node.inputs
    if isinstance(x.op, Negative) and isinstance(y.op, Negative):
        return x.inputs[0] * y.inputs[0]
    for this, other in ((x, y), (y, x)):
        factor = uniform(other)
        if factor == 1:
            return this
        if factor == -1 and node.dtype.kind in "fi":
            return -this
        if isinstance(other.op, Negative) and (factor := uniform(this)) is not None and node.dtype.is_float:
            return call("multiply", other.inputs[0], _filled(-factor, node))
    return None


def _divide(node: Node) -> Node | None:
    x, y = node.inputs
    divisor = uniform(y)
    if divisor == 1:
        return x
    # Only the reciprocal of a power of two is exact; any other would change the last bit of the quotient.
    if (
        divisor is not None
        and np.isfinite(divisor)
        and abs(np.frexp(divisor)[0]) == 0.5
        and 1e-30 < abs(divisor) < 1e30
    ):
        return x * _filled(1 / divisor, node)
    return None


def _negative(node: Node) -> Node | None:
    (x,) = node.inputs
    if isinstance(x.op, Negative):
        return x.inputs[0]
    return x.inputs[1] - x.inputs[0] if isinstance(x.op, Subtract) else None


def _where(node: Node) -> Node | None:
    condition, yes, no = node.inputs
    if yes is no:
        return yes
    chosen = uniform(condition)
    if chosen is not None:
        return yes if chosen else no
    return call("where", condition.inputs[0], no, yes) if isinstance(condition.op, LogicalNot) else None


def _logical(absorbing: bool) -> Rule:
    def rule(node: Node) -> Node | None:
        x, y = node.inputs
        if x is y:
            return x
        for this, other in ((x, y), (y, x)):
            value = uniform(other)
            if value is not None:
                return other if bool(value) is absorbing else this
        return None

    return rule


def _twice(node: Node) -> Node | None:
    """Return x for an op that undoes itself: not of not."""
    inner = node.inputs[0]
    return inner.inputs[0] if type(inner.op) is type(node.op) else None


def _first(node: Node) -> Node:
    """Return the operand: what derivatives are, is settled before the passes run."""
    return node.inputs[0]


def _idempotent(node: Node) -> Node | None:
    """Return x for f(x, x) = x."""
    return node.inputs[0] if node.inputs[0] is node.inputs[1] else None


def _astype(node: Node) -> Node | None:
    (x,) = node.inputs
    if x.dtype is node.dtype:
        return x
    if isinstance(x.op, Astype):
        source = x.inputs[0]
        # The middle type may be skipped if it holds every value of the source, and converts to the last as the source
        # does: integers wrap and floats saturate. NumPy calls int64 -> float64 safe, which it is not.
        holds = np.can_cast(source.dtype.numpy, x.dtype.numpy, "safe") and source.dtype.name != "int64"
        if holds and (node.dtype.is_float or x.dtype.is_float == source.dtype.is_float):
            return call("astype", source, node.dtype)
    return None


def _item(node: Node) -> Node | None:
    """Return the branch of a known condition, and the initial value of a carry that no step changes."""
    several, op = node.inputs[0], node.op
    assert isinstance(op, Item)
    if isinstance(several.op, Cond):
        chosen = uniform(several.inputs[0])
        if chosen is not None:
            branch = several.op.then if chosen else several.op.otherwise
            return enclose([branch.outputs[op.index]], dict(zip(branch.inputs, several.inputs[1:], strict=True)))[0]
    if isinstance(several.op, Scan) and op.index < several.op.carries:
        carry = several.op.step.inputs[op.index]
        return several.inputs[op.index] if several.op.step.outputs[op.index] is carry else None
    return None


def _known_operands(node: Node) -> Node | None:
    """Put operands that are one number into the step of a scan or the branches of a cond, as numbers."""
    op = node.op
    if isinstance(op, Scan):
        shared = range(op.carries + op.slices, len(node.inputs))
        pairs = [(op.step.inputs[k], k) for k in shared]
    else:
        assert isinstance(op, Cond)
        pairs = [(inner, k + 1) for k, inner in enumerate(op.then.inputs)]
    known = {inner: k for inner, k in pairs if uniform(node.inputs[k]) is not None}
    if not known:
        return None
    new = {inner: _filled(uniform(node.inputs[k]), inner) for inner, k in known.items()}
    graphs = {
        sub: Graph(
            tuple(inner for inner in sub.inputs if inner not in known),
            walk.replace(sub.outputs, new),
            (),
            sub.requirements,
        )
        for _, sub in subgraphs(op)
    }
    dropped = set(known.values())
    return make(with_subgraphs(op, graphs), *(x for k, x in enumerate(node.inputs) if k not in dropped))


def _repeated_last(node: Node) -> Node | None:
    """Compute first and repeat after: f(broadcast(x), 2) is broadcast(f(x, 2))."""
    if not node.inputs or not node.shape:
        return None
    sources = [x.inputs[0] for x in node.inputs if isinstance(x.op, BroadcastTo) and uniform(x) is None]
    shape = sources[0].shape if sources else ()
    if not all(uniform(x) is not None or isinstance(x.op, BroadcastTo) for x in node.inputs) or node.shape == shape:
        return None
    if any(source.shape != shape for source in sources):
        return None
    operands: list[Node] = []
    for x in node.inputs:
        value = uniform(x)
        operands.append(x.inputs[0] if value is None else _number(value, x, shape))
    return call("broadcast_to", make(node.op, *operands), node.shape)


def _number(value: Any, like: Node, shape: tuple[Any, ...]) -> Node:
    number = constant(np.asarray(value, like.dtype.numpy))
    return call("broadcast_to", number, shape) if shape else number


def _filled(value: Any, like: Node) -> Node:
    return _number(value, like, like.shape)


RULES: dict[type[Op], tuple[Rule, ...]] = {
    Add: (_add,),
    Subtract: (_subtract,),
    Multiply: (_multiply,),
    Divide: (_divide,),
    Negative: (_negative,),
    Where: (_where,),
    LogicalAnd: (_logical(False),),
    LogicalOr: (_logical(True),),
    LogicalNot: (_twice,),
    Maximum: (_idempotent,),
    Minimum: (_idempotent,),
    Astype: (_astype,),
    StopGradient: (_first,),
    Item: (_item,),
    Scan: (_known_operands,),
    Cond: (_known_operands,),
    **movement.RULES,
}
