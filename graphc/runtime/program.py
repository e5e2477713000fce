"""A whole run as one native program: a plan repeated, pausing every now and then between two steps.

Repeating is a rewrite of the plan: its steps become the body of a `Repeat`, stacked inputs and all outputs become
slices of larger ones. So memory, barriers and the walk know nothing new; only the pause at the start of each iteration
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import DType
from graphc.records import replace
from graphc.runtime.activation import Arena, give_back, take_arena
from graphc.runtime.arguments import Array, InputSpec, address_of, build
from graphc.runtime.caller import Bound, Caller
from graphc.runtime.walk import PAUSED
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


class Program:
    """A run of `count` steps, started by the first `resume`.

    `results` has the structure of the executable's outputs, each with a leading axis of `count`, filled up to `done`
    steps. Between two calls of `resume` all parameters and states stand at a whole number of steps, and Python may do
    anything: handle Ctrl-C, show progress, read parameters, or drop the program.
    """

    def __init__(self, caller: Caller, bound: Bound, count: int, arguments: Sequence[Array], out: Any) -> None:
        results = caller.results(bound, out, arguments)
        self.count = count
        self.results: Any = build(caller.structure, results)
        self._caller, self._bound = caller, bound
        self._keep = (*arguments, *results)
        self._addresses = [address_of(array) for array in self._keep]
        self._arena: Arena | None = None
        self.restart()

    def restart(self) -> None:
        """Begin again with the first step, on what the arguments' arrays hold now; results are written over."""
        if self._arena is not None:
            self._end()
        self.done = 0
        self._arena = take_arena(self._bound.arena)
        self._activation = self._caller.take(self._bound)
        self._activation.place(self._arena.address)
        self._activation.set_addresses(*self._addresses)
        self._activation.expect_all()

    def resume(self, seconds: float = TIME_SLICE / 1e9) -> int:
        """Run until all steps are done or the time is over, at least one step; return how many steps are done by now.

        Raises IndexOutOfRangeError if a step reads an index out of range; that step changes nothing and the program is
        over.
        """
        if self._arena is None:
            return self.done
        over = True
        try:
            self._activation.set_time_slice(max(1, int(seconds * 1e9)))
            over = self._activation.run(self._caller.writes) != PAUSED
        finally:
            self.done = self._activation.iterations_done()
            if over:
                self._end()
            else:
                self._activation.align_threads()
        return self.done

    def _end(self) -> None:
        arena, self._arena = self._arena, None
        # An exception may have come right after a pause: the next run must not go on from there.
        self._activation.reset()
        give_back(cast(Arena, arena))
        self._bound.idle.append(self._activation)

    def run(self) -> Any:
        """Run all steps that are left and return the results; KeyboardInterrupt comes between two steps."""
        while self._arena is not None:
            self.resume()
        return self.results
