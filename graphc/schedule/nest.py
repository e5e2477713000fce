"""The loop nest of a contraction: axes merged where memory walks them as one, then each given its part in a register tile.

The tile's rows are an axis of the result and of the operand that is read by elements; its lanes an axis of the result
that is contiguous in the operand that is read by vectors. A convolution is the same nest as a matrix product: the row of
its image that a row of the kernel covers is contiguous, so (tap, channel) is one summed axis, and its output columns are
rows of the tile, as are (tap, channel) of its weight's gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr, Symbol
from graphc.loops.expr import Load, Rewriter, load
from graphc.loops.kernels import (
    FAR,
    OWNED,
    USUAL,
    Store,
    Tile,
    Within,
    flat_offset,
    index_dims_of,
    lanes_of,
    usual,
)
from graphc.loops.merging import walk_as_one
from graphc.records import record, replace
from graphc.schedule.rounds import has_place
from graphc.simd.levels import Level

# The number of rows of an operand that are FAR apart, and of those that read them, from which on panels pay, and where rounds
# have a place in the cache; how many are many.
DEEP, MANY_ROWS, NEAR_ROWS, LONG = 64, 16, 1024, 512
# Lanes of the result from which on strips of the scalar operand pay: each is read once for every block of lanes.
WIDE = 128
# Cycles from a product to the next one that adds to it, and those that a load was measured to add.
LATENCY, LOAD = 4, 0.13
# Cycles that each row of the left operand was measured to add where both are read by vectors: it begins on other lines.
START = 1
# Bytes of the vector operand that stay in the first-level cache, and cycles in which the second one gives a vector.
NEAR, FETCH = 1 << 15, 2
# Positions of a summed axis that may be unrolled, and how much less the tile must take for it.
UNROLLED, GAIN = (2, 3, 4, 5, 7), 1.05
# Stands for the columns of a panel while the tile is chosen, which says how many there are.
WIDTH = Symbol("_width")
# How much more a tile takes if a part of the rows is left over.
UNEVEN = 1.02
# What a tiling counts as that copies an operand where the rules want none, or none where they want a copy.
AGAINST = 1.1


@record
class Nest:
    """accumulator[kept] = sum over `reduced` of left * right, then the stores; the last kept axis is the lanes'.

    `right` varies along the lanes and not along the rows; every load and store has one flat offset. Rows of the extent
    `owned` belong to one thread each, so many at a time that not every tile fits. `number` counts the summed positions.
    `within`: as for a Tile.
    """

    kept: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    left: Load
    right: Load
    stores: tuple[Store, ...]
    owned: Dim | None = None
    number: Dim = 0
    within: Within | None = None


@record
class Copied:
    """An operand as it lies in memory, and its axes but one, the lanes or the rows, in their order in its copy.

    In the nest it stands as if it lay in one panel, WIDTH columns of that axis wide: so axes that the other operand walks
    as one are one for both, whatever their order in memory was.
    """

    operand: Load
    others: tuple[Axis, ...]


@record
class Roles:
    """The parts that a nest's axes play, and the register tile: rows, vectors.

    `unrolled` is a summed axis that is walked so many positions at a time, or None. `pack`: the vector operand is copied
    into panels. `strips`: likewise for the scalar operand, whose rows are copied side by side.
    """

    outer: tuple[Axis, ...]
    row: Axis
    lane: Axis
    shape: tuple[int, int]
    unrolled: tuple[Axis, int] | None
    pack: Copied | None
    strips: Copied | None


@record
class Tiling:
    """One way to compute a nest: the nest with its axes merged for it, and their parts.

    `order` says in which order a sum is made: steps in the count of summed positions, and how many, from the outermost on.
    """

    nest: Nest
    roles: Roles
    order: tuple[tuple[Dim, Dim], ...]

    def __str__(self) -> str:
        roles = self.roles
        copied = [name for name, one in (("panels", roles.pack), ("strips", roles.strips)) if one is not None]
        unrolled = [f"{roles.unrolled[1]} unrolled"] if roles.unrolled is not None else []
        return ", ".join([f"{roles.shape[0]} of {roles.row.extent} x {roles.shape[1]}", *unrolled, *copied])

    def kernel(self) -> Tile:
        """Return the kernel, its operands read as in the nest."""
        nest, roles = self.nest, self.roles
        return Tile(
            roles.outer, roles.row, roles.lane, nest.reduced, nest.left, nest.right, nest.stores, roles.shape, roles.unrolled,
            within=nest.within,
        )  # fmt: skip


def candidates(
    nest: Nest, level: Level, size_of: Callable[[int], Dim], panels: Copied | None = None
) -> Iterator[Tiling]:
    """Yield tilings: the one that the cost model picks, then the best of each other kind, the best first.

    `size_of` gives the number of elements of a buffer. Tilings are of one kind if they have the same axis and about as many
    of it for rows, as many vectors, unroll or not, and copy the same operands. A kernel's taps along a row may stay an axis
    of their own, to be unrolled: then one element of the image serves several rows of the tile. `panels`: the vector operand
    stands in panels already, of which this is the copy.
    """
    order = flat_offset([DimExpr.of(a) for a in nest.reduced], [a.extent for a in nest.reduced])
    nest = _without_single(replace(nest, number=order))
    first = _best(nest, level) if panels is not None or _slope(nest.right.index[0], nest.kept[-1]) == 1 else None
    ways: list[tuple[Nest, Copied | None]] = [(nest, panels)] if first is not None else []
    far = NEAR_ROWS if first is not None and _is_near(first) else MANY_ROWS
    if first is None or (panels is None and _is_scattered(first.nest, size_of, far)):
        ways.insert(0, _in_panels(nest))
        first = _best(ways[0][0], level)
    wants_strips = _is_strided(first, size_of)
    yield _tiling(first, ways[0][1], strips=wants_strips)
    if ways[0][1] is None and _is_read_once(nest.right, size_of):
        ways.append(_in_panels(nest))
    seen = {_kind(first, way=0, strips=wants_strips)}
    others: list[tuple[float, int, Choice, bool]] = []
    for way, (packed, _) in enumerate(ways):
        for choice in _choices(packed, level):
            usual = _is_strided(choice, size_of)
            others.append((choice.cost * AGAINST**way, way, choice, usual))
            if usual or _may_have_strips(choice, size_of):
                others.append((choice.cost * AGAINST ** (way + 1), way, choice, not usual))
    for _, way, choice, strips in sorted(others, key=lambda other: other[0]):
        kind = _kind(choice, way, strips=strips)
        if kind not in seen:
            seen.add(kind)
            yield _tiling(choice, ways[way][1], strips=strips)


def _kind(choice: Choice, way: int, *, strips: bool) -> tuple[object, ...]:
    rows, vectors = choice.shape
    return choice.row, rows.bit_length(), vectors, choice.unrolled is None, way, strips


def _tiling(choice: Choice, panels: Copied | None, *, strips: bool) -> Tiling:
    nest, row, lane = choice.nest, choice.row, choice.nest.kept[-1]
    order, copied = _order(choice), None
    if strips:
        left, copied = paneled(nest.left, row, by_stride(nest.left.index[0], without=row))
        nest = replace(nest, left=left)
    outer = tuple(a for a in nest.kept if a not in (row, lane))
    roles = Roles(outer, row, lane, choice.shape, choice.unrolled, panels, copied)
    return Tiling(nest, roles, order)


def _order(choice: Choice) -> tuple[tuple[Dim, Dim], ...]:
    """Return the order of the sum: loops that count on from one another as one."""
    loops: list[tuple[Dim, Dim]] = []
    axis, count = choice.unrolled or (None, 1)
    for one in choice.nest.reduced:
        step = _slope(choice.nest.number, one)
        loops.append((step * count, dims.floordiv(one.extent, count)) if one == axis else (step, one.extent))
    if axis is not None:
        loops.append((_slope(choice.nest.number, axis), count))
    joined: list[tuple[Dim, Dim]] = []
    for step, extent in loops:
        if joined and joined[-1][0] == step * extent:
            step, extent = step, joined.pop()[1] * extent
        if extent != 1:
            joined.append((step, extent))
    return tuple(joined)


def _in_panels(nest: Nest) -> tuple[Nest, Copied]:
    """Return the nest with its vector operand in panels, summed axes in the order in which the other one walks them."""
    left, right, lane = nest.left.index[0], nest.right.index[0], nest.kept[-1]
    summed = tuple(sorted(nest.reduced, key=lambda a: -_magnitude(_slope(left, a))))
    others = [a for a in by_stride(right, without=lane) if a not in summed]
    found, panels = paneled(nest.right, lane, (*others, *(a for a in summed if a in dims.axes(right))))
    return replace(nest, reduced=summed, right=found), panels


def paneled(operand: Load, axis: Axis, others: tuple[Axis, ...]) -> tuple[Load, Copied]:
    """Return an operand as it stands in one panel along an axis, and what is copied there."""
    order = flat_offset([DimExpr.of(a) for a in others], [a.extent for a in others])
    found = load(operand.source, (DimExpr.of(axis) + DimExpr.of(WIDTH) * order,), operand.dtype)
    assert isinstance(found, Load)
    return found, Copied(operand, others)


def _best(nest: Nest, level: Level) -> Choice:
    """Return the cheapest tile of a nest, of equal ones that with neighbouring rows close together: they share lines."""
    return min(_choices(nest, level), key=lambda choice: (choice.cost, choice.distance))


def _choices(nest: Nest, level: Level) -> Iterator[Choice]:
    """Yield all tiles of a nest, its axes merged as each wants them."""
    whole = _collapsed(nest, None)
    # A longer body takes longer to compile: it must bring something.
    yield from _tiles(whole, level, None, GAIN)
    for axis in nest.reduced:
        if isinstance(axis.extent, int) and axis.extent in UNROLLED and not _is_parted(nest, axis):
            yield from _tiles(_collapsed(nest, axis), level, (axis, axis.extent))
    for axis in whole.reduced:
        for count in UNROLLED if not _is_parted(nest, axis) else ():
            if count < _magnitude(axis.extent) and dims.remainder(axis.extent, count) == 0:
                yield from _tiles(whole, level, (axis, count))


def _collapsed(nest: Nest, apart: Axis | None) -> Nest:
    """Return the nest with every pair of axes merged that all its offsets walk as one, but for the axis `apart`."""
    while (merged := _merged_once(nest, apart)) is not None:
        nest = merged
    return nest


def _merged_once(nest: Nest, apart: Axis | None) -> Nest | None:
    operands = [nest.left.index[0], nest.right.index[0], *_bounds(nest)]
    found = [*operands, *(s.offset for s in nest.stores), *index_dims_of([s.value for s in nest.stores])]
    for inner in reversed(nest.kept):
        for outer in nest.kept[:-1]:
            if outer != inner and walk_as_one(found, outer, inner) and _has_row(nest, without=outer, merged=inner):
                return _joined(nest, outer, inner)
    for inner in reversed(nest.reduced):
        for outer in nest.reduced:
            if apart not in (outer, inner) and outer != inner and walk_as_one(operands, outer, inner):
                return _joined(nest, outer, inner)
    return None


def _joined(nest: Nest, outer: Axis, inner: Axis) -> Nest:
    joint = Axis(inner.name, outer.extent * inner.extent)
    nest = _substituted(nest, {outer: 0, inner: DimExpr.of(joint)})

    def renamed(axes: Sequence[Axis]) -> tuple[Axis, ...]:
        return tuple(joint if a == inner else a for a in axes if a != outer)

    return replace(nest, kept=renamed(nest.kept), reduced=renamed(nest.reduced))


def _without_single(nest: Nest) -> Nest:
    """Drop axes of extent 1, but for the lanes, the last axis that rows can be, and the last one that is summed."""
    for axis in [*nest.kept[:-1], *nest.reduced]:
        others = [a for a in nest.reduced if a != axis]
        if axis.extent == 1 and (others if axis in nest.reduced else _has_row(nest, without=axis)):
            kept = tuple(a for a in nest.kept if a != axis)
            nest = replace(_substituted(nest, {axis: 0}), kept=kept, reduced=tuple(others))
    return nest


def _has_row(nest: Nest, without: Axis, merged: Axis | None = None) -> bool:
    """Whether an axis that can be the tile's rows is left when one goes, or becomes part of another."""
    rows = row_candidates(nest)
    return without not in rows or merged in rows or len(rows) > 1


def _substituted(nest: Nest, replacement: dict[Atom, Dim]) -> Nest:
    rewriter = Rewriter(replacement)
    left, right = rewriter(nest.left), rewriter(nest.right)
    assert isinstance(left, Load)
    assert isinstance(right, Load)
    stores = (Store(s.buffer, dims.substitute(s.offset, replacement), rewriter(s.value)) for s in nest.stores)
    number = dims.substitute(nest.number, replacement)
    within = nest.within
    if within is not None:
        low, high = (dims.substitute(bound, replacement) for bound in (within.low, within.high))
        within = replace(within, low=low, high=high)
    return replace(nest, left=left, right=right, stores=tuple(stores), number=number, within=within)


def _is_parted(nest: Nest, axis: Axis) -> bool:
    """Whether the sum along an axis is made in parts: where all lanes take part, and where some do."""
    return nest.within is not None and nest.within.axis == axis


def _bounds(nest: Nest) -> tuple[Dim, ...]:
    return () if nest.within is None else (nest.within.low, nest.within.high)


def row_candidates(nest: Nest) -> list[Axis]:
    """Return the axes that can be the tile's rows: kept ones that only the scalar operand varies along."""
    left, right = dims.axes(nest.left.index[0]), dims.axes(nest.right.index[0])
    return [a for a in nest.kept[:-1] if a in left and a not in right]


@record
class Choice:
    """A register tile for one nest: its cost in cycles for a vector of products, and how far apart its rows lie."""

    nest: Nest
    cost: float
    distance: int
    row: Axis
    shape: tuple[int, int]
    unrolled: tuple[Axis, int] | None


def _tiles(nest: Nest, level: Level, unrolled: tuple[Axis, int] | None, gain: float = 1) -> Iterator[Choice]:
    """Yield the tiles of a nest with this axis unrolled, those with the same rows the best first."""
    lane, left = nest.kept[-1], nest.left.index[0]
    depth = _magnitude(dims.product(a.extent for a in nest.reduced if a in dims.axes(nest.right.index[0])))
    for row in row_candidates(nest):
        stride = _slope(left, row)
        axis, count = unrolled or (None, 1)
        reach = _slope(left, axis) if axis is not None else 0
        is_shared = isinstance(stride, int) and isinstance(reach, int)

        def reads(
            rows: int, *, shared: bool = is_shared, count: int = count, reach: Dim = reach, by: Dim = stride
        ) -> int:
            return _different(rows, count, by, reach) if shared else rows * count

        steps = Steps(level, lanes_of(nest.left.dtype), lane in dims.axes(left), count, reads, depth)
        for cost, shape in tile_shapes(steps, row.extent, lane.extent, owned=row.extent == nest.owned):
            yield Choice(nest, round(cost, 3) / gain, _magnitude(stride), row, shape, unrolled)


@functools.cache
def _different(rows: int, count: int, by: Dim, reach: Dim) -> int:
    """Return how many elements of the scalar operand so many rows and positions read, some of them the same."""
    return len({t * by + u * reach for t in range(rows) for u in range(count)})


def _is_near(choice: Choice) -> bool:
    """Whether the sum is made in rounds that read little enough to do so without copies."""
    return choice.nest.owned is None and has_place(_tiling(choice, None, strips=False).kernel())


def _is_strided(choice: Choice, size_of: Callable[[int], Dim]) -> bool:
    """Whether the scalar operand is copied into strips."""
    lane, left = choice.nest.kept[-1], choice.nest.left.index[0]
    is_wide = not isinstance(lane.extent, int) or lane.extent >= WIDE
    is_apart = is_wide and lane not in dims.axes(left) and _is_transposed(choice.nest, choice.row, size_of)
    return is_apart and not _is_near(choice)


def _may_have_strips(choice: Choice, size_of: Callable[[int], Dim]) -> bool:
    """Whether strips would be no larger than what they are copied from."""
    left = choice.nest.left
    return choice.nest.kept[-1] not in dims.axes(left.index[0]) and _is_read_once(left, size_of)


@record
class Steps:
    """What a step of a tile's sum costs on a CPU level: `count` positions of it at once, in logical vectors of `lanes`.

    `both`: both operands are read by vectors. `reads` gives the different elements of the scalar operand, by rows; `depth`
    is the length of the sum in the vector operand.
    """

    level: Level
    lanes: int
    both: bool
    count: int
    reads: Callable[[int], int]
    depth: int

    @property
    def parts(self) -> int:
        """Registers of a logical vector."""
        return max(1, 512 // self.level.register_bits)

    def most_rows(self, vectors: int) -> int:
        """Rows for which the accumulators, the vector operand and one spread element fit the registers."""
        budget = self.level.registers // self.parts - 1
        return min(24, (budget - vectors * self.count) // vectors)

    def cycles(self, rows: int, vectors: int) -> float:
        """Products, two a cycle, or what they wait for (those before them, vectors from afar), and a part of the loads."""
        fetched = vectors * self.count * self.parts
        products = rows * fetched
        is_far = self.depth * vectors * 64 > NEAR
        reads = self.reads(rows) * (vectors * self.parts if self.both else 1)
        waits = max(products / 2, LATENCY * self.count, FETCH * fetched if is_far else 0)
        starts = START * self.reads(rows) if self.both else 0
        return (waits + LOAD * (reads + fetched) + starts) / self.count if rows else 0


def tile_shapes(steps: Steps, rows: Dim, lanes: Dim, *, owned: bool) -> list[tuple[float, tuple[int, int]]]:
    """Return register tiles, the best first: their cost for a vector of products, in cycles, and their rows and vectors.

    If rows are `owned`, a thread has a multiple of OWNED of them, which the tile's should divide. So it should where they
    may be few: sizes of batches mostly are such multiples, and rows that do not fill a tile are made one by one.
    """
    extent, width = max(_magnitude(rows), 1), max(_magnitude(lanes), 1)
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
        for count in range(1, min(max(most, 1 if vectors == 1 else 0), extent) + 1):
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


def _is_transposed(nest: Nest, row: Axis, size_of: Callable[[int], Dim]) -> bool:
    """Whether neighbouring rows lie side by side and the summed elements of one row far apart.

    Then each step of a sum reads another page, and strides of a power of two fall into a few sets of the cache.
    """
    left = nest.left.index[0]
    strides = [_slope(left, a) for a in nest.reduced if a in dims.axes(left)]
    far = all(not isinstance(stride, int) or abs(stride) >= FAR // 2 for stride in strides)
    return far and _slope(left, row) == 1 and _is_read_once(nest.left, size_of)


def _is_scattered(nest: Nest, size_of: Callable[[int], Dim], many: int) -> bool:
    """Whether the rows of the vector operand lie so far apart, and so many rows of the result read them, that a copy pays.

    Each step along a reduced axis then touches another page, and powers of two fall into a few sets of the cache. The
    copy reads each element once; the contraction reads it once for every block of rows.
    """
    right, lane = nest.right.index[0], nest.kept[-1]
    others = [a for a in dims.axes(right) if a != lane]
    strides = [_slope(right, a) for a in others]
    depth = dims.product(a.extent for a in others)
    # A long sum meets the same few sets of the cache already where its rows lie half as far apart.
    far = FAR // 2 if _magnitude(depth) >= LONG else FAR
    is_far = bool(strides) and all(isinstance(stride, int) and abs(stride) >= far for stride in strides)
    is_deep = not isinstance(depth, int) or depth >= DEEP
    readers = dims.product(a.extent for a in nest.kept if a not in dims.axes(right))
    is_often = not isinstance(readers, int) or readers >= many
    return is_far and is_deep and is_often and _is_read_once(nest.right, size_of)


def _is_read_once(operand: Load, size_of: Callable[[int], Dim]) -> bool:
    """Whether a copy of what is read is no larger than the array: not so for the overlapping windows of an image."""
    read = dims.product(a.extent for a in dims.axes(operand.index[0]))
    return dims.is_nonnegative(size_of(operand.source) - read)


def by_stride(offset: Dim, without: Axis) -> tuple[Axis, ...]:
    """Return the axes of an offset but one, those with the longest strides first."""
    others = [a for a in dims.axes(offset) if a != without]
    return tuple(sorted(others, key=lambda a: (-_magnitude(_slope(offset, a)), a.name)))


def _slope(offset: Dim, axis: Axis) -> Dim:
    slope, _ = dims.linear(offset, axis)
    assert slope is not None
    return slope


def _magnitude(dim: Dim) -> int:
    return abs(usual(dim))


def _factor(dim: Dim) -> int:
    """Return the number that a product of symbols is multiplied by; 1 for a sum."""
    return dim.terms[0][1] if isinstance(dim, DimExpr) and len(dim.terms) == 1 else 1
