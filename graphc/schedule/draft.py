"""A plan in the making: buffers, kernels as loop nests, constants, sites. `emit` turns its kernels into source."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Axis, Dim, Requirement, Symbol
from graphc.dtypes import as_dtype
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Apply, Check, Expr, Load, Reduce, Rewriter
from graphc.loops.kernels import (
    BAND,
    LENGTH,
    OWNED,
    Call,
    Kernel,
    Map,
    Rows,
    Scatter,
    Segments,
    Store,
    Tile,
    expressions,
    loads,
)
from graphc.origin import Origin
from graphc.records import replace
from graphc.schedule.inline import weight
from graphc.schedule.order import NOMINAL
from graphc.schedule.plan import Buffer, KernelCall, Step
from graphc.schedule.units import Unit, finished, reads_in_place
from graphc.simd.levels import Level


@dataclass
class KernelDraft:
    """A kernel, and the user's lines that it came from."""

    kernel: Kernel
    comments: tuple[str, ...]


@dataclass
class Draft:
    """What the regions of one graph write into. A call's `kernel` is the position in `kernels`, as text, until it has a name."""

    level: Level
    leaves: dict[Node, int]
    buffers: list[Buffer] = field(default_factory=list[Buffer])
    kernels: list[KernelDraft] = field(default_factory=list[KernelDraft])
    constants: list[np.ndarray[Any, Any]] = field(default_factory=list["np.ndarray[Any, Any]"])
    sites: list[str] = field(default_factory=list[str])
    steps: tuple[Step, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def number(self) -> int:
        """Return a number not used before in this plan."""
        return next(self._count)

    def buffer(self, name: str, item: TensorType, kind: str, position: int = -1) -> int:
        """Add a buffer."""
        number = len(self.buffers)
        self.buffers.append(Buffer(number, name or f"{kind}_{number}", item.dtype, item.shape, kind, position))
        return number

    def temporary(self, name: str, item: TensorType) -> int:
        """Add a buffer in the arena."""
        return self.buffer(f"{name}_{len(self.buffers)}", item, "temporary")

    def constant(self, value: np.ndarray[Any, Any]) -> int:
        """Add a constant array."""
        self.constants.append(value)
        item = TensorType(value.shape, as_dtype(value.dtype))
        return self.buffer(f"constant_{len(self.constants) - 1}", item, "constant", len(self.constants) - 1)

    def nominal(self) -> dict[int, int]:
        """Return about how many bytes each temporary takes."""
        known = {b.number: b.nbytes for b in self.buffers if b.kind == "temporary"}
        sizes = dict.fromkeys((name for size in known.values() for name in dims.symbols(size)), NOMINAL)
        return {number: dims.evaluate(size, sizes) for number, size in known.items()}

    def slice(self, parent: int, shift: int = 0) -> int:
        """Add the slice of a buffer that a loop walks along its leading axis, so many positions further on."""
        array = self.buffers[parent]
        number = self.buffer(f"{array.name}_t", TensorType(array.shape[1:], array.dtype), "slice", parent)
        self.buffers[number] = replace(self.buffers[number], shift=shift)
        return number

    def leaves_of(self, graph: Graph) -> dict[Node, int]:
        """Return the buffers of the leaves that a graph reads itself."""
        return {node: self.leaves[node] for node in graph.nodes() if node in self.leaves}

    def site(self, text: str, node: Node) -> str:
        """Return the number, as text, under which an index check reports its place."""
        self.sites.append(f"{text} at {node.origin}")
        return str(len(self.sites) - 1)

    def with_sites(self, value: Expr, node: Node) -> Expr:
        """Number the index checks of an expression."""
        if not any(isinstance(e, Check) for e in expr.walk(value)):
            return value
        numbered: dict[Expr, Expr] = {
            e: Check.of(e.dtype, e.value, e.size, self.site(e.site, node), e.wraps, e.guard)
            for e in expr.walk(value)
            if isinstance(e, Check)
        }
        return Rewriter({}, memo=numbered)(value)

    def steps_of(self, unit: Unit) -> list[Step]:
        """Return the steps of a unit, adding its kernel."""
        if unit.steps is not None:
            return unit.steps()
        assert unit.kernel is not None
        kernel = finished(unit.kernel)
        commit = any(self.buffers[b].kind == "leaf" for b in unit.writes)
        pieces, work = _pieces(kernel), _work(kernel)
        self.kernels.append(KernelDraft(kernel, _comments(unit.nodes)))
        name = str(len(self.kernels) - 1)
        return [KernelCall(name, (), tuple(sorted(unit.reads)), tuple(sorted(unit.writes)), pieces, work, commit)]

    def share(self, units: Sequence[Unit], pinned: set[int]) -> None:
        """Let results take the place of operands that die in the same kernel and are read only where they are replaced."""
        last: dict[int, int] = {}
        first: dict[int, int] = {}
        for position, unit in enumerate(units):
            for buffer in unit.reads | unit.writes:
                last[buffer] = position
                first.setdefault(buffer, position)
        taken: set[int] = set()
        for position, unit in enumerate(units):
            kernel = unit.kernel
            if not isinstance(kernel, Map | Rows | Tile) or unit.late or (isinstance(kernel, Map) and kernel.ordered):
                continue
            for store in kernel.stores:
                target = self.buffers[store.buffer]
                if target.kind != "temporary" or first[store.buffer] != position or store.buffer in pinned:
                    continue
                if sum(s.buffer == store.buffer for s in kernel.stores) > 1:
                    continue  # it holds something else before
                for source in sorted(unit.reads - taken - pinned):
                    array = self.buffers[source]
                    if array.kind != "temporary" or last[source] != position or first[source] == position:
                        continue
                    if array.nbytes != target.nbytes or array.dtype.itemsize != target.dtype.itemsize:
                        continue
                    stores = [replace(store, buffer=source), *(s for s in kernel.stores if s is not store)]
                    operands = kernel.operands if isinstance(kernel, Tile) else ()
                    if any(o.source == source for o in operands) or not reads_in_place(stores[0], stores):
                        continue
                    if isinstance(kernel, Rows) and not _is_read_only_with(store, source, kernel):
                        continue
                    self.buffers[store.buffer] = replace(target, shares=source)
                    taken.add(source)
                    break


def _is_read_only_with(store: Store, source: int, kernel: Rows) -> bool:
    """Whether no stage after that of the store reads the source, which is overwritten by then."""
    reading = [n for n, stage in enumerate(kernel.maps) if any(e.source == source for e in loads(*expressions(stage)))]
    return all(store in kernel.maps[n].stores for n in reading)


def _comments(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Return the user's lines that a kernel came from, with the ops that each stands for."""
    ops: dict[Origin, list[str]] = {}
    for node in nodes:
        ops.setdefault(node.origin, []).append(node.op.name)
    lines = {origin: linecache.getline(origin.file, origin.line).strip() for origin in ops}
    return tuple(f"{origin}: {lines[origin]}  [{', '.join(names)}]" for origin, names in ops.items())


def _pieces(kernel: Kernel) -> Dim:
    """Return how many independent pieces of a kernel threads may share."""
    if isinstance(kernel, Map | Rows | Tile) and kernel.owner is not None:
        return owned_pieces(kernel.owner.extent)
    match kernel:
        case Map(rows, lane, _, ordered):
            if kernel.across:
                side = 64 // kernel.stores[0].value.dtype.itemsize
                extents = [a.extent for a in rows if a != kernel.across]
                return dims.product([*extents, dims.floordiv(kernel.across.extent + side - 1, side)])
            if kernel.banded:
                return dims.floordiv(rows[1].extent + BAND - 1, BAND)
            if rows:
                return dims.product(a.extent for a in rows)
            return 1 if lane is None or ordered else dims.floordiv(lane.extent + 15, 16)
        case Rows():
            return dims.product(a.extent for a in kernel.rows)
        case Tile(outer, row, lane, shape=(rows, _)):
            pieces = dims.product(a.extent for a in outer) * dims.floordiv(row.extent + rows - 1, rows)
            if not kernel.by_lanes:
                return pieces
            lanes = 64 // kernel.left.dtype.itemsize
            return pieces * dims.floordiv(lane.extent + lanes - 1, lanes)
        case Scatter():
            return kernel.size
        case Segments():
            return sum(-(-length // 16) for length in kernel.lengths)
        case Call():
            return 1


def owned_pieces(extent: Dim) -> Dim:
    """Return into how many pieces threads may divide an owner axis."""
    return dims.floordiv(extent + OWNED - 1, OWNED)


def _work(kernel: Kernel) -> Dim:
    """Return about how many scalar operations a kernel makes."""
    match kernel:
        case Map():
            axes = [
                *kernel.rows,
                *([kernel.lane] if kernel.lane else []),
                *([kernel.ordered[1]] if kernel.ordered else []),
            ]
            total: Dim = len(kernel.stores) * dims.product(a.extent for a in axes)
            counts: dict[frozenset[Axis], int] = {}
            for inner in expr.walk(*expressions(kernel)):
                bound = inner.free | frozenset(inner.axes) if isinstance(inner, Reduce) else inner.free
                cost = weight(inner) if isinstance(inner, Apply) else isinstance(inner, Load | Reduce)
                counts[bound] = counts.get(bound, 0) + int(cost)
            for used, count in counts.items():
                total = total + count * dims.product(a.extent for a in sorted(used, key=str))
            return total
        case Rows():
            total = 0
            for stage in kernel.maps:
                total = total + _work(stage)
            return total
        case Tile():
            return 2 * dims.product(a.extent for a in (*kernel.outer, kernel.row, kernel.lane, *kernel.reduced))
        case Scatter():
            return kernel.count * kernel.width + kernel.size * kernel.width
        case Segments():
            one = _work(kernel.map)
            total = 0
            for length in kernel.lengths:
                total = total + dims.substitute(one, {Symbol(LENGTH): length})
            return total
        case Call():
            return dims.product(kernel.arrays[0][2]) * 16
