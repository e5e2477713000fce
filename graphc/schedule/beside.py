"""Small kernels go beside large ones that they have nothing to do with, into one call: a bias's sum beside a product.

Each thread makes its share of both; nobody waits in between, as threads would before and after a kernel of its own. Constants
that surround something, the margins of a padded image, go beside what makes that: a thread then writes what it will read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from graphc import dims
from graphc.loops.kernels import Beside, Kernel, Map, Rows, Segments, Tile
from graphc.schedule.cost import pieces_of, work_of
from graphc.schedule.order import NOMINAL, must_follow
from graphc.schedule.units import Unit, finished

# How far apart two kernels may stand in the order, how many go beside one, and how much more work that one must have.
WINDOW, MOST, LARGER = 16, 4, 4


def side_by_side(units: Sequence[Unit]) -> list[Unit]:
    """Return the units, which are in order, with small ones put into the calls of larger ones near by."""
    order = list(units)
    size = cache(_size)  # each is asked for by all that stand near
    for guest in units:
        if not _is_guest(guest):
            continue
        at = order.index(guest)
        near = range(max(0, at - WINDOW), min(len(order), at + WINDOW + 1))
        for host in sorted(near, key=lambda place: abs(place - at)):
            if host != at and _is_host(order[host], guest, size):
                joined = _joined(order, min(host, at), max(host, at), order[host], guest)
                if joined is not None:
                    order = joined
                    break
    return order


def with_surroundings(units: Sequence[Unit]) -> list[Unit]:
    """Return the units, which are in order, with those that store constants into what another one stores beside that one.

    They read nothing and, like the other, come before whoever reads the buffer; so they may stand at its place.
    """
    makers: dict[int, int] = {}
    for position, unit in enumerate(units):
        if unit.reads and not unit.late and isinstance(unit.kernel, Map | Rows | Tile):
            makers.update(dict.fromkeys(unit.writes, position))
    result: list[Unit | None] = list(units)
    for position, unit in enumerate(units):
        if not unit.reads and not unit.late and isinstance(unit.kernel, Map):
            place = makers.get(min(unit.writes), -1)
            host = result[place] if place >= 0 and len(unit.writes) == 1 else None
            if host is not None:
                result[place], result[position] = _both(host, unit), None
    return [unit for unit in result if unit is not None]


def _is_guest(unit: Unit) -> bool:
    kernel = unit.kernel
    return isinstance(kernel, Map | Rows) and not (isinstance(kernel, Map) and kernel.ordered)


def _is_host(unit: Unit, guest: Unit, size: Callable[[Kernel], int]) -> bool:
    kernel = unit.kernel
    main = kernel.parts[0] if isinstance(kernel, Beside) else kernel
    if unit.late != guest.late or not isinstance(main, Tile | Segments):
        return False
    if isinstance(kernel, Beside) and len(kernel.parts) > MOST:
        return False
    assert guest.kernel is not None
    return size(main) >= LARGER * size(guest.kernel)


def _size(kernel: Kernel) -> int:
    work = work_of(kernel)
    return dims.evaluate(work, dict.fromkeys(dims.symbols(work), NOMINAL))


def _joined(order: Sequence[Unit], first: int, last: int, host: Unit, guest: Unit) -> list[Unit] | None:
    """Return the order with two units as one, or None where the second one needs the first, if only by way of others."""
    before: list[Unit] = []
    after: list[Unit] = []
    for unit in order[first + 1 : last]:
        waits = any(must_follow(one, unit) for one in (order[first], *after))
        (after if waits else before).append(unit)
    if any(must_follow(one, order[last]) for one in (order[first], *after)):
        return None
    return [*order[:first], *before, _both(host, guest), *after, *order[last + 1 :]]


def _both(host: Unit, guest: Unit) -> Unit:
    assert host.kernel is not None
    assert guest.kernel is not None
    kernel = host.kernel if isinstance(host.kernel, Beside) else Beside((host.kernel,))
    part = finished(guest.kernel)
    if pieces_of(part) == 1:
        kernel = Beside(kernel.shared, (*kernel.single, part))
    else:
        kernel = Beside((*kernel.shared, part), kernel.single)
    return Unit(
        host.reads | guest.reads, host.writes | guest.writes, kernel, late=host.late, nodes=host.nodes + guest.nodes
    )
