"""Kernels that give the value at each index: over rows and lanes, several for the same rows, and over all segments."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.emit.block import Block, factor
from graphc.emit.columns import write_columns
from graphc.emit.writer import Writer
from graphc.loops.expr import Apply, Load, Reduce, rewrite, walk
from graphc.loops.kernels import BAND, COLUMNS, OWNED, Map, Segments, Store, expressions, loads

# Rows of few vectors that one thread makes at a time, at most.
RUN = 256
# Bytes of a page.
PAGE = 4096
# Bytes by which lines are claimed before they are written.
CLAIMED = 512


def write_map(kernel: Map, writer: Writer, block: Block) -> None:
    """Write a Map kernel."""
    across = kernel.across
    if across is not None:
        _write_squares(kernel, across, writer, block)
    elif kernel.banded:
        _write_bands(kernel, writer, block)
    elif not kernel.rows:
        if kernel.ordered:
            _write_row(kernel, writer, block)
        elif kernel.lane is None:
            _write_stores(kernel, writer, block, kernel.stores)
        else:
            _write_lanes(kernel, writer, block)
    else:
        write_rows((kernel,), writer, block)


def _write_squares(kernel: Map, across: Axis, writer: Writer, block: Block) -> None:
    """Threads share bands of rows; each band is a row of squares, and where one is not whole its rows are made singly."""
    lane, side, outer = kernel.lane, writer.lanes, tuple(a for a in kernel.rows if a != across)
    (store,) = kernel.stores
    assert lane is not None
    assert isinstance(store.value, Load)
    extent, width, size = writer.dim(across.extent, block), writer.dim(lane.extent, block), store.value.dtype.itemsize
    block.add(f"blocks = ({extent} + {side - 1}) // {side}")
    total = " * ".join(["blocks", *(factor(writer.dim(a.extent, block)) for a in outer)])
    start, stop = writer.split(total, block)
    slopes = [dims.linear(store.value.index[0], lane)[0], dims.linear(store.offset, across)[0]]
    source_step, target_step = (writer.distance(s, size, block) for s in slopes if s is not None)
    band = block.inner(*outer)
    first, last = writer.fresh("first"), writer.fresh("last")
    band.add("position = piece // blocks")
    band.add(f"{first} = {side} * (piece - position * blocks)")
    band.add(f"{last} = min({first} + {side}, {extent})")
    flat = "position"
    for axis in reversed(outer):
        inside = factor(writer.dim(axis.extent, band))
        band.add(f"{axis.name} = {flat} % {inside}")
        flat = f"{flat} // {inside}"
    column = band.inner()
    square = column.inner(lane, across, depth=0)
    square.axis_names[across] = first
    conditions: list[str] = []
    if dims.remainder(across.extent, side) != 0:
        conditions.append(f"{last} - {first} == {side}")
    mask = None
    if dims.remainder(lane.extent, side) != 0:
        mask = writer.fresh("mask")
        conditions.append(f"{lane.name} + {side} <= {width}")
    if store.value.guard is not None:
        ends = (rewrite(store.value.guard, {lane: DimExpr.of(lane) + end}) for end in (0, side - 1))
        conditions += [writer.value(end, square) for end in ends]
    whole = square.inner(depth=bool(conditions))
    source = writer.address(store.value.source, store.value.index[0], size, whole)
    target = writer.address(store.buffer, store.offset, size, whole)
    whole.add(f"transpose_{store.value.dtype.short}x{side}({source}, {source_step}, {target}, {target_step})")
    square.close(whole, f"if {' and '.join(conditions)}:" if conditions else None)
    column.close(square)
    if conditions:
        part = column.inner(lane, vector=lane, mask=mask)
        if mask is not None:
            part.add(f"{mask} = tail_bx{side}({width} - {lane.name})")
        rows = part.inner(across)
        _write_stores(kernel, writer, rows, kernel.stores)
        part.close(rows, f"for {across.name} in range({first}, {last}):")
        column.close(part, "else:")
    band.close(column, f"for {lane.name} in range(0, {width}, {side}):")
    block.close(band, f"for piece in range({start}, {stop}):")


def _write_bands(kernel: Map, writer: Writer, block: Block) -> None:
    """Threads share bands of the inner rows; each band is copied for one outer row after another."""
    column, row = kernel.rows
    extent = writer.dim(row.extent, block)
    start, stop = writer.split(f"(({extent} + {BAND - 1}) // {BAND})", block)
    band = block.inner()
    first, last = writer.fresh("first"), writer.fresh("last")
    band.add(f"{first} = {BAND} * piece")
    band.add(f"{last} = min({first} + {BAND}, {extent})")
    inner = band.inner(column)
    one = inner.inner(row)
    _write_row(kernel, writer, one)
    inner.close(one, f"for {row.name} in range({first}, {last}):")
    band.close(inner, f"for {column.name} in range({writer.dim(column.extent, band)}):")
    block.close(band, f"for piece in range({start}, {stop}):")


def write_rows(maps: Sequence[Map], writer: Writer, block: Block) -> None:
    """Threads share the rows; for each row the maps follow one another.

    Rows of few vectors are many: the last of their axes is a loop of its own, which counts without asking.
    """
    rows, owner = maps[0].rows, maps[0].owner
    run = rows[-1] if len(rows) > 1 and any(_has_columns(one, writer) for one in maps) else None
    if run is not None and (not isinstance(run.extent, int) or run.extent > RUN):
        run = None
    shared = rows[:-1] if run is not None else rows
    if owner is None:
        start, stop = writer.split(writer.dim(dims.product(a.extent for a in shared), block), block)
    else:
        start, stop = writer.own(owner, block)
        if len(shared) > 1:
            inside = factor(writer.dim(dims.product(a.extent for a in shared[1:]), block))
            block.add(f"{start} = {start} * {inside}")
            block.add(f"{stop} = {stop} * {inside}")
    inner = block.inner(*shared)
    name = shared[0].name if len(shared) == 1 else writer.fresh("row")
    if len(shared) > 1:
        _locate(writer, block, start, stop, shared)
    row = inner if run is None else inner.inner(run)
    near: set[int] = set()
    for kernel in maps:
        if _has_columns(kernel, writer):
            _write_columns(kernel, writer, block, row)
        else:
            ahead = [place for place in _next_row(kernel) if place[0] not in near]
            _write_row(kernel, writer, row, ahead)
            near |= {buffer for buffer, *_ in ahead}
    if run is not None:
        inner.close(row, f"for {run.name} in range({run.extent}):")
    if len(shared) > 1:
        _advance(writer, inner, shared)
    block.close(inner, f"for {name} in range({start}, {stop}):")


def _next_row(kernel: Map) -> list[tuple[int, Dim, int]]:
    """Return what the next row reads and writes along the lanes, where rows fill pages: buffers, offsets, sizes of elements.

    The processor foresees what comes next on a page, but not the next page: while this row is computed, the next one can
    come from memory.
    """
    lane, (*_, row) = kernel.lane, kernel.rows
    if lane is None or not isinstance(lane.extent, int):
        return []
    places = [(e.source, e.index[0], e.dtype.itemsize) for e in loads(*expressions(kernel)) if e.guard is None]
    places += [(s.buffer, s.offset, s.value.dtype.itemsize) for s in kernel.stores]
    found: dict[tuple[int, Dim, int], None] = {}
    for buffer, offset, size in places:
        slope, stride = (dims.linear(offset, axis)[0] for axis in (lane, row))
        # What a sum walks is read by its own loop.
        is_walked_once = dims.axes(offset) <= {*kernel.rows, lane}
        if lane.extent * size >= PAGE and slope == 1 and stride and is_walked_once:
            found[buffer, offset + stride, size] = None
    return list(found)


def _has_columns(kernel: Map, writer: Writer) -> bool:
    """Whether a row is few vectors, and something of them is the same in every row: the numbers of a channel, say."""
    lane = kernel.lane
    if lane is None or kernel.ordered or not isinstance(lane.extent, int) or lane.extent > COLUMNS * writer.lanes:
        return False
    if any(lane not in dims.axes(s.offset) for s in kernel.stores):
        return False
    values = list(walk(*(s.value for s in kernel.stores)))
    # What is reduced along a row is made before its first vector is stored, which may replace it.
    if any(isinstance(e, Reduce) and lane not in e.free for e in values):
        return False
    return any(lane in e.free and not e.free & set(kernel.rows) for e in values)


def _write_columns(kernel: Map, writer: Writer, block: Block, inner: Block) -> None:
    """Write a row's vectors one after another: what is the same for all rows stands before the loop over rows, `inner`."""
    lane, lanes = kernel.lane, writer.lanes
    assert lane is not None
    assert isinstance(lane.extent, int)
    for first in range(0, lane.extent, lanes):
        mask = writer.fresh("mask") if first + lanes > lane.extent else None
        column = block.inner(lane, depth=0, vector=lane, mask=mask)
        column.axis_names[lane] = str(first)
        if mask is not None:
            column.add(f"{mask} = tail_bx{lanes}({lane.extent - first})")
        cells = column.inner(*kernel.rows, depth=inner.depth - block.depth)
        _write_stores(kernel, writer, cells, kernel.stores)
        block.close(column)
        inner.close(cells)


def _locate(writer: Writer, block: Block, start: str, stop: str, axes: Sequence[Axis]) -> None:
    """Write the values of axes at the first row; from there on they count, for divisions would cost as much as a row."""
    for axis in axes:
        block.add(f"{axis.name} = 0")
    side, flat = block.inner(), start
    for axis in reversed(axes[1:]):
        extent = factor(writer.dim(axis.extent, side))
        side.add(f"{axis.name} = {flat} % {extent}")
        flat = f"{flat} // {extent}"
    side.add(f"{axes[0].name} = {flat}")
    block.close(side, f"if {start} < {stop}:")


def _advance(writer: Writer, block: Block, axes: Sequence[Axis]) -> None:
    """Write the step from one row to the next."""
    for depth, axis in enumerate(reversed(axes)):
        block.add("    " * depth + f"{axis.name} += 1")
        if depth < len(axes) - 1:
            block.add("    " * depth + f"if {axis.name} == {writer.dim(axis.extent, block)}:")
            block.add("    " * (depth + 1) + f"{axis.name} = 0")


def _write_row(kernel: Map, writer: Writer, block: Block, ahead: Sequence[tuple[int, Dim, int]] = ()) -> None:
    """One row: the lane loop for what varies along it, then the values that are one a row; what is `ahead` is prefetched."""
    if kernel.ordered:
        if kernel.lane is None:
            _write_running(kernel, writer, block)
        else:
            writer.vector_loop(block, kernel.lane, lambda inner: _write_running(kernel, writer, inner))
        return
    wide = [s for s in kernel.stores if kernel.lane is not None and kernel.lane in dims.axes(s.offset)]
    narrow = [s for s in kernel.stores if s not in wide]
    if kernel.lane is not None and wide:
        span = write_columns(wide, kernel.lane, writer, block, None)

        def write(inner: Block) -> None:
            _write_stores(kernel, writer, inner, wide)
            for place in ahead:
                inner.add(f"prefetch({writer.address(*place, inner)})")

        writer.vector_loop(block, kernel.lane, write, span, is_once=_is_apart(wide, kernel.lane))
    _write_stores(kernel, writer, block, narrow)


def _write_lanes(kernel: Map, writer: Writer, block: Block) -> None:
    """No rows: threads share the lane axis in whole vectors, so that the split never changes what a lane computes."""
    lane, lanes = kernel.lane, writer.lanes
    assert lane is not None
    span, is_whole = None, True
    if kernel.owner is not None:
        span, is_whole = writer.own(kernel.owner, block), OWNED % lanes == 0
    elif not isinstance(lane.extent, int) or lane.extent > lanes:
        extent = writer.dim(lane.extent, block)
        blocks = writer.fresh("blocks")
        block.add(f"{blocks} = ({extent} + {lanes - 1}) // {lanes}")
        start, stop = writer.split(blocks, block)
        block.add(f"{start} = {start} * {lanes}")
        block.add(f"{stop} = min({stop} * {lanes}, {extent})")
        span = write_columns(kernel.stores, lane, writer, block, (start, stop)) or (start, stop)

    def write(inner: Block) -> None:
        _write_stores(kernel, writer, inner, kernel.stores)

    writer.vector_loop(block, lane, write, span, is_whole=is_whole, is_once=_is_apart(kernel.stores, lane))


def _is_apart(stores: Sequence[Store], lane: Axis) -> bool:
    """Whether these are rows abreast: a long body, whose loads and stores take as long with masks."""
    return any(dims.linear(s.offset, lane)[0] != 1 for s in stores)


def _write_stores(kernel: Map, writer: Writer, block: Block, stores: Sequence[Store]) -> None:
    # All values before all stores: a store may replace what another value reads at the same index.
    values = [writer.value(s.value, block) if block.vector is None else writer.vector(s.value, block) for s in stores]
    for store, value in zip(stores, values, strict=True):
        writer.store(store, value, block)


def _write_running(kernel: Map, writer: Writer, block: Block) -> None:
    assert kernel.ordered is not None
    combiner, axis, reverse = kernel.ordered
    (store,) = kernel.stores
    kind = store.value.dtype.short
    total = writer.fresh("total")
    block.add(f"{total} = {kind}{f'x{writer.lanes}' if block.vector else ''}({1 if combiner == 'multiply' else 0})")
    extent = writer.dim(axis.extent, block)
    inner = block.inner(axis)
    get = writer.vector if block.vector else writer.value
    if combiner == "affine":
        assert isinstance(store.value, Apply)
        slope, term = (get(part, inner) for part in store.value.args)
        text = f"fma({slope}, {total}, {term})"
    else:
        text = f"{total} {'*' if combiner == 'multiply' else '+'} {get(store.value, inner)}"
    narrow = not block.vector and kind in ("i32", "u32", "u8")
    inner.add(f"{total} = {kind}({text})" if narrow else f"{total} = {text}")
    writer.store(store, total, inner)
    block.close(inner, f"for {axis.name} in range({f'{extent} - 1, -1, -1' if reverse else extent}):")


def write_segments(kernel: Segments, writer: Writer, block: Block) -> None:
    """`table` are the words after the others: how many segments, then for each its length and the addresses of its arrays.

    Threads share the vectors of each segment, as they share the rows of the products that make gradients: most of a
    gradient is then in the cache of the thread that reads it here. But all threads have read what is replaced, and a core
    waits for the others to give up their copies of a line, unless it claims it ahead.
    """
    lanes, width = writer.lanes, 1 + len(kernel.arrays[0])
    count, row, length, pieces = (writer.fresh(name) for name in ("segments", "row", "length", "pieces"))
    block.add(f"{count} = word(table, 0)")
    inner = block.inner()
    inner.add(f"{row} = table + 8 * (1 + {width} * segment)")
    inner.add(f"{length} = word({row}, 0)")
    inner.add(f"{pieces} = ({length} + {lanes - 1}) // {lanes}")
    start, stop = writer.split(pieces, inner)
    first, last = f"{start} * {lanes}", writer.fresh("last")
    inner.add(f"{last} = min({stop} * {lanes}, {length})")
    deep = inner.inner()
    for position in range(1, width):
        deep.add(f"{writer.name_of(-position)} = word({row}, {position})")
    lane = kernel.map.lane
    assert lane is not None

    def write(place: Block) -> None:
        _write_stores(kernel.map, writer, place, kernel.map.stores)
        if place.mask is None:
            for store in kernel.map.stores:
                itemsize = store.value.dtype.itemsize
                ahead = dims.substitute(store.offset, {lane: DimExpr.of(lane) + CLAIMED // itemsize})
                place.add(f"claim({writer.address(store.buffer, ahead, itemsize, place)})")

    writer.vector_loop(deep, lane, write, (first, last))
    inner.close(deep, f"if {start} < {stop}:")
    block.close(inner, f"for segment in range({count}):")
