"""What a kernel costs: into how many pieces threads may divide it, how many operations it makes, what each thread reads."""

from __future__ import annotations

from collections.abc import Iterable

from graphc import dims
from graphc.dims import Axis, Dim, Symbol
from graphc.loops import expr
from graphc.loops.expr import Apply, Load, Reduce
from graphc.loops.kernels import (
    BAND,
    LENGTH,
    OWNED,
    Beside,
    Call,
    Kernel,
    Map,
    Rows,
    Scatter,
    Segments,
    Tile,
    expressions,
    loads,
)
from graphc.schedule.inline import weight
from graphc.schedule.order import NOMINAL


def pieces_of(kernel: Kernel) -> Dim:
    """Return how many independent pieces of a kernel threads may share."""
    if isinstance(kernel, Map | Rows | Tile) and kernel.owner is not None:
        return owned_pieces(kernel.owner.extent)
    match kernel:
        case Map(rows, lane, _, ordered):
            if kernel.across:
                side = 64 // kernel.stores[0].value.dtype.itemsize
                extents = [a.extent for a in rows if a != kernel.across]
                return dims.product([*extents, dims.floordiv(kernel.across.extent + side - 1, side)])
            if kernel.banded:
                return dims.floordiv(rows[1].extent + BAND - 1, BAND)
            if rows:
                return dims.product(a.extent for a in rows)
            return 1 if lane is None or ordered else dims.floordiv(lane.extent + 15, 16)
        case Rows():
            return dims.product(a.extent for a in kernel.rows)
        case Tile(lane=lane):
            parts = kernel.rounds.parts if kernel.rounds is not None else 1
            pieces = parts * dims.product(kernel.blocks)
            if not kernel.by_lanes:
                return pieces
            return pieces * dims.floordiv(lane.extent + kernel.lanes - 1, kernel.lanes)
        case Scatter():
            return kernel.size
        case Segments():
            return sum(-(-length // 16) for length in kernel.lengths)
        case Beside():
            return sum_of(map(pieces_of, kernel.parts))
        case Call():
            return 1


def owned_pieces(extent: Dim) -> Dim:
    """Return into how many pieces threads may divide an owner axis."""
    return dims.floordiv(extent + OWNED - 1, OWNED)


def work_of(kernel: Kernel) -> Dim:
    """Return about how many scalar operations a kernel makes."""
    match kernel:
        case Map():
            axes = [
                *kernel.rows,
                *([kernel.lane] if kernel.lane else []),
                *([kernel.ordered[1]] if kernel.ordered else []),
            ]
            total: Dim = len(kernel.stores) * dims.product(a.extent for a in axes)
            counts: dict[frozenset[Axis], int] = {}
            for inner in expr.walk(*expressions(kernel)):
                bound = inner.free | frozenset(inner.axes) if isinstance(inner, Reduce) else inner.free
                cost = weight(inner) if isinstance(inner, Apply) else isinstance(inner, Load | Reduce)
                counts[bound] = counts.get(bound, 0) + int(cost)
            for used, count in counts.items():
                total = total + count * dims.product(a.extent for a in sorted(used, key=str))
            return total
        case Rows():
            return sum_of(map(work_of, kernel.maps))
        case Tile():
            axes = (*kernel.outer, kernel.row, kernel.lane, *kernel.reduced)
            some = kernel.within  # each lane takes part at `last` positions
            return 2 * dims.product(some.last if some is not None and a == some.axis else a.extent for a in axes)
        case Scatter():
            return kernel.count * kernel.width + kernel.size * kernel.width
        case Segments():
            one = work_of(kernel.map)
            return sum_of(dims.substitute(one, {Symbol(LENGTH): length}) for length in kernel.lengths)
        case Beside():
            return sum_of(map(work_of, kernel.parts))
        case Call():
            return dims.product(kernel.arrays[0][2]) * 16


def dense_work_of(kernel: Kernel) -> Dim:
    """Return how many of a kernel's operations are a contraction's, which are made many times as fast as others."""
    return sum_of(work_of(part) for part in _parts(kernel) if isinstance(part, Tile))


def read_whole(kernel: Kernel) -> set[int]:
    """Return the buffers of which each thread reads all, or lines of all of it, whatever its share of the pieces.

    A share is a part of a buffer if what threads share steps farthest through it; where a sum does, all threads read the same.
    """
    found: set[int] = set()
    for part in _parts(kernel):
        if isinstance(part, Scatter):
            found |= {part.index, part.updates}
        if isinstance(part, Map | Rows | Tile):
            shared = _shared_axes(part)
            found |= {one.source for one in loads(*expressions(part)) if not _is_share(one, shared)}
    return found


def _parts(kernel: Kernel) -> tuple[Kernel, ...]:
    return kernel.parts if isinstance(kernel, Beside) else (kernel,)


def _shared_axes(kernel: Map | Rows | Tile) -> set[Axis]:
    if isinstance(kernel, Tile):
        if kernel.rounds is not None and kernel.rounds.parts > 1:
            return {kernel.rounds.outermost}
        is_one_vector = isinstance(kernel.lane.extent, int) and kernel.lane.extent <= kernel.lanes
        return {kernel.lane} if kernel.by_lanes and not is_one_vector else {*kernel.outer, kernel.row}
    return set(kernel.rows) or ({kernel.lane} if isinstance(kernel, Map) and kernel.lane is not None else set())


def _is_share(found: Load, shared: set[Axis]) -> bool:
    (index,) = found.index
    steps: dict[Axis, int] = {}
    for axis in dims.axes(index):
        step, _ = dims.linear(index, axis)
        if step is None or dims.axes(step):
            return False
        steps[axis] = abs(dims.evaluate(step, dict.fromkeys(dims.symbols(step), NOMINAL)))
    return not steps or max(steps, key=lambda axis: steps[axis]) in shared


def sum_of(parts: Iterable[Dim]) -> Dim:
    """Return the sum of dims."""
    total: Dim = 0
    for part in parts:
        total = total + part
    return total
