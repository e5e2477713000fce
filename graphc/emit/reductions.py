"""Reductions as loops: one total, or several in turn where the next number comes faster than an addition is done."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from graphc import dims
from graphc.dims import Axis, DimExpr
from graphc.dtypes import int64
from graphc.emit.block import Block, factor, identity, literal
from graphc.loops.expr import Apply, Index, Load, Reduce, rewrite, walk
from graphc.loops.kernels import ACCUMULATOR
from graphc.loops.merging import TOTALS

if TYPE_CHECKING:
    from graphc.emit.writer import Writer

_COMBINE = {"add": "{} + {}", "dot": "{} + {}", "multiply": "{} * {}", "and": "{} & {}", "or": "{} | {}"}
_REDUCE = {"dot": "add"}
# What makes numbers faster than additions to one total follow each other.
QUICK = frozenset(("add", "subtract", "multiply", "negative", "abs", "maximum", "minimum", "select", "cast"))


def write_reduction(expr: Reduce, writer: Writer, block: Block) -> str:
    """Write the loops of a reduction; return the name of its result, a vector if it varies along the block's vector axis."""
    varying = writer.varies(expr, block)
    # What turns out to be one number for all lanes is still added in its order.
    is_along = not varying and block.vector is None and (expr.along or not expr.rounds)
    along = _axis_along(expr) if is_along else None
    spread = varying or is_along
    many = (spread or expr.rounds) and in_turns(expr, along or expr.axes[-1], writer.lanes if along else 1)
    totals = [writer.fresh("total") for _ in range(TOTALS if many else 1)]
    for total in totals:
        block.add(f"{total} = {start_of(expr, writer.lanes, spread=spread)}")
    total, place = totals[0], None
    if expr.combiner == "argmax":
        place = writer.fresh("place")
        block.add(f"{place} = {_place_kind(expr, writer.lanes, spread=spread)}(0)")

    def add(inner: Block) -> None:
        accumulate(expr, writer, inner, total, place, spread=spread)

    def loops(outer: Block, axes: tuple[Axis, ...]) -> None:
        if many and along is None and len(axes) == 1:
            first, last = _turns(expr, axes[0], totals, writer, outer, spread=spread)
            if first != last:
                inner = outer.inner(axes[0])
                add(inner)
                outer.close(inner, f"for {axes[0].name} in range({first}, {last}):")
        elif axes:
            inner = outer.inner(axes[0])
            loops(inner, axes[1:])
            outer.close(inner, f"for {axes[0].name} in range({writer.dim(axes[0].extent, outer)}):")
        elif along is None:
            add(outer)
        else:
            span = _turns(expr, along, totals, writer, outer, writer.lanes, spread=True) if many else None
            if span is None or span[0] != span[1]:
                writer.vector_loop(outer, along, add, span)

    loops(block, tuple(a for a in expr.axes if a != along))
    for other in totals[1:]:
        block.add(f"{total} = {combined(expr.combiner, total, other)}")
    if place is not None and spread:
        wide = writer.fresh("place")
        block.add(f"{wide} = i64x{writer.lanes}({place})")
        place = wide
    if along is None:
        return place or total
    result = writer.fresh("v")
    parts = f"argmax({total}, {place})" if place else f"{_REDUCE.get(expr.combiner, expr.combiner)}({total})"
    block.add(f"{result} = reduce_{parts}")
    return result


def _place_kind(expr: Reduce, lanes: int, *, spread: bool) -> str:
    """Return the kind of places of largest numbers: half as wide as an integer has to be, where that is known to do."""
    extent = expr.axes[0].extent
    is_short = isinstance(extent, int) and extent < 2**31
    return f"{'i32' if is_short else 'i64'}x{lanes}" if spread else "i64"


def start_of(expr: Reduce, lanes: int, *, spread: bool) -> str:
    """Return what a total of a reduction starts from."""
    kind = expr.value.dtype
    return f"{kind.short}{f'x{lanes}' if spread else ''}({literal(identity(expr.combiner, kind))})"


def in_turns(expr: Reduce, along: Axis, width: int) -> bool:
    """Whether positions go to several totals in turn, for one would wait for itself: an addition takes longer than a number.

    Where that can be seen in the bits it is so for costly numbers, too, for these may be stored as well as made here.
    """
    is_long = not isinstance(along.extent, int) or along.extent >= TOTALS * width
    if expr.rounds and expr.order == "chain":
        return False
    return is_long and (expr.rounds or (_is_quick(expr, along) and expr.combiner != "argmax"))


def _is_quick(expr: Reduce, along: Axis) -> bool:
    """Whether numbers are made faster than additions to one total follow each other."""
    made = [e for e in walk(expr.value) if isinstance(e, Apply) and along in e.free]
    return len(made) <= TOTALS and all(e.function in QUICK for e in made)


def _turns(
    expr: Reduce, along: Axis, totals: list[str], writer: Writer, block: Block, width: int = 1, *, spread: bool
) -> tuple[str, str]:
    """Write the loop that adds `width` positions to each total in turn; return the bounds of what it leaves.

    Costly numbers are written once: the totals change places.
    """
    stop, step = writer.dim(along.extent, block), len(totals) * width
    if isinstance(along.extent, int):
        whole = str(along.extent - along.extent % step)
    else:
        whole = writer.fresh("whole")
        block.add(f"{whole} = {stop} - {factor(stop)} % {step}")
    inner = block.inner(along, vector=along if width > 1 else None)
    if _is_quick(expr, along):
        for number, total in enumerate(totals):
            accumulate(expr, writer, inner, total, None, spread=spread, ahead=(along, number * width))
    else:
        accumulate(expr, writer, inner, totals[0], None, spread=spread)
        used, step = writer.fresh("used"), width
        for before, after in itertools.pairwise((used, *totals, used)):
            inner.add(f"{before} = {after}")
    block.close(inner, f"for {along.name} in range(0, {whole}, {step}):")
    return whole, stop


def accumulate(
    expr: Reduce,
    writer: Writer,
    block: Block,
    total: str,
    place: str | None,
    *,
    spread: bool,
    ahead: tuple[Axis, int] | None = None,
) -> None:
    """Write one round of a reduction: of the elements at the block's position, or so far `ahead` of it along an axis."""
    value = expr.value
    if ahead is not None:
        axis, distance = ahead
        value = rewrite(value, {axis: DimExpr.of(axis) + distance})
    get = writer.vector if spread else writer.value
    masked = spread and block.mask is not None
    if place is not None:
        name = get(value, block)
        # NaN counts as the largest, and the first among equals wins, as in NumPy.
        better = f"({name} > {total})"
        if value.dtype.is_float:
            better = f"{better} | (({name} != {name}) & ({total} == {total}))"
        if masked:
            better = f"({better}) & {block.mask}"
        flag = writer.fresh("better")
        block.add(f"{flag} = {better}")
        at = Index.of(int64, DimExpr.of(expr.axes[0]))
        position = f"{_place_kind(expr, writer.lanes, spread=spread)}({get(at, block)})"
        block.add(f"{place} = select({flag}, {position}, {place})")
        block.add(f"{total} = select({flag}, {name}, {total})")
        return
    if expr.combiner == "dot":
        assert isinstance(value, Apply)
        left, right = (get(a, block) for a in value.args)
        text = f"fma({left}, {right}, {total})"
    else:
        text = combined(expr.combiner, total, get(value, block))
        if not spread and value.dtype.short in ("i32", "u32", "u8") and expr.combiner in _COMBINE:
            text = f"{value.dtype.short}({text})"
    block.add(f"{total} = select({block.mask}, {text}, {total})" if masked else f"{total} = {text}")


def combined(combiner: str, left: str, right: str) -> str:
    """Return the text of two totals as one."""
    return _COMBINE.get(combiner, combiner + "({}, {})").format(left, right)


def _axis_along(expr: Reduce) -> Axis:
    """Return the axis that lanes run along: the last or, where no bit hangs on it, the one that memory is contiguous along."""
    if expr.rounds:
        return expr.axes[-1]
    votes = {axis: 0 for axis in expr.axes}
    for found in walk(expr.value):
        if isinstance(found, Load) and found.source != ACCUMULATOR:
            for axis in expr.axes:
                votes[axis] += dims.linear(found.index[0], axis)[0] == 1
    return max(reversed(expr.axes), key=lambda a: votes[a])
