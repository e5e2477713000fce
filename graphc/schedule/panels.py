"""Copies of a contraction's operands: in panels along the lanes, so that a tile's columns lie side by side, or strips of rows.

Each thread makes the panels that it reads itself, one after the other, inside of the contraction's kernel: what it has just
written is in its cache. Not where several threads would make the same ones for each position of an outer axis, nor in a
loop that does not change the operand: there all are made before, by a kernel of their own, as strips are, which all threads read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.graph.node import Node
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Load
from graphc.loops.kernels import THREAD, Map, Pack, Store, Tile, flat_offset
from graphc.records import replace
from graphc.schedule.draft import Draft
from graphc.schedule.nest import WIDTH, Copied
from graphc.schedule.tilings import Roles
from graphc.schedule.units import Unit, axes_of, map_unit


@dataclass(eq=False)
class Panels:
    """The copies that the contractions of a region read; `units` and `prologue` make those that no contraction makes itself.

    What is made of `invariant` buffers alone goes into the `prologue`, to run once before the loop that the region is the
    step of. `is_shared`: in the region, threads share all kernels anew; else each has rows of its own throughout.
    """

    draft: Draft
    invariant: frozenset[int]
    is_shared: bool
    units: list[Unit] = field(default_factory=list[Unit])
    prologue: list[Unit] = field(default_factory=list[Unit])
    made: dict[tuple[int, Dim], int] = field(default_factory=dict[tuple[int, Dim], int])

    def of(self, kernel: Tile, roles: Roles, node: Node) -> Tile:
        """Return the kernel reading the copies that its roles want."""
        width = roles.shape[1] * kernel.lanes
        if roles.strips is not None:
            strip, left = self._copied("strip", node, kernel.left, roles.strips, roles.row, roles.shape[0])
            kernel = replace(kernel, left=left, strip=strip)
        if roles.pack is None:
            return kernel
        others = set(dims.axes(kernel.right.index[0])) - {kernel.lane}
        is_own = kernel.right.source not in self.invariant and others <= set(kernel.reduced)
        rounds = kernel.rounds
        outermost = () if rounds is None else (*rounds.over, rounds.axis)
        if is_own and self.is_shared and roles.pack.others[: len(outermost)] == outermost:
            return self._packing(kernel, node, roles.pack, width)
        panel, right = self._copied("panel", node, kernel.right, roles.pack, roles.lane, width)
        return replace(kernel, right=right, panel=panel)

    def _packing(self, kernel: Tile, node: Node, pack: Copied, width: int) -> Tile:
        """Return the kernel with its right operand read from panels that threads make themselves, one by one or all at once."""
        rounds, onto, at_once = kernel.rounds, dict[Atom, Dim](), kernel.passing
        shape = (*(a.extent for a in pack.others), width)
        if rounds is not None:
            shape = (*(1 for _ in rounds.over), rounds.steps, *shape[len(rounds.over) + 1 :])
            onto |= dict.fromkeys(rounds.over, 0)
            onto[rounds.axis] = DimExpr.of(rounds.axis) - DimExpr.of(rounds.first)
        panel, size = _number("panel", kernel.lane, width), dims.product(shape)
        room = (panel.extent, *shape) if at_once else shape
        buffer = self.draft.buffer(f"panel_{len(self.draft.buffers)}", TensorType(room, node.dtype), "private")
        ahead = DimExpr.of(THREAD) * dims.product(room) + ((size if at_once else 0) - width) * DimExpr.of(panel)
        place = flat_offset([*(DimExpr.of(a) for a in pack.others), DimExpr.of(kernel.lane)], shape)
        place, inside = (dims.substitute(at, onto) for at in (place, _inside(kernel.right, width)))
        right = expr.load(buffer, (inside + ahead,), node.dtype)
        assert isinstance(right, Load)
        over = () if rounds is None else rounds.over
        copy = Pack(tuple(a for a in pack.others if a not in over), Store(buffer, place + ahead, pack.operand), at_once)
        return replace(kernel, right=right, panel=panel, pack=copy)

    def _copied(self, name: str, node: Node, read: Load, copied: Copied, axis: Axis, width: int) -> tuple[Axis, Load]:
        """Return how a tile reads an operand from panels along an axis that are all made before, and their number."""
        panel = _number(name, axis, width)
        buffer = self._copy(node, copied.operand, copied.others, axis, width)
        # Columns count on from one panel to the next, which lies further ahead.
        ahead = width * dims.product(a.extent for a in copied.others) - width
        found = expr.load(buffer, (_inside(read, width) + ahead * DimExpr.of(panel),), read.dtype)
        assert isinstance(found, Load)
        return panel, found

    def _copy(self, node: Node, operand: Load, others: Sequence[Axis], lane: Axis, width: int) -> int:
        """Copy an operand into panels of `width` along an axis, each contiguous along the others; return the copy's buffer."""
        shape = (dims.floordiv(lane.extent + width - 1, width), *(a.extent for a in others), width)
        axes = axes_of(shape)
        position = DimExpr.of(axes[0]) * width + DimExpr.of(axes[-1])
        at = {a: DimExpr.of(b) for a, b in zip(others, axes[1:-1], strict=True)} | {lane: position}
        place = dims.substitute(operand.index[0], at)
        key = (operand.source, place)
        if key not in self.made:
            self.made[key] = self.draft.temporary("panels", TensorType(shape, operand.dtype))
            guard = expr.within(position, 0, lane.extent)
            if operand.guard is not None:
                guard = expr.both(guard, expr.rewrite(operand.guard, at))
            value = expr.load(operand.source, (place,), operand.dtype, guard)
            offset = flat_offset([DimExpr.of(a) for a in axes], shape)
            copy = Map(axes[:-1], axes[-1], (Store(self.made[key], offset, value),))
            units = self.prologue if operand.source in self.invariant else self.units
            units.append(map_unit(copy, [node], late=False))
        return self.made[key]


def _number(name: str, axis: Axis, width: int) -> Axis:
    """Return the axis that numbers the panels along an axis."""
    return Axis(name, dims.floordiv(axis.extent + width - 1, width))


def _inside(read: Load, width: int) -> Dim:
    """Return where an operand is read that lies in one panel, so many columns wide."""
    return dims.substitute(read.index[0], {WIDTH: width})
