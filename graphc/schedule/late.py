"""Late units: kernels that replace what others must have read before (parameters, states, a loop's carries).

All right sides read the old values, then all is replaced. Units over one index space that read what they replace only at
the index that they replace become one kernel, which needs no copy. What is left gets a temporary where it reads its own
target elsewhere (a transposed parameter), or where units wait for each other in a circle (two states that swap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc import dims
from graphc.dims import Axis, DimExpr
from graphc.graph.types import TensorType
from graphc.loops.expr import Check, Expr, Load, Loaded, Reduce, Rewriter, index_dims, load, walk
from graphc.loops.kernels import LENGTH, Map, Segments, Store, Tile, expressions
from graphc.records import replace
from graphc.schedule.draft import Draft
from graphc.schedule.units import Unit, finished, in_order, joint, map_unit, reads_in_place, tile_unit, whole_copy


def settle(draft: Draft, units: Sequence[Unit]) -> list[Unit]:
    """Return the units in order, no two of which wait for each other."""
    result: list[Unit] = []
    for unit in units:
        if unit.late and not _replaces_in_place(unit):
            result += _detour(draft, unit)
        else:
            result.append(unit)
    result = _merged(result)
    while len(ordered := in_order(result)) < len(result):
        done = set(map(id, ordered))
        stuck = [u for u in result if id(u) not in done and u.late]
        targets = {buffer for unit in stuck for buffer in unit.writes}
        # A unit that reads what another stuck one replaces holds that one up; its own results can wait in a temporary.
        position = next(
            n for n, u in enumerate(result) if u.late and id(u) not in done and (u.reads - u.writes) & targets
        )
        result[position : position + 1] = _detour(draft, result[position])
    return ordered


@dataclass
class _Group:
    """Late units of equal maps, and where in the order the first of them stands."""

    position: int
    units: list[Unit] = field(default_factory=list[Unit])
    segments: list[Segments] = field(default_factory=list[Segments])


def gather(draft: Draft, units: Sequence[Unit], *, alone: bool) -> list[Unit]:
    """Unite what does the same to several parameters, or states, into one kernel that walks them as segments.

    The units are in order; each joins those like it at the place of the first. With `alone`, a single one becomes such
    a kernel too, so that its text does not depend on the parameter's size.
    """
    groups: dict[Map, list[_Group]] = {}
    read: dict[int, int] = {}  # where each buffer was read last, and written
    written: dict[int, int] = {}
    for position, unit in enumerate(units):
        kernel = finished(unit.kernel) if unit.late and isinstance(unit.kernel, Map) else None
        if isinstance(kernel, Map) and all(draft.buffers[b].kind == "leaf" for b in unit.writes):
            segment = _as_segment(kernel)
            if segment is not None:
                several = groups.setdefault(segment.map, [])
                # Not past what must come before it: a unit that reads what it writes, or writes what it reads.
                bar = max(*(read.get(b, -1) for b in unit.writes), *(written.get(b, -1) for b in unit.reads), -1)
                if not several or several[-1].position <= bar:
                    several.append(_Group(position))
                several[-1].units.append(unit)
                several[-1].segments.append(segment)
        read.update(dict.fromkeys(unit.reads, position))
        written.update(dict.fromkeys(unit.writes, position))
    result: list[Unit | None] = list(units)
    place = {id(unit): position for position, unit in enumerate(units)}
    for group in (group for several in groups.values() for group in several):
        if alone or len(group.units) > 1:
            for unit in group.units:
                result[place[id(unit)]] = None
            reads, writes = (
                set[int]().union(*sets) for sets in zip(*((u.reads, u.writes) for u in group.units), strict=True)
            )
            kernel = Segments(
                group.segments[0].map,
                tuple(s.arrays[0] for s in group.segments),
                tuple(s.lengths[0] for s in group.segments),
            )
            result[group.position] = Unit(reads, writes, kernel, late=True, nodes=group.units[0].nodes)
    return [unit for unit in result if unit is not None]


def _replaces_in_place(unit: Unit) -> bool:
    kernel = unit.kernel
    if isinstance(kernel, Tile):
        # Operands are read by other rows and lanes, too; sums so far, by rounds, stand where the old value is still read.
        replaced = {store.buffer for store in kernel.stores}
        if any(o.source in replaced for o in kernel.operands) or (kernel.rounds is not None and not kernel.is_bare):
            return False
    elif not isinstance(kernel, Map):
        return True
    return all(reads_in_place(s, kernel.stores) for s in kernel.stores)


def _merged(units: Sequence[Unit]) -> list[Unit]:
    """Unite late units that read each other's targets."""
    result: list[Unit] = []
    for unit in units:
        for position, other in enumerate(result):
            if unit.late and other.late and (unit.reads & other.writes or other.reads & unit.writes):
                both = joint(other, unit)
                if both is not None:
                    result[position] = both
                    break
        else:
            result.append(unit)
    return result


def _detour(draft: Draft, unit: Unit) -> list[Unit]:
    kernel = unit.kernel
    assert isinstance(kernel, Map | Tile)
    stores: list[Store] = []
    copies: list[Unit] = []
    for store in kernel.stores:
        target = draft.buffers[store.buffer]
        item = TensorType(target.shape, target.dtype)
        temporary = draft.temporary(f"new_{target.name}", item)
        stores.append(replace(store, buffer=temporary))
        copies.append(whole_copy(temporary, store.buffer, item, unit.nodes, late=True))
    if isinstance(kernel, Map):
        return [map_unit(replace(kernel, stores=tuple(stores)), unit.nodes, late=False), *copies]
    return [tile_unit(replace(kernel, stores=tuple(stores)), unit.nodes, late=False), *copies]


def _as_segment(kernel: Map) -> Segments | None:
    """Return a kernel over one flat axis as the only one of its segments.

    Its map is equal to that of another kernel if they do the same to other arrays. None where the kernel is of another
    form: it reads other elements than the one it stores, sums, or checks an index.
    """
    lane = kernel.lane
    if kernel.rows or kernel.ordered or lane is None or not isinstance(lane.extent, int):
        return None
    here, walked = DimExpr.of(lane), dict[int, int]()
    if any(s.offset != here for s in kernel.stores):
        return None
    for found in walk(*expressions(kernel)):
        at = index_dims(found)
        if isinstance(found, Reduce | Check) or any(isinstance(atom, Loaded) for d in at for atom in dims.atoms(d)):
            return None
        if isinstance(found, Load):
            if found.guard is not None or (found.index != (here,) and lane in dims.axes(found.index[0])):
                return None
            if found.index == (here,):
                walked.setdefault(found.source, -1 - len(walked))
    for store in kernel.stores:
        walked.setdefault(store.buffer, -1 - len(walked))
    if any(isinstance(e, Load) and e.source in walked and e.index != (here,) for e in walk(*expressions(kernel))):
        return None
    axis = Axis("i", dims.symbol(LENGTH))

    def on_load(found: Load) -> Expr:
        at = DimExpr.of(axis)
        return load(walked[found.source], (at,), found.dtype) if found.index == (at,) else found

    rewriter = Rewriter({lane: DimExpr.of(axis)}, on_load)
    stores = tuple(Store(walked[s.buffer], DimExpr.of(axis), rewriter(s.value)) for s in kernel.stores)
    return Segments(Map((), axis, stores), (tuple(walked),), (lane.extent,))
