"""Parts of one size that are joined are a store each: one store would choose among all parts in every lane."""

from __future__ import annotations

from collections.abc import Iterator

from graphc.dims import Dim, DimExpr
from graphc.graph.node import Node
from graphc.loops.expr import Expr
from graphc.loops.kernels import flat_offset
from graphc.ops.joining import Concat
from graphc.ops.movement import Reshape
from graphc.schedule.inline import Inliner
from graphc.schedule.units import MOST_STORES, axes_of


def joined(node: Node, inliner: Inliner) -> Node | None:
    """Return the join of parts of one type that a stored value is, maybe in another shape; None if it is none."""
    while isinstance(node.op, Reshape) and inliner.is_inlined(node.inputs[0]):
        (node,) = node.inputs
    parts = node.inputs
    is_joined = isinstance(node.op, Concat) and len({x.type for x in parts}) == 1 and len(parts) <= MOST_STORES
    return node if is_joined else None


def parts_of(node: Node, inliner: Inliner) -> Iterator[tuple[Dim, Expr]]:
    """Yield where each part of a join goes and its value, both over the axes of a part."""
    assert isinstance(node.op, Concat)
    axes, axis = axes_of(node.inputs[0].shape), node.op.axis
    index = tuple(DimExpr.of(a) for a in axes)
    for k, part in enumerate(node.inputs):
        at = [i + k * axes[axis].extent if n == axis else i for n, i in enumerate(index)]
        yield flat_offset(at, node.shape), inliner.element(part, index)
