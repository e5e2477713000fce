"""Contractions that no register tile fits: their general form.

What is no tile (see `graph.products`), such as a matrix-vector product or a strided output map, becomes a `Compute` body,
which vectorises and fuses like any reduction. `nest` gives the axes of a tile their parts.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.dtypes import DType, bool_
from graphc.graph.bodies import Compute, Contract, compute, output_axes
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Expr


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
