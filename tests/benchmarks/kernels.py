"""Where a training step spends its time: every kernel call, timed in its place among the others.

    python -m tests.benchmarks.kernels ROW [--threads N] [--rounds N] [--source KERNEL ...]

A step is run call by call, each by a launch of its own, so caches are as they are in a step; the launch's own time is
measured and taken off. A loop counts as one call. Figures are medians in microseconds; GFLOP/s are a contraction's operations,
and the bandwidth counts each buffer that a call is given once. `--source` prints a kernel.
"""

import argparse
import itertools
import re
import statistics
import time

from graphc import dims
from graphc.runtime.arguments import address_of
from graphc.runtime.instructions import WIDTH, Opcode
from graphc.schedule.plan import KernelCall, calls
from tests.benchmarks.counts import touched
from tests.benchmarks.machine import Machine
from tests.benchmarks.models.graphc import MODELS, Steps

TABLE = 1  # the word of the launch block that gives the table's address
STOPS = (Opcode.BARRIER, Opcode.COMMIT, Opcode.SLICE)


class Part:
    """A call or a loop of a bound plan: instructions `first` up to `last`, in a table of its own that ends there."""

    def __init__(self, table, first, last):
        self.first, self.table = first, table.copy()
        self.table[last * WIDTH] = Opcode.HALT

    def run(self, activation):
        """Run it and return the seconds that it took, launch included."""
        activation._words[TABLE] = address_of(self.table)
        # A thread that stayed away before, on a shared core, knows no addresses.
        activation.align_threads()
        activation._frames[:, 0] = self.first
        start = time.perf_counter()
        activation.run(True)
        return time.perf_counter() - start


def parts_of(table):
    """Yield the parts of a table: what loads addresses, then each call and each outermost loop or branch."""
    at, end = 0, len(table) // WIDTH
    while at < end:
        opcode, last = table[at * WIDTH], at + 1
        if opcode == Opcode.HALT:
            return
        if opcode == Opcode.LOOP:
            last = int(table[at * WIDTH + 3])
        elif opcode == Opcode.BRANCH:
            last = int(table[at * WIDTH + 2])
            if table[(last - 1) * WIDTH] == Opcode.JUMP:
                last = int(table[(last - 1) * WIDTH + 1])
        if opcode not in STOPS:
            yield Part(table, at, last)
        at = last


def measure(bound, rounds):
    """Return, for each part of a bound call, the median of its seconds without the launch."""
    activation = bound._run.__self__
    table, parts = activation.binding.table, list(parts_of(activation.binding.table))
    idle = Part(table, 0, 0)
    found = [
        [part.run(activation) - min(idle.run(activation) for _ in range(3)) for part in parts] for _ in range(rounds)
    ]
    activation._words[TABLE] = address_of(table)
    return [(part, statistics.median(times)) for part, times in zip(parts, zip(*found, strict=True), strict=True)]


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row", choices=MODELS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--source", nargs="*", default=[], metavar="KERNEL")
    options = parser.parse_args()
    steps = Steps(options.row, options.threads)
    for name in options.source:
        print(steps.step.plan.kernels[name])
    if options.source:
        return
    steps.first()
    report(steps.step, steps.step.bind(*steps.arrays), steps.sizes, options.rounds)


def report(executable, bound, sizes, rounds):
    """Print a line for each part, the longest first, and the sum."""
    plan, total = executable.plan, 0.0
    measured = [(part, seconds) for part, seconds in measure(bound, rounds) if is_step(part)]
    size = [dims.evaluate(buffer.nbytes, sizes) for buffer in plan.buffers]
    lines = []
    times = iter([seconds for _, seconds in measured])
    for step in plan.steps:
        several = len(step.runs) if isinstance(step, KernelCall) else 1
        seconds = sum(itertools.islice(times, several))
        total += seconds
        lines.append((seconds, line_of(plan, step, seconds, sizes, size)))
    print(f"{'us':>9} {'GFLOP/s':>8} {'GB/s':>6}  kernel")
    for _, line in sorted(lines, key=lambda pair: -pair[0]):
        print(line)
    machine = Machine("", executable.threads)
    peak = max(machine.flops() for _ in range(10)) / 1e9
    print(f"{1e6 * total:9.1f} {peak:8.1f} {'':6}  all {len(lines)} calls, and the peak of fused multiply-adds")


def is_step(part):
    """Whether a part is one of the plan's steps; the others load addresses."""
    return part.table[part.first * WIDTH] in (Opcode.CALL, Opcode.CALL_ONE, Opcode.LOOP, Opcode.BRANCH)


def line_of(plan, step, seconds, sizes, size):
    """Return the line of one step."""
    if not isinstance(step, KernelCall):
        inner = len(list(calls([step])))
        return f"{1e6 * seconds:9.1f} {'':8} {'':6}  {type(step).__name__} of {inner} kernels"
    text = plan.kernels[step.kernel]
    tile = re.search(r"c(\d+)_(\d+) = fma", text)
    rate = f"{dims.evaluate(step.work, sizes) / seconds / 1e9:8.1f}" if tile else " " * 8
    bandwidth = sum(size[b] for b in touched(step)) / seconds / 1e9
    notes = [line.strip(" #") for line in text.splitlines()[1:9] if line.startswith("    #")]
    return f"{1e6 * seconds:9.1f} {rate} {bandwidth:6.1f}  {step.kernel} {'; '.join(notes)}"


if __name__ == "__main__":
    main()
