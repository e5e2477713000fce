"""Sums of columns: reductions along another axis than the lanes', for several vectors of lanes at a time.

One vector at a time would read one line of the cache of each row, which no prefetcher foresees. Each lane's sum is made in
the same order either way, so bits do not depend on how many are made together.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.dims import Axis, DimExpr, Symbol
from graphc.emit.block import Block
from graphc.emit.reductions import accumulate, combined, in_turns, start_of
from graphc.emit.writer import Writer
from graphc.loops.expr import Load, Reduce, rewrite, walk
from graphc.loops.kernels import Store
from graphc.loops.merging import TOTALS

# Totals that a loop adds to: registers are left for what is added.
TOGETHER = 16
# Bytes of a line of the cache.
LINE = 64


def write_columns(
    stores: Sequence[Store], lane: Axis, writer: Writer, block: Block, span: tuple[str, str] | None
) -> tuple[str, str] | None:
    """Write the loop over as many lanes of a span, or of the axis, as come out even; return the bounds of those left.

    Returns the span, and writes nothing, if the stores are no sums of columns.
    """
    sums = _column_sums(stores, lane)
    turns = TOTALS if sums and in_turns(sums[0], sums[0].axes[0], 1) else 1
    count = TOGETHER // turns // max(len(sums), 1)
    step = count * writer.lanes
    is_alike = all(in_turns(one, one.axes[0], 1) == (turns > 1) for one in sums)
    if not sums or not is_alike or count < 2 or (isinstance(lane.extent, int) and lane.extent < step):
        return span
    start, stop = span or ("0", writer.dim(lane.extent, block))
    inner = block.inner(lane, vector=lane)
    place = _even_rows(stores, sums, lane, writer, block)
    whole, loop = _write_blocks(lane, (start, stop), step, place, writer, block, inner)
    found = {(v, one): [writer.fresh("total") for _ in range(turns)] for v in range(count) for one in sums}
    for (_, one), totals in found.items():
        for total in totals:
            inner.add(f"{total} = {start_of(one, writer.lanes, spread=True)}")
    _write_loop(sums, lane, writer, inner, found, turns)
    for v in range(count):
        onto = {lane: DimExpr.of(lane) + v * writer.lanes}
        for one in sums:
            total, *others = found[v, one]
            for other in others:
                inner.add(f"{total} = {combined(one.combiner, total, other)}")
            inner.names[rewrite(one, onto)] = total
        moved = [Store(s.buffer, dims.substitute(s.offset, onto), rewrite(s.value, onto)) for s in stores]
        values = [writer.vector(s.value, inner) for s in moved]
        for store, value in zip(moved, values, strict=True):
            writer.store(store, value, inner)
    block.close(inner, loop)
    return whole, stop


def _write_blocks(
    lane: Axis, span: tuple[str, str], step: int, place: str | None, writer: Writer, block: Block, inner: Block
) -> tuple[str, str]:
    """Write where blocks of lanes begin; return where the last one ends, and the loop over them.

    `place`: the first lane is so many elements behind the beginning of a cache line. The first block begins where the span does,
    the last one ends where that does, those between begin where lines do: some lanes are made twice, alike.
    """
    (start, stop), whole = span, writer.fresh("whole")
    if place is None:
        block.add(f"{whole} = {stop} - ({stop} - {start}) % {step}")
        return whole, f"for {lane.name} in range({start}, {whole}, {step}):"
    line, blocks, turn = writer.fresh("line"), writer.fresh("blocks"), writer.fresh("turn")
    block.add(f"{line} = {start} - ({place} + {start}) % {writer.lanes}")
    block.add(f"{blocks} = ({stop} - {line} + {step - 1}) // {step}")
    block.add(f"{whole} = {stop}")
    block.add(f"if {stop} - {start} < {step}:")
    block.add(f"    {blocks} = 0")
    block.add(f"    {whole} = {start}")
    inner.add(f"{lane.name} = min(max({start}, {line} + {step} * {turn}), {stop} - {step})")
    return whole, f"for {turn} in range({blocks}):"


def _even_rows(stores: Sequence[Store], sums: Sequence[Reduce], lane: Axis, writer: Writer, block: Block) -> str | None:
    """Return where the first lane of a matrix lies, in elements, whose rows all begin at the same place of a cache line.

    None if there is none, or lanes may not be made twice. They may be where nothing but rows is read along them: what has one
    number for each lane, a result may replace.
    """
    rows, lanes = {one.axes[0] for one in sums}, writer.lanes
    read = [e for e in walk(*(s.value for s in stores)) if isinstance(e, Load) and lane in e.free]
    if not all(rows & e.free for e in read):
        return None
    for found in read:
        (offset,), size = found.index, found.dtype.itemsize
        strides = [dims.linear(offset, axis)[0] for axis in rows]
        # Not so where an array says which rows these are.
        is_plain = all(isinstance(atom, Axis | Symbol) for atom in dims.atoms(offset))
        is_even = is_plain and all(isinstance(stride, int) and stride % lanes == 0 for stride in strides)
        if is_even and dims.linear(offset, lane)[0] == 1 and size * lanes == LINE:
            first = dims.substitute(offset, {lane: 0} | dict.fromkeys(rows, 0))
            return f"({writer.address(found.source, first, size, block)}) // {size}"
    return None


def _column_sums(stores: Sequence[Store], lane: Axis) -> list[Reduce]:
    """Return the reductions of these stores, if all are sums of columns, over as many rows each; else none."""
    found = [e for e in walk(*(s.value for s in stores)) if isinstance(e, Reduce)]
    is_plain = all(
        lane in e.free and len(e.axes) == 1 and e.combiner != "argmax" and sum(x in found for x in walk(e)) == 1
        for e in found
    )
    return found if is_plain and len({e.axes[0].extent for e in found}) == 1 else []


def _write_loop(
    sums: Sequence[Reduce],
    lane: Axis,
    writer: Writer,
    block: Block,
    found: dict[tuple[int, Reduce], list[str]],
    turns: int,
) -> None:
    """Write the loop over the rows, `turns` of them at a time, and one over those that are left."""
    axis = sums[0].axes[0]
    extent = writer.dim(axis.extent, block)
    whole = extent
    if turns > 1:
        whole = writer.fresh("turns")
        block.add(f"{whole} = {extent} - ({extent}) % {turns}")
    for first, last, many in ((0, whole, turns), *([(whole, extent, 1)] if turns > 1 else [])):
        row = block.inner(axis)
        for number in range(many):
            for (v, one), totals in found.items():
                onto = {one.axes[0]: DimExpr.of(axis), lane: DimExpr.of(lane) + v * writer.lanes}
                again = one.again((axis,), rewrite(one.value, onto))
                accumulate(again, writer, row, totals[number], None, spread=True, ahead=(axis, number))
        block.close(row, f"for {axis.name} in range({first}, {last}, {many}):")
