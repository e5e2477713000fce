"""The ways to compute a contraction: its loop nest with its axes merged, a register tile, and what is copied for it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.loops.expr import Load
from graphc.loops.kernels import FAR, Tile, flat_offset, lanes_of
from graphc.records import record, replace
from graphc.schedule.nest import (
    Copied,
    Nest,
    by_stride,
    collapsed,
    in_panels,
    is_parted,
    load_from,
    magnitude,
    on_buffers,
    paneled,
    row_candidates,
    slope,
    without_single,
)
from graphc.schedule.rounds import has_place
from graphc.schedule.tiles import Steps, tile_shapes
from graphc.simd.levels import Level

# The number of rows of an operand that are FAR apart, and of those that read them, from which on panels pay, and where rounds
# have a place in the cache; how many are many.
DEEP, MANY_ROWS, NEAR_ROWS, LONG = 64, 16, 1024, 512
# Lanes of the result from which on strips of the scalar operand pay: each is read once for every block of lanes.
WIDE = 128
# Positions of a summed axis that may be unrolled, and how much less the tile must take for it.
UNROLLED, GAIN = (2, 3, 4, 5, 7), 1.05
# What a tiling counts as that copies an operand where the rules want none, or none where they want a copy.
AGAINST = 1.1


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

    def on_buffers(self, number: Callable[[int], int]) -> Tiling:
        """Return the tiling on other buffers."""

        def moved(copied: Copied | None) -> Copied | None:
            return None if copied is None else replace(copied, operand=load_from(copied.operand, number))

        roles = replace(self.roles, pack=moved(self.roles.pack), strips=moved(self.roles.strips))
        return replace(self, nest=on_buffers(self.nest, number), roles=roles)


@dataclass(eq=False)
class Tilings:
    """The tilings of a plan's contractions. Equal ones have the same, which is looked for once."""

    level: Level
    found: dict[tuple[object, ...], Tiling] = field(default_factory=dict[tuple[object, ...], Tiling])

    def of(self, nest: Nest, panels: Copied | None, sizes: tuple[Dim, ...], position: int) -> Tiling:
        """Return the candidate at a position; `sizes` are the numbers of elements of the nest's buffers 0, 1, ..."""
        key = (nest, panels, sizes, position)
        if key not in self.found:
            every = candidates(nest, self.level, sizes.__getitem__, panels)
            self.found[key] = next(itertools.islice(every, position, None))
        return self.found[key]


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
    nest = without_single(replace(nest, number=order))
    first = _best(nest, level) if panels is not None or slope(nest.right.index[0], nest.kept[-1]) == 1 else None
    ways: list[tuple[Nest, Copied | None]] = [(nest, panels)] if first is not None else []
    far = NEAR_ROWS if first is not None and _is_near(first) else MANY_ROWS
    if first is None or (panels is None and _is_scattered(first.nest, size_of, far)):
        ways.insert(0, in_panels(nest))
        first = _best(ways[0][0], level)
    wants_strips = _is_strided(first, size_of)
    yield _tiling(first, ways[0][1], strips=wants_strips)
    if ways[0][1] is None and _is_read_once(nest.right, size_of):
        ways.append(in_panels(nest))
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
        step = slope(choice.nest.number, one)
        loops.append((step * count, dims.floordiv(one.extent, count)) if one == axis else (step, one.extent))
    if axis is not None:
        loops.append((slope(choice.nest.number, axis), count))
    joined: list[tuple[Dim, Dim]] = []
    for step, extent in loops:
        if joined and joined[-1][0] == step * extent:
            step, extent = step, joined.pop()[1] * extent
        if extent != 1:
            joined.append((step, extent))
    return tuple(joined)


def _best(nest: Nest, level: Level) -> Choice:
    """Return the cheapest tile of a nest, of equal ones that with neighbouring rows close together: they share lines."""
    return min(_choices(nest, level), key=lambda choice: (choice.cost, choice.distance))


def _choices(nest: Nest, level: Level) -> Iterator[Choice]:
    """Yield all tiles of a nest, its axes merged as each wants them."""
    whole = collapsed(nest, None)
    # A longer body takes longer to compile: it must bring something.
    yield from _tiles(whole, level, None, GAIN)
    for axis in nest.reduced:
        if isinstance(axis.extent, int) and axis.extent in UNROLLED and not is_parted(nest, axis):
            yield from _tiles(collapsed(nest, axis), level, (axis, axis.extent))
    for axis in whole.reduced:
        for count in UNROLLED if not is_parted(nest, axis) else ():
            if count < magnitude(axis.extent) and dims.remainder(axis.extent, count) == 0:
                yield from _tiles(whole, level, (axis, count))


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
    depth = magnitude(dims.product(a.extent for a in nest.reduced if a in dims.axes(nest.right.index[0])))
    for row in row_candidates(nest):
        stride = slope(left, row)
        axis, count = unrolled or (None, 1)
        reach = slope(left, axis) if axis is not None else 0
        is_shared = isinstance(stride, int) and isinstance(reach, int)

        def reads(
            rows: int, *, shared: bool = is_shared, count: int = count, reach: Dim = reach, by: Dim = stride
        ) -> int:
            return _different(rows, count, by, reach) if shared else rows * count

        steps = Steps(level, lanes_of(nest.left.dtype), lane in dims.axes(left), count, reads, depth)
        for cost, shape in tile_shapes(steps, row.extent, lane.extent, owned=row.extent == nest.owned):
            yield Choice(nest, round(cost, 3) / gain, magnitude(stride), row, shape, unrolled)


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


def _is_transposed(nest: Nest, row: Axis, size_of: Callable[[int], Dim]) -> bool:
    """Whether neighbouring rows lie side by side and the summed elements of one row far apart.

    Then each step of a sum reads another page, and strides of a power of two fall into a few sets of the cache.
    """
    left = nest.left.index[0]
    strides = [slope(left, a) for a in nest.reduced if a in dims.axes(left)]
    far = all(not isinstance(stride, int) or abs(stride) >= FAR // 2 for stride in strides)
    return far and slope(left, row) == 1 and _is_read_once(nest.left, size_of)


def _is_scattered(nest: Nest, size_of: Callable[[int], Dim], many: int) -> bool:
    """Whether the rows of the vector operand lie so far apart, and so many rows of the result read them, that a copy pays.

    Each step along a reduced axis then touches another page, and powers of two fall into a few sets of the cache. The
    copy reads each element once; the contraction reads it once for every block of rows.
    """
    right, lane = nest.right.index[0], nest.kept[-1]
    others = [a for a in dims.axes(right) if a != lane]
    strides = [slope(right, a) for a in others]
    depth = dims.product(a.extent for a in others)
    # A long sum meets the same few sets of the cache already where its rows lie half as far apart.
    far = FAR // 2 if magnitude(depth) >= LONG else FAR
    is_far = bool(strides) and all(isinstance(stride, int) and abs(stride) >= far for stride in strides)
    is_deep = not isinstance(depth, int) or depth >= DEEP
    readers = dims.product(a.extent for a in nest.kept if a not in dims.axes(right))
    is_often = not isinstance(readers, int) or readers >= many
    return is_far and is_deep and is_often and _is_read_once(nest.right, size_of)


def _is_read_once(operand: Load, size_of: Callable[[int], Dim]) -> bool:
    """Whether a copy of what is read is no larger than the array: not so for the overlapping windows of an image."""
    read = dims.product(a.extent for a in dims.axes(operand.index[0]))
    return dims.is_nonnegative(size_of(operand.source) - read)
