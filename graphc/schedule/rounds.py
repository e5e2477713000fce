"""Sums in rounds: what a round reads of both operands stays in the second-level cache while all tiles use it."""

from __future__ import annotations

from graphc import dims
from graphc.dims import Axis, Dim
from graphc.loops.kernels import Rounds, Tile, usual, usual_size

# Bytes that a block of lanes reads in a whole sum beyond which it is made in rounds, and those of one round.
LARGE, ROUND = 1 << 20, 1 << 19
# Bytes of memory, what is not read included, for which the second-level cache has room.
SPAN = 1 << 20
# Steps of a sum that a round must have, rounds from which on they pay, and bytes of a result that stays in the cache.
LONG, MANY, STAYS = 128, 8, 1 << 20
# Rows of an operand that are copied into panels together, where they are transposed; elements of a line of the cache.
SQUARE, LINE = 16, 16


def rounds_of(kernel: Tile, *, strips: bool) -> Rounds | None:
    """Return the rounds of a long sum, or None where what a block of lanes reads stays in the cache, or comes line by line.

    Of the two orders, that is taken in which less comes from beyond that cache: what a round has stored, if all lanes pass
    it before the next one; the scalar operand once for each block of lanes, if those pass all rounds one after another.
    `strips`: the scalar operand is copied side by side.
    """
    (left,), (right,) = kernel.left.index, kernel.right.index
    axis, *others = kernel.reduced
    size = kernel.left.dtype.itemsize
    if not all(axis in dims.axes(at) for at in (left, right)) or kernel.stores[0].value.dtype is not kernel.left.dtype:
        return None  # nothing to share, or no place for the sums so far
    if dims.linear(kernel.stores[0].offset, kernel.lane)[0] != 1:
        return None  # sums so far would lie apart
    length, inner = usual_size([axis]), usual_size(others)
    # Where both operands are read by vectors, all lanes are one block: they pass a tile's rows before the next ones.
    is_both, lanes = kernel.lane in dims.axes(left), usual_size([kernel.lane])
    width = lanes if is_both else min(kernel.shape[1] * kernel.lanes, lanes)
    # Bytes at one position of the axis: what a block of lanes reads of the vector operand and of the other one, and both.
    column = size * inner * width
    row = size * usual_size([a for a in dims.axes(left) if a != axis and (is_both or a != kernel.lane)])
    whole = size * usual_size([a for a in dims.axes(right) if a != axis]) + row
    is_read_in_order = strips or any(_is_near(left, a) for a in kernel.reduced)
    if length * (column + (0 if is_read_in_order else row)) < LARGE:
        return None
    unit = kernel.unrolled[1] if kernel.unrolled is not None and kernel.unrolled[0] == axis else 1
    most = min(ROUND // max(whole, 1), length // MANY)
    steps = _even(max(most, -(-LONG // max(inner, 1))), unit, axis.extent)
    count = -(-length // steps)
    if count < MANY:
        return None
    result = size * usual_size((*kernel.outer, kernel.row, kernel.lane))
    stored = 2 * count * result if result > STAYS else 0
    again = (-(-lanes // max(width, 1)) - 1) * row * length
    return Rounds(axis, steps, within=again < stored)


def has_place(kernel: Tile) -> bool:
    """Whether a sum is made in rounds, and what a round reads, wherever it lies, has a place in the second-level cache.

    Rows that lie a power of two apart share few sets of a cache; if all that lies between them would fit, so do they.
    """
    rounds = rounds_of(kernel, strips=False)
    if rounds is None:
        return False
    extents = {axis: rounds.steps if axis == rounds.axis else usual_size([axis]) for axis in kernel.reduced}
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
