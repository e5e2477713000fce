"""Contractions: whether a register tile fits, and the general form for those that none does.

A register tile needs a lane axis (last in the output and contiguous in an operand), a row axis (in the output and the
other operand only) and something to sum over. Everything else, such as a matrix-vector product or a strided output map,
becomes a `Compute` body, which vectorises and fuses like any reduction. `nest` gives the axes of a tile their parts.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.dtypes import DType, bool_
from graphc.graph.bodies import Compute, Contract, compute, output_axes
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.schedule.views import Operand


def scalar_operand(
    body: Contract, operands: Sequence[Operand], lasting: Set[int] = frozenset(), *, is_added: bool = False
) -> int | None:
    """Return which operand a register tile reads by elements (0 or 1), given where both lie; None where none fits.

    lasting: the operands that stay as they are through all steps of a loop. is_added: whether the result is added to another
    array and read by nobody else: then it may be one term of a longer sum, and is not rounded by itself.
    """
    plain = [_plain_axis(d) for d in body.out]
    used = [a for a in plain if a is not None]
    if None in plain or len(set(used)) != len(used) or not used or not _is_affine(body):
        return None
    lane, reduced = used[-1], set(body.domain) - set(used)
    # A tile of a single column would have one lane of sixteen; where one product is all of the sum there is nothing to share.
    if lane.extent == 1 or (all(a.extent == 1 for a in reduced) and not is_added):
        return None
    slopes = [dims.linear(one.offset, lane)[0] for one in operands]
    if not any(all(a in dims.axes(one.offset) for one in operands) for a in reduced):
        return None
    for scalar in (0, 1):
        one, other = operands[scalar], operands[1 - scalar]
        found = dims.axes(other.offset)
        rows = [a for a in used[:-1] if a in dims.axes(one.offset) and a not in found]
        # A single row shares nothing of what it reads with others: as a reduction it needs no copy, and fuses. But where lanes
        # lie apart and a copy serves all steps of a loop, numbers are not added across a vector for each column.
        is_alone = all(a.extent == 1 for a in rows)
        is_copied_once = 1 - scalar in lasting and slopes[1 - scalar] != 1
        if lane not in found or not rows or (is_alone and not is_copied_once):
            continue
        if slopes[scalar] != 0 and slopes != [1, 1]:
            continue
        # What is not contiguous along the lanes is copied, unless windows overlap in it.
        read = dims.product(a.extent for a in found)
        if slopes[1 - scalar] == 1 or dims.is_nonnegative(other.size - read):
            return scalar
    return None


def renamed(body: Contract, prefix: str) -> Contract:
    """Return a contraction with a prefix to the names of its axes."""
    new: dict[Atom, Dim] = {a: DimExpr.of(Axis(prefix + a.name, a.extent)) for a in body.domain}
    domain = tuple(Axis(prefix + a.name, a.extent) for a in body.domain)
    left, right, out = (tuple(dims.substitute(d, new) for d in index) for index in (body.left, body.right, body.out))
    inside = tuple((dims.substitute(index, new), extent) for index, extent in body.inside)
    return Contract(domain, left, right, out, body.in_order, body.is_share, body.is_reduced, inside)


def general(body: Contract, out: TensorType, dtype: DType) -> Compute:
    """Return the contraction as a value at one output index: each output map is solved for one axis, the rest is summed."""
    solved: dict[Atom, Dim] = {}
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
    reduced = tuple(a for a in body.domain if a not in solved and a.extent != 1)
    solved |= {a: 0 for a in body.domain if a not in solved and a.extent == 1}
    left = expr.load(0, tuple(dims.substitute(d, solved) for d in body.left), dtype, guard)
    right = expr.load(1, tuple(dims.substitute(d, solved) for d in body.right), dtype, guard)
    value = expr.apply("multiply", left, right)
    for index, extent in body.inside:
        guard = expr.both(guard, expr.within(dims.substitute(index, solved), 0, extent))
    combiner = "dot" if dtype.is_float and guard is None else "add"
    if guard is not None:
        value = expr.select(guard, value, expr.const(0, dtype))
    # A sum begins with 0, which makes 0.0 of -0.0, also where it has one term.
    order = "chain" if body.in_order else "across"
    return compute(
        out,
        expr.reduce(combiner, reduced, value, order=order)
        if reduced
        else expr.apply("add", value, expr.const(0, dtype)),
    )


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


def _solvable(target: Dim, solved: dict[Atom, Dim]) -> Axis | None:
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
