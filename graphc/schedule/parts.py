"""Long sums of small results in parts: threads share the sum then, where otherwise each reads all that is summed.

What a thread sums of an operand it has mostly made itself, so that it lies in its own cache; all of it would come, by half or
more, from the caches of others. Each part has a result of its own, and a map adds those up, in the same order for any number
of threads. That pays where these results are small beside the operands.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.dims import Atom, Dim, DimExpr
from graphc.graph.node import Node
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Expr, Load
from graphc.loops.kernels import ACCUMULATOR, Map, Rounds, Store, Tile, flat_offset
from graphc.records import replace
from graphc.schedule.draft import Draft
from graphc.schedule.panels import Panels
from graphc.schedule.tilings import Tiling
from graphc.schedule.units import Unit, axes_of, map_unit, tile_unit


def tile_units(panels: Panels, tiling: Tiling, nodes: Sequence[Node], *, late: bool) -> list[Unit]:
    """Return the unit of a contraction's tiling or, in parts, those of the parts and of their sums."""
    kernel = panels.of(tiling.kernel(), tiling.roles, nodes[0])
    if kernel.rounds is None or kernel.rounds.parts == 1:
        return [tile_unit(kernel, nodes, late=late)]
    parted, sums = _in_parts(kernel, kernel.rounds, panels.draft)
    return [tile_unit(parted, nodes[:1], late=False), map_unit(sums, nodes, late=late)]


def _in_parts(kernel: Tile, rounds: Rounds, draft: Draft) -> tuple[Tile, Map]:
    """Return the kernel with each part of its sum in a place of its own, and the map that adds those and makes its stores."""
    axes = (*kernel.outer, kernel.row, kernel.lane)
    shape = (rounds.parts, *(a.extent for a in axes))
    dtype = kernel.left.dtype
    buffer = draft.temporary("parts", TensorType(shape, dtype))
    place = flat_offset([DimExpr.of(a) for a in (rounds.part, *axes)], shape)
    parted = replace(kernel, stores=(Store(buffer, place, expr.load(ACCUMULATOR, (), dtype)),))
    new = axes_of(shape[1:])
    at: dict[Atom, Dim] = {old: DimExpr.of(axis) for old, axis in zip(axes, new, strict=True)}
    total = expr.reduce("add", (rounds.part,), expr.load(buffer, (dims.substitute(place, at),), dtype))

    def on_load(found: Load) -> Expr:
        return total if found.source == ACCUMULATOR else found

    stores = (Store(s.buffer, dims.substitute(s.offset, at), expr.rewrite(s.value, at, on_load)) for s in kernel.stores)
    return parted, Map(new[:-1], new[-1], tuple(stores))
