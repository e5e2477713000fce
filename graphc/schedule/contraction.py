"""Contractions: which axes play which part, and the general form for those that no register tile fits.

A register tile needs a lane axis (last in the output, in one operand only, contiguous there), a row axis (in the output
and the other operand only) and something to sum over. Everything else, such as a matrix-vector product or a strided
output map, becomes a `Compute` body, which vectorises and fuses like any reduction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.dtypes import DType, bool_
from graphc.graph.bodies import Compute, Contract, compute, output_axes
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.loops.kernels import flat_offset
from graphc.simd.levels import Level

# Elements between two rows of an operand, its number of rows, and the rows of the result, from which on panels pay.
FAR, DEEP, MANY_ROWS = 512, 64, 64
# Lanes of the result from which on strips of the scalar operand pay: each is read once for every block of lanes.
WIDE = 128
# Cycles: what a load was measured to add, and from a product to the next one that adds to it.
LOAD, LATENCY = 0.13, 4
# What a size that is not known counts as.
MANY = 256


@dataclass(frozen=True)
class Roles:
    """The parts that a contraction's axes play.

    `swapped`: the lanes are in the left operand. `pack`: the vector operand is copied into panels first; its other axes,
    in their order in a panel. `strips`: likewise for the scalar operand, whose rows are copied side by side.
    """

    outer: tuple[Axis, ...]
    row: Axis
    lane: Axis
    reduced: tuple[Axis, ...]
    swapped: bool
    pack: tuple[Axis, ...] | None
    strips: tuple[Axis, ...] | None


def roles(body: Contract, left: Sequence[Dim], right: Sequence[Dim], out: Sequence[Dim]) -> Roles | None:
    """Return the axes' parts, given the three shapes, or None where no register tile fits."""
    plain = [_plain_axis(d) for d in body.out]
    used = [a for a in plain if a is not None]
    if None in plain or len(set(used)) != len(used) or not used or not _is_affine(body):
        return None
    kept = set(used)
    reduced = tuple(a for a in body.domain if a not in kept)
    lane = used[-1]
    in_left, in_right = _axes_of(body.left), _axes_of(body.right)
    if not reduced or (lane in in_left) == (lane in in_right):
        return None
    swapped = lane in in_left
    vector, vector_shape, vector_axes = (body.left, left, in_left) if swapped else (body.right, right, in_right)
    scalar_axes = in_right if swapped else in_left
    rows = [a for a in used[:-1] if a in scalar_axes and a not in vector_axes]
    if not rows or not any(a in scalar_axes and a in vector_axes for a in reduced):
        return None
    # The longest row axis fills the tile best; a symbolic one (the batch) counts as long.
    row = max(rows, key=lambda a: a.extent if isinstance(a.extent, int) else 64)
    slope, _ = dims.linear(flat_offset(vector, vector_shape), lane)
    pack = None
    is_plain = all(_plain_axis(d) is not None for d in vector)
    if slope != 1 and not is_plain:
        return None
    if slope != 1 or (is_plain and _is_scattered(vector, vector_shape, lane, row)):
        pack = tuple(a for a in _ordered_axes(vector) if a != lane)
    outer = tuple(a for a in used if a not in (row, lane))
    scalar, scalar_shape = (body.right, right) if swapped else (body.left, left)
    strips = None
    if _is_transposed(scalar, scalar_shape, row, reduced) and (not isinstance(lane.extent, int) or lane.extent >= WIDE):
        strips = tuple(a for a in _ordered_axes(scalar) if a != row)
    return Roles(outer, row, lane, reduced, swapped, pack, strips)


def _is_transposed(scalar: Sequence[Dim], shape: Sequence[Dim], row: Axis, reduced: Sequence[Axis]) -> bool:
    """Whether neighbouring rows lie side by side and the summed elements of one row far apart.

    Then each step of a sum reads another page, and strides of a power of two fall into a few sets of the cache.
    """
    if any(_plain_axis(d) is None for d in scalar):
        return False
    offset = flat_offset(scalar, shape)
    strides = [dims.linear(offset, a)[0] for a in reduced if a in _axes_of(scalar)]
    far = all(not isinstance(stride, int) or stride >= FAR // 2 for stride in strides)
    return far and dims.linear(offset, row)[0] == 1


def _is_scattered(vector: Sequence[Dim], shape: Sequence[Dim], lane: Axis, row: Axis) -> bool:
    """Whether the rows of the vector operand lie so far apart, and are read so often, that a copy pays.

    Each step along a reduced axis then touches another page, and powers of two fall into a few sets of the cache. The
    copy reads each element once; the contraction reads it once for every block of rows.
    """
    stride, depth = shape[-1], dims.product(a.extent for a in _ordered_axes(vector) if a != lane)
    is_far = isinstance(stride, int) and stride >= FAR
    is_deep = not isinstance(depth, int) or depth >= DEEP
    return is_far and is_deep and (not isinstance(row.extent, int) or row.extent >= MANY_ROWS)


def tile_shape(level: Level, rows: Dim, lanes: Dim, vector: int) -> tuple[int, int]:
    """Return rows and logical vectors of the register tile that takes the least time.

    Accumulators, vector operand and broadcast must fit the registers. A step of the sum takes as long as its products, two
    a cycle, or the latency of one, and some of its loads' time. Rows that do not fill a tile are a smaller one, or one by one if their number
    is not known; vectors that do not are made one by one.
    """
    parts = max(1, 512 // level.register_bits)
    extent = rows if isinstance(rows, int) else MANY
    width = lanes if isinstance(lanes, int) else MANY

    def time(rows: int, vectors: int) -> float:
        return max(rows * vectors * parts / 2, LATENCY) + LOAD * (rows + vectors * parts) if rows else 0

    def total(shape: tuple[int, int]) -> float:
        count, vectors = shape
        whole, rest = divmod(width, vectors * vector)
        wide = {m: whole * time(m, vectors) + -(-rest // vector) * time(m, 1) for m in (count, extent % count, 1)}
        few = wide[extent % count] if isinstance(rows, int) else wide[1] * (extent % count)
        return extent // count * wide[count] + few

    shapes: list[tuple[int, int]] = []
    for vectors in (1, 2, 4) if parts == 1 else (1,):
        most = min(24 if isinstance(rows, int) else 8, (level.registers // parts - 1 - vectors) // vectors)
        if vectors == 1 or width > (vectors - 1) * vector:
            shapes += [(m, vectors) for m in range(1, min(max(most, 1), max(extent, 1)) + 1)]
    return min(shapes, key=total)


def general(body: Contract, out: TensorType, dtype: DType) -> Compute:
    """Return the contraction as a value at one output index: each output map is solved for one axis, the rest is summed."""
    solved: dict[dims.Atom, Dim] = {}
    guard: Expr | None = None
    for at, target in zip(output_axes(out), body.out, strict=True):
        axis = _solvable(target, solved)
        if axis is None:
            guard = expr.both(guard, _equal(dims.substitute(target, solved), at))
            continue
        stride, rest = dims.linear(target, axis)
        assert stride is not None
        offset = at - dims.substitute(rest, solved)
        if stride != 1:
            guard = expr.both(guard, _equal(dims.remainder(offset, stride), 0))
        position = dims.floordiv(offset, stride)
        guard = expr.both(guard, expr.within(offset, 0, axis.extent * stride))
        solved[axis] = position
    # An axis solved early may stand on one solved later: substitute until only output axes and summed axes are left.
    for _ in body.out:
        solved = {a: dims.substitute(d, {k: v for k, v in solved.items() if k != a}) for a, d in solved.items()}
    left = expr.load(0, tuple(dims.substitute(d, solved) for d in body.left), dtype, guard)
    right = expr.load(1, tuple(dims.substitute(d, solved) for d in body.right), dtype, guard)
    value = expr.apply("multiply", left, right)
    if guard is not None:
        value = expr.select(guard, value, expr.const(0, dtype))
    reduced = tuple(a for a in body.domain if a not in solved)
    return compute(out, expr.reduce("add", reduced, value) if reduced else value)


def _equal(left: Dim, right: Dim) -> Expr | None:
    if left == right:
        return None
    return expr.apply("eq", expr.index(left), expr.index(right), dtype=bool_)


def _plain_axis(dim: Dim) -> Axis | None:
    if isinstance(dim, DimExpr) and len(dim.terms) == 1:
        (monomial, count) = dim.terms[0]
        if count == 1 and len(monomial) == 1 and monomial[0][1] == 1 and isinstance(monomial[0][0], Axis):
            return monomial[0][0]
    return None


def _solvable(target: Dim, solved: dict[dims.Atom, Dim]) -> Axis | None:
    free = [a for a in _ordered_axes((target,)) if a not in solved]
    plain = [a for a in free if isinstance(dims.linear(target, a)[0], int) and dims.linear(target, a)[0] != 0]
    positive = [a for a in plain if dims.is_nonnegative(dims.linear(target, a)[0] or 0)]
    # Solving for the longest axis leaves the least to sum over.
    return max(positive, key=lambda a: a.extent if isinstance(a.extent, int) else 64, default=None)


def _axes_of(index: Sequence[Dim]) -> set[Axis]:
    return {a for d in index for a in dims.axes(d)}


def _ordered_axes(index: Sequence[Dim]) -> list[Axis]:
    return sorted(_axes_of(index), key=lambda a: next(n for n, d in enumerate(index) if a in dims.axes(d)))


def _is_affine(body: Contract) -> bool:
    return all(dims.linear(d, a)[0] is not None for d in (*body.left, *body.right) for a in dims.axes(d))
