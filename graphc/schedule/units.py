"""Units: what becomes one step of a plan, while it is still decided what fuses with what."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.graph.node import Node
from graphc.graph.types import TensorType
from graphc.loops.expr import Expr, Loaded, Reduce, Rewriter, load, walk
from graphc.loops.kernels import (
    Beside,
    Kernel,
    Load,
    Map,
    Rows,
    Store,
    Tile,
    expressions,
    flat_offset,
    loads,
)
from graphc.loops.merging import collapse, with_joint_sums
from graphc.schedule.abreast import abreast
from graphc.schedule.groups import in_groups, in_pairs
from graphc.schedule.plan import Step

ShapeOf = Callable[[int], Sequence[Dim]]
MOST_STORES = 8
MOST_PARTS = 256
WINDOW = 64


@dataclass(eq=False)
class Unit:
    """One kernel, or the steps of one loop or branch. `late`: it replaces what others must have read before."""

    reads: set[int]
    writes: set[int]
    kernel: Kernel | None = None
    steps: Callable[[], list[Step]] | None = None
    late: bool = False
    nodes: list[Node] = field(default_factory=list[Node])


def map_unit(kernel: Map, nodes: Sequence[Node], *, late: bool) -> Unit:
    """Return the unit of a Map kernel."""
    kernel = _without_single(kernel)
    reads = {found.source for found in loads(*expressions(kernel))}
    return Unit(reads, {s.buffer for s in kernel.stores}, kernel, late=late, nodes=list(nodes))


def _without_single(kernel: Map) -> Map:
    """Return the kernel without row axes of extent 1, the others numbered anew: equal rows of unequal shapes are equal."""
    if kernel.ordered or all(axis.extent != 1 for axis in kernel.rows):
        return kernel
    rows = tuple(axis for axis in kernel.rows if axis.extent != 1)
    others = (*rows, kernel.lane) if kernel.lane else rows
    new = {old: Axis(f"i{k}", old.extent) for k, old in enumerate(others)}
    at: dict[Atom, Dim] = {**dict.fromkeys(kernel.rows, 0), **{old: DimExpr.of(axis) for old, axis in new.items()}}
    rewriter = Rewriter(at)
    stores = tuple(Store(s.buffer, dims.substitute(s.offset, at), rewriter(s.value)) for s in kernel.stores)
    return Map(tuple(new[a] for a in rows), new[kernel.lane] if kernel.lane else None, stores)


def whole_copy(
    source: int,
    target: int,
    item: TensorType,
    nodes: Sequence[Node] = (),
    *,
    late: bool = False,
    first: Dim = 0,
    onto: Dim = 0,
) -> Unit:
    """Return the unit that copies one buffer, from its element `first` on, to another, from its element `onto` on."""
    axes = axes_of(item.shape)
    offset = flat_offset([DimExpr.of(a) for a in axes], item.shape)
    value = load(source, (first + offset,), item.dtype)
    rows, lane = (axes[:-1], axes[-1]) if axes else ((), None)
    return map_unit(Map(rows, lane, (Store(target, onto + offset, value),)), nodes, late=late)


def axes_of(shape: Sequence[Dim]) -> tuple[Axis, ...]:
    """Return the loop axes i0, i1, ... of a shape."""
    return tuple(Axis(f"i{k}", extent) for k, extent in enumerate(shape))


def in_order(units: Sequence[Unit]) -> list[Unit]:
    """Return the units so that results are read after they are written, and what late units replace before that.

    Otherwise in the given order. Units on a circle are left out.
    """
    writers: dict[int, list[int]] = {}
    for number, unit in enumerate(units):
        for buffer in unit.writes:
            writers.setdefault(buffer, []).append(number)
    followers: list[set[int]] = [set() for _ in units]
    for reader, unit in enumerate(units):
        for buffer in unit.reads:
            for writer in writers.get(buffer, ()):
                if writer != reader:
                    first, then = (reader, writer) if units[writer].late else (writer, reader)
                    followers[first].add(then)
    waiting = [0] * len(units)
    for after in followers:
        for number in after:
            waiting[number] += 1
    # Late units wait for all others, so that a run that fails has replaced nothing.
    ready = [(units[n].late, n) for n, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    result: list[Unit] = []
    while ready:
        _, number = heapq.heappop(ready)
        result.append(units[number])
        for after in followers[number]:
            waiting[after] -= 1
            if not waiting[after]:
                heapq.heappush(ready, (units[after].late, after))
    return result


def merge(units: Sequence[Unit], shape_of: ShapeOf) -> list[Unit]:
    """Unite Map kernels over the same index space that share an operand or a reduction, or over the same rows.

    In the second case one may read what the other stores, if it reads it in the same row only. `units` are in order.
    Each joins the latest group that it may; only the last `WINDOW` groups are looked at, which keeps the time linear.
    """
    groups: list[Unit] = []
    above: list[int] = []  # for each group, the set (as bits) of the groups that must come before it
    writers: dict[int, set[int]] = {}
    readers: dict[int, set[int]] = {}
    sizes: list[int] = []
    traits: list[frozenset[object]] = []
    for unit in units:
        data = {w for b in unit.reads for w in writers.get(b, ()) if not groups[w].late}
        anti = {r for b in unit.writes for r in readers.get(b, ())} if unit.late else set[int]()
        own = _traits(unit)
        size = sum(1 for _ in walk(*expressions(unit.kernel))) if isinstance(unit.kernel, Map) else 0
        made = frozenset[object](unit.writes if own and not unit.late else ())
        number = len(groups)
        for candidate in reversed(range(max(0, len(groups) - WINDOW), len(groups))):
            if not own & traits[candidate] or sizes[candidate] + size > MOST_PARTS:
                continue
            if any(above[n] >> candidate & 1 for n in data | anti if n != candidate):
                continue
            both = None if candidate in data else joint(groups[candidate], unit)
            both = both or staged(groups[candidate], unit, shape_of)
            if both is not None:
                number, groups[candidate] = candidate, both
                break
        needs = 0
        for before in (data | anti) - {number}:
            needs |= 1 << before | above[before]
        if number == len(groups):
            groups.append(unit)
            above.append(needs)
            sizes.append(size)
            traits.append(own | made)
        else:
            sizes[number] += size
            traits[number] |= own | made
            gained = needs & ~above[number]
            for follower in range(len(groups)):
                if gained and (follower == number or above[follower] >> number & 1):
                    above[follower] |= gained
        for buffer in unit.writes:
            writers.setdefault(buffer, set()).add(number)
        for buffer in unit.reads:
            readers.setdefault(buffer, set()).add(number)
    ordered = in_order(groups)
    assert len(ordered) == len(groups), "merged kernels wait for each other"
    return ordered


def joint(left: Unit, right: Unit) -> Unit | None:
    """Return two Map units as one kernel, or None where their index spaces or their hazards forbid it."""
    a, b = left.kernel, right.kernel
    if not isinstance(a, Map) or not isinstance(b, Map) or left.late != right.late or a.ordered or b.ordered:
        return None
    if a.rows != b.rows or (a.lane and b.lane and a.lane != b.lane) or (not a.rows and a.lane != b.lane):
        return None
    stores = a.stores + b.stores
    if len(stores) > MOST_STORES or (left.late and not all(reads_in_place(s, stores) for s in stores)):
        return None
    return Unit(
        left.reads | right.reads,
        left.writes | right.writes,
        Map(a.rows, a.lane or b.lane, stores),
        late=left.late,
        nodes=left.nodes + right.nodes,
    )


def staged(left: Unit, right: Unit, shape_of: ShapeOf) -> Unit | None:
    """Return two units over the same rows as one kernel, in which the right one may read what the left one stores."""
    a, b = left.kernel, right.kernel
    if not isinstance(a, Map | Rows) or not isinstance(b, Map) or left.late or right.late:
        return None
    maps = list(a.maps) if isinstance(a, Rows) else [a]
    if b.ordered or any(m.ordered for m in maps) or not b.rows or b.rows != maps[0].rows:
        return None
    if len(b.stores) + sum(len(m.stores) for m in maps) > 2 * MOST_STORES:
        return None
    wanted = list(loads(*expressions(b)))
    position = 0
    for number, stage in enumerate(maps):
        for store in stage.stores:
            offsets = [found.index[0] for found in wanted if found.source == store.buffer]
            if offsets:
                shape = shape_of(store.buffer)
                if not all(is_within_row(offset, b.rows, shape) for offset in (store.offset, *offsets)):
                    return None
                position = number + 1
    for number in range(position, len(maps)):
        other = maps[number]
        if other.lane == b.lane and len(other.stores + b.stores) <= MOST_STORES:
            maps[number] = Map(b.rows, b.lane, other.stores + b.stores)
            break
    else:
        maps.append(b)
    writes = left.writes | right.writes
    return Unit((left.reads | right.reads) - writes, writes, Rows(tuple(maps)), nodes=left.nodes + right.nodes)


def is_within_row(offset: Dim, rows: Sequence[Axis], shape: Sequence[Dim]) -> bool:
    """Whether the offset always lies in the part of a buffer that belongs to the current row."""
    rows, shape = [a for a in rows if a.extent != 1], [size for size in shape if size != 1]
    if [a.extent for a in rows] != shape[: len(rows)]:
        return False
    width = dims.product(shape[len(rows) :])
    rest = offset - flat_offset([DimExpr.of(a) for a in rows], shape[: len(rows)]) * width
    if any(isinstance(atom, Loaded) or atom in rows for atom in dims.atoms(rest)):
        return False
    return dims.is_nonnegative(rest) and dims.is_nonnegative(width - 1 - rest)


def reads_in_place(store: Store, stores: Iterable[Store]) -> bool:
    """Whether these stores' values read the stored buffer only at the index that is stored."""
    for other in stores:
        for inner in walk(other.value):
            if isinstance(inner, Load) and inner.source == store.buffer and inner.index != (store.offset,):
                return False
            if isinstance(inner, Reduce) and any(found.source == store.buffer for found in loads(inner.value)):
                return False
    return True


def _traits(unit: Unit) -> frozenset[object]:
    """What makes merging worth while when two kernels have it in common: arrays they read, reductions they make."""
    if not isinstance(unit.kernel, Map) or unit.kernel.across:
        return frozenset()
    reductions: set[Expr] = {e for e in walk(*expressions(unit.kernel)) if isinstance(e, Reduce)}
    return frozenset(reductions) | frozenset(unit.reads) | frozenset(unit.writes if unit.late else ())


def finished(kernel: Kernel) -> Kernel:
    """Return the kernel with its axes merged where memory allows."""
    match kernel:
        case Map():
            merged = collapse(in_groups(kernel))
            side_by_side = abreast((merged,))
            return merged if side_by_side is None else collapse(side_by_side)
        case Rows(maps):
            side_by_side = abreast(maps)
            if side_by_side is not None:
                return collapse(side_by_side)
            return Rows(in_pairs(tuple(map(with_joint_sums, maps))))
        case Beside(shared, single):
            return Beside(tuple(map(finished, shared)), tuple(map(finished, single)))
        case _:
            return kernel


def buffers_of(kernel: Kernel | None) -> set[int]:
    """Return the buffers that a kernel of loops touches."""
    if not isinstance(kernel, Map | Rows | Tile):
        return set()
    return {found.source for found in loads(*expressions(kernel))} | {s.buffer for s in kernel.stores}


def tile_unit(kernel: Tile, nodes: Sequence[Node], *, late: bool) -> Unit:
    """Return the unit of a Tile kernel."""
    reads, writes = {found.source for found in loads(*expressions(kernel))}, {s.buffer for s in kernel.stores}
    if kernel.pack is not None:
        own = kernel.pack.copy.buffer
        reads, writes = reads - {own}, writes | {own}
    return Unit(reads, writes, kernel, late=late, nodes=list(nodes))
