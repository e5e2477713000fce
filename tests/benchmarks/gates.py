"""The gates of a recurrent cell in a kernel of their own, or in the epilogue of their product: a forward step both ways.

    python -m tests.benchmarks.gates [--cells lstm gru] [--batches 1 32] [--units 32 128] [--kept yes no] [--rounds N]

64 steps, float32, one thread; microseconds a step, least of the rounds, all ways in turn. The kernels are written out here as
the emitter writes them: tiles of 4 rows, or of one, and a vector of each gate (of one row, two vectors). In the epilogue a
tile's vectors are the gates of the same units, so that its weights are interleaved; `blocked`: what was projected before the
loop lies in the order in which tiles read it. `kept`: what the backward pass reads is stored, as in training, or no more than
the states, as in a prediction. All ways give the same bits.
"""

import argparse
import ctypes
import time

import numpy as np

from graphc.emit.loader import Loader
from graphc.emit.objects import compile_kernel
from graphc.simd.levels import host_level

TIMES = 64
# Each cell's gates, what it makes of them (of sums s0, s1, ..., projections x0, ... and the old state), and what is kept of that.
CELLS = {
    "lstm": (
        4,
        ["i = sigmoid(x0 + s0)", "f = sigmoid(x1 + s1)", "g = tanh(x2 + s2)", "o = sigmoid(x3 + s3)"],
        ["c = f * old + i * g", "h = tanh(c)", "new = o * h"],
        ("i", "f", "g", "o", "h"),
    ),
    "gru": (
        3,
        ["r = sigmoid(x0 + s0)", "z = sigmoid(x1 + s1)", "n = tanh(x2 + r * s2)"],
        ["new = n + z * (old - n)"],
        ("r", "z", "n", "s2"),
    ),
}
# Arguments: what was projected, weights in panels, the bias, h, the product, c, then what is kept.
PROJECTED, WEIGHT, BIAS, STATE, PRODUCT, CELL, KEPT = range(7)


class Step:
    """The kernels of one cell and size."""

    def __init__(self, cell, batch, units, kept):
        self.cell, self.batch, self.units, self.is_kept = cell, batch, units, kept
        self.gates, self.inner, self.outer, self.kept = CELLS[cell]
        self.blocks = units // 16
        self.rows = min(batch, 4)
        self.together = min(self.blocks, 2) if self.rows == 1 else 1  # blocks of units in a tile
        self.vectors = self.gates * self.together

    def product(self, epilogue):
        """The loops over tiles with their sums, and what follows these: lines for a block and a row of it."""
        h, width = 4 * self.batch * self.units, 64 * self.vectors
        lines = [
            f"for tile in range({self.blocks // self.together}):",
            f"    for row in range(0, {self.batch}, {self.rows}):",
        ]
        sums = [(r, k) for r in range(self.rows) for k in range(self.vectors)]
        inner = [f"c{r}_{k} = f32x16(0.0)" for r, k in sums]
        inner.append(f"for d in range({self.units}):")
        panel = f"p{WEIGHT} + {width * self.units} * tile + {width} * d"
        inner += [f"    b{k} = load_f32x16({panel} + {64 * k})" for k in range(self.vectors)]
        for r in range(self.rows):
            inner.append(f"    a = f32x16(load_f32(p{STATE} + {h} * t + {4 * self.units} * (row + {r}) + 4 * d))")
            inner += [f"    c{r}_{k} = fma(a, b{k}, c{r}_{k})" for k in range(self.vectors)]
        return [*lines, *(8 * " " + line for line in (*inner, *epilogue))]

    def formulas(self, sums, block, row, *, blocked):
        """The gates of a block of 16 units of one row."""
        wide, at = 4 * self.gates * self.units, f"{4 * self.units} * ({row}) + 64 * ({block})"
        state, lines = 4 * self.batch * self.units, []
        for k, total in enumerate(sums):
            place = f"{wide} * ({row}) + {4 * self.units * k} + 64 * ({block})"
            if blocked:
                place = f"{64 * self.gates} * ({self.batch} * ({block}) + {row}) + {64 * k}"
            lines.append(f"x{k} = load_f32x16(p{PROJECTED} + {wide * self.batch} * t + {place})")
            lines.append(f"s{k} = {total} + load_f32x16(p{BIAS} + {4 * self.units * k} + 64 * ({block}))")
        carried = CELL if self.cell == "lstm" else STATE
        lines += [*self.inner, f"old = load_f32x16(p{carried} + {state} * t + {at})", *self.outer]
        if self.is_kept:
            lines += [f"store({name}, p{KEPT + n} + {state} * t + {at})" for n, name in enumerate(self.kept)]
        if self.cell == "lstm":
            lines.append(f"store(c, p{CELL} + {state} * (t + 1) + {at})")
        return [*lines, f"store(new, p{STATE} + {state} * (t + 1) + {at})"]

    def alone(self):
        """The product, stored."""
        stores = [
            f"store(c{r}_{k}, p{PRODUCT} + {4 * self.gates * self.units} * (row + {r}) + {64 * self.vectors} * tile + {64 * k})"
            for r in range(self.rows)
            for k in range(self.vectors)
        ]
        return self.product(stores)

    def apart(self):
        """The gates in loops of their own, which read the product."""
        wide = 4 * self.gates * self.units
        reads = [
            f"load_f32x16(p{PRODUCT} + {wide} * row + {4 * self.units * k} + 64 * block)" for k in range(self.gates)
        ]
        lines = self.formulas(reads, "block", "row", blocked=False)
        return [
            f"for row in range({self.batch}):",
            f"    for block in range({self.blocks}):",
            *(8 * " " + line for line in lines),
        ]

    def fused(self, *, blocked):
        """The product with the gates in its epilogue."""
        lines = []
        for r in range(self.rows):
            for b in range(self.together):
                sums = [f"c{r}_{self.gates * b + k}" for k in range(self.gates)]
                lines += self.formulas(sums, f"{self.together} * tile + {b}", f"row + {r}", blocked=blocked)
        return self.product(lines)

    def ways(self):
        """Return the lines of each way."""
        return {
            "product": self.alone(),
            "product, then gates": self.alone() + self.apart(),
            "epilogue": self.fused(blocked=False),
            "blocked": self.fused(blocked=True),
        }

    def calls(self, keep):
        """Return for each way a function that makes all steps, and the array of h that it fills."""
        generator, width = np.random.default_rng(0), self.gates * self.units
        projected = generator.normal(size=(TIMES, self.batch, width)).astype("float32")
        weight = (generator.normal(size=(self.units, width)) / self.units**0.5).astype("float32")
        tiles, each = self.blocks // self.together, 16 * self.vectors
        by_gate = weight.reshape(self.units, self.gates, tiles, self.together, 16).transpose(2, 0, 3, 1, 4)
        panels = [aligned(keep, one) for one in (weight.reshape(self.units, tiles, each).transpose(1, 0, 2), by_gate)]
        by_block = projected.reshape(TIMES, self.batch, self.gates, self.blocks, 16).transpose(0, 3, 1, 2, 4)
        given = [aligned(keep, one) for one in (projected, by_block)]
        bias = aligned(keep, generator.normal(size=width).astype("float32"))
        h, c = (aligned(keep, np.zeros((TIMES + 1, self.batch, self.units), "float32")) for _ in "hc")
        kept = [aligned(keep, np.zeros((TIMES, self.batch, self.units), "float32")) for _ in self.kept]
        total = aligned(keep, np.zeros((self.batch, width), "float32"))
        found = {}
        for name, lines in self.ways().items():
            loader = Loader({"steps": compile_kernel(kernel(lines, KEPT + len(kept)), "steps", host_level())})
            is_fused = name in ("epilogue", "blocked")
            arrays = [given[name == "blocked"], panels[is_fused], bias, h, total, c, *kept]
            words = np.array([0, *(array.ctypes.data for array in arrays)], "int64")
            run = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(loader.address("steps"))
            keep += [loader, words]
            found[name] = lambda run=run, at=words.ctypes.data: run(at, 0, 1)
        return found, h


def kernel(lines, count):
    """The kernel of all steps of one way."""
    head = ["def steps(args, thread, threads):", *(f"    p{k} = word(args, {k + 1})" for k in range(count))]
    return "\n".join([*head, f"    for t in range({TIMES}):", *(8 * " " + line for line in lines)]) + "\n"


def aligned(keep, array):
    """A copy that begins at a page, as buffers of a plan do."""
    raw = np.zeros(array.nbytes + 4096, "uint8")
    keep.append(raw)
    first = -raw.ctypes.data % 4096
    copy = raw[first : first + array.nbytes].view("float32").reshape(array.shape)
    copy[...] = array
    return copy


def agree(ways, h):
    """Raise unless all ways give the same states."""
    results = []
    for name, run in ways.items():
        if name != "product":
            h[1:] = 0
            run()
            results.append(h.copy())
    assert all(np.array_equal(one, results[0]) for one in results)
    assert np.abs(results[0]).max() > 0


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 8, 32])
    parser.add_argument("--units", nargs="+", type=int, default=[16, 32, 64, 128, 256])
    parser.add_argument("--kept", nargs="+", choices=("yes", "no"), default=["yes", "no"])
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    print("| cell | batch | units | kept | product | product, then gates | epilogue | blocked |" + "\n|" + "---|" * 8)
    for cell in options.cells:
        for batch in options.batches:
            for units in options.units:
                for kept in options.kept:
                    keep = []
                    ways, h = Step(cell, batch, units, kept == "yes").calls(keep)
                    agree(ways, h)
                    least = dict.fromkeys(ways, np.inf)
                    for _ in range(options.rounds):
                        for name, run in ways.items():
                            start = time.perf_counter()
                            run()
                            least[name] = min(least[name], 1e6 * (time.perf_counter() - start) / TIMES)
                    times = " | ".join(f"{one:.2f}" for one in least.values())
                    print(f"| {cell} | {batch} | {units} | {kept} | {times} |", flush=True)


if __name__ == "__main__":
    main()
