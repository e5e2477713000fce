"""Contractions: a register tile of accumulators, all reduced axes inside it, then the epilogue on the accumulators.

The left operand is read one element at a time and spread, at any strides, unless it varies along the lanes, too; the
right one by vectors along the lanes. Rows that do not fill a tile are computed on the last row again and not stored;
lanes likewise are masked.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc import dims
from graphc.dims import Axis, Dim
from graphc.emit.writer import Block, Writer, factor
from graphc.loops.expr import Load, load
from graphc.loops.kernels import ACCUMULATOR, Tile
from graphc.records import record


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
            side.add(f"step{t} = row{t} - {row.name}")
        _write_one(kernel, writer, side, vectors, full=False)
        inner.close(side, "else:")
    block.close(inner, f"for piece in range({span[0]}, {span[1]}):")


def _write_one(kernel: Tile, writer: Writer, block: Block, vectors: int, *, full: bool) -> None:
    rows, lanes = kernel.shape[0], writer.lanes
    kind = kernel.left.dtype.short
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

    start: dict[Axis, Dim] = {unrolled: 0} if unrolled is not None and unrolled.extent == count else {}
    right = _Operand.of(kernel.right, kernel, writer, block, inner, start)
    left = _Operand.of(kernel.left, kernel, writer, block, inner, start)
    for u in range(count):
        for v in range(vectors):
            inner.add(f"b{u}_{v} = load_{kind}x{lanes}({right.address('0', 0, u, v * lanes)}{mask})")
    both = kernel.lane in dims.axes(kernel.left.index[0])
    for t, u, users in _left_elements(kernel, count, full=full):
        row = str(t) if full else f"step{t}"
        if not both:
            inner.add(f"a = {kind}x{lanes}(load_{kind}({left.address(row, t, u, 0)}))")
        for v in range(vectors):
            if both:
                inner.add(f"a = load_{kind}x{lanes}({left.address(row, t, u, v * lanes)}{mask})")
            for at, by in users:
                inner.add(f"c{at}_{v} = fma(a, b{by}_{v}, c{at}_{v})")
    for outer, head in reversed(chain):
        outer.close(inner, head)
        inner = outer
    for v in range(vectors):
        _write_epilogue(kernel, writer, block, v, full=full)


@record
class _Operand:
    """How elements of an operand are addressed: from the first of a step, by distances between rows and unrolled positions."""

    base: str
    size: int
    row: int | str
    reach: int | str

    @staticmethod
    def of(
        operand: Load, kernel: Tile, writer: Writer, outside: Block, inside: Block, start: Mapping[Axis, Dim]
    ) -> _Operand:
        """Write the first address in the innermost loop, and distances that are not known numbers outside of all loops."""
        (offset,), size = operand.index, operand.dtype.itemsize
        distances: list[int | str] = []
        for axis in (kernel.row, kernel.unrolled[0] if kernel.unrolled else None):
            slope = dims.linear(offset, axis)[0] if axis is not None else 0
            assert slope is not None
            if isinstance(slope, int):
                distances.append(size * slope)
            else:
                distances.append(name := writer.fresh("stride"))
                outside.add(f"{name} = {size} * ({writer.dim(slope, outside)})")
        base = writer.fresh("at")
        inside.add(f"{base} = {writer.address(operand.source, dims.substitute(offset, start), size, inside)}")
        return _Operand(base, size, *distances)

    def address(self, row: str, t: int, u: int, lanes: int) -> str:
        """Return the address that is so many rows (`row` is their name, or the number t), positions and lanes further."""
        number, text = self.size * lanes, self.base
        for name, count, distance in ((row, t, self.row), (str(u), u, self.reach)):
            if isinstance(distance, int) and name == str(count):
                number += count * distance
            elif distance != 0 and count != 0:
                text += f" + {name} * {distance}"
        return f"{text} + {number}" if number > 0 else f"{text} - {-number}" if number else text


def _left_elements(kernel: Tile, count: int, *, full: bool) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """Return the elements of the left operand: a row and an unrolled position of each, and all that read it, in order."""
    (offset,) = kernel.left.index
    row = dims.linear(offset, kernel.row)[0] or 0
    reach = (dims.linear(offset, kernel.unrolled[0])[0] or 0) if kernel.unrolled else 0
    users: dict[object, list[tuple[int, int]]] = {}
    for t in range(kernel.shape[0]):
        for u in range(count):
            users.setdefault(row * t + reach * u if full else (t, u), []).append((t, u))
    return [(*first, [first, *rest]) for first, *rest in users.values()]


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
