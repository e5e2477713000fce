"""Contractions: a register tile of accumulators, all reduced axes inside it, then the epilogue on the accumulators.

The left operand is read one element at a time and spread, at any strides, unless it varies along the lanes, too; the
right one by vectors along the lanes. Rows that do not fill a tile are computed on the last row again and not stored;
lanes likewise are masked.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.emit.writer import Block, Writer, factor
from graphc.loops.expr import load
from graphc.loops.kernels import ACCUMULATOR, Tile


def write_tile(kernel: Tile, writer: Writer, block: Block) -> None:
    """Write a Tile kernel: threads share the blocks of rows.

    The loop over lanes stands outside, so that the right operand's columns stay in the cache while rows pass by.
    """
    rows, lane = kernel.shape[0], kernel.lane
    width = kernel.shape[1] * writer.lanes
    extent = writer.dim(kernel.row.extent, block)
    block.add(f"blocks = ({extent} + {rows - 1}) // {rows}")
    total = " * ".join(["blocks", *(factor(writer.dim(a.extent, block)) for a in kernel.outer)])
    span = writer.split(total, block)
    stop = writer.dim(lane.extent, block)
    if isinstance(lane.extent, int):
        whole, rest = str(lane.extent - lane.extent % width), lane.extent % width != 0
    else:
        whole, rest = writer.fresh("whole"), True
        block.add(f"{whole} = {stop} - {factor(stop)} % {width}")
    if whole != "0":
        inner = _lane_block(kernel, block, width, None)
        _write_rows(kernel, writer, inner, span, kernel.shape[1])
        block.close(inner, f"for {lane.name} in range(0, {whole}, {width}):")
    if rest:
        mask = writer.fresh("mask")
        inner = _lane_block(kernel, block, width, mask)
        inner.add(f"{mask} = tail_bx{writer.lanes}({stop} - {lane.name})")
        _write_rows(kernel, writer, inner, span, 1)
        block.close(inner, f"for {lane.name} in range({whole}, {stop}, {writer.lanes}):")


def _lane_block(kernel: Tile, block: Block, width: int, mask: str | None) -> Block:
    inner = block.inner(kernel.lane, *([kernel.panel] if kernel.panel else []), vector=kernel.lane, mask=mask)
    if kernel.panel:
        inner.add(f"{kernel.panel.name} = {kernel.lane.name} // {width}")
    return inner


def _write_rows(kernel: Tile, writer: Writer, block: Block, span: tuple[str, str], vectors: int) -> None:
    """Write the loop over this thread's blocks of rows, for `vectors` vectors of lanes."""
    rows, row = kernel.shape[0], kernel.row
    extent = writer.dim(row.extent, block)
    inner = block.inner(*kernel.outer, *([kernel.strip] if kernel.strip else []))
    flat = "piece"
    if kernel.outer:
        inner.add("position = piece // blocks")
        inner.add(f"{row.name} = {rows} * (piece - position * blocks)")
        flat = "position"
    else:
        inner.add(f"{row.name} = {rows} * piece")
    if kernel.strip:
        inner.add(f"{kernel.strip.name} = {row.name} // {rows}")
    for axis in reversed(kernel.outer):
        size = factor(writer.dim(axis.extent, inner))
        inner.add(f"{axis.name} = {flat} % {size}")
        flat = f"{flat} // {size}"
    if dims.remainder(row.extent, rows) == 0:
        _write_one(kernel, writer, inner, vectors, full=True)
    else:
        side = inner.inner()
        _write_one(kernel, writer, side, vectors, full=True)
        inner.close(side, f"if {row.name} + {rows} <= {extent}:")
        side = inner.inner()
        for t in range(rows):
            side.add(f"row{t} = min({row.name} + {t}, {extent} - 1)")
        _write_one(kernel, writer, side, vectors, full=False)
        inner.close(side, "else:")
    block.close(inner, f"for piece in range({span[0]}, {span[1]}):")


def _write_one(kernel: Tile, writer: Writer, block: Block, vectors: int, *, full: bool) -> None:
    rows, lanes = kernel.shape[0], writer.lanes
    kind, size = kernel.left.dtype.short, kernel.left.dtype.itemsize
    mask = f", {block.mask}" if block.mask else ""
    for t in range(rows):
        for v in range(vectors):
            block.add(f"c{t}_{v} = {kind}x{lanes}(0.0)")
    inner = block
    chain: list[tuple[Block, str]] = []
    unrolled, count = kernel.unrolled or (None, 1)
    for axis in kernel.reduced:
        extent = writer.dim(axis.extent, inner)
        if axis == unrolled:
            if axis.extent == count:
                continue
            extent = f"0, {extent}, {count}"
        chain.append((inner, f"for {axis.name} in range({extent}):"))
        inner = inner.inner(axis)

    def position(offset: Dim, u: int) -> Dim:
        if unrolled is None:
            return offset
        return dims.substitute(offset, {unrolled: u if unrolled.extent == count else DimExpr.of(unrolled) + u})

    for u in range(count):
        for v in range(vectors):
            at = _shifted(position(kernel.right.index[0], u), kernel.lane, v * lanes)
            place = writer.address(kernel.right.source, at, size, inner)
            inner.add(f"b{u}_{v} = load_{kind}x{lanes}({place}{mask})")
    both = kernel.lane in dims.axes(kernel.left.index[0])
    for at, users in _left_elements(kernel, position, count, full=full).items():
        if not both:
            inner.add(f"a = {kind}x{lanes}(load_{kind}({writer.address(kernel.left.source, at, size, inner)}))")
        for v in range(vectors):
            if both:
                place = writer.address(kernel.left.source, _shifted(at, kernel.lane, v * lanes), size, inner)
                inner.add(f"a = load_{kind}x{lanes}({place}{mask})")
            for t, u in users:
                inner.add(f"c{t}_{v} = fma(a, b{u}_{v}, c{t}_{v})")
    for outer, head in reversed(chain):
        outer.close(inner, head)
        inner = outer
    for v in range(vectors):
        _write_epilogue(kernel, writer, block, v, full=full)


def _left_elements(
    kernel: Tile, position: Callable[[Dim, int], Dim], count: int, *, full: bool
) -> dict[Dim, list[tuple[int, int]]]:
    """Return the offsets of the left operand, each with the rows and unrolled positions that read it, in order."""
    users: dict[Dim, list[tuple[int, int]]] = {}
    for t in range(kernel.shape[0]):
        for u in range(count):
            at = _row(position(kernel.left.index[0], u), kernel.row, t, full=full)
            users.setdefault(at, []).append((t, u))
    return users


def _write_epilogue(kernel: Tile, writer: Writer, block: Block, v: int, *, full: bool) -> None:
    accumulator = load(ACCUMULATOR, (), kernel.left.dtype)
    writer.accumulated = frozenset((kernel.row, kernel.lane))
    # A block of its own for these lanes, so that what is the same for all rows (a bias) is read once; outside of it the
    # lane axis names the first vector, so nothing that uses it may be placed there.
    top = block
    while top.parent is not None:
        top = top.parent
    column = Block(top, block.bound, block.depth, block.vector, block.mask)
    column.axis_names = {axis: axis.name for axis in kernel.outer}
    column.axis_names[kernel.lane] = f"({kernel.lane.name} + {v * writer.lanes})" if v else kernel.lane.name
    for t in range(kernel.shape[0]):
        guarded = not full and t > 0
        cell = column.inner(kernel.row, depth=int(guarded))
        name = kernel.row.name if not t else f"({kernel.row.name} + {t})" if full else f"row{t}"
        cell.axis_names = {kernel.row: name}
        cell.names[accumulator] = f"c{t}_{v}"
        values = [writer.vector(s.value, cell) for s in kernel.stores]
        for store, value in zip(kernel.stores, values, strict=True):
            writer.store(store, value, cell)
        column.close(cell, f"if {kernel.row.name} + {t} < {writer.dim(kernel.row.extent, block)}:" if guarded else None)
    block.close(column)


def _shifted(offset: Dim, lane: Axis, by: int) -> Dim:
    return dims.substitute(offset, {lane: DimExpr.of(lane) + by})


def _row(offset: Dim, row: Axis, t: int, *, full: bool) -> Dim:
    if full:
        return dims.substitute(offset, {row: DimExpr.of(row) + t})
    return dims.substitute(offset, {row: DimExpr.of(Axis(f"row{t}", 1))})
