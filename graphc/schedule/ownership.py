"""Loops in which each thread owns rows, the batch's mostly, through all steps: then none waits for another inside.

It holds where every kernel of a step touches what the loop changes only in the row that it is at. Threads then share that
axis, by the same bounds in every kernel; what a thread reads, it has written itself. The axis is the leading one of all
that the loop writes. Tiles are chosen for it before it is known whether it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphc import dims
from graphc.dims import Axis, Dim
from graphc.loops.kernels import OWNED, Kernel, Map, Rows, Tile, expressions, loads
from graphc.records import replace
from graphc.schedule.plan import Buffer
from graphc.schedule.units import Unit, is_within_row


def owner_of(shapes: Sequence[Sequence[Dim]]) -> Dim | None:
    """Return the extent that threads might share in a loop that writes arrays of these shapes."""
    leading = {shape[0] if shape else 1 for shape in shapes}
    if len(leading) != 1:
        return None
    (extent,) = leading
    return None if isinstance(extent, int) and extent < 2 * OWNED else extent


def own(units: Sequence[Unit], extent: Dim, buffers: Sequence[Buffer]) -> bool:
    """Give all kernels of a loop's step an owner axis of this extent, if it holds of all of them."""
    changing = {buffer for unit in units for buffer in unit.writes if buffers[buffer].kind != "private"}
    roots = {_root(number, buffers) for number in changing}
    widths: dict[int, set[Dim]] = {root: set() for root in roots}
    for number in changing.union(*(unit.reads for unit in units)):
        if _root(number, buffers) in roots:
            widths[_root(number, buffers)].add(dims.product(buffers[number].shape[1:]))
    # A thread's rows are the same bytes in whatever way a storage is walked, if all rows of it are of one size.
    if any(len(several) > 1 for several in widths.values()):
        return False
    owned: list[Kernel] = []
    for unit in units:
        kernel = unit.kernel
        axis = _axis(kernel, extent)
        if axis is None or not isinstance(kernel, Map | Rows | Tile):
            return False
        for number, offset in _places(kernel):
            is_changing = _root(number, buffers) in roots
            if is_changing and not is_within_row(offset, (axis,), buffers[number].shape):
                return False
        owned.append(_owned(kernel, axis))
    for unit, kernel in zip(units, owned, strict=True):
        unit.kernel = kernel
    return True


def _root(number: int, buffers: Sequence[Buffer]) -> int:
    """Return the buffer whose storage a slice or an in-place result lies in."""
    while True:
        buffer = buffers[number]
        if buffer.kind == "slice":
            number = buffer.position
        elif buffer.shares is not None:
            number = buffer.shares
        else:
            return number


def _axis(kernel: Kernel | None, extent: Dim) -> Axis | None:
    match kernel:
        case Map(rows, lane, ordered=ordered) if ordered is None and kernel.across is None:
            axis = rows[0] if rows else lane
        case Rows():
            axis = kernel.rows[0]
        case Tile(row=row) if kernel.rounds is None and OWNED % kernel.shape[0] == 0:
            axis = row
        case _:
            axis = None
    return axis if axis is not None and axis.extent == extent else None


def _places(kernel: Map | Rows | Tile) -> Iterator[tuple[int, Dim]]:
    """Yield what a kernel touches: buffers and offsets."""
    for store in kernel.stores:
        yield store.buffer, store.offset
    for found in loads(*expressions(kernel)):
        yield found.source, found.index[0]


def _owned(kernel: Map | Rows | Tile, axis: Axis) -> Kernel:
    if isinstance(kernel, Rows):
        return Rows(tuple(replace(one, owner=axis) for one in kernel.maps))
    return replace(kernel, owner=axis)
