"""Loops and branches, and the identities that steer derivatives."""

from __future__ import annotations

from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node, call, make
from graphc.graph.op import Op
from graphc.ops.control import Cond
from graphc.ops.gradient_control import StopGradient
from graphc.ops.nested import Item, enclose, item
from graphc.ops.scan import Scan
from graphc.ops.slicing import Slice
from graphc.passes.algebra.matching import Rule, filled, uniform
from graphc.passes.rewriting import with_subgraphs


def stop_gradient_passed(node: Node) -> Node:
    """`stop_gradient(x)` is `x`: what derivatives are, is settled before the passes run."""
    return node.inputs[0]


def branch_known(node: Node) -> Node | None:
    """A result of cond with a known condition is that of the branch."""
    several, op = node.inputs[0], node.op
    assert isinstance(op, Item)
    if not isinstance(several.op, Cond):
        return None
    chosen = uniform(several.inputs[0])
    if chosen is None:
        return None
    branch = several.op.then if chosen else several.op.otherwise
    return enclose([branch.outputs[op.index]], dict(zip(branch.inputs, several.inputs[1:], strict=True)))[0]


def carry_kept(node: Node) -> Node | None:
    """The final value of a carry that no step changes is its initial value."""
    several, op = node.inputs[0], node.op
    assert isinstance(op, Item)
    if not isinstance(several.op, Scan) or op.index >= several.op.carries:
        return None
    carry = several.op.step.inputs[op.index]
    return several.inputs[op.index] if several.op.step.outputs[op.index] is carry else None


def last_result(node: Node) -> Node | None:
    """The last of the results of a scan is the final value of the carry, where they are one: exact."""
    (source,), op = node.inputs, node.op
    assert isinstance(op, Slice)
    several = source.inputs[0] if isinstance(source.op, Item) else source
    if not isinstance(several.op, Scan) or not isinstance(source.op, Item) or source.op.index < several.op.carries:
        return None
    scan = several.op
    rest = (0,) * (node.ndim - 1)
    if op.start != (0 if scan.reverse else scan.length - 1, *rest) or op.size != (1, *source.shape[1:]):
        return None
    if any(step != 1 for step in op.step[1:]):
        return None
    for k, new in enumerate(scan.step.outputs[: scan.carries]):
        if new is scan.step.outputs[source.op.index]:
            return call("reshape", item(several, k), node.shape)
    return None


def numbers_inside(node: Node) -> Node | None:
    """An operand of a scan's step or of a cond's branches that is one number is that number inside."""
    op = node.op
    if isinstance(op, Scan):
        pairs = [(op.step.inputs[k], k) for k in range(op.carries + op.slices, len(node.inputs))]
    else:
        assert isinstance(op, Cond)
        pairs = [(inner, k + 1) for k, inner in enumerate(op.then.inputs)]
    known = {inner: k for inner, k in pairs if uniform(node.inputs[k]) is not None}
    if not known:
        return None
    new = {inner: filled(uniform(node.inputs[k]), inner) for inner, k in known.items()}
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


RULES: dict[type[Op], tuple[Rule, ...]] = {
    StopGradient: (stop_gradient_passed,),
    Item: (branch_known, carry_kept),
    Slice: (last_result,),
    Scan: (numbers_inside,),
    Cond: (numbers_inside,),
}
