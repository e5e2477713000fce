"""The loop nest of a contraction: axes merged where memory walks them as one, to be given their parts in a register tile.

The tile's rows are an axis of the result and of the operand that is read by elements; its lanes an axis of the result
that is contiguous in the operand that is read by vectors. A convolution is the same nest as a matrix product: the row of
its image that a row of the kernel covers is contiguous, so (tap, channel) is one summed axis, and its output columns are
rows of the tile, as are (tap, channel) of its weight's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr, Symbol
from graphc.loops.expr import Load, Rewriter, load
from graphc.loops.kernels import ACCUMULATOR, Store, Within, flat_offset, index_dims_of, usual
from graphc.loops.merging import walk_as_one
from graphc.records import record, replace

# Stands for the columns of a panel while the tile is chosen, which says how many there are.
WIDTH = Symbol("_width")
# Lanes up to which rows take their place.
TURNED = 8


@record
class Nest:
    """accumulator[kept] = sum over `reduced` of left * right, then the stores; the last kept axis is the lanes'.

    `right` varies along the lanes and not along the rows; every load and store has one flat offset. Rows of the extent
    `owned` belong to one thread each, so many at a time that not every tile fits. `number` counts the summed positions.
    `within`: as for a Tile. `in_order`, `is_share` and `inside`: as for a Contract. `is_loose`: `right`'s array may begin
    anywhere in a line of the cache.
    """

    kept: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    left: Load
    right: Load
    stores: tuple[Store, ...]
    owned: Dim | None = None
    number: Dim = 0
    within: Within | None = None
    in_order: bool = False
    is_share: bool = False
    inside: tuple[tuple[Dim, Dim], ...] = ()
    is_loose: bool = False


@record
class Copied:
    """An operand as it lies in memory, and its axes but one, the lanes or the rows, in their order in its copy.

    In the nest it stands as if it lay in one panel, WIDTH columns of that axis wide: so axes that the other operand walks
    as one are one for both, whatever their order in memory was.
    """

    operand: Load
    others: tuple[Axis, ...]


def numbered(nest: Nest) -> tuple[Nest, list[int]]:
    """Return the nest on buffers numbered 0, 1, ... as they come, and which these are: equal contractions are equal then."""
    numbers: dict[int, int] = {}

    def number(buffer: int) -> int:
        return numbers.setdefault(buffer, len(numbers))

    return on_buffers(nest, number), list(numbers)


def on_buffers(nest: Nest, number: Callable[[int], int]) -> Nest:
    """Return the nest on other buffers."""
    left, right = load_from(nest.left, number), load_from(nest.right, number)
    onto = Rewriter({}, lambda found: load_from(found, number))
    stores = tuple([Store(number(s.buffer), s.offset, onto(s.value)) for s in nest.stores])
    return replace(nest, left=left, right=right, stores=stores)


def load_from(read: Load, number: Callable[[int], int]) -> Load:
    """Return a load from another buffer."""
    if read.source == ACCUMULATOR:
        return read
    return Load.of(read.dtype, number(read.source), read.index, read.guard)


def paneled(operand: Load, axis: Axis, others: tuple[Axis, ...]) -> tuple[Load, Copied]:
    """Return an operand as it stands in one panel along an axis, and what is copied there."""
    order = flat_offset([DimExpr.of(a) for a in others], [a.extent for a in others])
    found = load(operand.source, (DimExpr.of(axis) + DimExpr.of(WIDTH) * order,), operand.dtype)
    assert isinstance(found, Load)
    return found, Copied(operand, others)


def collapsed(nest: Nest, apart: Axis | None) -> Nest:
    """Return the nest with every pair of axes merged that all its offsets walk as one, but for the axis `apart`."""
    while (merged := _merged_once(nest, apart)) is not None:
        nest = merged
    return nest


def _merged_once(nest: Nest, apart: Axis | None) -> Nest | None:
    operands = [*index_dims_of([nest.left, nest.right]), *_bounds(nest)]
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
    # What both are at a position is asked for where that matters, and not where it costs: divisions keep no axes apart.
    apart = {
        outer: dims.floordiv(DimExpr.of(joint), inner.extent),
        inner: dims.remainder(DimExpr.of(joint), inner.extent),
    }
    inside = tuple((dims.substitute(index, apart), extent) for index, extent in nest.inside)
    nest = replace(_substituted(nest, {outer: 0, inner: DimExpr.of(joint)}), inside=inside)

    def renamed(axes: Sequence[Axis]) -> tuple[Axis, ...]:
        return tuple(joint if a == inner else a for a in axes if a != outer)

    return replace(nest, kept=renamed(nest.kept), reduced=renamed(nest.reduced))


def without_single(nest: Nest) -> Nest:
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
    inside = tuple((dims.substitute(index, replacement), extent) for index, extent in nest.inside)
    return replace(nest, left=left, right=right, stores=tuple(stores), number=number, within=within, inside=inside)


def is_parted(nest: Nest, axis: Axis) -> bool:
    """Whether the sum along an axis is made in parts: where all lanes take part, and where some do."""
    return nest.within is not None and nest.within.axis == axis


def _bounds(nest: Nest) -> tuple[Dim, ...]:
    return () if nest.within is None else (nest.within.low, nest.within.high)


def turned(nest: Nest) -> Nest:
    """Return a nest of few lanes with rows in their place, if the other operand lies along these.

    The sums are as they were, made for a vector of rows at a time, and stored apart: such is the gradient of the weight of
    a layer with few inputs.
    """
    lane, (store, *others) = nest.kept[-1], nest.stores
    is_bare = not others and isinstance(store.value, Load) and nest.within is None and nest.owned is None
    if not is_bare or not isinstance(lane.extent, int) or lane.extent > TURNED or lane in dims.axes(nest.left.index[0]):
        return nest
    for row in row_candidates(nest):
        if dims.linear(nest.left.index[0], row)[0] == 1 and usual(row.extent) >= 2 * TURNED:
            kept = tuple({row: lane, lane: row}.get(a, a) for a in nest.kept)
            return replace(nest, kept=kept, left=nest.right, right=nest.left, is_loose=False)
    return nest


def row_candidates(nest: Nest) -> list[Axis]:
    """Return the axes that can be the tile's rows: kept ones that only the scalar operand varies along."""
    left, right = dims.axes(nest.left.index[0]), dims.axes(nest.right.index[0])
    return [a for a in nest.kept[:-1] if a in left and a not in right]


def by_stride(offset: Dim, without: Axis) -> tuple[Axis, ...]:
    """Return the axes of an offset but one, those with the longest strides first."""
    others = [a for a in dims.axes(offset) if a != without]
    return tuple(sorted(others, key=lambda a: (-magnitude(slope_of(offset, a)), a.name)))


def slope_of(offset: Dim, axis: Axis) -> Dim:
    """Return by how much an offset grows along an axis."""
    slope, _ = dims.linear(offset, axis)
    assert slope is not None
    return slope


def magnitude(dim: Dim) -> int:
    """Return how large a dim counts as, without its sign."""
    return abs(usual(dim))
