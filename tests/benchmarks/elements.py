"""Measures elementwise and normalisation kernels of graphc, PyTorch and JAX, in turn, against the machine's bandwidth.

    python -m tests.benchmarks.elements [--threads 1 2] [--rows 64 2048 32768] [--kernels softmax sin ...] [--rounds N]

Softmax, layer norm and Adam: GB/s of the arrays that must be read and written once each, graphc's also in per cent of a triad on
as many bytes. Element functions (`--kernels functions` for all): nanoseconds an element on one thread, with 256 kB at work.
"""

import argparse
import contextlib
import math
import tempfile

from tests.benchmarks.maps import ARRAYS, WIDTH
from tests.benchmarks.peer import MACHINE, Unavailable, Worker
from tests.simd.samples import NAMES

MODULE = "tests.benchmarks.maps"
FRAMEWORKS = {"graphc": ("Graphc", 0.0), "torch": ("Torch", 0.2), "jax": ("Jax", 0.02)}
FUNCTION_ROWS = 32  # 128 kB read and as much written: within the second-level cache


@contextlib.contextmanager
def started(threads):
    """Start the frameworks that there are and the machine's worker."""
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="graphc-benchmark-"))
        workers = {}
        for name, (kind, settling) in FRAMEWORKS.items():
            try:
                worker = Worker((MODULE, kind, settling if threads > 1 else 0.0), "", threads, cache)
            except Unavailable as error:
                print(f"{name} is left out: {error}")
                continue
            stack.callback(worker.close)
            workers[name] = worker
        machine = Worker(MACHINE, "", threads, cache)
        stack.callback(machine.close)
        yield workers, machine


def fastest(workers, kernel, rows, options):
    """Return the least seconds by framework; infinity where a framework has no such function."""
    best = dict.fromkeys(workers, math.inf)
    for _ in range(options.rounds):
        for name, worker in workers.items():
            seconds = worker.ask(ask="seconds", kernel=kernel, rows=rows, block=options.block)
            best[name] = min(best[name], math.inf if seconds is None else seconds)
    return best


def bandwidths(threads, kernels, options):
    """Print the table of kernels that are bound by memory."""
    with started(threads) as (workers, machine):
        print(f"\n{threads} thread{'s' * (threads > 1)}, GB/s\n")
        print("| kernel | MB | " + " | ".join(workers) + " | triad | graphc of triad |")
        print("|---" * (len(workers) + 4) + "|")
        for kernel in kernels:
            for rows in options.rows:
                moved = ARRAYS[kernel] * rows * WIDTH * 4
                best = fastest(workers, kernel, rows, options)
                triad = max(machine.ask(ask="bandwidth", footprint=moved) for _ in range(options.rounds))
                rates = " | ".join(f"{moved / seconds / 1e9:.1f}" for seconds in best.values())
                part = moved / best["graphc"] / triad
                print(f"| {kernel} | {moved / 1e6:.1f} | {rates} | {triad / 1e9:.1f} | {part:.0%} |", flush=True)


def functions(names, options):
    """Print the table of element functions."""
    with started(1) as (workers, _):
        print("\n1 thread, nanoseconds an element of float32\n")
        print("| function | " + " | ".join(workers) + " |")
        print("|---" * (len(workers) + 1) + "|")
        for name in names:
            best = fastest(workers, name, FUNCTION_ROWS, options)
            each = [seconds / (FUNCTION_ROWS * WIDTH) * 1e9 for seconds in best.values()]
            cells = ["-" if math.isinf(one) else f"{one:.2f}" for one in each]
            print(f"| `{name}` | {' | '.join(cells)} |", flush=True)


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.elements", description=__doc__.splitlines()[0])
    known = [*ARRAYS, "functions", *NAMES]
    parser.add_argument("--kernels", nargs="+", choices=known, default=[*ARRAYS], metavar="KERNEL")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rows", nargs="+", type=int, default=[64, 2048, 32768], help=f"rows of {WIDTH} float32")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--block", type=float, default=0.003, help="seconds of a block of calls")
    options = parser.parse_args()
    rows = [kernel for kernel in options.kernels if kernel in ARRAYS]
    names = NAMES if "functions" in options.kernels else [kernel for kernel in options.kernels if kernel in NAMES]
    for threads in options.threads if rows else ():
        bandwidths(threads, rows, options)
    if names:
        functions(names, options)


if __name__ == "__main__":
    main()
