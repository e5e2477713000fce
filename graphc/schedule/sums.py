"""The order in which sums add: that of the graph's arrays, whatever a kernel makes of them.

What is summed may be stored, made on the way, or repeat what lies elsewhere, as other parts of a program need it; the bits of
the sum must not depend on that. So its order is decided when its node is lowered, as if each operand lay in an array of its own:
whether lanes run along what is summed, which axes are walked as one, in how many turns. A kernel that has to walk them
otherwise does so only where that is the same order, or else what is summed is stored first (`Inliner`).
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.loops.expr import Expr, Load, Reduce, Rewriter, index_dims, rewrite, walk
from graphc.loops.kernels import flat_offset, rejoined
from graphc.loops.merging import is_same_order, walk_as_one


def in_order(value: Expr, axes: Sequence[Axis], shapes: Sequence[Sequence[Dim]]) -> Expr:
    """Return a body's value with the order of its reductions decided; `shapes` are those of the operands that it loads."""
    lane = next((a for a in reversed(axes) if a.extent != 1), None)

    def then(found: Expr) -> Expr:
        return _decided(found, lane, shapes) if isinstance(found, Reduce) and found.order != "chain" else found

    return Rewriter({}, then=then)(value)


def _decided(found: Reduce, lane: Axis | None, shapes: Sequence[Sequence[Dim]]) -> Reduce:
    offsets = [flat_offset(e.index, shapes[int(e.source)]) for e in walk(found.value) if isinstance(e, Load)]
    axes = list(found.axes)
    along = _is_along(offsets, axes, lane if lane in found.free else None)
    if along:
        last = max(reversed(axes), key=lambda a: sum(dims.linear(offset, a)[0] == 1 for offset in offsets))
        axes.append(axes.pop(axes.index(last)))
    value = found.value
    if found.combiner != "argmax":
        others = [d for e in walk(found.value) if not isinstance(e, Load) for d in index_dims(e)]
        axes, at = _united(axes, [*offsets, *others], along=along)
        value = rewrite(value, at) if at else value
    return Reduce.of(found.dtype, found.combiner, tuple(axes), value, "along" if along else "across")


def _is_along(offsets: Sequence[Dim], axes: Sequence[Axis], lane: Axis | None) -> bool:
    """Whether memory is contiguous along what is summed rather than across it. What is one number for all lanes is made along."""
    if lane is None:
        return True
    votes = sum(any(dims.linear(offset, a)[0] in (1, -1) for a in axes) for offset in offsets)
    # What is the same for all that is summed is read once a row.
    votes -= sum(dims.linear(offset, lane)[0] == 1 and not dims.axes(offset).isdisjoint(axes) for offset in offsets)
    return votes > 0


def _united(axes: list[Axis], found: Sequence[Dim], *, along: bool) -> tuple[list[Axis], dict[Atom, Dim]]:
    """Return the axes with neighbours that memory walks as one united, and what stands for the old ones.

    Where a loop in a loop has the order of one, they stay two: what is summed may be walked so more easily.
    """
    at: dict[Atom, Dim] = {}
    for position in reversed(range(len(axes) - 1)):
        outer, inner = axes[position : position + 2]
        if outer.extent == 1 or inner.extent == 1:
            new = {outer: 0} if outer.extent == 1 else {inner: 0}
            joint = inner if outer.extent == 1 else outer
        elif walk_as_one(found, outer, inner) and not is_same_order(inner, along=along):
            joint = Axis(inner.name, outer.extent * inner.extent)
            place = DimExpr.of(joint)
            new = {outer: dims.floordiv(place, inner.extent), inner: dims.remainder(place, inner.extent)}
        else:
            continue
        at = {axis: dims.substitute(dim, new) for axis, dim in at.items()} | new
        found = [rejoined(dims.substitute(d, new)) for d in found]
        axes[position : position + 2] = [joint]
    return axes, at
