"""Rows of few elements stand side by side on the lanes: vectors of rows, where each row would leave most of a vector empty.

What a row sums, its largest element or the sum of its exponentials, is then made lane by lane, for as many rows at once as
there are lanes, and nothing is added across a vector. Each element of a row is a load, or a store, of its own.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from functools import partial

from graphc import dims
from graphc.dims import Atom, Axis, Dim
from graphc.loops.expr import Apply, Expr, Load, Reduce, Rewriter, apply, const, walk
from graphc.loops.kernels import Map, Store, loads
from graphc.loops.merging import LANES, TOTALS
from graphc.schedule.groups import decided

# Elements of a row up to which this pays, and parts of all stores together, which are lines that must be compiled.
FEW, PARTS = 16, 384
# Rows that there are at least: a vector of them.
LEAST = 16


def abreast(maps: Sequence[Map]) -> Map | None:
    """Return maps over the same rows as one with rows as lanes, if these are short and something is summed along them."""
    if not all(map(_fits, maps)) or not any(isinstance(e, Reduce) for one in maps for e in _values(one)):
        return None
    stores = list[Store]()
    made = dict[tuple[int, Dim], Expr]()
    for one in maps:
        found = _spread(one, made)
        # What an earlier map stores in this row is at hand; another place of it would have to be read after it is written.
        if any(part.source in {s.buffer for s in stores} for s in found for part in loads(s.value)):
            return None
        stores += found
        made |= {(s.buffer, s.offset): s.value for s in found}
    *rows, lane = maps[0].rows
    if sum(1 for _ in walk(*(s.value for s in stores))) > PARTS:
        return None
    return Map(tuple(rows), lane, tuple(stores))


def _fits(kernel: Map) -> bool:
    if (
        not kernel.rows
        or kernel.ordered
        or kernel.owner
        or any(kernel.rows[-1] not in s.value.free for s in kernel.stores)
    ):
        return False
    extent = kernel.rows[-1].extent
    summed = [e for e in _values(kernel) if isinstance(e, Reduce)]
    is_short = kernel.lane is None or _is_few([kernel.lane])
    return (
        is_short
        and (not isinstance(extent, int) or extent >= LEAST)
        and all(_is_few(e.axes) and e.combiner != "argmax" for e in summed)
    )


def _is_few(axes: Sequence[Axis]) -> bool:
    count = dims.product(a.extent for a in axes)
    return isinstance(count, int) and 0 < count <= FEW


def _values(kernel: Map) -> list[Expr]:
    return list(walk(*(s.value for s in kernel.stores)))


def _spread(kernel: Map, made: dict[tuple[int, Dim], Expr]) -> list[Store]:
    """Return the stores of each element of a row; what was `made` before is not read."""

    def known(found: Load) -> Expr:
        return made.get((found.source, found.index[0]), found) if found.guard is None else found

    def then(found: Expr) -> Expr:
        return _written_out(found, known) if isinstance(found, Reduce) else decided(found)

    result: list[Store] = []
    for store in kernel.stores:
        lane = kernel.lane if kernel.lane is not None and kernel.lane in dims.axes(store.offset) else None
        for place in range(lane.extent) if lane is not None and isinstance(lane.extent, int) else (0,):
            at: dict[Atom, Dim] = {lane: place} if lane is not None else {}
            value = Rewriter(at, known, then=then)(store.value)
            result.append(Store(store.buffer, dims.substitute(store.offset, at), value))
    return result


def _written_out(found: Reduce, known: Callable[[Load], Expr]) -> Expr:
    """Return a reduction over few positions as what combines their values, in the order of its loop."""
    one, lanes = found.value, LANES
    totals: dict[int, Expr] = {}
    for place in itertools.product(*(range(a.extent) for a in found.axes if isinstance(a.extent, int))):
        at: dict[Atom, Dim] = dict(zip(found.axes, place, strict=True))
        term = Rewriter(at, known, then=decided)(one)
        number = _total_of(found, place[-1], lanes)
        before = totals.get(number)
        if before is None:
            totals[number] = term
        elif found.combiner == "dot":
            assert isinstance(term, Apply)
            totals[number] = apply("fma", *term.args, before)
        else:
            totals[number] = apply(found.combiner, before, term)
    combiner = "add" if found.combiner == "dot" else found.combiner
    while found.along and lanes > 1:
        lanes //= 2
        for number in [n for n in totals if n >= lanes]:
            low, high = totals.get(number - lanes), totals.pop(number)
            totals[number - lanes] = high if low is None else apply(combiner, low, high)
    total = functools.reduce(partial(apply, combiner), (totals[n] for n in sorted(totals)))
    # The loop's totals begin with 0, which makes 0.0 of -0.0.
    return apply("add", total, const(0.0, one.dtype)) if combiner == "add" and found.rounds else total


def _total_of(found: Reduce, position: int, lanes: int) -> int:
    """Return the number of the total that a position along the last axis goes to: a lane's, or one that has its turn."""
    extent = found.axes[-1].extent
    assert isinstance(extent, int)
    if found.along:
        return position % lanes
    if found.order == "chain":
        return 0
    return position % TOTALS if position < extent - extent % TOTALS else 0
