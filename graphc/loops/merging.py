"""Axes that memory walks as one become one: fewer loops, and longer ones."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.loops.expr import Expr, Reduce, Rewriter, rewrite, walk
from graphc.loops.kernels import Map, Store, expressions, index_dims_of
from graphc.records import replace


def collapse(kernel: Map) -> Map:
    """Return the kernel with neighbouring axes merged wherever every offset walks them as one.

    Rows merge with rows and, where no reduction of whole rows stands between, with the lane; reductions merge their own axes.
    """
    kernel = with_joint_sums(kernel)
    if kernel.ordered is not None:
        return kernel
    reductions = [e for e in walk(*expressions(kernel)) if isinstance(e, Reduce)]
    axes = [*kernel.rows, *([kernel.lane] if kernel.lane else [])]
    is_of_rows = any(one.along or kernel.lane not in one.free for one in reductions)
    keep_lane = is_of_rows or any(kernel.lane and not _uses(s.offset, kernel.lane) for s in kernel.stores)
    merged: list[Axis] = []
    for position in reversed(range(len(axes))):
        is_boundary = keep_lane and kernel.lane is not None and position == len(axes) - 2
        if merged and not is_boundary:
            outer, inner = axes[position], merged[0]
            is_lane = kernel.lane is not None and len(merged) == 1
            # Where the lanes are one position, the rows take their place if results are contiguous along them.
            is_single = inner.extent == 1 and not (
                is_lane and any(_stride(s.offset, outer) != 1 for s in kernel.stores)
            )
            is_owned = kernel.owner in (outer, inner)
            if not is_owned and (is_single or outer.extent == 1 or _walk_as_one(kernel, outer, inner)):
                joint = Axis(inner.name, outer.extent * inner.extent)
                dropped, kept = (inner, outer) if is_single else (outer, inner)
                kernel = _substitute(kernel, {dropped: 0, kept: DimExpr.of(joint)})
                merged[0] = joint
                continue
        merged.insert(0, axes[position])
    if kernel.lane is None:
        return replace(kernel, rows=tuple(merged))
    return replace(kernel, rows=tuple(merged[:-1]), lane=merged[-1])


# Totals that a reduction adds to in turn, and lanes of the widest vector.
TOTALS, LANES = 4, 16


def is_same_order(inner: Axis, *, along: bool) -> bool:
    """Whether a sum over an axis inside of another one adds in the order of a sum over both as one: whole turns of all totals."""
    return dims.remainder(inner.extent, TOTALS * (LANES if along else 1)) == 0


def with_joint_sums(kernel: Map) -> Map:
    """Return the kernel with the axes of its reductions merged wherever values walk them as one and the order stays."""
    return replace(kernel, stores=tuple(replace(s, value=_collapse_reductions(s.value)) for s in kernel.stores))


def _collapse_reductions(root: Expr) -> Expr:
    slim: dict[Expr, Expr] = {}
    for found in walk(root):
        if isinstance(found, Reduce) and len(found.axes) > 1 and found.combiner != "argmax":
            one = _collapse_one(found)
            if one is not found:
                slim[found] = one
    return Rewriter({}, memo=slim)(root) if slim else root


def _collapse_one(reduction: Reduce) -> Reduce:
    axes, value = list(reduction.axes), reduction.value
    position = len(axes) - 1
    while position > 0:
        outer, inner = axes[position - 1], axes[position]
        is_one = inner.extent == 1 or outer.extent == 1
        may = not reduction.rounds or reduction.order == "chain" or is_same_order(inner, along=reduction.along)
        if is_one or (may and walk_as_one(index_dims_of([value]), outer, inner)):
            joint = Axis(inner.name, outer.extent * inner.extent)
            dropped, kept = (inner, outer) if inner.extent == 1 else (outer, inner)
            value = rewrite(value, {dropped: 0, kept: DimExpr.of(joint)})
            axes[position - 1 : position + 1] = [joint]
        position -= 1
    if len(axes) == len(reduction.axes):
        return reduction
    return reduction.again(tuple(axes), value)


def _walk_as_one(kernel: Map, outer: Axis, inner: Axis) -> bool:
    return walk_as_one(index_dims_of(expressions(kernel)) + [s.offset for s in kernel.stores], outer, inner)


def walk_as_one(found: Sequence[Dim], outer: Axis, inner: Axis) -> bool:
    """Whether each index walks the two axes as it would walk one of outer.extent * inner.extent."""
    for dim in found:
        outer_slope, rest = dims.linear(dim, outer)
        inner_slope, rest = dims.linear(rest, inner)
        if outer_slope is None or inner_slope is None or outer_slope != inner_slope * inner.extent:
            return False
        if _uses(rest, outer) or _uses(rest, inner) or _uses(outer_slope, inner):
            return False
    return True


def _uses(dim: Dim, axis: Axis) -> bool:
    return axis in dims.axes(dim)


def _substitute(kernel: Map, replacement: dict[Atom, Dim]) -> Map:
    rewriter = Rewriter(replacement)
    stores = (Store(s.buffer, dims.substitute(s.offset, replacement), rewriter(s.value)) for s in kernel.stores)
    return replace(kernel, stores=tuple(stores))


def _stride(offset: Dim, axis: Axis) -> Dim | None:
    return dims.linear(offset, axis)[0]
