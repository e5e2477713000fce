"""A costly value that a row needs twice, in a sum and in its result, is made once: the result's own place holds it meanwhile.

Softmax is out = exp(x - m) / sum(exp(x - m)): a kernel of two stages a row stores the exponentials, sums what it stored, and
divides in place. The row is in the nearest cache then, so that reading it again costs less than a second exponential.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from graphc import dims
from graphc.dims import Axis, DimExpr
from graphc.loops.expr import Apply, Expr, Reduce, Rewriter, apply, const, load, rewrite, walk
from graphc.loops.kernels import Map, Rows, Store, loads
from graphc.records import replace
from graphc.schedule.inline import CHEAP, weight
from graphc.schedule.units import Unit

# Rows of one or two vectors stay in registers.
SHORT = 32


def in_stages(unit: Unit) -> Unit:
    """Return the unit with such values made once; the same unit where there are none."""
    kernel = unit.kernel
    if not isinstance(kernel, Map | Rows) or unit.late or not kernel.rows:
        return unit
    maps = kernel.maps if isinstance(kernel, Rows) else (kernel,)
    stages = tuple(stage for one in maps for stage in _split(one, kernel.stores))
    if len(stages) > len(maps):
        unit.kernel = Rows(stages)
    return unit


def _split(kernel: Map, stores: Sequence[Store]) -> tuple[Map, ...]:
    """Return the kernel as two stages, or as it is. `stores` are those of all stages of its unit."""
    lane = kernel.lane
    if lane is None or kernel.ordered or (isinstance(lane.extent, int) and lane.extent <= SHORT):
        return (kernel,)
    summed = [e for s in kernel.stores for e in walk(s.value) if isinstance(e, Reduce) and _is_along(e, lane)]
    for value in _twice(kernel, lane, summed):
        place = next((s for s in kernel.stores if s.value.dtype == value.dtype and _is_free(s, lane, stores)), None)
        if place is None:
            continue
        held: dict[Expr, Expr] = {}
        for axis in {lane, *(e.axes[0] for e in summed)}:
            onto = {lane: DimExpr.of(axis)}
            found = load(place.buffer, (dims.substitute(place.offset, onto),), value.dtype)
            held[rewrite(value, onto)] = found
        first = Map(kernel.rows, lane, (replace(place, value=value),))
        inverse = _is_from_largest(value, lane)
        later = (replace(s, value=_with(s.value, held, inverse=inverse)) for s in kernel.stores)
        return first, replace(kernel, stores=tuple(later))
    return (kernel,)


def _is_along(reduction: Reduce, lane: Axis) -> bool:
    return [a.extent for a in reduction.axes] == [lane.extent] and reduction.combiner != "argmax"


def _twice(kernel: Map, lane: Axis, summed: Sequence[Reduce]) -> Iterator[Expr]:
    """Yield, the largest first, costly values along the lanes that a reduction needs as well as a result does."""
    stored = {e for s in kernel.stores for e in walk(s.value)}
    for reduction in summed:
        (axis,) = reduction.axes
        for part in reversed(list(walk(reduction.value))):
            if not isinstance(part, Apply) or axis not in part.free:
                continue
            made = [e for e in walk(part) if isinstance(e, Apply) and axis in e.free]
            if sum(map(weight, made)) > CHEAP:
                here = rewrite(part, {axis: DimExpr.of(lane)})
                if here in stored:
                    yield here


def _is_free(store: Store, lane: Axis, stores: Sequence[Store]) -> bool:
    """Whether a row of the result can hold something else before: nobody reads it, or writes it, elsewhere in the unit."""
    is_read = any(found.source == store.buffer for s in stores for found in loads(s.value))
    return lane in dims.axes(store.offset) and not is_read and sum(s.buffer == store.buffer for s in stores) == 1


def _is_from_largest(value: Expr, lane: Axis) -> bool:
    """Whether a value is exp(x - max(x)), or x itself where that is infinite: its sum is no number below 1 but 0."""
    match value:
        case Apply(_, "exp", (Apply(_, "subtract", (x, shift)),)):
            if isinstance(shift, Apply) and shift.function == "select":
                shift = shift.args[1]
            if not isinstance(shift, Reduce) or shift.combiner != "maximum" or not _is_along(shift, lane):
                return False
            return rewrite(shift.value, {shift.axes[0]: DimExpr.of(lane)}) is x
        case _:
            return False


def _with(value: Expr, held: Mapping[Expr, Expr], *, inverse: bool) -> Expr:
    """Return the expression with what is held read instead, in reductions too.

    With `inverse`, what is divided by the sum of what is held is multiplied by the sum's inverse, which is made once a row:
    for sums from 1 on, or 0 or infinite or NaN, that is right to rounding.
    """
    memo, sums = dict(held), set[Expr]()
    for part in walk(value):
        if isinstance(part, Reduce):
            memo[part] = part.again(part.axes, Rewriter({}, memo=dict(memo))(part.value))
            if part.combiner == "add" and part.value in held:
                sums.add(part)
        elif isinstance(part, Apply) and part.function == "divide" and inverse and part.args[1] in sums:
            left, right = (Rewriter({}, memo=memo)(a) for a in part.args)
            once = apply("divide", const(1.0, part.dtype), right)
            memo[part] = apply("multiply", left, once)
    return Rewriter({}, memo=memo)(value)
