"""The ways to compute a nest: its register tiles, and the copies of operands that pay, the cost model's pick first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.loops.expr import Load
from graphc.loops.kernels import BRIEF, FAR, Rounds, Tile, flat_offset
from graphc.records import record, replace
from graphc.schedule.nest import (
    Copied,
    Nest,
    by_stride,
    load_from,
    magnitude,
    on_buffers,
    paneled,
    slope_of,
    turned,
    without_single,
)
from graphc.schedule.rounds import has_place, in_parts, may_pass, passes, rounds_of
from graphc.schedule.tiles import Choice, best, choices
from graphc.schedule.wide import widened
from graphc.simd.levels import Level

# The number of rows of an operand that are FAR apart, and of those that read them, from which on panels pay, and where rounds
# have a place in the cache; how many are many.
DEEP, MANY_ROWS, NEAR_ROWS, LONG = 64, 16, 1024, 512
# Bytes of a line of the cache.
LINE = 64
# Lanes of the result from which on strips of the scalar operand pay: each is read once for every block of lanes.
WIDE = 128
# What a tiling counts as that copies an operand where the rules want none, or none where they want a copy.
AGAINST = 1.1


@record
class Roles:
    """The parts that a nest's axes play, and the register tile: rows, vectors.

    `unrolled`, `stacked`, `rounds` and `passing`: as for a Tile. `pack`: the vector operand is copied into panels. `strips`:
    likewise for the scalar operand, whose rows are copied side by side.
    """

    outer: tuple[Axis, ...]
    row: Axis
    lane: Axis
    shape: tuple[int, int]
    unrolled: tuple[tuple[Axis, int], ...]
    stacked: tuple[Axis, int] | None
    pack: Copied | None
    strips: Copied | None
    rounds: Rounds | None = None
    passing: bool = False


@record
class Tiling:
    """One way to compute a nest: the nest with its axes merged for it, and their parts.

    `order` says in which order a sum is made: steps in the count of summed positions, and how many, from the outermost on;
    at last, how many parts it is made in, and where these may begin.
    """

    nest: Nest
    roles: Roles
    order: tuple[tuple[Dim, Dim], ...]

    def __str__(self) -> str:
        roles = self.roles
        copied = [name for name, one in (("panels", roles.pack), ("strips", roles.strips)) if one is not None]
        unrolled = [f"{count} of {axis.extent} unrolled" for axis, count in roles.unrolled]
        if roles.rounds is not None:
            copied.append(f"rounds of {roles.rounds.steps}")
        if roles.passing:
            copied.append("all lanes at once")
        stacked = f"{roles.stacked[1]} of {roles.stacked[0].extent} x " if roles.stacked is not None else ""
        return ", ".join([f"{stacked}{roles.shape[0]} of {roles.row.extent} x {roles.shape[1]}", *unrolled, *copied])

    def kernel(self) -> Tile:
        """Return the kernel, its operands read as in the nest."""
        nest, roles = self.nest, self.roles
        return Tile(
            roles.outer, roles.row, roles.lane, nest.reduced, nest.left, nest.right, nest.stores, roles.shape, roles.unrolled,
            roles.stacked, rounds=roles.rounds, within=nest.within, passing=roles.passing,
            inside=nest.inside, is_share=nest.is_share,
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

    def of(self, nest: Nest, sizes: tuple[Dim, ...], position: int) -> Tiling:
        """Return the candidate at a position; `sizes` are the numbers of elements of the nest's buffers 0, 1, ..."""
        key = (nest, sizes, position)
        if key not in self.found:
            every = candidates(nest, self.level, sizes.__getitem__)
            self.found[key] = next(itertools.islice(every, position, None))
        return self.found[key]


def candidates(nest: Nest, level: Level, size_of: Callable[[int], Dim]) -> Iterator[Tiling]:
    """Yield tilings: the one that the cost model picks, the same in other loops, then the best of each other kind.

    `size_of` gives the number of elements of a buffer. Tilings are of one kind if they have the same lanes, the same axis and
    about as many of it for rows, as many vectors, unroll or not, and copy the same operands. A kernel's taps along a row may
    stay an axis of their own, to be unrolled: then one element of the image serves several rows of the tile.
    """
    order = flat_offset([DimExpr.of(a) for a in nest.reduced], [a.extent for a in nest.reduced])
    nest = replace(nest, number=order)
    usual = turned(nest)
    nests = [*[found for found in (widened(usual),) if found is not None], (usual, None)]
    if usual is not nest:
        nests.append((nest, None))
    (first, *ways), *more = (_ways(without_single(one), panels, level, size_of) for one, panels in nests)
    ways = [first, *ways, *itertools.chain(*more)]
    pick = best(first[0], level)
    wants_strips = _is_strided(pick, size_of)
    if wants_strips:  # which cost less to read, so that another tile may be the best
        pick = min((one for one in choices(first[0], level, strips=True) if _is_strided(one, size_of)), key=Choice.rank)
    yield from _in_loops(_tiling(pick, first[1], strips=wants_strips), size_of)
    seen = {_kind(pick, way=0, strips=wants_strips)}
    others: list[tuple[float, int, Choice, bool]] = []
    for way, (packed, _) in enumerate(ways):
        for choice in choices(packed, level):
            is_usual = _is_strided(choice, size_of)
            others.append((choice.cost * AGAINST**way, way, choice, is_usual))
            if is_usual or _may_have_strips(choice, size_of):
                others.append((choice.cost * AGAINST ** (way + 1), way, choice, not is_usual))
    for _, way, choice, strips in sorted(others, key=lambda other: other[0]):
        kind = _kind(choice, way, strips=strips)
        if kind not in seen:
            seen.add(kind)
            yield _in_loops(_tiling(choice, ways[way][1], strips=strips), size_of)[0]


def _ways(
    nest: Nest, panels: Copied | None, level: Level, size_of: Callable[[int], Dim]
) -> list[tuple[Nest, Copied | None]]:
    """Return the nest as it is and with its vector operand in panels, that first which the rules want, if both are possible.

    `panels`: it stands in panels already, of which this is the copy.
    """
    if panels is not None:
        return [(nest, panels)]
    if slope_of(nest.right.index[0], nest.kept[-1]) != 1:
        return [_in_panels(nest)]
    if not _is_read_once(nest.right, size_of):
        return [(nest, None)]
    plain = best(nest, level)
    many = NEAR_ROWS if _is_near(plain) else MANY_ROWS
    pays = _is_read_by(plain.nest, many) and (_is_scattered(plain.nest) or _is_astride(plain.nest))
    return [_in_panels(nest), (nest, None)] if pays else [(nest, None), _in_panels(nest)]


def _in_loops(tiling: Tiling, size_of: Callable[[int], Dim]) -> list[Tiling]:
    """Return a tiling in the loops that the rules want, then in others: in rounds, all lanes at once, block by block."""
    kernel, nest = tiling.kernel(), tiling.nest
    if nest.owned is not None:
        return [tiling]
    found: list[Tiling] = []
    rounds = rounds_of(kernel, strips=tiling.roles.strips is not None)
    if rounds is not None:
        rounds = rounds if nest.in_order else in_parts(kernel, rounds, size_of)
        order = tiling.order if rounds.parts == 1 else (*tiling.order, _cuts(nest, rounds))
        found.append(replace(tiling, roles=replace(tiling.roles, rounds=rounds), order=order))
    found.append(tiling)
    if may_pass(kernel):
        found.insert(len(found) - int(passes(kernel)), replace(tiling, roles=replace(tiling.roles, passing=True)))
    return found


def _cuts(nest: Nest, rounds: Rounds) -> tuple[Dim, Dim]:
    """Return how many parts a sum has, and the steps between the places where these may begin."""
    return rounds.parts, slope_of(nest.number, rounds.outermost) * rounds.grain


def _kind(choice: Choice, way: int, *, strips: bool) -> tuple[object, ...]:
    rows, vectors = choice.shape
    stacked = choice.stacked and (choice.stacked[0], choice.stacked[1].bit_length())
    unrolled = tuple(axis for axis, _ in choice.unrolled) if choice.stacked else bool(choice.unrolled)
    return choice.row, rows.bit_length(), stacked, vectors, unrolled, way, strips


def _tiling(choice: Choice, panels: Copied | None, *, strips: bool) -> Tiling:
    nest, row, lane = choice.nest, choice.row, choice.nest.kept[-1]
    order, copied = choice.order, None
    if strips:
        left, copied = paneled(nest.left, row, by_stride(nest.left.index[0], without=row))
        nest = replace(nest, left=left)
    outer = tuple(a for a in nest.kept if a not in (row, lane))
    roles = Roles(outer, row, lane, choice.shape, choice.unrolled, choice.stacked, panels, copied)
    return Tiling(nest, roles, order)


def _in_panels(nest: Nest) -> tuple[Nest, Copied]:
    """Return the nest with its vector operand in panels, summed axes in the other one's order, if they need not keep theirs."""
    left, right, lane = nest.left.index[0], nest.right.index[0], nest.kept[-1]
    by_left = sorted(nest.reduced, key=lambda a: -magnitude(slope_of(left, a)))
    summed = nest.reduced if nest.in_order else tuple(by_left)
    others = [a for a in by_stride(right, without=lane) if a not in summed]
    found, panels = paneled(nest.right, lane, (*others, *(a for a in summed if a in dims.axes(right))))
    return replace(nest, reduced=summed, right=found), panels


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
    strides = [slope_of(left, a) for a in nest.reduced if a in dims.axes(left)]
    far = all(not isinstance(stride, int) or abs(stride) >= FAR // 2 for stride in strides)
    return far and slope_of(left, row) == 1 and _is_read_once(nest.left, size_of)


def _is_scattered(nest: Nest) -> bool:
    """Whether the rows of the vector operand lie so far apart, and so many rows of the result read them, that a copy pays.

    Each step along a reduced axis then touches another page, and powers of two fall into a few sets of the cache. The
    copy reads each element once; the contraction reads it once for every block of rows.
    """
    right, lane = nest.right.index[0], nest.kept[-1]
    others = [a for a in dims.axes(right) if a != lane]
    strides = [slope_of(right, a) for a in others]
    depth = dims.product(a.extent for a in others)
    # A long sum meets the same few sets of the cache already where its rows lie half as far apart.
    far = FAR // 2 if magnitude(depth) >= LONG else FAR
    is_far = bool(strides) and all(isinstance(stride, int) and abs(stride) >= far for stride in strides)
    is_deep = not isinstance(depth, int) or depth >= DEEP
    return is_far and is_deep


def _is_astride(nest: Nest) -> bool:
    """Whether vectors of the vector operand lie across two lines of the cache, in a sum that is long enough for a copy.

    Where the other operand is read by vectors, too, this one is small; a single vector a row is no more than another line.
    """
    right, lane, line = nest.right.index[0], nest.kept[-1], LINE // nest.right.dtype.itemsize
    strides = [slope_of(right, a) for a in dims.axes(right) if a != lane]
    is_odd = any(isinstance(stride, int) and stride % line != 0 for stride in strides)
    depth = dims.product(a.extent for a in nest.reduced)
    is_brief = isinstance(depth, int) and depth <= BRIEF
    is_single = isinstance(lane.extent, int) and lane.extent <= line
    return (nest.is_loose or is_odd) and not is_brief and not is_single and lane not in dims.axes(nest.left.index[0])


def _is_read_by(nest: Nest, many: int) -> bool:
    """Whether so many rows of the result, or a number not known, read each element of the vector operand."""
    readers = dims.product(a.extent for a in nest.kept if a not in dims.axes(nest.right.index[0]))
    return not isinstance(readers, int) or readers >= many


def _is_read_once(operand: Load, size_of: Callable[[int], Dim]) -> bool:
    """Whether a copy of what is read is no larger than the array: not so for the overlapping windows of an image."""
    read = dims.product(a.extent for a in dims.axes(operand.index[0]))
    return dims.is_nonnegative(size_of(operand.source) - read)
