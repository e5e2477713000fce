"""Late units: kernels that replace what others must have read before (parameters, states, a loop's carries).

All right sides read the old values, then all is replaced. Units over one index space that read what they replace only at
the index that they replace become one kernel, which needs no copy. What is left gets a temporary where it reads its own
target elsewhere (a transposed parameter), or where units wait for each other in a circle (two states that swap).
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.graph.types import TensorType
from graphc.loops.kernels import Map, Store
from graphc.records import replace
from graphc.schedule.draft import Draft
from graphc.schedule.units import Unit, in_order, joint, map_unit, reads_in_place, whole_copy


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


def _replaces_in_place(unit: Unit) -> bool:
    kernel = unit.kernel
    return not isinstance(kernel, Map) or all(reads_in_place(s, kernel.stores) for s in kernel.stores)


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
    assert isinstance(kernel, Map)
    stores: list[Store] = []
    copies: list[Unit] = []
    for store in kernel.stores:
        target = draft.buffers[store.buffer]
        item = TensorType(target.shape, target.dtype)
        temporary = draft.temporary(f"new_{target.name}", item)
        stores.append(replace(store, buffer=temporary))
        copies.append(whole_copy(temporary, store.buffer, item, unit.nodes, late=True))
    return [map_unit(replace(kernel, stores=tuple(stores)), unit.nodes, late=False), *copies]
