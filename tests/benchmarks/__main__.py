"""Measures training steps (forward, backward, Adam) of graphc and its peers, in turn, in one run.

    python -m tests.benchmarks [--rows NAME ...] [--peers NAME ...] [--threads N] [--rounds N] [--table]

Each framework runs in a process of its own and is asked for a block of steps once a round; the machine's peak of fused
multiply-adds and its bandwidth, on arrays as large as what the row touches, are measured in the same rounds. Before, each
is started twice, with an empty and with a full cache, and a third time for its memory. Figures are minimum (median), in
microseconds a step. PyTorch and JAX (with optax) are used where they are installed; torch.compile needs a C++ compiler.
"""

import argparse
import contextlib
import math
import shutil
import tempfile

from tests.benchmarks.peer import MACHINE, PEERS, Unavailable, Worker
from tests.benchmarks.report import Result, print_row, print_tables
from tests.benchmarks.rows import IMAGES, ROWS

WARM_UP = 2  # rounds that do not count: what is compiled late (a scan of so many steps) is compiled there
SHORTEST, LONGEST = 1, 20_000


def measure(row, peers, options):
    """Return the result of a row; what cannot run is left out, with a line that says why."""
    result = Result(row, ROWS[row])
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="graphc-benchmark-"))
        workers = {}
        for peer in list(peers):
            try:
                if not options.steps_only:
                    cold = Worker(PEERS[peer], row, options.threads, cache)
                    cold.close()
                    memory = Worker(PEERS[peer], row, options.threads, cache, "memory")
                    memory.close()
                warm = Worker(PEERS[peer], row, options.threads, cache)
            except Unavailable as error:
                print(f"{row}: {peer} is left out: {error}", flush=True)
                continue
            stack.callback(warm.close)
            workers[peer] = warm
            result.footprint = warm.ready.get("footprint", result.footprint)
            if not options.steps_only:
                result.note_start(peer, cold, memory, warm)
        machine = Worker(MACHINE, row, options.threads, cache)
        stack.callback(machine.close)
        _rounds(result, workers, machine, options)
    return result


def _rounds(result, workers, machine, options):
    turns = [(peer, worker, mode) for peer, worker in workers.items() for mode in worker.ready["modes"]]
    counts = {}
    for peer, worker, mode in turns:
        worker.ask(mode=mode, count=3)  # compiles a scan of three steps
        seconds = worker.ask(mode=mode, count=3)
        counts[peer, mode] = min(max(SHORTEST, math.ceil(options.block / seconds)), LONGEST)
    for turn in range(WARM_UP + options.rounds):
        for peer, worker, mode in turns:
            seconds = worker.ask(mode=mode, count=counts[peer, mode])
            if turn >= WARM_UP:
                result.times.setdefault((peer, mode), []).append(seconds)
        result.peaks.append(machine.ask(ask="flops"))
        result.bandwidths.append(machine.ask(ask="bandwidth", footprint=result.footprint))


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    others = [peer for peer in PEERS if peer != "graphc"]
    parser.add_argument("--peers", nargs="*", choices=others, default=others, metavar="PEER", help=", ".join(others))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--block", type=float, default=0.05, help="seconds of a block of steps")
    parser.add_argument("--steps-only", action="store_true", help="without starts and memory")
    parser.add_argument("--table", action="store_true", help="print the tables of docs/performance.md and its pages")
    options = parser.parse_args()
    peers = ["graphc", *options.peers]
    if "torch.compile" in peers and not shutil.which("g++"):
        print("torch.compile is left out: it needs a C++ compiler, and there is no g++")
        peers.remove("torch.compile")
    results = []
    for row in options.rows:
        fitting = [peer for peer in peers if peer != "torch.channels_last" or row in IMAGES]
        results.append(measure(row, fitting, options))
        print_row(results[-1])
    print_tables(results, options)


if __name__ == "__main__":
    main()
