"""Measures training steps beside other processes that keep cores busy.

    python -m tests.benchmarks.neighbours [ROW ...] [--threads N] [--neighbours N ...] [--seconds S]

Each figure is the mean of a whole run of calls of so many seconds, in microseconds a step: some steps take long and most do not,
so a minimum would say nothing. `fair` is the slowdown of a process of one thread under a fair scheduler, against its own
time alone.
"""

import argparse
import contextlib
import subprocess
import sys
import time

from graphc.runtime.threads import available_cores
from tests.benchmarks.models.graphc import Steps

ROWS = ("rnn", "mlp", "deep_mlp")


@contextlib.contextmanager
def busy(count):
    """Run processes that compute all the time."""
    spins = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    time.sleep(0.3 * bool(count))
    try:
        yield
    finally:
        for spin in spins:
            spin.kill()
            spin.wait()


def mean(call, seconds):
    """Return the mean seconds of a call over a run of so many seconds."""
    start, count = time.perf_counter(), 0
    while (now := time.perf_counter()) < start + seconds:
        call()
        count += 1
    return (now - start) / count


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.neighbours", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--neighbours", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    print(f"| row | alone | {' | '.join(f'beside {n}' for n in options.neighbours)} |")
    print("|---" * (2 + len(options.neighbours)) + "|")
    for row in options.rows or ROWS:
        bound = Steps(row, options.threads)
        call = bound.step.bind(*bound.arrays)
        mean(call, 0.3)
        alone = mean(call, options.seconds)
        cells = []
        for count in options.neighbours:
            with busy(count):
                took = mean(call, options.seconds)
            cells.append(f"{1e6 * took:.0f} ({took / alone:.1f}x)")
        print(f"| `{row}` | {1e6 * alone:.0f} | {' | '.join(cells)} |", flush=True)
    fair = [max(1, (1 + n) / available_cores()) for n in options.neighbours]
    print(f"| fair | | {' | '.join(f'{one:.1f}x' for one in fair)} |")


if __name__ == "__main__":
    main()
