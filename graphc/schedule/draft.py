"""A plan in the making: buffers, kernels as loop nests, constants, sites. `emit` turns its kernels into source."""

from __future__ import annotations

import itertools
import linecache
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc import dims
from graphc.dtypes import as_dtype
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Check, Expr, Rewriter
from graphc.loops.kernels import Beside, Kernel, Map, Rows, Store, Tile, expressions, loads
from graphc.origin import Origin
from graphc.records import replace
from graphc.requirements import Requirement
from graphc.schedule.cost import dense_work_of, pieces_of, read_whole, work_of
from graphc.schedule.order import NOMINAL
from graphc.schedule.plan import Buffer, KernelCall, Step
from graphc.schedule.tilings import Tilings
from graphc.schedule.units import Unit, buffers_of, finished, reads_in_place
from graphc.simd.levels import Level

if TYPE_CHECKING:
    from graphc.schedule.trial import Choose


@dataclass
class KernelDraft:
    """A kernel, and the user's lines that it came from."""

    kernel: Kernel
    comments: tuple[str, ...]


@dataclass
class Draft:
    """What the regions of one graph write into. A call's `kernel` is the position in `kernels`, as text, until it has a name.

    `choose` says which candidate a contraction's tiling is; the first one unless given.
    """

    level: Level
    leaves: dict[Node, int]
    buffers: list[Buffer] = field(default_factory=list[Buffer])
    kernels: list[KernelDraft] = field(default_factory=list[KernelDraft])
    constants: list[np.ndarray[Any, Any]] = field(default_factory=list["np.ndarray[Any, Any]"])
    sites: list[str] = field(default_factory=list[str])
    steps: tuple[Step, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    choose: Choose | None = None
    tilings: Tilings = field(init=False)
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.tilings = Tilings(self.level)

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
        costs = pieces_of(kernel), work_of(kernel), dense_work_of(kernel), tuple(sorted(read_whole(kernel)))
        self.kernels.append(KernelDraft(kernel, _comments(unit.nodes)))
        name = str(len(self.kernels) - 1)
        return [KernelCall(name, (), tuple(sorted(unit.reads)), tuple(sorted(unit.writes)), *costs, commit)]

    def share(self, units: Sequence[Unit], pinned: set[int]) -> None:
        """Let results take the place of operands that die in the same kernel and are read only where they are replaced.

        An operand dies with all that stands in its place: the parts of an array that is put together, and what they are part of.
        """
        last: dict[int, int] = {}
        first: dict[int, int] = {}
        for position, unit in enumerate(units):
            for buffer in unit.reads | unit.writes:
                last[self._place(buffer)] = position
                first.setdefault(buffer, position)
        taken: set[int] = set()
        for position, unit in enumerate(units):
            parts = unit.kernel.parts if isinstance(unit.kernel, Beside) else (unit.kernel,)
            stored = Counter(s.buffer for part in parts if isinstance(part, Map | Rows | Tile) for s in part.stores)
            for kernel in parts:
                if (
                    not isinstance(kernel, Map | Rows | Tile)
                    or unit.late
                    or (isinstance(kernel, Map) and kernel.ordered)
                ):
                    continue
                # What another part reads may not change meanwhile.
                others = {b for part in parts if part is not kernel for b in buffers_of(part)}
                for store in kernel.stores:
                    target = self.buffers[store.buffer]
                    if target.kind != "temporary" or first[store.buffer] != position or store.buffer in pinned:
                        continue
                    if stored[store.buffer] > 1:
                        continue  # it holds something else before
                    for source in sorted(unit.reads - taken - pinned - others):
                        array = self.buffers[source]
                        place = self._place(source)
                        if array.kind != "temporary" or last[place] != position or first[source] == position:
                            continue
                        if array.nbytes != target.nbytes or array.dtype.itemsize != target.dtype.itemsize:
                            continue
                        if not _may_replace(store, source, kernel):
                            continue
                        last[place] = last[self._place(store.buffer)]
                        self.buffers[store.buffer] = replace(target, shares=source)
                        taken.add(source)
                        break

    def _place(self, number: int) -> int:
        """Return the buffer in whose place this one stands, itself if it has a place of its own."""
        while (shares := self.buffers[number].shares) is not None:
            number = shares
        return number


def _may_replace(store: Store, source: int, kernel: Map | Rows | Tile) -> bool:
    """Whether what is stored may take the place of an operand, which then is read only where it is replaced."""
    stores = [replace(store, buffer=source), *(s for s in kernel.stores if s is not store)]
    operands = kernel.operands if isinstance(kernel, Tile) else ()
    if isinstance(kernel, Tile) and kernel.rounds is not None and not kernel.is_bare:
        return False  # sums so far stand there before the operand is read
    if any(o.source == source for o in operands) or not reads_in_place(stores[0], stores):
        return False
    return not isinstance(kernel, Rows) or _is_read_only_with(store, source, kernel)


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
