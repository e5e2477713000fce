"""One training step (forward, backward, Adam) beside PyTorch eager, interleaved in one run.

    python -m tests.benchmarks.mlp [--rounds N] [--threads N] [ROW ...]     # needs torch (not a dependency)

Each round times a block of graphc's steps, then a block of torch's; minimum and median over rounds, in microseconds. `call`
is an ordinary call from Python, `fit` the same steps as one native run (`repeat`).
"""

import argparse
import itertools
import statistics
import time

import numpy as np

import graphc
from graphc import nn, optim

# OpenMP's threads, which torch uses, go on spinning for 0.2 s after their work, on the cores that are measured next.
SETTLE = 0.25
ROWS = {
    "mlp_tiny": ([2, 32, 32, 2], 32, nn.Tanh, 200),
    "mlp": ([784, 256, 128, 10], 128, nn.ReLU, 20),
    "mlp_big": ([784, 1024, 1024, 10], 256, nn.ReLU, 3),
}


def arrays(widths, batch):
    generator = np.random.default_rng(0)
    return generator.normal(size=(batch, widths[0])).astype("float32"), generator.integers(0, widths[-1], batch)


def ours(widths, batch, activation, count, threads):
    x, y = graphc.input("x", ("batch", widths[0])), graphc.input("y", ("batch",), "int64")
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), activation())][:-1]
    loss = nn.cross_entropy(nn.Sequential(*layers)(x), y)
    step = graphc.compile([x, y], loss, updates=optim.Adam(1e-3).minimize(loss), threads=threads)
    images, labels = arrays(widths, batch)
    step(images, labels)
    stacked = np.broadcast_to(labels, (count, batch)).copy()

    def call():
        for _ in range(count):
            step(images, labels)

    def native():
        step.repeat(count, [images, stacked], [1]).run()

    return call, native


def torchs(widths, batch, activation, count, threads):
    import torch

    torch.set_num_threads(threads)
    act = torch.nn.Tanh if activation is nn.Tanh else torch.nn.ReLU
    layers = [m for a, b in itertools.pairwise(widths) for m in (torch.nn.Linear(a, b), act())][:-1]
    net = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    images, labels = (torch.from_numpy(a) for a in arrays(widths, batch))

    def run():
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(f"{'row':10s} {'who':12s} {'min':>10s} {'median':>10s}   torch / it (min, median)")
    for row in options.rows:
        widths, batch, activation, count = ROWS[row]
        call, native = ours(widths, batch, activation, count, options.threads)
        runs = {
            "torch eager": torchs(widths, batch, activation, count, options.threads),
            "graphc call": call,
            "graphc fit": native,
        }
        times = {name: [] for name in runs}
        for turn in range(options.rounds + 2):
            for name, run in runs.items():
                time.sleep(SETTLE)
                start = time.perf_counter()
                run()
                if turn >= 2:
                    times[name].append((time.perf_counter() - start) / count * 1e6)
        torch_least, torch_median = min(times["torch eager"]), statistics.median(times["torch eager"])
        for name, found in times.items():
            least, median = min(found), statistics.median(found)
            print(
                f"{row:10s} {name:12s} {least:10.1f} {median:10.1f}   {torch_least / least:.1f}x, {torch_median / median:.1f}x"
            )


if __name__ == "__main__":
    main()
