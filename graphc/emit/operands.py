"""Where a register tile reads its operands: the elements of its rows and unrolled positions, and which of them exist."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.emit.block import Block
from graphc.emit.writer import Writer
from graphc.loops import expr
from graphc.loops.expr import Apply, Const, Expr, Index, Load
from graphc.loops.kernels import Tile
from graphc.records import record


def further(kernel: Tile, at: Mapping[Atom, Dim], position: Sequence[int]) -> dict[Atom, Dim]:
    """Return where the axes of a sum stand at an unrolled position of a step."""
    place = dict(at)
    for (axis, _), number in zip(kernel.unrolled, position, strict=True):
        place[axis] = place.get(axis, DimExpr.of(axis)) + number
    return place


@record
class Cells:
    """The rows of a register tile, by their places along its axes: that which it is stacked along, if any, and its rows.

    `bounds` gives, for each axis, where the tile, or a step of its sum, begins: an axis of as many positions as it may
    begin at, or the one. An accumulator is called `name` and the numbers of its row and vector.
    """

    shape: tuple[int, int]
    axes: tuple[Axis, ...]
    places: tuple[tuple[int, ...], ...]
    bounds: Mapping[Atom, Dim]
    name: str = "c"

    @staticmethod
    def of(kernel: Tile, shape: tuple[int, int], *, is_rest: bool, name: str = "c") -> Cells:
        """Return the rows of a tile of this shape, or of what is left of the rows, known in number."""
        stacked = [kernel.stacked] if kernel.stacked is not None else []
        rows = (*stacked, (kernel.row, shape[0]))
        bounds: dict[Atom, Dim] = {axis: _beginnings(axis, count) for axis, count in (*rows, *kernel.unrolled)}
        if is_rest:
            bounds[kernel.row] = kernel.row.extent - shape[0]
        elif shape == kernel.shape and dims.floordiv(kernel.row.extent, shape[0]) == 1:
            bounds[kernel.row] = 0
        places = tuple(itertools.product(*(range(count) for _, count in rows)))
        return Cells(shape, tuple(axis for axis, _ in rows), places, bounds, name)

    @property
    def vectors(self) -> int:
        """The number of vectors in a row."""
        return self.shape[1]

    def names(self) -> Iterator[str]:
        """Yield the names of the accumulators."""
        for number in range(len(self.places)):
            for v in range(self.vectors):
                yield self.called(number, v)

    def called(self, number: int, vector: int) -> str:
        """Return the name of an accumulator."""
        return f"{self.name}{number}_{vector}"

    def at(self, place: Sequence[int]) -> dict[Atom, Dim]:
        """Return where the axes stand at a place."""
        return {axis: DimExpr.of(axis) + number for axis, number in zip(self.axes, place, strict=True) if number}

    def moved(self, offset: Dim, place: Sequence[int]) -> Dim:
        """Return an offset at a place."""
        return dims.substitute(offset, self.at(place))

    def remaining(self, guard: Expr | None, at: Mapping[Atom, Dim]) -> Expr | None:
        """Return what is left of a guard, where its axes stand so: None if it holds everywhere, False if nowhere."""
        if guard is None:
            return None
        left: Expr | None = None
        single = {axis: begin for axis, begin in self.bounds.items() if isinstance(begin, int)}
        for one in _conditions(guard):
            room = dims.substitute(dims.substitute(_room(one), at), self.bounds)
            if dims.is_nonnegative(-1 - room):
                return expr.const(value=False, dtype=one.dtype)
            if not dims.is_nonnegative(room):
                left = expr.both(left, expr.rewrite(expr.rewrite(one, at), single))
        return left


def _beginnings(axis: Axis, count: int) -> Dim:
    many = axis.extent - count + 1
    return 0 if many == 1 else DimExpr.of(Axis(axis.name, many))


def _conditions(guard: Expr | None) -> Iterator[Apply]:
    match guard:
        case Apply(_, "and", args):
            for one in args:
                yield from _conditions(one)
        case Apply():
            yield guard
        case _:
            assert guard is None


def _room(condition: Apply) -> Dim:
    """Return what is 0 or more where a comparison of index expressions holds."""
    left, right = (_dim(one) for one in condition.args)
    return left - right if condition.function == "ge" else right - left - 1


def _dim(value: Expr) -> Dim:
    match value:
        case Index(_, dim):
            return dim
        case Const(_, int(number)):
            return number
        case _:
            raise AssertionError(f"no index expression: {value}")


@record
class Operand:
    """How a step addresses the elements of an operand: from the first one, by the distances along a tile's axes.

    A distance that is no known number has a name.
    """

    base: str
    size: int
    rows: tuple[Axis, ...]
    unrolled: tuple[Axis, ...]
    slopes: Mapping[Axis, Dim]
    names: Mapping[Axis, str]

    @staticmethod
    def of(operand: Load, kernel: Tile, writer: Writer, block: Block, at: Mapping[Atom, Dim]) -> Operand:
        """Write the address of the first element."""
        (offset,), size = operand.index, operand.dtype.itemsize
        rows = (*([kernel.stacked[0]] if kernel.stacked is not None else []), kernel.row)
        unrolled = tuple(axis for axis, _ in kernel.unrolled)
        slopes = {axis: dims.linear(offset, axis)[0] or 0 for axis in (*rows, *unrolled)}
        named = {a: writer.distance(s, size, block) for a, s in slopes.items() if not isinstance(s, int)}
        base = writer.fresh("at")
        block.add(f"{base} = {writer.address(operand.source, dims.substitute(offset, at), size, block)}")
        return Operand(base, size, rows, unrolled, slopes, named)

    def steps(self, place: Sequence[int], position: Sequence[int]) -> Iterator[tuple[Axis, int]]:
        """Yield how many steps along each axis lead to a place and position."""
        yield from zip(self.rows, place, strict=False)  # an operand may be the same for all rows
        yield from zip(self.unrolled, position, strict=True)

    def distance(self, place: Sequence[int], position: Sequence[int]) -> Dim:
        """Return how far from the first element, in elements, lies that of a place and position."""
        total: Dim = 0
        for axis, count in self.steps(place, position):
            total = total + count * self.slopes[axis]
        return total

    def address(self, place: Sequence[int], position: Sequence[int], lanes: int) -> str:
        """Return the address of the element of a place and position, so many lanes further."""
        number, text = self.size * lanes, self.base
        for axis, count in self.steps(place, position):
            distance = self.slopes[axis]
            if isinstance(distance, int):
                number += self.size * count * distance
            elif count:
                text += f" + {count} * {self.names[axis]}"
        return f"{text} + {number}" if number > 0 else f"{text} - {-number}" if number else text
