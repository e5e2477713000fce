"""Contractions: a register tile of accumulators, all reduced axes inside it, then the epilogue on the accumulators.

The left operand is read one element at a time and spread, at any strides, unless it varies along the lanes, too; the
right one by vectors along the lanes. Rows that do not fill a tile are a smaller one, or made one by one where their number
is not known; lanes that do not fill a vector are masked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.emit.block import Block, factor
from graphc.emit.fetches import write_fetches
from graphc.emit.operands import Cells
from graphc.emit.pack import write_pack
from graphc.emit.products import clipped, write_products
from graphc.emit.spans import close_part, close_round, open_part, open_round, range_text, span_of, stop_of
from graphc.emit.writer import Writer
from graphc.loops.expr import load
from graphc.loops.kernels import ACCUMULATOR, Tile
from graphc.records import record, replace

# Products in one turn of the innermost loop: fewer leave the processor waiting at its end, more only make it longer.
PRODUCTS = 48


def write_tile(kernel: Tile, writer: Writer, block: Block) -> None:
    """Write a Tile kernel: threads share the blocks of rows or, `by_lanes`, the blocks of lanes and then of rows.

    In a loop in which each thread has rows of its own, those are the rows that its blocks go over.

    The loop over lanes stands outside, so that the right operand's columns stay in the cache while rows pass by; with
    bands, inside of one over a few blocks of rows.
    """
    rows, lane = kernel.shape[0], kernel.lane
    width = kernel.shape[1] * writer.lanes
    own = ("0", writer.dim(kernel.row.extent, block))
    if kernel.owner is not None:
        own = writer.own(kernel.owner, block)
    count = own[1] if own[0] == "0" else f"{own[1]} - {own[0]}"
    block.add(f"blocks = ({count} + {rows - 1}) // {rows}")
    total = " * ".join(["blocks", *(factor(writer.dim(count, block)) for count in kernel.blocks[:-1])])
    stop = writer.dim(lane.extent, block)
    if isinstance(lane.extent, int):
        whole, rest = str(lane.extent - lane.extent % width), lane.extent % width != 0
    else:
        whole, rest = writer.fresh("whole"), True
        block.add(f"{whole} = {stop} - {factor(stop)} % {width}")
    if kernel.by_lanes:
        block.add(f"pieces = {total}")
        total = f"pieces * (({stop} + {writer.lanes - 1}) // {writer.lanes})"
    rounds, all_parts = kernel.rounds, block
    if rounds is not None and rounds.parts > 1:
        block, span = open_part(rounds, total, writer, all_parts)
    else:
        span = writer.split(total, block) if kernel.owner is None else ("0", total)
    whole_sum = block
    chain = open_round(rounds, writer, whole_sum) if rounds is not None and not rounds.within else []
    if chain:
        block, _ = chain[-1]
    outside, band = block, kernel.band
    first, last = span
    if band:
        block = outside.inner()
        span = ("band", f"min(band + {band}, {last})")
    lanes = _Lanes(kernel, writer, (whole, stop), rest)
    if kernel.pack is not None and kernel.pack.at_once:
        side = outside.inner()
        lanes.write(side, lambda inner, vectors: _write_panel(kernel, writer, inner, vectors))
        outside.close(side, f"if {first} < {last}:")

    def write_rows(inner: Block, vectors: int) -> None:
        _write_lanes(kernel, writer, inner, _share(kernel, writer, inner, span, vectors), own, vectors)

    lanes.write(block, write_rows)
    if band:
        outside.close(block, f"for band in range({first}, {last}, {band}):")
    close_round(chain, whole_sum)
    if rounds is not None and rounds.parts > 1:
        close_part(rounds, writer, all_parts, whole_sum)


@record
class _Lanes:
    """The loop over blocks of lanes, `whole` ones, and over the vectors that are left, if there is a `rest`."""

    kernel: Tile
    writer: Writer
    ends: tuple[str, str]
    rest: bool

    def write(self, block: Block, body: Callable[[Block, int], None]) -> None:
        """Write what is made for each block of lanes, of so many vectors."""
        kernel, lane, lanes = self.kernel, self.kernel.lane, self.writer.lanes
        (whole, stop), width = self.ends, kernel.shape[1] * lanes
        if whole != "0":
            inner = self._block(block, width, None)
            body(inner, kernel.shape[1])
            block.close(inner, f"for {lane.name} in range(0, {whole}, {width}):")
        if self.rest:
            mask = self.writer.fresh("mask")
            is_single = isinstance(lane.extent, int) and lane.extent < lanes
            inner = self._block(block, width, mask, is_single=is_single)
            inner.add(f"{mask} = tail_bx{lanes}({stop} - {lane.name})")
            body(inner, 1)
            block.close(inner, None if is_single else f"for {lane.name} in range({whole}, {stop}, {lanes}):")

    def _block(self, block: Block, width: int, mask: str | None, *, is_single: bool = False) -> Block:
        """Return the block of a loop over lanes; without a loop where there is but one turn, so that its lane is known."""
        lane, panel = self.kernel.lane, self.kernel.panel
        inner = block.inner(lane, *([panel] if panel else []), depth=0 if is_single else 1, vector=lane, mask=mask)
        if is_single:
            inner.add(f"{lane.name} = 0")
        if panel:
            inner.add(f"{panel.name} = {lane.name} // {width}")
        return inner


def _share(kernel: Tile, writer: Writer, block: Block, span: tuple[str, str], vectors: int) -> tuple[str, str]:
    """Write which pieces of a block of `vectors` vectors of lanes are this thread's; return the names of their bounds.

    With `by_lanes` each vector of each piece counts one, so that narrow blocks at the end weigh less.
    """
    if not kernel.by_lanes:
        return span
    before, first, last = writer.fresh("before"), writer.fresh("first"), writer.fresh("last")
    scale = f" // {vectors}" if vectors > 1 else ""
    block.add(f"{before} = pieces * ({kernel.lane.name} // {writer.lanes})")
    block.add(f"{first} = max({span[0]} - {before}, 0){scale}")
    block.add(f"{last} = min({span[1]} - {before}, {vectors} * pieces){scale}")
    return first, last


def _write_lanes(
    kernel: Tile, writer: Writer, block: Block, span: tuple[str, str], own: tuple[str, str], vectors: int
) -> None:
    """Write what is made for a block of lanes: the rows, in each round if those are within."""
    if kernel.rounds is None or not kernel.rounds.within:
        _write_rows(kernel, writer, block, span, own, vectors)
        return
    chain = open_round(kernel.rounds, writer, block)
    _write_rows(kernel, writer, chain[-1][0], span, own, vectors)
    close_round(chain, block)


def _write_panel(kernel: Tile, writer: Writer, block: Block, vectors: int) -> None:
    assert kernel.pack is not None
    write_pack(kernel.pack, kernel.lane, kernel.rounds, writer, block, vectors)


def _write_rows(
    kernel: Tile, writer: Writer, block: Block, span: tuple[str, str], own: tuple[str, str], vectors: int
) -> None:
    """Write the loop over this thread's blocks of rows, which lie between those `own`, for `vectors` vectors of lanes."""
    rows, row = kernel.shape[0], kernel.row
    start, extent = "" if own[0] == "0" else f"{own[0]} + ", own[1]
    if kernel.pack is not None and not kernel.pack.at_once:
        side = block.inner()
        _write_panel(kernel, writer, side, vectors)
        block.close(side, f"if {span[0]} < {span[1]}:")
    stacked = [kernel.stacked[0]] if kernel.stacked is not None else []
    whole = [axis for axis in kernel.outer if axis not in stacked]
    inner = block.inner(*whole, *([kernel.strip] if kernel.strip else []))
    flat = "piece"
    if kernel.outer:
        inner.add("position = piece // blocks")
        inner.add(f"{row.name} = {start}{rows} * (piece - position * blocks)")
        flat = "position"
    else:
        inner.add(f"{row.name} = {start}{rows} * piece")
    if kernel.strip:
        inner.add(f"{kernel.strip.name} = {row.name} // {rows}")
    for axis, count in reversed(list(zip(kernel.outer, kernel.blocks, strict=False))):
        size, times = factor(writer.dim(count, inner)), kernel.height(axis)
        inner.add(f"{axis.name} = {f'{times} * ({flat} % {size})' if times > 1 else f'{flat} % {size}'}")
        flat = f"{flat} // {size}"
    if dims.remainder(row.extent, rows) == 0:
        _write_one(kernel, writer, inner, (rows, vectors))
    else:
        side = inner.inner()
        _write_one(kernel, writer, side, (rows, vectors))
        inner.close(side, f"if {row.name} + {rows} <= {extent}:")
        side = inner.inner()
        if isinstance(row.extent, int):
            _write_one(kernel, writer, side, (row.extent % rows, vectors), is_rest=True)
        else:
            single = side.inner()
            _write_one(kernel, writer, single, (1, vectors))
            side.close(single, f"for {row.name} in range({row.name}, {extent}):")
        inner.close(side, "else:")
    block.close(inner, f"for piece in range({span[0]}, {span[1]}):")


def _write_one(kernel: Tile, writer: Writer, block: Block, shape: tuple[int, int], *, is_rest: bool = False) -> None:
    """Write a register tile of so many rows and vectors; what is left of a known number of rows stands at one place."""
    cells = Cells.of(kernel, shape, is_rest=is_rest)
    _write_starts(kernel, writer, block, cells)
    if shape == kernel.shape:
        write_fetches(kernel, writer, block)
    if _write_sum(kernel, writer, block, cells):
        _write_again(kernel, writer, block, cells)
    if kernel.rounds is None or kernel.is_bare:
        _write_epilogue(kernel, writer, block, cells)
        return
    # Until the last round sums are kept where the first of the results will stand.
    sums = replace(kernel.stores[0], value=load(ACCUMULATOR, (), kernel.left.dtype))
    more = [f"{axis.name} + 1 < {writer.dim(axis.extent, block)}" for axis in kernel.rounds.over]
    more.append(f"last < {stop_of(kernel.rounds, writer, block)}")
    for stores, head in (((sums,), f"if {' or '.join(more)}:"), (kernel.stores, "else:")):
        part = block.inner()
        _write_epilogue(replace(kernel, stores=stores), writer, part, cells)
        block.close(part, head)


def _write_again(kernel: Tile, writer: Writer, block: Block, cells: Cells) -> None:
    """Write sums anew, of the products that count, where one is no number: by others it may have become so.

    One row at a time, for this is text that mostly nobody runs.
    """
    wrong, number = writer.fresh("wrong"), Axis(writer.fresh("number"), len(cells.places))
    block.add(f"{wrong} = {_total(list(cells.names()))}")
    side = block.inner()
    inner = side.inner(number)
    at: dict[Atom, Dim] = {}
    left = DimExpr.of(number)
    for k, axis in reversed(list(enumerate(cells.axes))):
        count = 1 + max(place[k] for place in cells.places)
        at[axis] = DimExpr.of(axis) + dims.remainder(left, count)
        left = dims.floordiv(left, count)
    single = kernel.at(at)
    row = Cells.of(single, (1, cells.vectors), is_rest=False, name="d")
    _write_starts(single, writer, inner, row)
    _write_sum(single, writer, inner, row, again=True)
    for place in range(len(cells.places)):
        for v in range(cells.vectors):
            own = cells.called(place, v)
            inner.add(f"{own} = select(bx{writer.lanes}({number.name} == {place}), {row.called(0, v)}, {own})")
    side.close(inner, f"for {number.name} in range({number.extent}):")
    block.close(side, f"if reduce_or({wrong} != {wrong}):")


def _total(names: Sequence[str]) -> str:
    """Return the text of a sum, in pairs so that none waits for the one before."""
    if len(names) == 1:
        return names[0]
    half = len(names) // 2
    return f"({_total(names[:half])} + {_total(names[half:])})"


def _write_sum(kernel: Tile, writer: Writer, block: Block, cells: Cells, *, again: bool = False) -> bool:
    """Write what is added to the accumulators of a tile; return whether that may be products that do not count.

    `again`: it is not, and nothing is asked for that is read later.
    """
    counts = dict(kernel.unrolled)
    at: dict[Atom, Dim] = {axis: 0 for axis, count in kernel.unrolled if axis.extent == count}
    over = kernel.rounds.over if kernel.rounds is not None else ()
    loops = [axis for axis in kernel.reduced if axis not in at and axis not in over]
    # Only the tile that does most of the work: every line costs a millisecond of compile time.
    is_plain = cells.shape != kernel.shape or not loops or loops[-1] in counts or again
    turn = (
        1 if is_plain else min(4, max(1, PRODUCTS // (len(cells.places) * cells.vectors * math.prod(counts.values()))))
    )
    plan = _Plan(loops, turn, at, again=again)
    return any([_write_loops(part, writer, block, cells, plan, span) for part, span in _parts(kernel, loops)])


@record
class _Plan:
    """How a sum is walked: its loops, the innermost one so many positions a turn, and where its other axes stand."""

    loops: Sequence[Axis]
    turn: int
    at: Mapping[Atom, Dim]
    again: bool


Span = tuple[Axis, int, int]


def _parts(kernel: Tile, loops: Sequence[Axis]) -> list[tuple[Tile, Span | None]]:
    """Return the parts of a sum: one, or three where not all lanes take part at all positions of a loop."""
    some = kernel.within
    if some is None or some.axis not in loops or some.first >= some.last or not isinstance(some.axis.extent, int):
        return [(kernel, None)]
    ends = (0, some.first), (some.last, some.axis.extent)
    before, after = ((kernel, (some.axis, *span)) for span in ends)
    return [before, (replace(kernel, within=None), (some.axis, some.first, some.last)), after]


def _write_loops(kernel: Tile, writer: Writer, block: Block, cells: Cells, plan: _Plan, span: Span | None) -> bool:
    """Write the loops of a sum or, along the axis of `span`, of a part of one; return what `_write_sum` does."""
    loops, counts = plan.loops, dict(kernel.unrolled)
    inner, bound = block, {*kernel.outer} - {*cells.axes}
    chain: list[tuple[Block, str]] = []
    for axis in loops if plan.turn == 1 else loops[:-1]:
        step = counts.get(axis, 1)
        start, _, stop = _span(kernel, axis, step, span, writer, inner)
        kernel, (start, stop) = clipped(kernel, axis, bound, (start, stop), writer, inner)
        chain.append((inner, f"for {axis.name} in {range_text(start, stop, step)}:"))
        inner = inner.inner(axis)
        bound |= {axis} - {*counts}  # unrolled, it stands at several places
    if plan.turn == 1:
        is_open = write_products(kernel, writer, inner, cells, plan.at, again=plan.again)
    else:
        is_open = _write_turns(kernel, writer, inner, cells, plan, bound, span)
    for outer, head in reversed(chain):
        outer.close(inner, head)
        inner = outer
    return is_open


def _span(kernel: Tile, axis: Axis, step: int, span: Span | None, writer: Writer, block: Block) -> tuple[str, str, str]:
    if span is None or axis != span[0]:
        return span_of(axis, kernel.rounds, step, writer, block)
    _, first, last = span
    return str(first), str(last - (last - first) % step), str(last)


def _write_starts(kernel: Tile, writer: Writer, block: Block, cells: Cells) -> None:
    """Write the accumulators' first values: zeros, what they are added to, or what the last round stored."""
    kind, lanes, start, rounds = kernel.left.dtype.short, writer.lanes, kernel.start, kernel.rounds
    if rounds is None and start is None:
        for name in cells.names():
            block.add(f"{name} = {kind}x{lanes}(0.0)")
        return
    store, mask = kernel.stores[0], block.mask
    if start is None:
        assert rounds is not None
        mask = writer.fresh("mask")
        begun = " + ".join(["first", *(axis.name for axis in rounds.over)])
        others = f" & {block.mask}" if block.mask else ""
        block.add(f"{mask} = bx{lanes}({begun} > {rounds.begin}){others}")
    buffer = store.buffer if start is None else start.source
    size = kernel.left.dtype.itemsize
    for number, cell in enumerate(cells.places):
        for v in range(cells.vectors):
            place = writer.address(buffer, cells.moved(store.offset, cell) + v * lanes, size, block)
            block.add(f"{cells.called(number, v)} = load_{kind}x{lanes}({place}{f', {mask}' if mask else ''})")


def _write_turns(
    kernel: Tile, writer: Writer, block: Block, cells: Cells, plan: _Plan, bound: set[Axis], span: Span | None
) -> bool:
    """Write the innermost loop, several positions a turn, and a second loop for those that are left."""
    axis, turn = plan.loops[-1], plan.turn
    start, whole, stop = _span(kernel, axis, turn, span, writer, block)
    kernel, found = clipped(kernel, axis, bound, (start, stop), writer, block)
    if found != (start, stop):
        start, stop = found
        whole = writer.fresh("whole")
        block.add(f"{whole} = {stop} - ({stop} - {start}) % {turn}")
    is_open = False
    if whole != start:
        step = block.inner(axis)
        for number in range(turn):
            further = {**plan.at, axis: DimExpr.of(axis) + number}
            is_open |= write_products(kernel, writer, step, cells, further, ahead=number == 0)
        block.close(step, f"for {axis.name} in range({start}, {whole}, {turn}):")
    if whole != stop:
        step = block.inner(axis)
        is_open |= write_products(kernel, writer, step, cells, plan.at)
        block.close(step, f"for {axis.name} in range({whole}, {stop}):")
    return is_open


def _write_epilogue(kernel: Tile, writer: Writer, block: Block, cells: Cells) -> None:
    """Write what is made of a tile's accumulators, vector by vector."""
    accumulator = load(ACCUMULATOR, (), kernel.left.dtype)
    rows = cells.axes
    writer.accumulated = frozenset((*rows, kernel.lane))
    for v in range(cells.vectors):
        # A block of its own for these lanes, so that what is the same for all rows (a bias) is read once; outside of it the
        # lane axis names the first vector, so nothing that uses it may be placed there.
        top = block
        while top.parent is not None:
            top = top.parent
        column = Block(top, block.bound, block.depth, block.vector, block.mask)
        column.axis_names = {axis: axis.name for axis in kernel.outer if axis not in rows}
        column.axis_names[kernel.lane] = f"({kernel.lane.name} + {v * writer.lanes})" if v else kernel.lane.name
        for number, place in enumerate(cells.places):
            cell = column.inner(*rows, depth=0)
            cell.axis_names = {a: f"({a.name} + {t})" if t else a.name for a, t in zip(rows, place, strict=True)}
            cell.names[accumulator] = cells.called(number, v)
            # What the accumulators began with is in them.
            values = [writer.vector(accumulator if kernel.start else s.value, cell) for s in kernel.stores]
            for store, value in zip(kernel.stores, values, strict=True):
                writer.store(store, value, cell)
            column.close(cell)
        block.close(column)
