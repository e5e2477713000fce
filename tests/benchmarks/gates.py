"""The gates of an LSTM in a kernel of their own, or in the epilogue of their product: what each part of a forward step costs.

    python -m tests.benchmarks.gates [--rounds N]

128 units, batch 32, 64 steps, float32, one thread; microseconds a step, least and median of the rounds, all ways in turn. The
kernels are written out here as the emitter writes them, tiles of 4 rows and 4 vectors. In the epilogue a tile's vectors are
the four gates of 16 units, so that its weights are interleaved; `blocked`: what was projected before the loop lies in the
order in which tiles read it; `all blocked`: what is stored for the backward pass, too. All ways give the same bits.
"""

import argparse
import ctypes
import statistics
import time

import numpy as np

from graphc.emit.loader import Loader
from graphc.emit.objects import compile_kernel
from graphc.simd.levels import host_level

TIMES, BATCH, UNITS, ROWS = 64, 32, 128, 4
GATES = (("i", "sigmoid"), ("f", "sigmoid"), ("g", "tanh"), ("o", "sigmoid"))
STATE, GATED, BLOCKS = 4 * BATCH * UNITS, 16 * BATCH * UNITS, UNITS // 16
# Arguments: what was projected, weights in panels, the bias, h, the product, o, f, i, g, tanh(c), c.
COUNT = 11


def product(blocked):
    """The loops over tiles and their sums, up to the accumulators."""
    lines = [f"for block in range({BLOCKS}):", f"    for row in range(0, {BATCH}, {ROWS}):"]
    inner = [f"c{r}_{k} = f32x16(0.0)" for r in range(ROWS) for k in range(4)]
    inner.append(f"for d in range({UNITS}):")
    inner += [f"    b{k} = load_f32x16(p1 + {256 * UNITS} * block + 256 * d + {64 * k})" for k in range(4)]
    for r in range(ROWS):
        inner.append(f"    a = f32x16(load_f32(p3 + {STATE} * t + {4 * UNITS} * (row + {r}) + 4 * d))")
        inner += [f"    c{r}_{k} = fma(a, b{k}, c{r}_{k})" for k in range(4)]
    if blocked is None:
        inner += [
            f"store(c{r}_{k}, p4 + {16 * UNITS} * (row + {r}) + 256 * block + {64 * k})"
            for r in range(ROWS)
            for k in range(4)
        ]
    return [*lines, *(8 * " " + line for line in inner)]


def formulas(sums, projected, biases, own, row):
    """The gates of 16 units of one row; `own` is where they are stored, `row` where h is."""
    lines = []
    for (name, function), total, at, bias in zip(GATES, sums, projected, biases, strict=True):
        lines.append(f"{name} = {function}(load_f32x16({at}) + ({total} + {bias}))")
    lines += [f"c = f * load_f32x16(p10 + {STATE} * t + {own}) + i * g", "h = tanh(c)"]
    stored = zip("ofigh", range(5, 10), strict=True)
    lines += [f"store({name}, p{number} + {STATE} * t + {own})" for name, number in stored]
    return [*lines, f"store(c, p10 + {STATE} * (t + 1) + {own})", f"store(o * h, p3 + {STATE} * (t + 1) + {row})"]


def apart():
    """The loops over rows and their units, each of which reads the product."""
    at = f"{4 * UNITS} * row + 64 * block"
    lines = []
    for k in range(4):
        lines.append(f"s{k} = load_f32x16(p4 + {16 * UNITS} * row + {4 * UNITS * k} + 64 * block)")
        lines.append(f"q{k} = load_f32x16(p2 + {4 * UNITS * k} + 64 * block)")
    projected = [f"p0 + {GATED} * t + {16 * UNITS} * row + {4 * UNITS * k} + 64 * block" for k in range(4)]
    lines += formulas([f"s{k}" for k in range(4)], projected, [f"q{k}" for k in range(4)], at, at)
    return [f"for row in range({BATCH}):", f"    for block in range({BLOCKS}):", *(8 * " " + line for line in lines)]


def fused(read, stored):
    """The product with the gates in its epilogue; `read` and `stored`: whether these lie in blocks."""
    lines = [f"q{k} = load_f32x16(p2 + {4 * UNITS * k} + 64 * block)" for k in range(4)]
    for r in range(ROWS):
        rows, block = f"{4 * UNITS} * (row + {r}) + 64 * block", f"{64 * BATCH} * block + 64 * (row + {r})"
        wide = f"{16 * UNITS} * (row + {r}) + 64 * block"
        at = [f"4 * ({block}) + {64 * k}" if read else f"{wide} + {4 * UNITS * k}" for k in range(4)]
        projected = [f"p0 + {GATED} * t + {one}" for one in at]
        sums = [f"c{r}_{k}" for k in range(4)]
        lines += formulas(sums, projected, [f"q{k}" for k in range(4)], block if stored else rows, rows)
    return [*product(blocked=True), *(8 * " " + line for line in lines)]


WAYS = {
    "product alone": product(None),
    "gates alone": apart(),
    "product, then gates": product(None) + apart(),
    "gates in the epilogue": fused(False, False),
    "gates in the epilogue, blocked": fused(True, False),
    "gates in the epilogue, all blocked": fused(True, True),
}


def kernel(lines):
    """The kernel of all steps of one way."""
    head = ["def steps(args, thread, threads):", *(f"    p{k} = word(args, {k + 1})" for k in range(COUNT))]
    return "\n".join([*head, f"    for t in range({TIMES}):", *(8 * " " + line for line in lines)]) + "\n"


def aligned(keep, array):
    """A copy that begins at a page, as buffers of a plan do."""
    raw = np.zeros(array.nbytes + 4096, "uint8")
    keep.append(raw)
    first = -raw.ctypes.data % 4096
    copy = raw[first : first + array.nbytes].view("float32").reshape(array.shape)
    copy[...] = array
    return copy


def calls(keep):
    """Return for each way a function that makes all steps, and the array of h that it fills."""
    generator = np.random.default_rng(0)
    projected = generator.normal(size=(TIMES, BATCH, 4 * UNITS)).astype("float32")
    weight = (generator.normal(size=(UNITS, 4 * UNITS)) / UNITS**0.5).astype("float32")
    bias = aligned(keep, generator.normal(size=4 * UNITS).astype("float32"))
    by_gate = weight.reshape(UNITS, 4, BLOCKS, 16).transpose(2, 0, 1, 3)
    panels = [aligned(keep, one) for one in (weight.reshape(UNITS, BLOCKS, 64).transpose(1, 0, 2), by_gate)]
    by_block = projected.reshape(TIMES, BATCH, 4, BLOCKS, 16).transpose(0, 3, 1, 2, 4)
    given = [aligned(keep, one) for one in (projected, by_block)]
    h, c = (aligned(keep, np.zeros((TIMES + 1, BATCH, UNITS), "float32")) for _ in "hc")
    others = [aligned(keep, np.zeros((TIMES, BATCH, UNITS), "float32")) for _ in range(5)]
    total = aligned(keep, np.zeros((BATCH, 4 * UNITS), "float32"))
    found = {}
    for name, lines in WAYS.items():
        loader = Loader({"steps": compile_kernel(kernel(lines), "steps", host_level())})
        arrays = [given["blocked" in name], panels["epilogue" in name], bias, h, total, *others, c]
        words = np.array([0, *(array.ctypes.data for array in arrays)], "int64")
        run = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(loader.address("steps"))
        keep += [loader, words]
        found[name] = lambda run=run, at=words.ctypes.data: run(at, 0, 1)
    return found, h, c


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400)
    rounds, keep = parser.parse_args().rounds, []
    ways, h, c = calls(keep)
    results = []
    for name, run in ways.items():
        if "alone" not in name:
            h[1:], c[:] = 0, 0
            run()
            results.append(h.copy())
    assert all(np.array_equal(one, results[0]) for one in results)
    assert np.abs(results[0]).max() > 0
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            times[name].append(1e6 * (time.perf_counter() - start) / TIMES)
    print("| | least, us | median |\n|---|---|---|")
    for name, found in times.items():
        print(f"| {name} | {min(found):.1f} | {statistics.median(found):.1f} |")


if __name__ == "__main__":
    main()
