"""In which order the steps come: what holds memory is made late, what lets go of it is made early.

Results do not depend on it; the most bytes that are alive at once do. A unit moves down to the first one that needs it
if its results are larger than what it would keep alive, and up to the last one that it needs if it lets go of more than
it makes. Sizes that are symbols count as `NOMINAL` each, and an order that needs more than the given one is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from graphc.schedule.units import Unit

NOMINAL = 64
# How far a unit may move; keeps the time linear.
WINDOW = 512


def ordered(units: Sequence[Unit], nbytes: Mapping[int, int]) -> list[Unit]:
    """Return the units, which are in a valid order, in one that needs less memory; late ones stay where they are.

    nbytes: the sizes of temporaries; what is not among them costs nothing to keep.
    """
    stop = next((n for n, unit in enumerate(units) if unit.late), len(units))
    order = list(units)
    _sink(order, stop, nbytes)
    _raise(order, stop, nbytes)
    return order if _peak(order, nbytes) < _peak(units, nbytes) else list(units)


def _sink(order: list[Unit], stop: int, nbytes: Mapping[int, int]) -> None:
    below: Counter[int] = Counter(b for unit in order[stop:] for b in unit.reads)
    for position in reversed(range(stop)):
        unit = order[position]
        end, reads = position, dict.fromkeys((b for b in unit.reads if b in nbytes), position)
        inside: Counter[int] = Counter()
        for place in range(position + 1, min(stop, position + WINDOW)):
            other = order[place]
            if must_follow(unit, other):
                break
            end = place
            for buffer in other.reads & reads.keys():
                reads[buffer] = place
                inside[buffer] += 1
        saved = sum(nbytes.get(b, 0) for b in unit.writes) * (end - position)
        kept = sum(nbytes[b] * (end - last) for b, last in reads.items() if below[b] == inside[b])
        if unit.kernel is not None and saved > kept:
            order.insert(end, order.pop(position))
        below.update(unit.reads)


def _raise(order: list[Unit], stop: int, nbytes: Mapping[int, int]) -> None:
    below: Counter[int] = Counter(b for unit in order for b in unit.reads)
    for position in range(stop):
        unit = order[position]
        below.subtract(unit.reads)
        start, last = position, {b: -1 for b in unit.reads if b in nbytes and not below[b]}
        for place in reversed(range(max(0, position - WINDOW), position)):
            other = order[place]
            for buffer in (other.reads | other.writes) & last.keys():
                last[buffer] = max(last[buffer], place)
            if must_follow(other, unit):
                break
            start = place
        made = sum(nbytes.get(b, 0) for b in unit.writes) * (position - start)
        freed = sum(nbytes[b] * (position - max(at, start)) for b, at in last.items())
        if unit.kernel is not None and freed > made:
            order.insert(start, order.pop(position))


def must_follow(first: Unit, then: Unit) -> bool:
    """Whether two units, given in order, touch the same buffer and one writes it."""
    return bool(first.writes & (then.reads | then.writes) or first.reads & then.writes)


def _peak(units: Sequence[Unit], nbytes: Mapping[int, int]) -> int:
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, unit in enumerate(units):
        for buffer in (unit.reads | unit.writes) & nbytes.keys():
            first.setdefault(buffer, position)
            last[buffer] = position
    change = Counter[int]()
    for buffer, position in first.items():
        change[position] += nbytes[buffer]
        change[last[buffer] + 1] -= nbytes[buffer]
    alive = most = 0
    for position in sorted(change):
        alive += change[position]
        most = max(most, alive)
    return most
