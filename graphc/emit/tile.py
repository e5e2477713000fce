"""Contractions: a register tile of accumulators, all reduced axes inside it, then the epilogue on the accumulators.

The left operand is read one element at a time and spread, at any strides, unless it varies along the lanes, too; the
right one by vectors along the lanes. Rows that do not fill a tile are a smaller one, or made one by one where their number
is not known; lanes that do not fill a vector are masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.emit.block import Block, factor
from graphc.emit.fetches import LINE, is_ahead, is_apart, is_both, write_fetches
from graphc.emit.pack import write_pack
from graphc.emit.spans import close_part, close_round, open_part, open_round, range_text, span_of
from graphc.emit.writer import Writer
from graphc.loops.expr import Load, load, within
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
    total = " * ".join(["blocks", *(factor(writer.dim(a.extent, block)) for a in kernel.outer)])
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
    if rounds is not None and not rounds.within:
        block = open_round(rounds, writer, whole_sum)
    outside, band = block, kernel.band
    first, last = span
    if band:
        block = outside.inner()
        span = ("band", f"min(band + {band}, {last})")
    if whole != "0":
        inner = _lane_block(kernel, block, width, None)
        share = _share(kernel, writer, inner, span, kernel.shape[1])
        _write_lanes(kernel, writer, inner, share, own, kernel.shape[1])
        block.close(inner, f"for {lane.name} in range(0, {whole}, {width}):")
    if rest:
        mask = writer.fresh("mask")
        is_single = isinstance(lane.extent, int) and lane.extent < writer.lanes
        inner = _lane_block(kernel, block, width, mask, is_single=is_single)
        inner.add(f"{mask} = tail_bx{writer.lanes}({stop} - {lane.name})")
        _write_lanes(kernel, writer, inner, _share(kernel, writer, inner, span, 1), own, 1)
        block.close(inner, None if is_single else f"for {lane.name} in range({whole}, {stop}, {writer.lanes}):")
    if band:
        outside.close(block, f"for band in range({first}, {last}, {band}):")
    if rounds is not None and not rounds.within:
        close_round(rounds, writer, whole_sum, outside)
    if rounds is not None and rounds.parts > 1:
        close_part(rounds, writer, all_parts, whole_sum)


def _lane_block(kernel: Tile, block: Block, width: int, mask: str | None, *, is_single: bool = False) -> Block:
    """Return the block of a loop over lanes; without a loop where there is but one turn, so that its lane is known."""
    panel = [kernel.panel] if kernel.panel else []
    inner = block.inner(kernel.lane, *panel, depth=0 if is_single else 1, vector=kernel.lane, mask=mask)
    if is_single:
        inner.add(f"{kernel.lane.name} = 0")
    if kernel.panel:
        inner.add(f"{kernel.panel.name} = {kernel.lane.name} // {width}")
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
    inner = open_round(kernel.rounds, writer, block)
    _write_rows(kernel, writer, inner, span, own, vectors)
    close_round(kernel.rounds, writer, block, inner)


def _write_rows(
    kernel: Tile, writer: Writer, block: Block, span: tuple[str, str], own: tuple[str, str], vectors: int
) -> None:
    """Write the loop over this thread's blocks of rows, which lie between those `own`, for `vectors` vectors of lanes."""
    rows, row = kernel.shape[0], kernel.row
    start, extent = "" if own[0] == "0" else f"{own[0]} + ", own[1]
    if kernel.pack is not None:
        side = block.inner()
        write_pack(kernel.pack, kernel.lane, kernel.rounds, writer, side, vectors)
        block.close(side, f"if {span[0]} < {span[1]}:")
    inner = block.inner(*kernel.outer, *([kernel.strip] if kernel.strip else []))
    flat = "piece"
    if kernel.outer:
        inner.add("position = piece // blocks")
        inner.add(f"{row.name} = {start}{rows} * (piece - position * blocks)")
        flat = "position"
    else:
        inner.add(f"{row.name} = {start}{rows} * piece")
    if kernel.strip:
        inner.add(f"{kernel.strip.name} = {row.name} // {rows}")
    for axis in reversed(kernel.outer):
        size = factor(writer.dim(axis.extent, inner))
        inner.add(f"{axis.name} = {flat} % {size}")
        flat = f"{flat} // {size}"
    if dims.remainder(row.extent, rows) == 0:
        _write_one(kernel, writer, inner, rows, vectors)
    else:
        side = inner.inner()
        _write_one(kernel, writer, side, rows, vectors)
        inner.close(side, f"if {row.name} + {rows} <= {extent}:")
        side = inner.inner()
        if isinstance(row.extent, int):
            _write_one(kernel, writer, side, row.extent % rows, vectors)
        else:
            single = side.inner()
            _write_one(kernel, writer, single, 1, vectors)
            side.close(single, f"for {row.name} in range({row.name}, {extent}):")
        inner.close(side, "else:")
    block.close(inner, f"for piece in range({span[0]}, {span[1]}):")


def _write_one(kernel: Tile, writer: Writer, block: Block, rows: int, vectors: int) -> None:
    """Write a register tile of so many rows and vectors."""
    _write_starts(kernel, writer, block, rows, vectors)
    if (rows, vectors) == kernel.shape:
        write_fetches(kernel, writer, block)
    unrolled, count = kernel.unrolled or (None, 1)
    at: dict[Atom, Dim] = {unrolled: 0} if unrolled is not None and unrolled.extent == count else {}
    loops = [axis for axis in kernel.reduced if axis not in at]
    # Only the tile that does most of the work: every line costs a millisecond of compile time.
    is_plain = (rows, vectors) != kernel.shape or loops[-1:] in ([], [unrolled])
    turn = 1 if is_plain else min(4, max(1, PRODUCTS // (rows * vectors * count)))
    for part, span in _parts(kernel, loops):
        _write_loops(part, writer, block, (rows, vectors), at, (loops, turn, count), span)
    if kernel.rounds is None or kernel.is_bare:
        _write_epilogue(kernel, writer, block, rows, vectors)
        return
    # Until the last round sums are kept where the first of the results will stand.
    sums = replace(kernel.stores[0], value=load(ACCUMULATOR, (), kernel.left.dtype))
    for stores, head in (
        ((sums,), f"if last < {writer.dim(kernel.rounds.axis.extent, block)}:"),
        (kernel.stores, "else:"),
    ):
        part = block.inner()
        _write_epilogue(replace(kernel, stores=stores), writer, part, rows, vectors)
        block.close(part, head)


Span = tuple[Axis, int, int]


def _parts(kernel: Tile, loops: Sequence[Axis]) -> list[tuple[Tile, Span | None]]:
    """Return the parts of a sum: one, or three where not all lanes take part at all positions of a loop."""
    some = kernel.within
    if some is None or some.axis not in loops or some.first >= some.last or not isinstance(some.axis.extent, int):
        return [(kernel, None)]
    ends = (0, some.first), (some.last, some.axis.extent)
    before, after = ((kernel, (some.axis, *span)) for span in ends)
    return [before, (replace(kernel, within=None), (some.axis, some.first, some.last)), after]


def _write_loops(
    kernel: Tile,
    writer: Writer,
    block: Block,
    shape: tuple[int, int],
    at: dict[Atom, Dim],
    plan: tuple[Sequence[Axis], int, int],
    span: Span | None,
) -> None:
    """Write the loops of a sum or, along the axis of `span`, of a part of one."""
    (rows, vectors), (loops, turn, count) = shape, plan
    unrolled = kernel.unrolled[0] if kernel.unrolled else None

    inner = block
    chain: list[tuple[Block, str]] = []
    for axis in loops if turn == 1 else loops[:-1]:
        step = count if axis == unrolled else 1
        start, _, stop = _span(kernel, axis, step, span, writer, inner)
        chain.append((inner, f"for {axis.name} in {range_text(start, stop, step)}:"))
        inner = inner.inner(axis)
    if turn == 1:
        _write_products(kernel, writer, inner, rows, vectors, at)
    else:
        _write_turns(kernel, writer, inner, rows, vectors, at, (loops[-1], turn), span)
    for outer, head in reversed(chain):
        outer.close(inner, head)
        inner = outer


def _span(kernel: Tile, axis: Axis, step: int, span: Span | None, writer: Writer, block: Block) -> tuple[str, str, str]:
    if span is None or axis != span[0]:
        return span_of(axis, kernel.rounds, step, writer, block)
    _, first, last = span
    return str(first), str(last - (last - first) % step), str(last)


def _write_starts(kernel: Tile, writer: Writer, block: Block, rows: int, vectors: int) -> None:
    """Write the accumulators' first values: zeros, what they are added to, or what the last round stored."""
    kind, lanes, start = kernel.left.dtype.short, writer.lanes, kernel.start
    if kernel.rounds is None and start is None:
        for t in range(rows):
            for v in range(vectors):
                block.add(f"c{t}_{v} = {kind}x{lanes}(0.0)")
        return
    store, mask = kernel.stores[0], block.mask
    if start is None:
        mask = writer.fresh("mask")
        others = f" & {block.mask}" if block.mask else ""
        block.add(f"{mask} = bx{lanes}(first > {kernel.rounds.begin if kernel.rounds else 0}){others}")
    buffer = store.buffer if start is None else start.source
    stride = dims.linear(store.offset, kernel.row)[0]
    assert stride is not None
    size = kernel.left.dtype.itemsize
    for t in range(rows):
        for v in range(vectors):
            place = writer.address(buffer, store.offset + stride * t + v * lanes, size, block)
            block.add(f"c{t}_{v} = load_{kind}x{lanes}({place}{f', {mask}' if mask else ''})")


def _write_turns(
    kernel: Tile,
    writer: Writer,
    block: Block,
    rows: int,
    vectors: int,
    at: dict[Atom, Dim],
    by: tuple[Axis, int],
    span: Span | None,
) -> None:
    """Write the innermost loop, several positions a turn, and a second loop for those that are left."""
    axis, turn = by
    start, whole, stop = _span(kernel, axis, turn, span, writer, block)
    if whole != start:
        step = block.inner(axis)
        for number in range(turn):
            _write_products(
                kernel, writer, step, rows, vectors, at | {axis: DimExpr.of(axis) + number}, ahead=number == 0
            )
        block.close(step, f"for {axis.name} in range({start}, {whole}, {turn}):")
    if whole != stop:
        step = block.inner(axis)
        _write_products(kernel, writer, step, rows, vectors, at)
        block.close(step, f"for {axis.name} in range({whole}, {stop}):")


def _write_products(
    kernel: Tile, writer: Writer, block: Block, rows: int, vectors: int, at: Mapping[Atom, Dim], *, ahead: bool = True
) -> None:
    """Write one step of the sum, its axes replaced as `at` says: all unrolled positions at once.

    With `ahead` the next tile's rows are asked for: each is read too briefly for the processor to foresee how it goes on.
    """
    kind, lanes = kernel.left.dtype.short, writer.lanes
    mask = f", {block.mask}" if block.mask else ""
    count = kernel.unrolled[1] if kernel.unrolled else 1
    right = _Operand.of(kernel.right, kernel, writer, block, at)
    left = _Operand.of(kernel.left, kernel, writer, block, at)
    for u in range(count):
        for v in range(vectors):
            block.add(f"b{u}_{v} = load_{kind}x{lanes}({right.address(0, u, v * lanes)}{mask})")
    if ahead and (rows, vectors) == kernel.shape and is_ahead(kernel, left.row):
        for t in range(rows):
            block.add(f"prefetch({left.address(rows + t, 0, 0)})")
    takes_part = [_mask_of(kernel, writer, block, at, u) for u in range(count)]
    both = is_both(kernel)
    if left.row == 1 and not both and kernel.strip is None and is_apart(kernel):
        # The rows of the next blocks lie on the next line, which another thread may have written last.
        block.add(f"prefetch({left.base} + {left.size * LINE})")
    # An element of the left operand may serve several rows: the windows of a convolution overlap.
    users: dict[Dim, list[tuple[int, int]]] = {}
    for t in range(rows):
        for u in range(count):
            users.setdefault(t * left.row + u * left.reach, []).append((t, u))
    for places in users.values():
        # Lanes that take no part multiply zero, which is what the other operand holds there.
        for some in dict.fromkeys(takes_part[u] for _, u in places):
            own = [place for place in places if takes_part[place[1]] == some]
            (t, u), *_ = own
            if not both:
                spread = f"{kind}x{lanes}(load_{kind}({left.address(t, u, 0)}))"
                block.add(f"a = select({some}, {spread}, {kind}x{lanes}(0.0))" if some else f"a = {spread}")
            for v in range(vectors):
                if both:
                    block.add(f"a = load_{kind}x{lanes}({left.address(t, u, v * lanes)}{mask})")
                for row, position in own:
                    block.add(f"c{row}_{v} = fma(a, b{position}_{v}, c{row}_{v})")


def _mask_of(kernel: Tile, writer: Writer, block: Block, at: Mapping[Atom, Dim], position: int) -> str | None:
    """Return which lanes take part in a product at an unrolled position, None where all do."""
    if kernel.within is None:
        return None
    place = dict(at)
    if kernel.unrolled is not None:
        axis = kernel.unrolled[0]
        place[axis] = place.get(axis, DimExpr.of(axis)) + position
    low, high = (dims.substitute(bound, place) for bound in (kernel.within.low, kernel.within.high))
    guard = within(DimExpr.of(kernel.lane), low, high)
    return None if guard is None else writer.vector(guard, block)


@record
class _Operand:
    """How a step addresses the elements of an operand: from the first one, by the distances to the next row and position.

    A distance that is no known number has a name.
    """

    base: str
    size: int
    row: Dim
    reach: Dim
    row_name: str
    reach_name: str

    @staticmethod
    def of(operand: Load, kernel: Tile, writer: Writer, block: Block, at: Mapping[Atom, Dim]) -> _Operand:
        """Write the address of the first element."""
        (offset,), size = operand.index, operand.dtype.itemsize
        slopes = [
            (dims.linear(offset, axis)[0] or 0) if axis is not None else 0
            for axis in (kernel.row, kernel.unrolled[0] if kernel.unrolled else None)
        ]
        row, reach = ("" if isinstance(s, int) else writer.distance(s, size, block) for s in slopes)
        base = writer.fresh("at")
        block.add(f"{base} = {writer.address(operand.source, dims.substitute(offset, at), size, block)}")
        return _Operand(base, size, slopes[0], slopes[1], row, reach)

    def address(self, row: int, position: int, lanes: int) -> str:
        """Return the address that is so many rows, positions and lanes further."""
        number, text = self.size * lanes, self.base
        for count, distance, name in ((row, self.row, self.row_name), (position, self.reach, self.reach_name)):
            if isinstance(distance, int):
                number += self.size * count * distance
            elif count:
                text += f" + {count} * {name}"
        return f"{text} + {number}" if number > 0 else f"{text} - {-number}" if number else text


def _write_epilogue(kernel: Tile, writer: Writer, block: Block, rows: int, vectors: int) -> None:
    """Write what is made of a tile's accumulators, vector by vector."""
    accumulator = load(ACCUMULATOR, (), kernel.left.dtype)
    writer.accumulated = frozenset((kernel.row, kernel.lane))
    for v in range(vectors):
        # A block of its own for these lanes, so that what is the same for all rows (a bias) is read once; outside of it the
        # lane axis names the first vector, so nothing that uses it may be placed there.
        top = block
        while top.parent is not None:
            top = top.parent
        column = Block(top, block.bound, block.depth, block.vector, block.mask)
        column.axis_names = {axis: axis.name for axis in kernel.outer}
        column.axis_names[kernel.lane] = f"({kernel.lane.name} + {v * writer.lanes})" if v else kernel.lane.name
        for t in range(rows):
            cell = column.inner(kernel.row, depth=0)
            cell.axis_names = {kernel.row: f"({kernel.row.name} + {t})" if t else kernel.row.name}
            cell.names[accumulator] = f"c{t}_{v}"
            # What the accumulators began with is in them.
            values = [writer.vector(accumulator if kernel.start else s.value, cell) for s in kernel.stores]
            for store, value in zip(kernel.stores, values, strict=True):
                writer.store(store, value, cell)
            column.close(cell)
        block.close(column)
