"""What this machine can do, measured by kernels in the dialect of `graphc.simd`: fused multiply-adds and bandwidth."""

import ctypes
import threading

import numpy as np

from graphc.emit.loader import Loader
from graphc.emit.objects import compile_kernel
from graphc.simd.levels import host_level
from tests.benchmarks.clock import clock_for

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
LANES = {"f32": 16, "f64": 8}
CHAINS = 24  # sums that do not wait for each other: 4 cycles of latency, 2 units
TURNS = 320_000  # about a millisecond, for what a call takes counts
TURNS_SHARED = 1_000_000  # on several threads, so that the time in which they start does not count


def chains_of(level):
    """Return how many sums of 64 bytes the registers hold beside an operand and a product: more would be spilled."""
    parts = max(1, 512 // level.register_bits)
    return min(CHAINS, level.registers // parts - 2)


def fma_source(kind, level):
    """Return a kernel that multiplies and adds in registers `word 0` times; word 1: room to load and store."""
    vector, width, chains = f"{kind}x{LANES[kind]}", 64, chains_of(level)
    # A fused product adds to where its sum stands; one of two instructions must change with the sum, or it leaves the loop.
    product = "fma(a, a, c{n})" if level.fma else "fma(c{n}, a, a)"
    lines = ["def kernel(args, thread, threads):", "    turns = word(args, 0)", "    p = word(args, 1)"]
    lines += [f"    c{n} = load_{vector}(p + {width * n})" for n in range(chains)]
    lines += [f"    a = load_{vector}(p)", "    for turn in range(turns):"]
    lines += [f"        c{n} = {product.format(n=n)}" for n in range(chains)]
    lines += [f"    store(c{n}, p + {width * n})" for n in range(chains)]
    return "\n".join(lines) + "\n"


TRIAD = """
def kernel(args, thread, threads):
    turns = word(args, 0)
    a = word(args, 1)
    b = word(args, 2)
    c = word(args, 3)
    bytes = word(args, 4)
    for turn in range(turns):
        for i in range(0, bytes, 64):
            store(fma(load_f32x16(c + i), f32x16(0.5), load_f32x16(b + i)), a + i)
"""


class Native:
    """A kernel called with words on several threads at once."""

    def __init__(self, source):
        self.loader = Loader({"kernel": compile_kernel(source, "kernel", host_level())})
        self.kernel = KERNEL(self.loader.address("kernel"))

    def seconds(self, rows):
        """Return the time from the moment all threads start until the last is done, one row of words each."""
        ready, spans, clock = threading.Barrier(len(rows)), [], clock_for(len(rows))

        def work(row):
            ready.wait()
            start = clock()
            self.kernel(row.ctypes.data, 0, 1)
            spans.append((start, clock()))

        helpers = [threading.Thread(target=work, args=(row,)) for row in rows[1:]]
        for helper in helpers:
            helper.start()
        work(rows[0])
        for helper in helpers:
            helper.join()
        return max(stop for _, stop in spans) - min(start for start, _ in spans)


class Machine:
    """Peaks of `threads` threads together; a worker like a framework's, that is asked for rates."""

    MODES = ()

    def __init__(self, row, threads):
        self.threads = threads
        self.chains = chains_of(host_level())
        self.fma = {kind: Native(fma_source(kind, host_level())) for kind in LANES}
        self.triad = Native(TRIAD)

    def first(self):
        return self.flops()

    def flops(self, kind="f32"):
        """Return floating-point operations a second, two for a fused multiply-add."""
        room = [np.zeros(8 * self.chains) for _ in range(self.threads)]
        turns = TURNS if self.threads == 1 else TURNS_SHARED
        rows = [np.array([turns, one.ctypes.data], np.int64) for one in room]
        return 2 * LANES[kind] * self.chains * turns * self.threads / self.fma[kind].seconds(rows)

    def bandwidth(self, footprint):
        """Return bytes a second of a triad (two arrays read, one written) on three arrays of so many bytes together."""
        size = max(4096, footprint // (3 * self.threads) // 64 * 64)
        # Written before: memory that nobody wrote is one page of zeros for all, which lies in the nearest cache.
        room = [np.full((3, size + 64), 63, np.uint8) for _ in range(self.threads)]
        turns = 1 + (1 << 28) // (3 * size * self.threads)
        rows = []
        for one in room:
            starts = [line.ctypes.data + -line.ctypes.data % 64 for line in one]
            rows.append(np.array([turns, *starts, size], np.int64))
        return 3 * size * turns * self.threads / self.triad.seconds(rows)
