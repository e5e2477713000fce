"""Where threads must wait for each other, and the proof that it suffices.

Two accesses conflict if their bytes overlap, one of them writes, and at least one belongs to a step that several
threads run; not, though, those of one storage in a loop in which each thread has rows of its own. Between two
conflicting steps there must be a barrier on every path, the way back in a loop included.
`place` finds such points; `verify` replays concrete paths and finds every pair that is not separated, and every
temporary that is read after something else has been written over it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from graphc.errors import VerificationError
from graphc.records import record
from graphc.runtime.memory import Access, Call, Fork, Layout, Loop, Node, points
from graphc.schedule.plan import Leave

# Up to so many pairs of accesses are compared one by one.
_FEW = 500


@record
class _Open:
    """An access with no barrier after it yet; `crossed` are the loops that have started another iteration since."""

    access: Access
    split: bool
    low: int
    high: int
    crossed: frozenset[int]


@record
class _State:
    """The accesses with no barrier after them: those of steps that threads share, and those that thread 0 makes alone."""

    split: set[_Open]
    alone: set[_Open]

    def copy(self) -> _State:
        return _State(set(self.split), set(self.alone))

    def __or__(self, other: _State) -> _State:
        return _State(self.split | other.split, self.alone | other.alone)

    def crossing(self, loop: Loop) -> _State:
        """Return them as another iteration of a loop sees them."""
        return _State({_crossing(a, loop) for a in self.split}, {_crossing(a, loop) for a in self.alone})


def place(layout: Layout, paused: bool, with_offsets: bool = True) -> set[int]:
    """Return the times of the points that a barrier must come before; commits and pauses are barriers anyway.

    `paused` says that the first loop checks its time slice before every iteration but the first. Without offsets every
    storage counts as a place of its own, which leaves the dependences alone.
    """
    if not any(point.split for point in points(layout.nodes)):
        return set()
    barriers: set[int] = set()

    def opened(point: Call | Fork) -> list[_Open]:
        result: list[_Open] = []
        for access in point.accesses:
            low, high = _range(layout, access.storage) if with_offsets else (0, 1)
            result.append(_Open(access, point.split, low, high, frozenset()))
        return result

    def meet(point: Call | Fork, state: _State) -> _State:
        fresh = opened(point)
        if point.commits or point.time in barriers:
            state = _State(set(), set())
        else:
            # Two steps that thread 0 makes alone come one after the other anyway.
            others = (state.split, state.alone) if point.split else (state.split,)
            if any(_any_conflict(layout, fresh, some, with_offsets) for some in others):
                barriers.add(point.time)
                state = _State(set(), set())
        (state.split if point.split else state.alone).update(fresh)
        return state

    def visit(nodes: Sequence[Node], state: _State) -> _State:
        for node in nodes:
            match node:
                case Call():
                    state = meet(node, state)
                case Loop():
                    state = loop(node, state)
                case Fork():
                    state = meet(node, state)
                    state = visit(node.then, state.copy()) | visit(node.otherwise, state)
        return state

    def loop(node: Loop, state: _State) -> _State:
        if not node.count:
            return state
        if paused and node.number == 0:
            return visit(node.body, _State(set(), set()))
        entry = state
        if node.owned:
            inside = [access for point in points(node.body) for access in opened(point)]
            others = (entry.split, entry.alone)
            if node.start in barriers or any(_any_conflict(layout, inside, some, with_offsets) for some in others):
                barriers.add(node.start)
                entry = _State(set(), set())
        while True:
            before = len(barriers)
            leave = visit(node.body, entry.copy())
            again = entry | leave.crossing(node) if node.count > 1 else entry
            if again == entry and len(barriers) == before:
                return leave | left(node, entry)
            entry = again

    def left(node: Loop, entry: _State) -> _State:
        """Return what may be open where the loop is left before its end."""
        state = _State(set(), set())
        for n, inner in enumerate(node.body):
            if isinstance(inner, Fork) and isinstance(inner.step, Leave):
                state |= visit(node.body[: n + 1], entry.copy())
        return state

    visit(layout.nodes, _State(set(), set()))
    return barriers


def settle(layout: Layout, life: dict[int, tuple[int, int]], barriers: set[int]) -> dict[int, tuple[int, int]]:
    """Stretch lifetimes that end or begin in a split step to the barriers around: reuse then needs no more of them."""
    split = {point.time for point in points(layout.nodes) if point.split}
    if not split:
        return life
    commits = {point.time for point in points(layout.nodes) if point.commits}
    marks = sorted(barriers | commits | {layout.duration, 0})
    begin: dict[int, int] = {}
    for low, high in pairwise(marks):
        begin.update(dict.fromkeys(range(low, high), low))
    finish = {low: high - 1 for low, high in pairwise(marks)}
    settled: dict[int, tuple[int, int]] = {}
    for storage, (first, last) in life.items():
        settled[storage] = (
            begin[first] if first in split else first,
            finish[begin[last]] if last in split else last,
        )
    return settled


def verify(layout: Layout, barriers: set[int], paused: bool) -> None:
    """Replay short paths through the plan with real addresses; raise VerificationError at the first unsafe one."""
    for choice in ("then", "otherwise", "alternate"):
        owner: dict[int, tuple[int, int]] = {}
        lost: dict[int, str] = {}
        recent: list[tuple[Call | Fork, list[tuple[int, int, int, Access]]]] = []
        for point, positions, fresh in _path(layout, choice, barriers, paused):
            if fresh or point.time in barriers or point.commits:
                recent.clear()
            touched = [(*_bytes(layout, a, positions), a) for a in point.accesses]
            for other, earlier in recent:
                if (point.split or other.split) and any(_overlap(a, b) for a in touched for b in earlier):
                    raise VerificationError(f"no barrier between {_name(other)} and {_name(point)}, which share memory")
            recent.append((point, touched))
            _check_contents(layout, point, owner, lost)


def _check_contents(
    layout: Layout, point: Call | Fork, owner: dict[int, tuple[int, int]], lost: dict[int, str]
) -> None:
    for access in point.accesses:
        storage = access.storage
        if storage not in layout.offsets or not layout.extents[storage]:
            continue
        if not access.write:
            if storage in lost:
                name = layout.plan.buffers[access.buffer].name
                raise VerificationError(f"{_name(point)} reads {name!r}, over which {lost[storage]} has written")
            continue
        low, high = _range(layout, storage)
        for other, (begin, end) in list(owner.items()):
            if other != storage and begin < high and low < end:
                lost[other] = _name(point)
                del owner[other]
        owner[storage] = (low, high)
        lost.pop(storage, None)


def _path(
    layout: Layout, choice: str, barriers: set[int], paused: bool
) -> Iterator[tuple[Call | Fork, dict[int, int], bool]]:
    """Yield the points of one path, the position of every loop, and whether a pause or a loop's barrier comes just before."""
    positions: dict[int, int] = {}
    turn = 0
    pause = False

    def visit(nodes: Sequence[Node]) -> Iterator[tuple[Call | Fork, dict[int, int], bool]]:
        nonlocal turn, pause
        for node in nodes:
            match node:
                case Call():
                    yield node, positions, pause
                    pause = False
                case Fork():
                    yield node, positions, pause
                    pause = False
                    turn += 1
                    take = choice == "then" or (choice == "alternate" and turn % 2 == 0)
                    yield from visit(node.then if take else node.otherwise)
                case Loop():
                    pause = pause or (node.owned and node.start in barriers)
                    for n in range(min(node.count, 3)):
                        positions[node.number] = node.count - 1 - n if node.step.reverse else n
                        pause = pause or (paused and node.number == 0)
                        yield from visit(node.body)

    yield from visit(layout.nodes)


def _bytes(layout: Layout, access: Access, positions: dict[int, int]) -> tuple[int, int, int]:
    """Return the space (0 for the arena, else an external buffer) and the bytes that an access touches now."""
    parents = {parent: loop for loop, parent, _ in access.chain}
    offset, buffer = 0, layout.plan.buffers[access.buffer]
    while buffer.kind == "slice":
        offset += (positions[parents[buffer.position]] + buffer.shift) * layout.nbytes[buffer.number]
        buffer = layout.plan.buffers[buffer.position]
    space = 0
    offset += layout.begin[buffer.number]
    if access.storage in layout.offsets:
        offset += layout.offsets[access.storage]
    else:
        space = 1 + access.storage
    return space, offset, offset + layout.nbytes[access.buffer]


def _overlap(a: tuple[int, int, int, Access], b: tuple[int, int, int, Access]) -> bool:
    is_same = a[0] == b[0] and a[1] < b[2] and b[1] < a[2]
    return is_same and (a[3].write or b[3].write) and not _have_own_rows(a[3], b[3])


def _have_own_rows(a: Access, b: Access) -> bool:
    return a.owner >= 0 and a.owner == b.owner and a.storage == b.storage


def _range(layout: Layout, storage: int) -> tuple[int, int]:
    low = layout.offsets.get(storage, 0)
    return low, low + layout.extents[storage]


def _any_conflict(layout: Layout, fresh: Sequence[_Open], others: set[_Open], with_offsets: bool) -> bool:
    """Whether a new access conflicts with an open one; for many of both the places of the open ones are sorted first."""
    if len(fresh) * len(others) <= _FEW:
        return any(_conflict(layout, a, b, with_offsets) for b in fresh for a in others)
    walked: list[_Open] = []
    spaces: dict[tuple[int, bool], list[tuple[int, int]]] = {}
    for a in others:
        if a.access.chain or a.access.owner >= 0:
            walked.append(a)
        else:
            spaces.setdefault((_space(layout, a, with_offsets), a.access.write), []).append((a.low, a.high))
    starts = {key: [low for low, _ in sorted(spans)] for key, spans in spaces.items()}
    ends = {key: list(accumulate((high for _, high in sorted(spans)), max)) for key, spans in spaces.items()}
    for b in fresh:
        for writes in (True, False) if b.access.write else (True,):
            key = _space(layout, b, with_offsets), writes
            before = bisect_left(starts.get(key, ()), b.high)
            if before and ends[key][before - 1] > b.low:
                return True
        if any(_conflict(layout, a, b, with_offsets) for a in walked):
            return True
    return False


def _space(layout: Layout, a: _Open, with_offsets: bool) -> int:
    return -1 if with_offsets and a.access.storage in layout.offsets else a.access.storage


def _conflict(layout: Layout, a: _Open, b: _Open, with_offsets: bool) -> bool:
    if not (a.split or b.split) or not (a.access.write or b.access.write):
        return False
    if a.low >= b.high or b.low >= a.high or _have_own_rows(a.access, b.access):
        return False
    in_arena = with_offsets and a.access.storage in layout.offsets and b.access.storage in layout.offsets
    if a.access.storage != b.access.storage and not in_arena:
        return False
    return not any(loop in a.crossed for loop, *_ in a.access.chain & b.access.chain)


def _crossing(a: _Open, loop: Loop) -> _Open:
    # A new iteration of this loop starts the loops inside it anew: their positions say nothing across it.
    outside = frozenset(n for n in a.crossed if n < loop.number)
    return _Open(a.access, a.split, a.low, a.high, outside | {loop.number})


def _name(point: Call | Fork) -> str:
    what = point.step.kernel if isinstance(point, Call) else "a branch"
    return f"{what} (step {point.time})"
