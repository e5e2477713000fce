"""Register tiles for the nest of a contraction: which there are, and what they cost.

A step of a sum multiplies elements of the left operand, or vectors where it varies along the lanes, too, with vectors of the
right one. What a tile's rows and positions share of what they read, how far that comes from, and what is left over of rows
and lanes makes the cost.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.loops.kernels import OWNED, USUAL, lanes_of
from graphc.records import record
from graphc.schedule.nest import Nest, collapsed, is_parted, magnitude, row_candidates, slope_of
from graphc.simd.levels import Level

# Cycles from a product to the next one that adds to it, and those that a load was measured to add.
LATENCY, LOAD = 4, 0.13
# Cycles that a line of an operand was measured to add where both are read by vectors, and those that its place adds, too.
START, PLACE = 1, 0.5
# Bytes of the vector operand that stay in the first-level cache, and cycles in which the second one gives a vector.
NEAR, FETCH = 1 << 15, 2
# Positions of a summed axis that may be unrolled, and how much less the tile must take for it.
UNROLLED, GAIN = (2, 3, 4, 5, 7), 1.05
# Positions of two axes that may be unrolled together, products that may be written out, and how much less a tile must take
# that has many: a longer body takes longer to compile.
TOGETHER, WRITTEN, LONGER = 16, 256, 1.05
# Rows that are too few for a tile.
FEW = 9
# How much more a tile takes if a part of the rows is left over.
UNEVEN = 1.02
# Elements of a page, and how much more a tile takes each row of which lies on others: images of a batch, say.
PAGE, SCATTERED = 1024, 1.05

Unrolled = tuple[tuple[Axis, int], ...]


@record
class Choice:
    """A register tile for one nest: its cost in cycles for a vector of products, and how far apart its rows lie.

    `unrolled` and `stacked`: as for a Tile.
    """

    nest: Nest
    cost: float
    distance: int
    row: Axis
    shape: tuple[int, int]
    unrolled: Unrolled
    stacked: tuple[Axis, int] | None

    def rank(self) -> tuple[float, int]:
        """Return the cost and, for equal ones, the distance: neighbouring rows close together share lines."""
        return self.cost, self.distance

    @property
    def order(self) -> tuple[tuple[Dim, Dim], ...]:
        """The order of the sum: steps in the count of its positions, and how many; loops that count on are one."""
        loops: list[tuple[Dim, Dim]] = []
        counts = dict(self.unrolled)
        for one in self.nest.reduced:
            step, count = slope_of(self.nest.number, one), counts.get(one, 1)
            loops.append((step * count, dims.floordiv(one.extent, count)))
        loops += [(slope_of(self.nest.number, axis), count) for axis, count in self.unrolled]
        joined: list[tuple[Dim, Dim]] = []
        for step, extent in loops:
            if joined and joined[-1][0] == step * extent:
                step, extent = step, joined.pop()[1] * extent
            if extent != 1:
                joined.append((step, extent))
        return tuple(joined)


def best(nest: Nest, level: Level) -> Choice:
    """Return the cheapest tile of a nest."""
    return min(choices(nest, level), key=Choice.rank)


def choices(nest: Nest, level: Level, *, strips: bool = False) -> Iterator[Choice]:
    """Yield all tiles of a nest, its axes merged as each wants them; what they cost if the scalar operand lies in `strips`."""
    for choice in _choices(nest, level, strips=strips):
        if not nest.in_order or len(choice.order) <= 1:
            yield choice


def _choices(nest: Nest, level: Level, *, strips: bool) -> Iterator[Choice]:
    whole = collapsed(nest, None)
    tiles = functools.partial(_tiles, level=level, strips=strips)
    # A longer body takes longer to compile: it must bring something.
    yield from tiles(whole, gain=GAIN)
    for axis in nest.reduced:
        if isinstance(axis.extent, int) and axis.extent in UNROLLED and not is_parted(nest, axis):
            yield from tiles(collapsed(nest, axis), unrolled=((axis, axis.extent),))
    for axis in whole.reduced:
        for count in _counts(axis) if not is_parted(nest, axis) else ():
            if count != axis.extent:
                yield from tiles(whole, unrolled=((axis, count),))
    if nest.owned is None:
        for stacked in _stacks(whole):
            for unrolled in _combinations(whole):
                yield from tiles(whole, unrolled=unrolled, stacked=stacked, gain=1 / LONGER)


def _counts(axis: Axis) -> list[int]:
    """Return how many positions of an axis may be unrolled."""
    return [n for n in UNROLLED if n <= magnitude(axis.extent) and dims.remainder(axis.extent, n) == 0]


def _stacks(nest: Nest) -> list[tuple[Axis, int]]:
    """Return the axes, and the numbers of their positions, that tiles may be stacked along."""
    rows = row_candidates(nest)
    found = [a for a in rows if len(rows) > 1 and isinstance(slope_of(nest.left.index[0], a), int)]
    return [(axis, count) for axis in found if isinstance(axis.extent, int) for count in _counts(axis)]


def _combinations(nest: Nest) -> Iterator[Unrolled]:
    """Yield sets of summed axes to unroll together: those that the left operand walks forwards, each within the one before."""
    left = nest.left.index[0]
    # Spread elements pass one after the other, vectors of the other operand are held meanwhile.
    most = TOGETHER if nest.kept[-1] in dims.axes(left) else TOGETHER // 2
    axes = [a for a in nest.reduced if _is_forwards(slope_of(left, a)) and not is_parted(nest, a)]
    for several in itertools.product(*((1, *_counts(a)) for a in axes)):
        found = tuple((a, n) for a, n in zip(axes, several, strict=True) if n > 1)
        if len(found) <= 2 and functools.reduce(int.__mul__, several, 1) <= most and _is_nested(left, found):
            yield found


def _are_few(rows: Dim) -> bool:
    return isinstance(rows, int) and rows <= FEW


def _is_forwards(slope: Dim) -> bool:
    return isinstance(slope, int) and slope > 0


def _is_nested(offset: Dim, unrolled: Unrolled) -> bool:
    """Whether the order of the sum is that of what is read."""
    pairs = itertools.pairwise([(magnitude(slope_of(offset, a)), n) for a, n in unrolled])
    return all(outer > inner * (count - 1) for (outer, _), (inner, count) in pairs)


def _tiles(
    nest: Nest,
    *,
    level: Level,
    strips: bool,
    unrolled: Unrolled = (),
    stacked: tuple[Axis, int] | None = None,
    gain: float = 1,
) -> Iterator[Choice]:
    """Yield the tiles of a nest with these axes unrolled, those with the same rows the best first."""
    lane, left = nest.kept[-1], nest.left.index[0]
    depth = magnitude(dims.product(a.extent for a in nest.reduced if a in dims.axes(nest.right.index[0])))
    count = functools.reduce(int.__mul__, (n for _, n in unrolled), 1)
    both, stack = lane in dims.axes(left), stacked[1] if stacked else 1
    for row in row_candidates(nest):
        if stacked is not None and (row == stacked[0] or not (both or _are_few(row.extent))):
            continue  # rows enough for a tile share all that there is
        distance = magnitude(slope_of(left, row))
        weight = (SCATTERED if distance >= PAGE else 1) / gain
        reads = _reads(left, row, unrolled, stacked)
        lanes = lanes_of(nest.left.dtype)
        masked = isinstance(lane.extent, int) and lane.extent < lanes
        steps = Steps(level, lanes, both, count, reads, depth, stack, strips, masked)
        for cost, shape in tile_shapes(steps, row.extent, lane.extent, owned=row.extent == nest.owned):
            # What is left of the rows is written out, too.
            rest = row.extent % shape[0] if isinstance(row.extent, int) and stacked else 0
            if stacked is None or stack * (shape[0] + rest) * shape[1] * count <= WRITTEN:
                total = round(cost, 3) * weight * (LONGER if rest else 1)
                yield Choice(nest, total, distance, row, shape, unrolled, stacked)


def _reads(left: Dim, row: Axis, unrolled: Unrolled, stacked: tuple[Axis, int] | None) -> Callable[[int], int]:
    """Return how many elements of the left operand so many rows, and positions, of a step read, some of them the same.

    What an unrolled axis shares, it shares with the rows that lie about as far apart.
    """
    waiting = {axis: (slope_of(left, axis), count) for axis, count in unrolled}
    found: list[tuple[Dim, int | None, tuple[Dim, int]]] = []
    rows = [(slope_of(left, row), None), *([(slope_of(left, stacked[0]), stacked[1])] if stacked is not None else [])]
    for by, count in sorted(rows, key=lambda one: -magnitude(one[0])):
        near = next((a for a, (reach, _) in waiting.items() if stacked is None or _is_near_to(reach, by)), None)
        found.append((by, count, waiting.pop(near) if near is not None else (0, 1)))
    rest = functools.reduce(int.__mul__, (count for _, count in waiting.values()), 1)

    def reads(rows: int) -> int:
        total = rest
        for by, count, (reach, positions) in found:
            total *= _different(rows if count is None else count, positions, by, reach)
        return total

    return reads


def _is_near_to(reach: Dim, by: Dim) -> bool:
    return magnitude(by) < 8 * magnitude(reach) and magnitude(reach) < 8 * magnitude(by)


@functools.cache
def _different(rows: int, count: int, by: Dim, reach: Dim) -> int:
    """Return how many different elements lie at so many rows and positions; all, where it is not known how far apart."""
    if count == 1 or not isinstance(by, int) or not isinstance(reach, int):
        return rows * count
    return len({t * by + u * reach for t in range(rows) for u in range(count)})


@record
class Steps:
    """What a step of a tile's sum costs on a CPU level: `count` positions of it at once, in logical vectors of `lanes`.

    `both`: both operands are read by vectors. `reads` gives the different elements of the scalar operand, by rows; `depth`
    is the length of the sum in the vector operand. A tile is `stack` times as high as it has rows. What lies in `strips` is
    read one after the other, and costs nothing. `masked`: there are fewer lanes than a vector has.
    """

    level: Level
    lanes: int
    both: bool
    count: int
    reads: Callable[[int], int]
    depth: int
    stack: int = 1
    strips: bool = False
    masked: bool = False

    @property
    def parts(self) -> int:
        """Registers of a logical vector."""
        return max(1, 512 // self.level.register_bits)

    def most_rows(self, vectors: int) -> int:
        """Rows for which the accumulators, the vector operand, one spread element and a mask fit the registers."""
        budget = self.level.registers // self.parts - 1 - (self.masked and not self.level.masks)
        most = (budget - vectors * self.count) // vectors
        return min(24, most) if self.stack == 1 else most // self.stack

    def cycles(self, rows: int, vectors: int) -> float:
        """Products and loads, two a cycle, or what those wait for (others, vectors from afar), and a part of the loads."""
        fetched = vectors * self.count * self.parts
        products = self.stack * rows * fetched
        is_far = self.depth * vectors * 64 > NEAR
        reads = self.reads(rows) * (vectors * self.parts if self.both else 1)
        loads = reads + fetched
        waits = max(products / 2, loads / 2, LATENCY * self.count, FETCH * fetched if is_far else 0)
        starts = START * (reads + (fetched if is_far else 0)) + PLACE * self.reads(rows) if self.both else 0
        return (waits + LOAD * (fetched if self.strips else loads) + starts) / self.count / self.stack if rows else 0


def tile_shapes(steps: Steps, rows: Dim, lanes: Dim, *, owned: bool) -> list[tuple[float, tuple[int, int]]]:
    """Return register tiles, the best first: their cost for a vector of products, in cycles, and their rows and vectors.

    If rows are `owned`, a thread has a multiple of OWNED of them, which the tile's should divide. So it should where they
    may be few: sizes of batches mostly are such multiples, and rows that do not fill a tile are made one by one.
    """
    extent, width = max(magnitude(rows), 1), max(magnitude(lanes), 1)
    are_few = not isinstance(rows, int) and _factor(rows) < USUAL
    found: list[tuple[float, int, int, int]] = []
    # Few registers: one vector, for wider tiles leave no room for rows. Tiles of 3 vectors spill.
    for vectors in (1, 2, 4) if steps.parts == 1 else (1,):
        if vectors > 1 and (vectors - 1) * steps.lanes >= width:
            break
        whole, rest = divmod(width, vectors * steps.lanes)

        def cycles(count: int, vectors: int = vectors, whole: int = whole, rest: int = rest) -> float:
            return whole * steps.cycles(count, vectors) + -(-rest // steps.lanes) * steps.cycles(count, 1)

        most = steps.most_rows(vectors)
        least = 1 if vectors == 1 and steps.stack == 1 else 0
        for count in range(1, min(max(most, least), extent) + 1):
            if (owned or are_few) and OWNED % count:
                continue
            if isinstance(rows, int):
                total = extent // count * cycles(count) + cycles(extent % count)
            else:
                total = extent / count * cycles(count) * (UNEVEN if dims.remainder(rows, count) != 0 else 1)
            # Among equals two vectors, then many rows: fewer loads, fewer pieces.
            cost = round(total / extent / -(-width // steps.lanes), 3)
            found.append((cost, abs(vectors - 2), -count, vectors))
    return [(cost, (-count, vectors)) for cost, _, count, vectors in sorted(found)]


def _factor(dim: Dim) -> int:
    """Return the number that a product of symbols is multiplied by; 1 for a sum."""
    return dim.terms[0][1] if isinstance(dim, DimExpr) and len(dim.terms) == 1 else 1
