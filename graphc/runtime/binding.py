"""A plan at given sizes: an instruction table, a frame to copy, and where external addresses go.

Nothing here depends on where buffers live. The table of external addresses of an activation is laid out as

    arena, status block, leaves, constants, inputs, outputs

and every address in a frame is an entry of it plus an offset: `fixed` ones are written when a frame is made, those of
inputs and outputs are loaded by the first instructions of each run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import DType
from graphc.emit import cache
from graphc.errors import CallError
from graphc.records import record, replace
from graphc.runtime import barriers, memory, sharing
from graphc.runtime.instructions import Assembler, Opcode
from graphc.runtime.memory import Call, Fork, Layout, Loop, Node
from graphc.schedule.plan import Address, Buffer, Leave, Plan, total_work

# Work of a plan below which a lone call leaves sleeping threads alone: about 200 us of contractions, and of anything else more.
WAKE_WORK = 30_000_000
# What a barrier may cost that is there for memory alone, with threads that do not come at once: about 2 us.
BARRIER_WORK = 40_000
# An arena that is larger than need be by this factor is worth barriers that cost this part of the work.
_WASTE, _BARRIERS_FOR_MEMORY = 1.02, 0.01
# Steps of a plan from which on finding places takes longer than reading them.
_WORTH_KEEPING = 32
_ARENA, _STATUS, _FIRST = 0, 1, 2
Announce = Callable[[int], None] | None


@record
class Binding:
    """A plan bound to sizes.

    `fixed` and `external` are rows (frame word, entry, offset); `frame` is the frame's first contents, in words.
    `inputs_at` is the entry of the first input. `counter` is the frame word of the first loop's counter, -1 without
    loops.
    """

    table: np.ndarray[tuple[int], np.dtype[np.int64]]
    frame: np.ndarray[tuple[int], np.dtype[np.int64]]
    fixed: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    entries: int
    inputs_at: int
    outputs: tuple[tuple[DType, tuple[int, ...]], ...]
    arena: int
    threads: int
    heavy: bool
    counter: int
    count: int
    constants: tuple[np.ndarray[Any, Any], ...]
    sites: tuple[str, ...]

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def bind(
    plan: Plan,
    sizes: Mapping[str, int],
    threads: int,
    address: Callable[[str], int],
    paused: bool = False,
    announce: Announce = None,
) -> Binding:
    """Bind a plan to sizes; `address` gives the machine code of a kernel by name.

    With `paused`, the first loop may pause between two of its iterations. `announce` is told the bytes of the arena, long before
    all is bound if they were kept. Raises CallError where the sizes do
    not meet the plan's requirements.
    """
    check_requirements(plan, sizes)
    layout, separations = assign_memory(plan, sizes, threads, paused, announce)
    if threads > 1 and layout.saved < 0:
        threads = 1
        layout, separations = assign_memory(plan, sizes, threads, paused, announce)
    return _Writer(layout, separations, sizes, threads, address, paused).binding()


def check_requirements(plan: Plan, sizes: Mapping[str, int]) -> None:
    """Raise CallError at the first requirement that these sizes do not meet."""
    for requirement in plan.requirements:
        if not requirement.holds(sizes):
            given = ", ".join(f"{name} = {size}" for name, size in sorted(sizes.items()) if not name.startswith("_"))
            raise CallError(
                f"{requirement.reason} needs {requirement} ({requirement.origin}); here {given or 'there are no sizes'}"
            )


def assign_memory(
    plan: Plan, sizes: Mapping[str, int], threads: int, paused: bool = False, announce: Announce = None
) -> tuple[Layout, set[int]]:
    """Return the layout of a plan with offsets, and the times that a barrier must come before.

    Memory is reused across the barriers that there are anyway. Where that takes much more than the most bytes alive at
    once, there may be more barriers, if they cost little beside the work.
    """
    key = ""
    if plan.key:
        decided = sorted(sizes.items()), threads, paused, sharing.RULE, memory.OWNED_WORK, BARRIER_WORK
        key = cache.key_of(plan.key, repr(decided))
    kept = cache.read("memory", key) if key and not _verifying() else None
    if kept is not None:
        arena, offsets, separations = json.loads(kept)
        if announce:
            announce(arena)
        layout = memory.lay_out(plan, sizes, threads)
        layout.arena, layout.offsets = arena, dict(offsets)
        return layout, set(separations)
    layout, separations = _assigned(memory.lay_out(plan, sizes, threads), sizes, threads, paused)
    if announce:
        announce(layout.arena)
    if key and layout.duration >= _WORTH_KEEPING:
        made = [layout.arena, list(layout.offsets.items()), sorted(separations)]
        cache.write("memory", key, json.dumps(made).encode())
    return layout, separations


def _assigned(layout: Layout, sizes: Mapping[str, int], threads: int, paused: bool) -> tuple[Layout, set[int]]:
    plan = layout.plan
    life = memory.lifetimes(layout)
    memory.assign(layout, barriers.settle(layout, life, barriers.place(layout, paused, with_offsets=False)))
    separations = barriers.place(layout, paused)
    if layout.arena > _WASTE * memory.lower_bound(layout, life):
        tight = replace(layout)
        memory.assign(tight, life)
        more = barriers.place(tight, paused)
        loss = BARRIER_WORK * (_crossings(layout.nodes, more) - _crossings(layout.nodes, separations))
        if tight.arena < layout.arena and loss <= _BARRIERS_FOR_MEMORY * total_work(plan.steps, sizes):
            layout, separations = tight, more
    if _verifying():
        barriers.verify(layout, separations, paused)
    return layout, separations


def _verifying() -> bool:
    return os.environ.get("GRAPHC_VERIFY", "0") not in ("", "0")


def _crossings(nodes: Sequence[Node], separations: set[int]) -> int:
    """Return how many barriers a run comes to."""
    total = 0
    for node in nodes:
        match node:
            case Call():
                total += node.commits or node.time in separations
            case Loop():
                total += node.count * _crossings(node.body, separations) + (node.owned and node.start in separations)
            case Fork():
                total += max(_crossings(arm, separations) for arm in (node.then, node.otherwise))
                total += node.time in separations
    return total


class _Writer:
    """Turns a layout into the instruction table and the frame."""

    def __init__(
        self,
        layout: Layout,
        separations: set[int],
        sizes: Mapping[str, int],
        threads: int,
        address: Callable[[str], int],
        paused: bool,
    ) -> None:
        self.layout, self.separations, self.sizes, self.address, self.paused = (
            layout,
            separations,
            sizes,
            address,
            paused,
        )
        self.buffers = layout.plan.buffers
        split = any(isinstance(p, Call) and p.split for p in memory.points(layout.nodes))
        self.threads = threads if split else 1
        self.code = Assembler()
        self.frame: list[int] = [0]
        self.fixed: list[tuple[int, int, int]] = []
        self.late: list[tuple[int, int, int]] = []
        self.slice_words: dict[int, list[int]] = {}
        self.registers: dict[int, int] = {}
        self.leaving: list[int] = []
        counts = {kind: sum(b.kind == kind for b in self.buffers) for kind in ("leaf", "constant", "input", "output")}
        self.entry_of = {"leaf": _FIRST, "constant": _FIRST + counts["leaf"]}
        self.entry_of["input"] = self.entry_of["constant"] + counts["constant"]
        self.entry_of["output"] = self.entry_of["input"] + counts["input"]
        self.entries = self.entry_of["output"] + counts["output"]

    def binding(self) -> Binding:
        """Return the finished binding."""
        layout, code = self.layout, self.code
        self.reserve(layout.nodes)
        for word, entry, offset in self.late:
            code.emit(Opcode.LOAD, 8 * word, 8 * entry, offset)
        self.write(layout.nodes)
        code.emit(Opcode.HALT)
        outputs = [
            (b.dtype, tuple(dims.evaluate(d, self.sizes) for d in b.shape)) for b in layout.plan.of_kind("output")
        ]
        first = layout.loops[0] if layout.loops else None
        return Binding(
            np.array(code.words, np.int64),
            np.array(self.frame, np.int64),
            np.array(self.fixed, np.int64).reshape(-1, 3),
            self.entries,
            self.entry_of["input"],
            tuple(outputs),
            layout.arena,
            self.threads,
            total_work(layout.plan.steps, self.sizes) >= WAKE_WORK,
            first.counter if first else -1,
            first.count if first else 0,
            tuple(np.require(c, requirements=["C", "A"]) for c in layout.plan.constants),
            layout.plan.sites,
        )

    def reserve(self, nodes: Sequence[Node]) -> None:
        """Give every node its words of the frame, so that loops know all words that their slices move."""
        for node in nodes:
            match node:
                case Call(step=step):
                    node.rows = tuple(self.row_for(words) for _, words in step.runs)
                case Loop(step=step):
                    node.counter = self.new_word(0)
                    for number in step.slices:
                        parent = self.buffers[self.buffers[number].position]
                        if parent.kind == "slice" and parent.number not in self.registers:
                            self.registers[parent.number] = self.word_for(parent)
                    self.reserve(node.body)
                case Fork(step=step):
                    node.word = self.word_for(self.buffers[step.predicate])
                    self.reserve(node.then)
                    self.reserve(node.otherwise)

    def row_for(self, words: Sequence[Address | Dim]) -> int:
        """Return where a new row begins that holds a kernel's arguments."""
        row = self.word_for_status()
        for word in words:
            if isinstance(word, Address):
                self.word_for(self.buffers[word.buffer])
            else:
                self.new_word(dims.evaluate(word, self.sizes))
        return row

    def new_word(self, value: int) -> int:
        self.frame.append(value)
        return len(self.frame) - 1

    def word_for_status(self) -> int:
        word = self.new_word(0)
        self.fixed.append((word, _STATUS, 0))
        return word

    def word_for(self, buffer: Buffer) -> int:
        """Return a new word that will hold the address of a buffer."""
        word = self.new_word(0)
        if buffer.kind == "slice":
            self.slice_words.setdefault(buffer.number, []).append(word)
        else:
            entry, offset = self.place(buffer)
            (self.late if entry >= self.entry_of["input"] else self.fixed).append((word, entry, offset))
        return word

    def place(self, buffer: Buffer) -> tuple[int, int]:
        """Return the entry and the offset of a buffer that is no slice."""
        if not self.layout.nbytes[buffer.number]:
            return _ARENA, 0
        storage = self.layout.storage[buffer.number]
        root = self.buffers[storage]
        if root.kind in memory.IN_ARENA:
            return _ARENA, self.layout.offsets.get(storage, 0) + self.layout.begin[buffer.number]
        return self.entry_of[root.kind] + root.position, 0

    def write(self, nodes: Sequence[Node]) -> None:
        """Emit the instructions of these nodes."""
        code = self.code
        for node in nodes:
            match node:
                case Call(step=step):
                    self.separate(node)
                    opcode = Opcode.CALL if node.split else Opcode.CALL_ONE
                    for (kernel, _), row in zip(step.runs, node.rows, strict=True):
                        code.emit(opcode, self.address(kernel), 8 * row)
                case Loop():
                    self.write_loop(node)
                case Fork():
                    self.separate(node)
                    branch = code.emit(Opcode.BRANCH, 8 * node.word, 0)
                    if isinstance(node.step, Leave):
                        self.leaving.append(branch)
                        continue
                    self.write(node.then)
                    jump = code.emit(Opcode.JUMP, 0)
                    code.aim(branch)
                    self.write(node.otherwise)
                    code.aim(jump)

    def separate(self, node: Call | Fork) -> None:
        if node.commits:
            self.code.emit(Opcode.COMMIT)
        elif node.time in self.separations:
            self.code.emit(Opcode.BARRIER)

    def write_loop(self, node: Loop) -> None:
        """Emit a loop: its slices start at their first position and move by one at the end of each iteration."""
        code, steps = self.code, list[tuple[int, int]]()
        if node.owned and node.start in self.separations:
            code.emit(Opcode.BARRIER)
        for number in node.step.slices:
            buffer = self.buffers[number]
            parent, stride = self.buffers[buffer.position], self.layout.nbytes[number]
            start = ((node.count - 1 if node.step.reverse else 0) + buffer.shift) * stride
            for word in self.slice_words.get(number, ()):
                if parent.kind == "slice":
                    code.emit(Opcode.MOVE, 8 * word, 8 * self.registers[parent.number], start)
                else:
                    entry, offset = self.place(parent)
                    code.emit(Opcode.LOAD, 8 * word, 8 * entry, offset + start)
                steps.append((word, -stride if node.step.reverse else stride))
        loop = code.emit(Opcode.LOOP, 8 * node.counter, node.count, 0)
        pauses = self.paused and node.number == 0
        # No pause before the first iteration: however late it is, each run gets one step further.
        jump = code.emit(Opcode.JUMP, 0) if pauses else -1
        body = code.here
        if pauses:
            code.emit(Opcode.SLICE)
            code.aim(jump)
        outside, self.leaving = self.leaving, []
        self.write(node.body)
        for word, stride in steps:
            if stride:
                code.emit(Opcode.ADD, 8 * word, stride)
        code.emit(Opcode.END, 8 * node.counter, body)
        code.aim(loop)
        for branch in self.leaving:
            code.aim(branch)
        self.leaving = outside
