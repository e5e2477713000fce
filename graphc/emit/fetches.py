"""Lines of the cache that a register tile asks for before it needs them: of its result, and of the next tile's rows."""

from __future__ import annotations

from collections.abc import Iterator

from graphc import dims
from graphc.dims import Dim, DimExpr
from graphc.emit.block import Block
from graphc.emit.writer import Writer
from graphc.loops.kernels import Tile, loads, usual_size

# Elements of a result, and of a scalar operand (what windows share is counted often), that are elsewhere: in memory, or in
# the cache of another core that has made the operand, or read what the result replaces; elements of a line.
LARGE, AHEAD, LINE = 1 << 18, 1 << 12, 16
# Steps of a sum during which lines have time to come, and bytes.
LONG, FURTHER = 64, 1024
# Bytes from line to line that share a set of the first-level cache.
SET = 1 << 12


def is_ahead(kernel: Tile, stride: Dim) -> bool:
    """Whether the scalar operand comes from far, and each of its rows from other lines, for which the first-level cache has room.

    Tiles of one vector, as narrow registers hold, read a line during few products. If all their rows share one set of that
    cache, the next tile's lines would take the places of those that are being read.
    """
    if kernel.shape[1] == 1 and isinstance(stride, int) and stride * kernel.left.dtype.itemsize % SET == 0:
        return False
    is_large = usual_size(dims.axes(kernel.left.index[0])) >= AHEAD and kernel.owner is None
    is_apart = kernel.strip is None and isinstance(stride, int) and abs(stride) >= LINE
    return is_large and is_apart and not kernel.is_lanewise


def is_apart(kernel: Tile) -> bool:
    """Whether each step of the sum reads the scalar operand from another line, which no prefetcher foresees."""
    steps = (dims.linear(kernel.left.index[0], axis)[0] for axis in kernel.reduced)
    return all(not isinstance(step, int) or abs(step) >= LINE for step in steps)


def is_walked(kernel: Tile) -> bool:
    """Whether a sum walks the scalar operand along lines near one another, which its maker may have left in another core's cache.

    No prefetcher brings them from there in time, so the line `FURTHER` bytes on is asked for.
    """
    step = dims.linear(kernel.left.index[0], kernel.reduced[-1])[0]
    return isinstance(step, int) and abs(step) * kernel.left.dtype.itemsize < FURTHER


def _is_far(kernel: Tile) -> bool:
    """Whether the lines of a result come from far: it is large, and not read before its sum."""
    return kernel.rounds is None and usual_size((*kernel.outer, kernel.row, kernel.lane)) >= LARGE


def _fetches(kernel: Tile) -> Iterator[tuple[str, int, Dim]]:
    """Yield what lines are asked for while the sum is made, and how: buffers and offsets.

    Those of the first result are claimed, if they come from far; those are fetched that what follows the sum reads as it goes.
    """
    first = kernel.stores[0].buffer, kernel.stores[0].offset
    if _is_far(kernel):
        yield "claim", *first
    if usual_size(kernel.reduced) < LONG or kernel.rounds is not None:
        return
    for found in loads(*(store.value for store in kernel.stores)):
        slope, stride = (dims.linear(found.index[0], axis)[0] for axis in (kernel.lane, kernel.row))
        is_like = found.guard is None and slope == 1 and stride and found.dtype is kernel.left.dtype
        if is_like and not (_is_far(kernel) and (found.source, found.index[0]) == first):
            yield "prefetch", found.source, found.index[0]


def write_fetches(kernel: Tile, writer: Writer, block: Block) -> None:
    """Ask for the lines of a tile that it needs when its sum is made: they come meanwhile."""
    size = kernel.left.dtype.itemsize
    rows, vectors = kernel.shape
    for asking, buffer, offset in _fetches(kernel):
        stride = dims.linear(offset, kernel.row)[0]
        assert stride is not None
        step = str(size * stride) if isinstance(stride, int) else writer.distance(stride, size, block)
        axis, count = kernel.stacked or (kernel.row, 1)
        for number in range(count):
            place = dims.substitute(offset, {axis: DimExpr.of(axis) + number}) if number else offset
            base, line = writer.address(buffer, place, size, block), writer.fresh("line")
            inner = block.inner()
            for v in range(vectors):
                inner.add(f"{asking}({line}{f' + {64 * v}' if v else ''})")
            block.close(inner, f"for {line} in range({base}, {base} + {rows} * {step}, {step}):")
