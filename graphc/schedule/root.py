"""Values on their way to become kernels."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.dims import Axis, Dim, DimExpr
from graphc.graph.node import Node
from graphc.loops.expr import Expr
from graphc.loops.kernels import flat_offset
from graphc.ops.nested import Item


@dataclass(eq=False)
class Root:
    """A value that a kernel stores: `expression` over `axes`, into a buffer, at `offset` or row by row."""

    node: Node
    axes: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    lane: Axis | None
    expression: Expr
    buffer: int
    late: bool
    ordered: tuple[str, Axis, bool] | None = None
    offset: Dim = field(init=False)
    is_whole: bool = True

    def __post_init__(self) -> None:
        self.offset = flat_offset([DimExpr.of(a) for a in self.axes], [a.extent for a in self.axes])


def maker_of(node: Node) -> tuple[Node, int]:
    """Return the node whose kernel makes a value, and which of its results that is."""
    if isinstance(node.op, Item):
        return node.inputs[0], node.op.index
    return node, 0
