"""A padded array is stored in parts: its inside by whatever makes that, a contraction's epilogue even, and each margin.

One kernel for all of it would ask for every element whether it lies inside, and no contraction could end in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphc.dims import Axis, Dim, DimExpr
from graphc.graph.node import Node
from graphc.loops import expr
from graphc.loops.kernels import Map, Store, flat_offset
from graphc.ops.slicing import Pad
from graphc.schedule.units import axes_of


def inside(node: Node) -> Dim:
    """Return the offset of the element of the padded array at which an element of its operand stands, over that one's axes."""
    assert isinstance(node.op, Pad)
    axes = axes_of(node.inputs[0].shape)
    return flat_offset([DimExpr.of(a) + low for a, low in zip(axes, node.op.low, strict=True)], node.shape)


def margins(node: Node, buffer: int) -> Iterator[Map]:
    """Yield kernels that fill what lies around: before and after the operand along each axis, between the margins before it."""
    op, source = node.op, node.inputs[0]
    assert isinstance(op, Pad)
    for k, (low, high) in enumerate(zip(op.low, op.high, strict=True)):
        after = low + source.shape[k]
        sides = {low: [0, after]} if low == high else {low: [0], high: [after]}
        for width, starts in sides.items():
            if width != 0:
                axes = axes_of((*source.shape[:k], width, *node.shape[k + 1 :]))
                yield Map(axes[:-1], axes[-1], tuple(_filling(node, buffer, axes, k, start) for start in starts))


def _filling(node: Node, buffer: int, axes: tuple[Axis, ...], k: int, start: Dim) -> Store:
    assert isinstance(node.op, Pad)
    starts = (*node.op.low[:k], start, *(0 for _ in axes[k + 1 :]))
    index = [DimExpr.of(a) + at for a, at in zip(axes, starts, strict=True)]
    return Store(buffer, flat_offset(index, node.shape), expr.const(node.op.value, node.dtype))
