"""One training step of a recurrent network (forward, backward, Adam) beside PyTorch eager and jax.jit, interleaved in one run.

    python -m tests.benchmarks.recurrent [--rounds N] [--threads N] [ROW ...]     # needs torch, jax and optax
    python -m tests.benchmarks.recurrent --watch [--rounds N] [--threads N] [ROW ...]

The last state of one layer goes through a linear layer into a cross entropy, in time-major order for graphc and jax. Each round
times a block of steps of each; minimum and median over rounds, in microseconds. `call` is an ordinary call from Python,
`fit` the same steps as one native run (`repeat`); jax's `scan` likewise. `--watch`: the step that also returns the norm of
the gradient by each state, beside the one that does not, bound, in turn; what it costs is the median of the pairs' ratios.
"""

import argparse
import os
import statistics
import time

import numpy as np

import graphc
from graphc import nn, optim

# OpenMP's threads, which torch uses, go on spinning for 0.2 s after their work, on the cores that are measured next.
SETTLE = 0.25
ROWS = {
    "rnn": ("RNN", 16, 64, 50, 20),
    "lstm": ("LSTM", 32, 128, 64, 5),
    "gru": ("GRU", 32, 128, 64, 5),
}
BATCH, CLASSES = 32, 10


def arrays(features, length):
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(length, BATCH, features)).astype("float32"),
        generator.integers(0, CLASSES, BATCH),
    )


def training(kind, features, hidden, length, threads=None, watch=False):
    """Return the compiled training step; `watch`: that returns the norms of dL/dh_t, too."""
    x, y = graphc.input("x", (length, BATCH, features)), graphc.input("y", (BATCH,), "int64")
    probes = graphc.zeros((1, length))
    _, last = getattr(nn, kind)(features, hidden)(x, watch=probes if watch else None)
    state = last[0] if kind == "LSTM" else last
    loss = nn.cross_entropy(nn.Linear(hidden, CLASSES)(state[-1]), y)
    outputs = [loss, graphc.grad(loss, probes)] if watch else [loss]
    return graphc.compile([x, y], outputs, updates=optim.Adam(1e-3).minimize(loss), threads=threads)


def watching(row, rounds, threads):
    """Print what a step costs with and without norms, and the median of the ratios of pairs."""
    kind, features, hidden, length, count = ROWS[row]
    feeds = arrays(features, length)
    steps = [training(kind, features, hidden, length, threads, watch).bind(*feeds) for watch in (False, True)]
    times = [[], []]
    for turn in range(rounds + 2):
        for place in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            for _ in range(count):
                steps[place]()
            if turn >= 2:
                times[place].append((time.perf_counter() - start) / count * 1e6)
    for name, found in zip(("plain", "watched"), times, strict=True):
        print(f"{row:6s} {name:12s} {min(found):10.1f} {statistics.median(found):10.1f}", flush=True)
    ratios = [b / a for a, b in zip(*times, strict=True)]
    print(f"{row:6s} watching costs {100 * (statistics.median(ratios) - 1):.1f} % of the step", flush=True)


def ours(kind, features, hidden, length, count, threads):
    step = training(kind, features, hidden, length, threads)
    xs, labels = arrays(features, length)
    step(xs, labels)
    stacked = np.broadcast_to(labels, (count, BATCH)).copy()

    def call():
        for _ in range(count):
            step(xs, labels)

    def native():
        step.repeat(count, [xs, stacked], [1]).run()

    return {"graphc call": call, "graphc fit": native}


def torchs(kind, features, hidden, length, count, threads):
    import torch

    torch.set_num_threads(threads)
    layer, head = getattr(torch.nn, kind)(features, hidden), torch.nn.Linear(hidden, CLASSES)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=1e-3, fused=True)
    xs, labels = (torch.from_numpy(a) for a in arrays(features, length))

    def run():
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(head(layer(xs)[0][-1]), labels).backward()
            optimizer.step()

    return {"torch eager": run}


def jaxs(kind, features, hidden, length, count):
    import jax
    import jax.numpy as jnp
    import optax

    xs, labels = arrays(features, length)
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[kind]
    generator = np.random.default_rng(0)

    def linear(i, o):
        return {"w": jnp.asarray(generator.normal(size=(i, o)).astype("f4") / i**0.5), "b": jnp.zeros(o, "f4")}

    start = {
        "x": linear(features, gates * hidden),
        "h": linear(hidden, gates * hidden),
        "o": linear(hidden, CLASSES),
    }

    def cell(p, carry, x):
        z = carry[0] @ p["h"]["w"] + p["h"]["b"]
        if kind == "RNN":
            return (jnp.tanh(x + z),)
        if kind == "LSTM":
            i, f, g, o = jnp.split(x + z, 4, -1)
            c = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
            return jax.nn.sigmoid(o) * jnp.tanh(c), c
        (r1, u1, n1), (r2, u2, n2) = jnp.split(x, 3, -1), jnp.split(z, 3, -1)
        r, u = jax.nn.sigmoid(r1 + r2), jax.nn.sigmoid(u1 + u2)
        n = jnp.tanh(n1 + r * n2)
        return ((1 - u) * n + u * carry[0],)

    def loss(p, x, y):
        first = (jnp.zeros((BATCH, hidden)),) * (2 if kind == "LSTM" else 1)
        last, _ = jax.lax.scan(lambda c, t: (cell(p, c, t), None), first, x @ p["x"]["w"] + p["x"]["b"])
        logits = last[0] @ p["o"]["w"] + p["o"]["b"]
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(BATCH), y])

    adam = optax.adam(1e-3)

    def update(state, _):
        p, s = state
        gradient = jax.grad(loss)(p, xs, labels)
        change, s = adam.update(gradient, s)
        return (optax.apply_updates(p, change), s), None

    one = jax.jit(lambda state: update(state, None)[0])
    many = jax.jit(lambda state: jax.lax.scan(update, state, None, length=count)[0])
    held = [(start, adam.init(start))]

    def call():
        for _ in range(count):
            held[0] = one(held[0])
        jax.block_until_ready(held[0])

    def scan():
        held[0] = many(held[0])
        jax.block_until_ready(held[0])

    return {"jax call": call, "jax scan": scan}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", action="store_true", help="time graphc only")
    parser.add_argument("--watch", action="store_true", help="time what the norms of gradients by states cost")
    options = parser.parse_args()
    if options.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    for row in options.rows:
        if options.watch:
            watching(row, options.rounds, options.threads)
            continue
        kind, features, hidden, length, count = ROWS[row]
        runs = ours(kind, features, hidden, length, count, options.threads)
        if not options.alone:
            runs |= torchs(kind, features, hidden, length, count, options.threads)
            runs |= jaxs(kind, features, hidden, length, count)
        times = {name: [] for name in runs}
        for turn in range(options.rounds + 2):
            for name, run in runs.items():
                time.sleep(0 if options.alone else SETTLE)
                start = time.perf_counter()
                run()
                if turn >= 2:
                    times[name].append((time.perf_counter() - start) / count * 1e6)
        for name, found in times.items():
            print(f"{row:6s} {name:12s} {min(found):10.1f} {statistics.median(found):10.1f}", flush=True)
        if not options.alone:
            best = min(min(found) for name, found in times.items() if not name.startswith("graphc"))
            print(f"{row:6s} best peer / graphc fit: {best / min(times['graphc fit']):.2f}x", flush=True)


if __name__ == "__main__":
    main()
