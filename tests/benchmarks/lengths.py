"""An LSTM (32-128, batch 32, one training step with SGD) over T = 16 to 4096: compile time, memory and time.

    GRAPHC_CACHE=$(mktemp -d) python -m tests.benchmarks.lengths [--most T] [--threads N]

For each T: gradients that store what they need of every step, and with about the square root of T states kept (what
`checkpoint="auto"` does from 32 MiB of states on). Compile: seconds in an empty cache, with the number of kernels. Memory: of
the temporaries. Step: milliseconds of a step, least of several.
"""

import argparse
import math
import shutil
import time

import numpy as np

import graphc
from graphc.emit import cache

FEATURES, HIDDEN, BATCH = 32, 128, 32


def training(length, checkpoint, threads):
    generator = np.random.default_rng(0)

    def weight(rows):
        return graphc.parameter((generator.normal(size=(rows, 4 * HIDDEN)) / rows**0.5).astype("float32"))

    wx, wh = weight(FEATURES), weight(HIDDEN)
    b = graphc.parameter(np.zeros(4 * HIDDEN, "float32"))
    x = graphc.input("x", (length, BATCH, FEATURES))

    def step(carry, v):
        h, c = carry
        z = h @ wh + v @ wx + b
        i, f, g, o = (z[:, k * HIDDEN : (k + 1) * HIDDEN] for k in range(4))
        c = graphc.sigmoid(f) * c + graphc.sigmoid(i) * graphc.tanh(g)
        h = graphc.sigmoid(o) * graphc.tanh(c)
        return (h, c), h

    zero = graphc.zeros((BATCH, HIDDEN))
    _, rows = graphc.scan(step, (zero, zero), x, checkpoint=checkpoint)
    # Of all times: a gradient that comes from the end alone would fade into denormal numbers, which are slow.
    loss = (rows * rows).sum()
    weights = [wx, wh, b]
    updates = {w: w - 0.01 * g for w, g in zip(weights, graphc.grad(loss, weights), strict=True)}
    return graphc.compile([x], loss, updates=updates, threads=threads)


def measured(length, checkpoint, threads):
    """Return seconds to compile, kernels, bytes of temporaries, seconds of a step."""
    shutil.rmtree(cache.folder(), ignore_errors=True)
    feed = np.random.default_rng(1).normal(size=(length, BATCH, FEATURES)).astype("float32")
    start = time.perf_counter()
    step = training(length, checkpoint, threads)
    bound = step.bind(feed)
    compiled = time.perf_counter() - start
    least = math.inf
    for _ in range(3):
        start = time.perf_counter()
        bound()
        least = min(least, time.perf_counter() - start)
    return compiled, len(step.plan.kernels), step.peak_bytes(), least


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print("| T | compile, s (kernels) | memory, MiB | step, ms | with sqrt(T) states: compile | memory | step |")
    print("|---|---|---|---|---|---|---|")
    length = 16
    while length <= options.most:
        cells: list[str] = []
        for checkpoint in (None, math.isqrt(length - 1) + 1):
            compiled, kernels, used, taken = measured(length, checkpoint, options.threads)
            cells += [f"{compiled:.2f} ({kernels})", f"{used / 2**20:.1f}", f"{taken * 1e3:.1f}"]
        print(f"| {length} | {' | '.join(cells)} |", flush=True)
        length *= 4


if __name__ == "__main__":
    main()
