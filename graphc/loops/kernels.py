"""Kernels: one fused loop nest each, possibly with several outputs.

    kernel ::= Map(rows, lane, stores, ordered?)     for rows: reductions of the row, then a vector loop over the lane axis
             | Rows(maps)                            for each row: these Maps one after another
             | Tile(outer, row, lane, reduced, ...)  a contraction: a register tile of rows x lanes, with a fused epilogue
             | Scatter(index, updates, out, ...)     rows added at places read from data
             | Call(function, ...)                   a user's function over whole arrays
             | Segments(map, arrays, lengths)        one Map over several arrays in turn: all parameters of an optimizer
             | Beside(shared, single)                several of these that need nothing of one another

Inside a kernel every load and store has one flat offset, in elements, into a numbered buffer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from graphc import dims
from graphc.dims import Atom, Axis, Dim, Remainder
from graphc.dtypes import DType
from graphc.loops.expr import (
    Apply,
    Const,
    Expr,
    Index,
    Load,
    Loaded,
    Reduce,
    Rewriter,
    index_dims,
    walk,
)
from graphc.records import record, replace

ACCUMULATOR = "accumulator"
# Elements from which on what follows each other counts as far apart: then each is in another part of the cache.
FAR = 512
# Vectors of a row that are written out where something of them is the same in every row, and so made once.
COLUMNS = 4
LENGTH = "_length"
# What a symbol counts as where sizes are weighed.
USUAL = 64
# Positions of an owner axis that stay together: tiles have as many rows, or a divisor of it.
OWNED = 8
# Steps of a sum up to which a product is bound by the writing of its result.
BRIEF = 32
# Rows of a band: they are copied together, for what they read lies side by side.
BAND = 16
# The number of the thread that a kernel runs on, in an offset; rows up to which threads share lanes if each copies a part.
THREAD, FEW_ROWS = Axis("thread", dims.symbol("threads")), 256


@record
class Store:
    """buffer[offset] = value."""

    buffer: int
    offset: Dim
    value: Expr


@record
class Map:
    """The stores at every position of rows x lane; one whose offset does not use `lane` is made once a row.

    Without a lane axis all is scalar but the reductions. With `ordered` = (combiner, axis, reverse), the one store's value
    is accumulated along that axis, which is neither a row nor the lane: combiner is add, multiply or affine (see `bodies`).
    `owner` is the axis that threads share in a loop whose kernels all do alike (see `schedule.ownership`): the first of the
    rows or, without rows, the lane.
    """

    rows: tuple[Axis, ...]
    lane: Axis | None
    stores: tuple[Store, ...]
    ordered: tuple[str, Axis, bool] | None = None
    owner: Axis | None = None

    @property
    def across(self) -> Axis | None:
        """The row axis along which a copy reads what lies side by side, where it does not along the lanes.

        Such a copy is made in squares of vectors: one vector at a time it would touch a line of the cache for each lane.
        """
        value, offset = self.stores[0].value, self.stores[0].offset
        if self.lane is None or self.ordered or len(self.stores) > 1 or not isinstance(value, Load):
            return None
        square = 64 // value.dtype.itemsize
        if square > 16 or any(isinstance(atom, Loaded) for atom in dims.atoms(value.index[0])):
            return None
        if not _is_convex(value.guard) or _slope(value.index[0], self.lane) in (0, 1, None):
            return None
        for row in self.rows:
            is_guarded = value.guard is not None and row in value.guard.free
            if _slope(value.index[0], row) == 1 and _slope(offset, row) is not None and not is_guarded:
                is_short = any(isinstance(a.extent, int) and a.extent < square for a in (row, self.lane))
                return None if is_short or _slope(offset, self.lane) != 1 else row
        return None

    @property
    def banded(self) -> bool:
        """Whether this copies columns, as many as there are lanes, one after another out of rows that lie far apart.

        It is made in bands of rows then, each of all columns: column after column, each row would be fetched as often as
        there are columns.
        """
        value, target = self.stores[0].value, self.stores[0].offset
        if len(self.rows) != 2 or self.lane is None or len(self.stores) > 1 or self.owner or self.ordered:
            return False
        if not isinstance(value, Load) or any(isinstance(atom, Loaded) for atom in dims.atoms(value.index[0])):
            return False
        column, row = self.rows
        width, source = self.lane.extent, value.index[0]
        distance = _slope(source, row)
        if distance is None or (isinstance(distance, int) and abs(distance) < FAR // 2) or column.extent == 1:
            return False
        return _slope(source, column) == width and _slope(target, row) == width


@record
class Rows:
    """Maps over the same rows, made one after another for each row; a later one may read what an earlier one stored there."""

    maps: tuple[Map, ...]

    @property
    def rows(self) -> tuple[Axis, ...]:
        """The axes that they share."""
        return self.maps[0].rows

    @property
    def owner(self) -> Axis | None:
        """The axis that threads share in a loop."""
        return self.maps[0].owner

    @property
    def stores(self) -> tuple[Store, ...]:
        """All stores, in order."""
        return tuple(s for stage in self.maps for s in stage.stores)


@record
class Pack:
    """A copy of the part of an operand that a block of lanes uses, by each thread to a place of its own, at each of `axes`.

    Along the lanes the copy is contiguous. One takes the place of the last one, unless all are made before, `at_once`.
    """

    axes: tuple[Axis, ...]
    copy: Store
    at_once: bool = False

    @property
    def operand(self) -> Load:
        """What is copied."""
        assert isinstance(self.copy.value, Load)
        return self.copy.value


@record
class Rounds:
    """A sum in rounds of so many positions of an axis each, at one position of each axis `over`.

    Each adds to what the last one has stored. What a round reads stays in the cache while all tiles use it. With `within`,
    a block of lanes passes all rounds before the next block, else all lanes pass a round before the next one. The outermost
    of these axes may be cut into so many `parts` that threads share: each is a sum of its own then, in a place of its own, that
    begins at a multiple of `grain` positions.
    """

    axis: Axis
    steps: int
    within: bool
    parts: int = 1
    over: tuple[Axis, ...] = ()
    grain: int = 1

    @property
    def first(self) -> Axis:
        """The position at which a round begins."""
        return Axis("first", self.axis.extent)

    @property
    def outermost(self) -> Axis:
        """The outermost axis of a round's loops."""
        return self.over[0] if self.over else self.axis

    @property
    def part(self) -> Axis:
        """The number of a part."""
        return Axis("part", self.parts)

    @property
    def begin(self) -> str:
        """Where the first round begins, as the kernel's text calls it."""
        return "begin" if self.parts > 1 else "0"


@record
class Within:
    """At a position of a summed axis only lanes from `low` up to `high` take part; from `first` up to `last` all do."""

    axis: Axis
    low: Dim
    high: Dim
    first: int
    last: int


@record
class Tile:
    """accumulator[row, lane] = sum over `reduced` of left * right for each position of `outer`; then the stores.

    `right` does not use the row axis and is contiguous along the lane axis; `left` is so too or does not use that one.
    `shape` is the register tile: rows, vectors. `stacked` is an outer axis of which a tile has so many positions, which
    divide it, each with as many rows. `unrolled` are summed axes that are walked so many positions at a time, which divide
    them, too: what rows and positions share of the left operand is read once. Where the guard of the left operand does not
    hold, it is zero, and what is there is not read. With `panel`, the right operand is read from
    panels as wide as the tile, and that axis is the panel's number: all were made before or, with `pack`, one after the
    other is made by the thread that needs it. With `strip`, the left one was copied into strips of as many rows as the
    tile has. `owner`: as for a Map, here the row axis. `rounds`: sums so far stand where the first store goes; what is
    made of them is made in the last round. `within`: which lanes take part in a product. `passing`: each block of rows passes
    all lanes before the next one. `inside`: pairs of an index and its extent; where one lies outside of it the product does not
    count. One operand is zero there, so that only shows where the other one is no number: sums that are none are made again.
    """

    outer: tuple[Axis, ...]
    row: Axis
    lane: Axis
    reduced: tuple[Axis, ...]
    left: Load
    right: Load
    stores: tuple[Store, ...]
    shape: tuple[int, int]
    unrolled: tuple[tuple[Axis, int], ...] = ()
    stacked: tuple[Axis, int] | None = None
    panel: Axis | None = None
    strip: Axis | None = None
    owner: Axis | None = None
    pack: Pack | None = None
    rounds: Rounds | None = None
    within: Within | None = None
    passing: bool = False
    inside: tuple[tuple[Dim, Dim], ...] = ()
    is_share: bool = False

    @property
    def lanes(self) -> int:
        """Lanes of its vectors, whatever else is read with the sums: panels are as wide."""
        return lanes_of(self.left.dtype)

    @property
    def is_lanewise(self) -> bool:
        """Whether both operands are read by vectors: then there are about as many loads as products."""
        return self.lane in dims.axes(self.left.index[0])

    @property
    def blocks(self) -> tuple[Dim, ...]:
        """The numbers of blocks along the outer axes, and of rows."""
        counts = [self.height(a) for a in self.outer]
        outer = [dims.floordiv(a.extent, n) for a, n in zip(self.outer, counts, strict=True)]
        return (*outer, dims.floordiv(self.row.extent + self.shape[0] - 1, self.shape[0]))

    def height(self, axis: Axis) -> int:
        """Return how many positions of an outer axis a tile has."""
        return self.stacked[1] if self.stacked is not None and self.stacked[0] == axis else 1

    @property
    def is_bare(self) -> bool:
        """Whether nothing but the sums is stored, in one place."""
        (value, *others) = (s.value for s in self.stores)
        return not others and (_is_sum(value) or self.start is not None)

    def at(self, place: Mapping[Atom, Dim]) -> Tile:
        """Return the same sums at other places, walked position by position."""
        rewriter = Rewriter(place)
        left, right = rewriter(self.left), rewriter(self.right)
        assert isinstance(left, Load)
        assert isinstance(right, Load)
        stores = tuple(Store(s.buffer, dims.substitute(s.offset, place), rewriter(s.value)) for s in self.stores)
        inside = tuple((dims.substitute(index, place), extent) for index, extent in self.inside)
        return replace(self, left=left, right=right, stores=stores, inside=inside, unrolled=(), stacked=None)

    @property
    def start(self) -> Load | None:
        """What the accumulators begin with: the total that a share is added to, if it lies as the result does.

        So a total that a loop adds to is one sum over all its steps, to the bits of one that is made at once. With rounds
        the array must be the result itself, which holds the sums so far.
        """
        store, *others = self.stores
        if not self.is_share or others or not isinstance(store.value, Apply) or store.value.function != "add":
            return None
        given, sums = sorted(store.value.args, key=_is_sum)
        if not isinstance(given, Load) or not _is_sum(sums) or given.guard is not None:
            return None
        is_alike = given.index == (store.offset,) and not _is_sum(given) and _slope(store.offset, self.lane) == 1
        return given if is_alike and (self.rounds is None or given.source == store.buffer) else None

    @property
    def operands(self) -> tuple[Load, ...]:
        """All that the kernel reads but in its stores, what it copies first included."""
        return (self.left, self.right, *([self.pack.operand] if self.pack is not None else []))

    @property
    def band(self) -> int:
        """How many blocks of rows all lanes pass before the next ones; 0 if each block of lanes passes all rows.

        Where both operands vary along the lanes, none stays in the cache, and lanes that lie side by side are read
        together. Where the sum is short, most of the work is to write the result, line after line.
        """
        if self.by_lanes or (self.pack is not None and not self.pack.at_once):
            return 0
        depth = dims.product(a.extent for a in self.reduced)
        return int(self.is_lanewise or self.passing or (isinstance(depth, int) and depth <= BRIEF))

    @property
    def by_lanes(self) -> bool:
        """Whether threads share the lanes rather than the rows: then each reads all of `left` and its part of `right`.

        The result is read by rows later, so it counts as what must be fetched from another thread's cache, too. What
        threads copy for themselves, each should copy only a part of, unless there are rows enough to pay for it. A tile
        that has all rows leaves nothing but lanes to share.
        """
        if self.owner is None and all(count == 1 for count in self.blocks):
            return True
        if self.pack is not None and usual_size((*self.outer, self.row)) <= FEW_ROWS:
            return True
        left, right = (
            [a for a in (*self.outer, self.row, self.lane, *self.reduced) if a in dims.axes(x.index[0])]
            for x in (self.left, self.right)
        )
        return self.owner is None and usual_size(right) > usual_size(left) + usual_size(
            (*self.outer, self.row, self.lane)
        )


@record
class Scatter:
    """out[index[j], :] += updates[j, :] for j < count in order; out has `size` rows of `width`, first set to zero."""

    index: int
    index_dtype: DType
    updates: int
    out: int
    dtype: DType
    count: Dim
    size: Dim
    width: Dim
    site: str
    wraps: bool


@record
class Call:
    """function(*outputs, *inputs) on whole arrays: (buffer, dtype, shape) each; first the status block if it `reports`."""

    function: str
    arrays: tuple[tuple[int, DType, tuple[Dim, ...]], ...]
    reports: bool = False


@record
class Segments:
    """A map over one lane axis, of the open length LENGTH, for each of several sets of arrays in turn.

    `arrays` gives the buffers of each set, `lengths` their length; buffer -k of the map is the k-th of the set. Threads
    share each of the segments, and the text is the same for any number of them.
    """

    map: Map
    arrays: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]


@record
class Beside:
    """Kernels that need nothing of one another, made by one call; those of `single` by the last thread alone.

    At most one is a Tile, and one has Segments.
    """

    shared: tuple[Kernel, ...]
    single: tuple[Kernel, ...] = ()

    @property
    def parts(self) -> tuple[Kernel, ...]:
        """All of them, in order."""
        return self.shared + self.single


Kernel: TypeAlias = Map | Rows | Tile | Scatter | Call | Segments | Beside


def lanes_of(dtype: DType) -> int:
    """Return how many elements a vector has: one AVX-512 register of four or eight bytes each."""
    return 8 if dtype.itemsize == 8 else 16


def usual_size(axes: Iterable[Axis]) -> int:
    """Return how many positions axes have, as sizes are weighed."""
    return usual(dims.product(a.extent for a in axes))


def usual(dim: Dim) -> int:
    """Return what a dim counts as where sizes are weighed."""
    return dims.evaluate(dim, dict.fromkeys(dims.symbols(dim), USUAL))


def _is_sum(value: Expr) -> bool:
    return isinstance(value, Load) and value.source == ACCUMULATOR


def flat_offset(index: Sequence[Dim], shape: Sequence[Dim]) -> Dim:
    """Return the row-major offset, in elements, of an index into an array of this shape."""
    offset: Dim = 0
    for at, extent in zip(index, shape, strict=True):
        offset = offset * extent + at
    return rejoined(offset)


def rejoined(offset: Dim) -> Dim:
    """Return an offset without quotients that stand beside their remainders: with what was divided."""
    while (joined := _joined(offset)) is not None:
        offset = joined
    return offset


def _joined(offset: Dim) -> Dim | None:
    """Return an offset with a quotient times its divisor, and the remainder, as what was divided; None without such."""
    for atom in dims.atoms(offset):
        if isinstance(atom, Remainder):
            quotient = dims.floordiv(atom.left, atom.right)
            joined = dims.substitute(offset, {atom: atom.left - atom.right * quotient})
            if not dims.atoms(quotient) <= dims.atoms(joined):
                return joined
    return None


def expressions(kernel: Map | Rows | Tile) -> list[Expr]:
    """Return the roots of what the kernel computes."""
    roots: list[Expr] = [s.value for s in kernel.stores]
    return [*roots, *kernel.operands] if isinstance(kernel, Tile) else roots


def loads(*roots: Expr) -> Iterator[Load]:
    """Yield the loads from buffers below these expressions, each once."""
    for expr in walk(*roots):
        if isinstance(expr, Load) and expr.source != ACCUMULATOR:
            yield expr


def _slope(offset: Dim, axis: Axis) -> Dim | None:
    """Return by how much an offset grows along an axis, if by the same everywhere."""
    slope = dims.linear(offset, axis)[0]
    return None if slope is None or dims.axes(slope) else slope


def _is_convex(guard: Expr | None) -> bool:
    """Whether a guard that holds at both ends of a range holds throughout."""
    match guard:
        case None:
            return True
        case Apply(_, "and", args):
            return all(map(_is_convex, args))
        case Apply(_, "lt" | "le" | "gt" | "ge", args):
            found = [a.dim for a in args if isinstance(a, Index)]
            is_linear = all(_slope(at, axis) is not None for at in found for axis in dims.axes(at))
            return is_linear and all(isinstance(a, Index | Const) for a in args)
        case _:
            return False


def index_dims_of(roots: Sequence[Expr]) -> list[Dim]:
    """Return the index expressions, and the extents of reductions, below these expressions."""
    found: list[Dim] = []
    for expr in walk(*roots):
        found += index_dims(expr)
        if isinstance(expr, Reduce):
            found += [a.extent for a in expr.axes]
    return found
