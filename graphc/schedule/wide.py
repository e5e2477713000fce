"""Several positions of a row side by side on the lanes, where a contraction has fewer channels than a vector has lanes."""

from __future__ import annotations

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.loops.expr import Load, Rewriter, load, rewrite, within
from graphc.loops.kernels import Store, Within, rejoined, usual
from graphc.schedule.nest import Copied, Nest, by_stride, paneled, row_candidates

# Bytes of a vector; how much less positions side by side must take, and rows that a tile must have left.
VECTOR, NARROW, FEW = 64, 0.75, 4


def widened(nest: Nest) -> tuple[Nest, Copied] | None:
    """Return the nest of windows with few lanes with several positions of a row side by side on them, or None.

    Position n * q + p has the p-th part of the lanes. All read the windows that they share together, taps of neighbouring
    windows one further; the vector operand is copied once for each part, at its taps, and lanes at whose taps a position
    has no window take no part: x there may be infinite.
    """
    lane, (left,), (right,) = nest.kept[-1], nest.left.index, nest.right.index
    lanes = VECTOR // nest.left.dtype.itemsize
    if nest.owned is not None or not isinstance(lane.extent, int) or lane in dims.axes(left):
        return None
    if not 0 < 2 * lane.extent <= lanes or any(a.extent == 0 for a in nest.reduced):
        return None
    rows = row_candidates(nest)
    best: tuple[float, int, Axis, Axis, int] | None = None
    for tap in nest.reduced:
        apart = dims.linear(left, tap)[0]
        if not isinstance(apart, int) or apart <= 0 or not isinstance(tap.extent, int) or tap not in dims.axes(right):
            continue
        for row in rows:
            stride, extent = dims.linear(left, row)[0], row.extent
            if not isinstance(stride, int) or stride <= 0 or stride % apart or not isinstance(extent, int):
                continue
            if any(dims.linear(s.offset, row)[0] != lane.extent for s in nest.stores):
                continue
            for count in range(2, lanes // lane.extent + 1):
                cost = (tap.extent + stride // apart * (count - 1)) / tap.extent / count
                is_left = len(rows) > 1 or extent >= FEW * count
                if extent % count == 0 and is_left and cost <= NARROW and (best is None or cost < best[0]):
                    best = cost, count, row, tap, stride // apart
    return None if best is None else _with_positions(nest, *best[1:])


def _with_positions(nest: Nest, count: int, row: Axis, tap: Axis, stride: int) -> tuple[Nest, Copied] | None:
    """Return the nest with so many positions of a row side by side, whose windows begin so many taps further each."""
    assert isinstance(row.extent, int)
    assert isinstance(tap.extent, int)
    lane = nest.kept[-1]
    assert isinstance(lane.extent, int)
    block, taps = Axis(row.name, row.extent // count), Axis(tap.name, tap.extent + stride * (count - 1))
    joint = Axis(lane.name, count * lane.extent)
    part, channel = dims.floordiv(DimExpr.of(joint), lane.extent), dims.remainder(DimExpr.of(joint), lane.extent)
    # The operand that is read by elements goes by the taps of the whole block.
    left = rewrite(nest.left, {row: count * DimExpr.of(block), tap: DimExpr.of(taps)})
    low = lane.extent * dims.floordiv(DimExpr.of(taps) - tap.extent + stride, stride)
    high = lane.extent * (dims.floordiv(DimExpr.of(taps), stride) + 1)
    own: dict[Atom, Dim] = {tap: DimExpr.of(taps) - stride * part, lane: channel}
    right = rewrite(nest.right, own)
    assert isinstance(right, Load)
    operand = load(right.source, right.index, right.dtype, within(DimExpr.of(joint), low, high))
    assert isinstance(left, Load)
    assert isinstance(operand, Load)
    onto: dict[Atom, Dim] = {row: count * DimExpr.of(block) + part, lane: channel}

    def rejoin(found: Load) -> Load:
        return Load.of(found.dtype, found.source, tuple(map(rejoined, found.index)), found.guard)

    rewriter = Rewriter(onto, rejoin)
    stores = [Store(s.buffer, rejoined(dims.substitute(s.offset, onto)), rewriter(s.value)) for s in nest.stores]
    if any(dims.linear(s.offset, joint)[0] != 1 for s in stores):
        return None
    axes = [taps if a == tap else a for a in nest.reduced]
    summed = tuple(sorted(axes, key=lambda a: -usual(dims.linear(left.index[0], a)[0] or 0)))
    reads = [a for a in by_stride(nest.right.index[0], without=lane) if a not in nest.reduced]
    inner = [a for a in summed if a == taps or a in dims.axes(nest.right.index[0])]
    found, panels = paneled(operand, joint, (*reads, *inner))
    kept = (*(block if a == row else a for a in nest.kept[:-1]), joint)
    number = dims.substitute(nest.number, {tap: DimExpr.of(taps)})
    some = Within(taps, low, high, stride * (count - 1), tap.extent)
    # A lane that has no window at a tap takes no part there, wherever that would be.
    at = onto | {tap: own[tap]}
    inside = tuple((dims.substitute(index, at), extent) for index, extent in nest.inside)
    wide = Nest(kept, summed, left, found, tuple(stores), None, number, some, inside=inside)
    return wide, panels
