"""Where temporaries live: lifetimes from the steps, offsets by best fit.

A plan whose sizes are known becomes a tree of nodes with a time for every point at which memory is touched:

    node ::= Call | Loop(body) | Fork(then, otherwise)

A temporary lives from its first to its last touch. What is touched inside a loop lives for the whole loop if it is
also touched outside, walked by a slice, or read in an iteration before that iteration has written it. Temporaries that
share storage (`Buffer.shares`) are one `storage` here, named by the number of the buffer that started the chain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from graphc import dims
from graphc.errors import VerificationError
from graphc.records import record, structure
from graphc.runtime.sharing import Site, share
from graphc.schedule.plan import Branch, Buffer, KernelCall, Leave, Plan, Repeat, Step, total_work

ALIGNMENT = 64
# Kinds of buffers that live in the arena.
IN_ARENA = ("temporary", "private")
# How often an order of placing is mended before the next one is tried.
_ROUNDS = 12
# Rounds without a better one after which an order is given up.
_IDLE = 4
# Pairs of storages that are compared, from which on no other order is tried: binding is not to take longer than compiling.
_EFFORT = 2_000_000
# Below this many scalar operations threads do not have rows of a loop's carries of their own: one runs it.
OWNED_WORK = 250_000


@record
class Access:
    """One touch of memory: the storage, which buffer named it, and the loops whose slices lead there.

    `chain` holds loop, parent buffer and shift of each slice on the way from the storage to the buffer: two accesses
    with one of these in common touch different bytes in different iterations of that loop. `owner` is the loop around in which
    each thread has its own rows, -1 if there is none: whatever it touches there of one storage, no other thread touches.
    """

    storage: int
    buffer: int
    write: bool
    chain: frozenset[tuple[int, int, int]]
    owner: int = -1


@structure
class Call:
    """A kernel call at a time.

    `commits` says that it is the first of a run of commit steps, `split` that all threads share its work; `rows` are where
    the arguments of its kernels stand in a frame.
    """

    step: KernelCall
    time: int
    accesses: tuple[Access, ...]
    commits: bool
    split: bool = False
    rows: tuple[int, ...] = ()


@structure
class Loop:
    """A repeat of known count over [start, stop) of time; `number` names it, outer loops have smaller numbers.

    If it is `owned`, each thread makes all its steps for rows of its own, and `start` is the time of a barrier before it.
    """

    step: Repeat
    number: int
    count: int
    body: list[Node]
    start: int
    stop: int
    owned: bool = False
    counter: int = 0


@structure
class Fork:
    """A branch, or a way out of the loop around; its predicate is read at its time, by all threads if there are more."""

    step: Branch | Leave
    time: int
    accesses: tuple[Access, ...]
    then: list[Node]
    otherwise: list[Node]
    split: bool = False
    commits: bool = False
    word: int = 0


Node: TypeAlias = Call | Loop | Fork


@structure
class Layout:
    """A plan with sizes: its tree, bytes and storage of every buffer, and where there it begins; extent and offset of storages.

    `spare`: bytes of the largest empty buffer, had it one element along each empty axis. A kernel whose index is out of
    range goes on with index 0, also where there is no element 0; empty buffers stand on the arena, which has room for that.
    `saved`: about how many nanoseconds of a run its threads save.
    """

    plan: Plan
    nodes: list[Node]
    nbytes: list[int]
    storage: list[int]
    begin: list[int]
    duration: int
    loops: list[Loop]
    extents: dict[int, int]
    offsets: dict[int, int]
    spare: int
    arena: int = 0
    saved: float = 0.0


def lay_out(plan: Plan, sizes: Mapping[str, int], threads: int) -> Layout:
    """Return the tree of a plan at these sizes, with no memory assigned yet."""
    number_of = {buffer.number: n for n, buffer in enumerate(plan.buffers)}
    if any(number != n for number, n in number_of.items()):
        raise VerificationError("the buffers of a plan are not numbered in order")
    nbytes = [dims.evaluate(buffer.nbytes, sizes) for buffer in plan.buffers]
    storage = [_storage(plan.buffers, buffer.number) for buffer in plan.buffers]
    begin = [_begin(plan.buffers, buffer.number, sizes) for buffer in plan.buffers]
    walker: dict[int, int] = {}
    loops: list[Loop] = []
    sites: list[Site] = []
    time = 0
    owner = -1
    turns = 1

    def access(number: int, write: bool) -> Access:
        chain: list[tuple[int, int, int]] = []
        buffer = plan.buffers[number]
        while buffer.kind == "slice":
            if buffer.number not in walker:
                raise VerificationError(f"buffer {buffer.name!r} is a slice that no repeat around its use walks")
            chain.append((walker[buffer.number], buffer.position, buffer.shift))
            buffer = plan.buffers[buffer.position]
        return Access(storage[number], number, write, frozenset(chain), owner)

    def visit(steps: Sequence[Step]) -> list[Node]:
        nonlocal time, owner, turns
        nodes: list[Node] = []
        committed = False
        for step in steps:
            commits = isinstance(step, KernelCall) and step.commit
            match step:
                case KernelCall():
                    touched = (*(access(b, False) for b in step.reads), *(access(b, True) for b in step.writes))
                    call = Call(step, time, touched, commits and not committed)
                    nodes.append(call)
                    sites.append(Site(call, turns, owner >= 0, [], []))
                    time += 1
                case Repeat():
                    loop = Loop(step, len(loops), max(0, dims.evaluate(step.count, sizes)), [], time, time)
                    loops.append(loop)
                    outside = owner, turns
                    turns *= loop.count
                    if threads > 1 and dims.evaluate(step.owners, sizes) > 1 and owner < 0:
                        loop.owned = total_work((step,), sizes) >= OWNED_WORK
                    if loop.owned:
                        owner = loop.number
                        time += 1
                    walker.update(dict.fromkeys(step.slices, loop.number))
                    loop.body = visit(step.steps)
                    for buffer in step.slices:
                        del walker[buffer]
                    loop.stop, (owner, turns) = time, outside
                    nodes.append(loop)
                case Branch():
                    fork = Fork(step, time, (access(step.predicate, False),), [], [])
                    time += 1
                    fork.then, fork.otherwise = visit(step.then), visit(step.otherwise)
                    nodes.append(fork)
                case Leave():
                    nodes.append(Fork(step, time, (access(step.predicate, False),), [], []))
                    time += 1
            committed = commits
        return nodes

    nodes = visit(plan.steps)
    saved = share(sites, nbytes, sizes, threads) if threads > 1 else 0.0
    private = {b.number for b in plan.buffers if b.kind == "private"}
    for call in (site.call for site in sites if site.call.split):
        for number in private.intersection(call.step.writes):
            nbytes[number] *= threads
    split = any(point.split for point in points(nodes))
    for point in points(nodes):
        if isinstance(point, Fork):
            point.split = split
    extents: dict[int, int] = {}
    for number, root in enumerate(storage):
        extents[root] = max(extents.get(root, 0), begin[number] + nbytes[number])
    spare = max((_with_one(b, sizes) for b, count in zip(plan.buffers, nbytes, strict=True) if not count), default=0)
    return Layout(plan, nodes, nbytes, storage, begin, time, loops, extents, {}, spare, saved=saved)


def points(nodes: Iterable[Node]) -> Iterator[Call | Fork]:
    """Yield every node that touches memory itself, in the order of time."""
    for node in nodes:
        match node:
            case Call():
                yield node
            case Loop():
                yield from points(node.body)
            case Fork():
                yield node
                yield from points(node.then)
                yield from points(node.otherwise)


def lifetimes(layout: Layout) -> dict[int, tuple[int, int]]:
    """Return the first and last time of every temporary storage (both inclusive)."""
    temporaries = {layout.storage[b.number] for b in layout.plan.buffers if _is_temporary(layout, b)}
    life: dict[int, tuple[int, int]] = {}
    walked: dict[int, set[int]] = {}
    for point in points(layout.nodes):
        for access in point.accesses:
            if access.storage in temporaries:
                first, _ = life.get(access.storage, (point.time, 0))
                life[access.storage] = (first, point.time)
                for number, *_ in access.chain:
                    walked.setdefault(number, set()).add(access.storage)
    # Inner loops first: what an inner loop stretches may then reach outside an outer one.
    for loop in reversed(layout.loops):
        if loop.start == loop.stop:
            continue
        carried = walked.get(loop.number, set()) | _read_first(loop.body)
        for storage, (first, last) in life.items():
            inside = first < loop.stop and last >= loop.start
            if inside and (storage in carried or first < loop.start or last >= loop.stop):
                touched = storage in carried or _touches(loop, storage)
                life[storage] = (min(first, loop.start), max(last, loop.stop - 1)) if touched else (first, last)
    return life


def assign(layout: Layout, life: Mapping[int, tuple[int, int]]) -> None:
    """Give every temporary storage an offset such that no two that are alive together overlap; sets `arena`.

    The best of several orders. As long as that takes 1 % more than the most bytes alive at once, what ends at the top
    of the arena is moved to the front of the order, where there is still room below.
    """
    storages = [s for s in life if layout.extents[s]]
    extents = {s: -(-layout.extents[s] // ALIGNMENT) * ALIGNMENT for s in storages}
    bound = lower_bound(layout, life)
    orders = [
        sorted(storages, key=lambda s: (-extents[s], life[s])),
        sorted(storages, key=lambda s: (life[s][0] - life[s][1], -extents[s])),
        sorted(storages, key=lambda s: (life[s][0], -extents[s])),
        sorted(storages, key=lambda s: (extents[s] * (life[s][0] - life[s][1] - 1), life[s])),
    ]
    layout.arena, layout.offsets = sum(extents.values()) + 1, {}
    effort = 0
    for order in orders:
        least, idle = layout.arena + 1, 0
        for _ in range(_ROUNDS):
            if effort > _EFFORT:
                break
            effort += len(order) ** 2
            arena, offsets = _best_fit(order, extents, life)
            least, idle = (arena, 0) if arena < least else (least, idle + 1)
            if arena < layout.arena:
                layout.arena, layout.offsets = arena, offsets
            if layout.arena * 100 <= bound * 101 or idle == _IDLE:
                break
            top = {s for s in order if offsets[s] + extents[s] == arena}
            order = [*(s for s in order if s in top), *(s for s in order if s not in top)]
        if layout.arena * 100 <= bound * 101:
            break
    layout.offsets |= {s: 0 for s in life if not layout.extents[s]}
    layout.arena = max(layout.arena, layout.spare)


def lower_bound(layout: Layout, life: Mapping[int, tuple[int, int]]) -> int:
    """Return the most bytes alive at any one time: no assignment can need less."""
    change = np.zeros(layout.duration + 1, np.int64)
    for storage, (first, last) in life.items():
        extent = -(-layout.extents[storage] // ALIGNMENT) * ALIGNMENT
        change[first] += extent
        change[last + 1] -= extent
    return int(np.cumsum(change).max(initial=0))


def _best_fit(
    order: Sequence[int], extents: Mapping[int, int], life: Mapping[int, tuple[int, int]]
) -> tuple[int, dict[int, int]]:
    """Place storages in this order, each into the smallest gap that holds it."""
    first, last, begin, end = (np.zeros(len(order), np.int64) for _ in range(4))
    arena = 0
    for n, storage in enumerate(order):
        extent, (start, stop) = extents[storage], life[storage]
        alive = (first[:n] <= stop) & (last[:n] >= start)
        taken = sorted(zip(begin[:n][alive].tolist(), end[:n][alive].tolist(), strict=True))
        best, room, reached = -1, -1, 0
        for low, high in taken:
            gap = low - reached
            if gap >= extent and (best < 0 or gap < room):
                best, room = reached, gap
            reached = max(reached, high)
        offset = best if best >= 0 else reached
        first[n], last[n], begin[n], end[n] = start, stop, offset, offset + extent
        arena = max(arena, offset + extent)
    return arena, dict(zip(order, begin.tolist(), strict=True))


def _with_one(buffer: Buffer, sizes: Mapping[str, int]) -> int:
    return buffer.dtype.itemsize * math.prod(max(1, dims.evaluate(dim, sizes)) for dim in buffer.shape)


def _storage(buffers: Sequence[Buffer], number: int) -> int:
    buffer = buffers[number]
    while True:
        if buffer.kind == "slice":
            buffer = buffers[buffer.position]
        elif buffer.shares is not None:
            buffer = buffers[buffer.shares]
        else:
            return buffer.number


def _begin(buffers: Sequence[Buffer], number: int, sizes: Mapping[str, int]) -> int:
    """Return how many bytes behind the begin of its storage a buffer begins that is no slice."""
    buffer, total = buffers[number], 0
    while buffer.kind != "slice" and buffer.shares is not None:
        if buffer.first != 0:
            total += buffer.dtype.itemsize * dims.evaluate(buffer.first * dims.product(buffer.shape[1:]), sizes)
        buffer = buffers[buffer.shares]
    return total


def _is_temporary(layout: Layout, buffer: Buffer) -> bool:
    return layout.plan.buffers[layout.storage[buffer.number]].kind in IN_ARENA


def _touches(loop: Loop, storage: int) -> bool:
    return any(access.storage == storage for point in points(loop.body) for access in point.accesses)


def _read_first(body: Sequence[Node]) -> set[int]:
    """Return the storages that an iteration may read before it has surely written them."""
    found: set[int] = set()

    def visit(nodes: Sequence[Node], written: set[int]) -> set[int]:
        for node in nodes:
            match node:
                case Call():
                    found.update(a.storage for a in node.accesses if not a.write and a.storage not in written)
                    # A slice writes a part only.
                    written = written | {a.storage for a in node.accesses if a.write and not a.chain}
                case Loop():
                    inside = visit(node.body, written)
                    written = inside if node.count else written
                case Fork():
                    found.update(a.storage for a in node.accesses if a.storage not in written)
                    written = visit(node.then, written) & visit(node.otherwise, written)
        return written

    visit(body, set())
    return found
