"""The loops around register tiles, by what stays in the second-level cache.

In rounds of a sum what one reads of both operands stays there while all tiles use it; where the whole vector operand has its
place, rows that come from far pass all lanes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc import dims
from graphc.dims import Axis, Dim
from graphc.loops.kernels import FEW_ROWS, Rounds, Tile, usual, usual_size
from graphc.records import replace

# Bytes that a block of lanes reads in a whole sum beyond which it is made in rounds, those of the vector operand where the other
# one is read in order, and those of one round.
LARGE, IN_ORDER, ROUND = 1 << 19, 1 << 20, 1 << 19
# Bytes of memory, what is not read included, for which the second-level cache has room.
SPAN = 1 << 20
# Steps of a sum that a round must have, rounds from which on they pay, and bytes of a result that stays in the cache.
LONG, MANY, STAYS = 128, 8, 1 << 20
# Bytes of a vector operand that stay while rows pass by, and of what passes from which on they should.
WHOLE, PASSES = 1 << 20, 1 << 24
# The most parts of a sum (more threads share each), and how many times as large as the operands their results may be together.
PARTS, SMALL = 4, 1
# Rows of an operand that are copied into panels together, where they are transposed; elements of a line of the cache.
SQUARE, LINE = 16, 16


def rounds_of(kernel: Tile, *, strips: bool) -> Rounds | None:
    """Return the rounds of a long sum, or None where what a block of lanes reads stays in the cache, or comes line by line.

    Of the two orders, that is taken in which less comes from beyond that cache: what a round has stored, if all lanes pass
    it before the next one; the scalar operand once for each block of lanes, if those pass all rounds one after another.
    `strips`: the scalar operand is copied side by side.
    """
    indices, unrolled = (kernel.left.index[0], kernel.right.index[0]), dict(kernel.unrolled)
    shared: list[Axis] = []
    for axis in kernel.reduced:
        # What is written out has no loop that a round could cut, and a loop that makes several steps at once is the last.
        is_whole = unrolled.get(axis) == axis.extent or any(a in unrolled for a in shared)
        if is_whole or not all(axis in dims.axes(at) for at in indices):
            break
        shared.append(axis)
    if not shared or kernel.stores[0].value.dtype is not kernel.left.dtype:
        return None  # nothing to share, or no place for the sums so far
    if dims.linear(kernel.stores[0].offset, kernel.lane)[0] != 1:
        return None  # sums so far would lie apart
    # The outermost axis of which a position has its place in the cache.
    depth = next((n for n in range(1, len(shared)) if sum(_read(kernel, shared[:n])) <= ROUND), len(shared))
    found = _rounds(kernel, shared[:depth], strips=strips)
    # Short loops outside of those over lanes begin these anew too often.
    return _rounds(kernel, shared[:1], strips=strips) if found is not None and found.over and found.within else found


def _rounds(kernel: Tile, axes: Sequence[Axis], *, strips: bool) -> Rounds | None:
    """Return the rounds of the last of these summed axes, at one position of each other."""
    *over, axis = axes
    size, lanes = kernel.left.dtype.itemsize, usual_size([kernel.lane])
    # Where both operands are read by vectors, all lanes are one block: they pass a tile's rows before the next ones.
    width = lanes if kernel.is_lanewise else min(kernel.shape[1] * kernel.lanes, lanes)
    around, length, inner = (usual_size(some) for some in (over, [axis], kernel.reduced[len(axes) :]))
    # Bytes at one position: what a block of lanes reads of the vector operand and of the other one, and both.
    column, (row, rest) = size * inner * width, _read(kernel, axes)
    is_read_in_order = strips or any(_is_near(kernel.left.index[0], a) for a in kernel.reduced)
    if around * length * column < IN_ORDER if is_read_in_order else around * length * (column + row) < LARGE:
        return None
    most = min(ROUND // max(row + rest, 1), max(around * length // MANY, 1))
    unit = dict(kernel.unrolled).get(axis, 1)
    steps = _even(max(most, -(-LONG // max(inner, 1))), unit, axis.extent)
    if over:
        steps = min(steps, length)
    count = around * -(-length // steps)
    if count < MANY:
        return None
    result = size * usual_size((*kernel.outer, kernel.row, kernel.lane))
    stored = 2 * count * result if result > STAYS else 0
    again = (-(-lanes // max(width, 1)) - 1) * row * around * length
    return Rounds(axis, steps, again < stored, over=tuple(over))


def _read(kernel: Tile, axes: Sequence[Axis]) -> tuple[int, int]:
    """Return the bytes of the left operand and of the right one at one position of these axes."""
    (left,), (right,), size = kernel.left.index, kernel.right.index, kernel.left.dtype.itemsize
    without = set(axes) if kernel.is_lanewise else {*axes, kernel.lane}
    return size * _touched(left, without), size * _touched(right, set(axes))


def _touched(offset: Dim, without: set[Axis]) -> int:
    """Return how many elements are read at one position of these axes: windows that overlap read some of them often."""
    axes = [a for a in dims.axes(offset) if a not in without]
    span = 1 + sum((usual_size([a]) - 1) * abs(usual(dims.linear(offset, a)[0] or 0)) for a in axes)
    return min(usual_size(axes), max(span, 1))


def has_place(kernel: Tile) -> bool:
    """Whether a sum is made in rounds, and what a round reads, wherever it lies, has a place in the second-level cache.

    Rows that lie a power of two apart share few sets of a cache; if all that lies between them would fit, so do they.
    """
    rounds = rounds_of(kernel, strips=False)
    if rounds is None:
        return False
    known = dict.fromkeys(rounds.over, 1) | {rounds.axis: rounds.steps}
    extents = {axis: known.get(axis, usual_size([axis])) for axis in kernel.reduced}
    slopes = ({axis: dims.linear(one.index[0], axis)[0] for axis in extents} for one in (kernel.left, kernel.right))
    spans = [sum(extents[axis] * abs(usual(slope or 0)) for axis, slope in by.items()) for by in slopes]
    return max(spans) * kernel.left.dtype.itemsize <= SPAN


def _is_near(offset: Dim, axis: Axis) -> bool:
    """Whether neighbours along an axis share lines of the cache."""
    slope = dims.linear(offset, axis)[0]
    return isinstance(slope, int) and 0 < abs(slope) < LINE


def _even(steps: int, unit: int, extent: Dim) -> int:
    """Return about so many steps, in whole units: squares, or steps that come out even, where there are many."""
    unit = max(unit, SQUARE if steps >= 2 * SQUARE else 1)
    steps = -(-steps // unit) * unit
    return next((n for n in range(steps, steps // 2, -unit) if dims.remainder(extent, n) == 0), steps)


def may_pass(kernel: Tile) -> bool:
    """Whether rows could pass all lanes at once: all of the vector operand has a place in the cache."""
    rows = usual_size((*kernel.outer, kernel.row))
    is_one_block = isinstance(kernel.lane.extent, int) and kernel.lane.extent <= kernel.shape[1] * kernel.lanes
    if kernel.is_lanewise or is_one_block or rows <= FEW_ROWS or dims.axes(kernel.right.index[0]) & {*kernel.outer}:
        return False
    columns = dims.product(axis.extent for axis in (*kernel.reduced, kernel.lane))
    return isinstance(columns, int) and kernel.left.dtype.itemsize * columns <= WHOLE


def passes(kernel: Tile) -> bool:
    """Whether rows and their results come from far: then each row is read once, and its results are written together."""
    left, results = dims.axes(kernel.left.index[0]), (*kernel.outer, kernel.row, kernel.lane)
    return kernel.left.dtype.itemsize * (usual_size(left) + usual_size(results)) >= PASSES


def in_parts(kernel: Tile, rounds: Rounds, size_of: Callable[[int], Dim]) -> Rounds:
    """Return a sum's rounds in as many parts, that threads share, as pay (see `parts`), and as even as loops allow."""
    if rounds.within or kernel.start is not None:
        return rounds
    read = sum(usual(size_of(source)) for source in {kernel.left.source, kernel.right.source})
    result = usual_size((*kernel.outer, kernel.row, kernel.lane))
    parts = next((parts for parts in (PARTS, PARTS // 2) if parts * result <= SMALL * read), 1)
    unit = dict(kernel.unrolled).get(rounds.outermost, 1)
    if rounds.over or rounds.steps < 2 * SQUARE:
        return replace(rounds, parts=parts, grain=unit)
    return replace(rounds, parts=parts, grain=SQUARE if SQUARE % unit == 0 else rounds.steps)
