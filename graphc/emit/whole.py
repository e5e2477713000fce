"""Kernels over whole arrays: rows added at places read from data, and a user's function."""

from __future__ import annotations

from graphc.dims import Axis
from graphc.emit.block import Block
from graphc.emit.writer import Writer
from graphc.loops.kernels import Call, Scatter


def write_scatter(kernel: Scatter, writer: Writer, block: Block) -> None:
    """Write a Scatter kernel."""
    out, updates, index = writer.name_of(kernel.out), writer.name_of(kernel.updates), writer.name_of(kernel.index)
    kind, size, lanes = kernel.dtype.short, kernel.dtype.itemsize, writer.lanes
    width, rows, count = (writer.dim(d, block) for d in (kernel.width, kernel.size, kernel.count))
    block.add(f"width = {width}")
    start, stop = writer.split(rows, block)
    # Each thread owns rows of the result and reads all indices in order, so that sums are the same for any thread count.
    lane = Axis("i", kernel.width)
    inner = block.inner()

    def clear(place: Block) -> None:
        mask = f", {place.mask}" if place.mask else ""
        place.add(f"store({kind}x{lanes}(0), {out} + {size} * (row * width + i){mask})")

    writer.vector_loop(inner, lane, clear)
    block.close(inner, f"for row in range({start}, {stop}):")
    inner = block.inner()
    where = f"load_{kernel.index_dtype.short}({index} + {kernel.index_dtype.itemsize} * j)"
    check = "check_index" if kernel.wraps else "check_position"
    inner.add(f"row = {check}(i64({where}), {rows}, args, {kernel.site})")
    deep = inner.inner()

    def add(place: Block) -> None:
        mask = f", {place.mask}" if place.mask else ""
        target, part = writer.fresh("target"), writer.fresh("part")
        place.add(f"{target} = {out} + {size} * (row * width + i)")
        place.add(f"{part} = load_{kind}x{lanes}({updates} + {size} * (j * width + i){mask})")
        place.add(f"store(load_{kind}x{lanes}({target}{mask}) + {part}, {target}{mask})")

    writer.vector_loop(deep, lane, add)
    inner.close(deep, f"if {start} <= row and row < {stop}:")
    block.close(inner, f"for j in range({count}):")


def write_call(kernel: Call, writer: Writer, block: Block) -> None:
    """Write a Call kernel."""
    views = ["view_i64(word(args, 0), 4)"] if kernel.reports else []
    for buffer, dtype, shape in kernel.arrays:
        parts = [writer.name_of(buffer), *(writer.dim(d, block) for d in shape)]
        views.append(f"view_{dtype.short}({', '.join(parts)})")
    block.add(f"{kernel.function}(")
    for view in views:
        block.add(f"    {view},")
    block.add(")")
