"""A whole run as one native program: a plan repeated, pausing every now and then between two steps.

Repeating is a rewrite of the plan: its steps become the body of a `Repeat`, stacked inputs and all outputs become
slices of larger ones. So memory, barriers and the walk know nothing new; only the pause at the start of each iteration
is. A program has one such part, or several that run in turn, lap by lap, as an epoch's whole minibatches and its rest do.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import DType
from graphc.records import record, replace
from graphc.runtime.activation import Activation, Arena, Run, give_back, take_arena
from graphc.runtime.arguments import Array, InputSpec, address_of, build
from graphc.runtime.caller import Bound, Caller
from graphc.runtime.walk import DONE, FAILED, PARTED, PAUSED, native
from graphc.schedule.plan import Plan, Repeat

# No user's symbol is called so: it is no identifier that `graphc.input` takes.
STEPS = "_ steps"
TIME_SLICE = 50_000_000


def repeated(
    plan: Plan, specs: Sequence[InputSpec], stacked: Sequence[int]
) -> tuple[Plan, list[tuple[str, DType, tuple[Dim, ...]]]]:
    """Return the plan that runs another `STEPS` times, and its inputs."""
    count = dims.symbol(STEPS)
    buffers = list(plan.buffers)
    slices: list[int] = []
    for buffer in plan.buffers:
        if buffer.kind == "output" or (buffer.kind == "input" and buffer.position in stacked):
            number = len(buffers)
            buffers.append(replace(buffer, number=number, shape=(count, *buffer.shape)))
            buffers[buffer.number] = replace(buffer, kind="slice", position=number)
            slices.append(buffer.number)
    inputs = [
        (spec.name, spec.dtype, (count, *spec.shape) if n in stacked else spec.shape) for n, spec in enumerate(specs)
    ]
    steps = (Repeat(count, plan.steps, tuple(slices)),)
    key = plan.key and f"{plan.key} of steps {sorted(stacked)}"
    return replace(plan, buffers=tuple(buffers), steps=steps, key=key), inputs


@record
class Part:
    """A plan repeated `count` times on these arguments and results.

    `laps` has for each of them the array whose rows the laps of a program read or write, or None for one that stays.
    """

    caller: Caller
    bound: Bound
    count: int
    arrays: Sequence[Array]
    laps: Sequence[Array | None]

    def moves(self) -> list[int]:
        """Return by how many bytes each array moves on from lap to lap."""
        for array, rows in zip(self.arrays, self.laps, strict=True):
            if rows is not None and (address_of(rows), rows[:1].nbytes) != (address_of(array), array.nbytes):
                raise ValueError(f"rows of {rows.nbytes} bytes do not begin with an array of {array.nbytes}")
        return [0 if rows is None else rows.strides[0] for rows in self.laps]


class Chain(Run):
    """Activations that run one after the other, lap by lap, without Python between."""

    def __init__(self, activations: Sequence[Activation], moves: Sequence[Sequence[int]]) -> None:
        self._activations = activations
        self._moves = [np.array(one or [0], np.int64) for one in moves]
        walk, parts = native(), np.zeros((len(activations), 4), np.int64)
        for row, activation, move in zip(parts, activations, self._moves, strict=True):
            block, addresses, count = activation.place_in_chain
            row[:] = block, addresses, address_of(move), count
        self._words = np.zeros(7, np.int64)
        self._words[:3] = walk.launch_address, address_of(parts), len(parts)
        self._parts = parts
        threads = max(activation.binding.threads for activation in activations)
        super().__init__(walk.chain, address_of(self._words), 6, threads)

    def begin(self, laps: int) -> None:
        """Stand before the first part of so many laps."""
        self._words[3:] = 0, laps, 0, PARTED

    def set_time_slice(self, nanoseconds: int) -> None:
        """Pause after this time, between two steps."""
        self._words[5] = nanoseconds

    def place(self) -> tuple[int, int, int]:
        """Return the part that runs, the laps left, this one included, and how many steps of the part are done."""
        _, _, _, part, left, _, outcome = self._words.tolist()
        return part, left, self._activations[part].iterations_done() if outcome in (PAUSED, FAILED) else 0

    def prepare_pool(self) -> None:
        """See to it that workers are there, for any part."""
        for activation in self._activations:
            activation.prepare_pool()

    def fail(self) -> None:
        """Raise what the part that ran says."""
        self._activations[int(self._words[3])].fail()


class Program:
    """A run of `count` steps, started by the first `resume`.

    `results` has the structure of the executable's outputs, each with a leading axis of `count`, filled up to `done`
    steps. Between two calls of `resume` all parameters and states stand at a whole number of steps, and Python may do
    anything: handle Ctrl-C, show progress, read parameters, or drop the program.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        caller, self.parts = parts[0].caller, parts
        self.results: Any = build(caller.structure, parts[0].arrays[len(caller.specs) :])
        self._before = [0, *accumulate(part.count for part in parts)]
        self._moves = [part.moves() for part in parts]
        self._rows = min((len(array) for part in parts for array in part.laps if array is not None), default=1)
        self._arena: Arena | None = None
        self._activations: list[Activation] = []
        self.restart()

    def restart(self, first: int = 0, laps: int = 1) -> None:
        """Begin again with the first step, on what the arguments' arrays hold now; results are written over.

        `first` is the row with which arrays of laps begin.
        """
        if self._arena is not None:
            self._end()
        if not 0 <= first <= first + laps <= self._rows:
            raise ValueError(f"laps {first} to {first + laps} of {self._rows} rows")
        self._first, self._laps, self._is_new = first, laps, True
        self.count, self.done = laps * self._before[-1], 0

    def _begin(self) -> None:
        self._is_new = False
        self._arena = take_arena(max(part.bound.arena for part in self.parts))
        activations = [part.caller.take(part.bound) for part in self.parts]
        if activations != self._activations:
            self._activations, self._chain = activations, Chain(activations, self._moves)
        for part, activation, moves in zip(self.parts, activations, self._moves, strict=True):
            activation.place(self._arena.address)
            starts = zip(part.arrays, moves, strict=True)
            activation.set_addresses(*[address_of(array) + self._first * move for array, move in starts])
        self._chain.begin(self._laps)

    def resume(self, seconds: float = TIME_SLICE / 1e9) -> int:
        """Run until all steps are done or the time is over, at least one step; return how many steps are done by now.

        Raises IndexOutOfRangeError if a step reads an index out of range; that step changes nothing and the program is
        over.
        """
        if self._is_new:
            self._begin()
        if self._arena is None:
            return self.done
        outcome = DONE
        try:
            self._chain.set_time_slice(max(1, int(seconds * 1e9)))
            outcome = self._chain.run(any(part.caller.writes for part in self.parts))
        finally:
            part, left, steps = self._chain.place()
            self.done = (self._laps - left) * self._before[-1] + self._before[part] + steps
            if outcome == DONE:
                self._end()
            elif outcome == PAUSED:
                self._activations[part].align_threads()
        return self.done

    def _end(self) -> None:
        arena, self._arena = self._arena, None
        for part, activation in zip(self.parts, self._activations, strict=True):
            # An exception may have come right after a pause: the next run must not go on from there.
            activation.reset()
            part.bound.idle.append(activation)
        if arena is not None:
            give_back(arena)

    def run(self) -> Any:
        """Run all steps that are left and return the results; KeyboardInterrupt comes between two steps."""
        while self._is_new or self._arena is not None:
            self.resume()
        return self.results
