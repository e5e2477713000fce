"""A whole run as one native program: a plan repeated, pausing every now and then between two steps.

Repeating is a rewrite of the plan: its steps become the body of a `Repeat`, stacked inputs and all outputs become
slices of larger ones. So memory, barriers and the walk know nothing new; only the pause at the start of each iteration
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import DType
from graphc.records import replace
from graphc.runtime.activation import Activation, Arena, give_back
from graphc.runtime.arguments import Array, InputSpec
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
    return replace(plan, buffers=tuple(buffers), steps=steps), inputs


class Program:
    """A run of `count` steps, started by the first `resume`.

    `results` has the structure of the executable's outputs, each with a leading axis of `count`, filled up to `done`
    steps. Between two calls of `resume` all parameters and states stand at a whole number of steps, and Python may do
    anything: handle Ctrl-C, show progress, read parameters, or drop the program.
    """

    def __init__(
        self,
        activation: Activation,
        idle: list[Activation],
        arena: Arena,
        count: int,
        writes: bool,
        results: Any,
        keep: Sequence[Array],
    ) -> None:
        self.count = count
        self.done = 0
        self.results = results
        self._activation = activation
        self._idle = idle
        self._arena: Arena | None = arena
        self._writes = writes
        self._keep = keep
        activation.expect_all()

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
            over = self._activation.run(self._writes) != PAUSED
        finally:
            self.done = self._activation.iterations_done()
            if over:
                arena, self._arena = self._arena, None
                # An exception may have come right after a pause: the next run must not go on from there.
                self._activation.reset()
                give_back(arena)
                self._idle.append(self._activation)
            else:
                self._activation.align_threads()
        return self.done

    def run(self) -> Any:
        """Run all steps that are left and return the results; KeyboardInterrupt comes between two steps."""
        while self._arena is not None:
            self.resume()
        return self.results
