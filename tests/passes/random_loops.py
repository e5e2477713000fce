"""Random loops: a loop in pieces gives the bits of one that stores everything, in its values and its gradients.

`python -m tests.passes.random_loops --count 100 --start 0` looks at so many; with `--deep` loops follow one another, run
backwards, are truncated, or derived twice.
"""

import argparse
import time

import numpy as np

import graphc

PIECES = (1, 2, 3)
STEPS = (1, 2, 5, 7)


class Program:
    """One loop of a few states, with two results a step that are reduced outside; every choice comes from the seed."""

    def __init__(self, seed, deep=False):
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.dtype = self.pick(["float32", "float64"])
        self.hidden = self.pick([1, 2, 5, 16, 20])
        self.size = self.pick([1, 3, 16])
        self.batch = self.pick(["batch", "batch", 1, 4])
        self.time = self.pick(["time", "time", 5, 6])
        self.cell, self.results, self.losses = (
            self.pick(CELLS),
            [self.pick(RESULTS) for _ in range(2)],
            [self.pick(LOSSES) for _ in range(2)],
        )

        self.layers, self.reverse, self.truncate, self.twice = 1, False, None, False
        if deep:
            self.layers, self.reverse = self.pick([1, 2]), self.pick([False, True])
            self.truncate, self.twice = self.pick([None, None, 3]), self.pick([False, True])

    def pick(self, items):
        return items[int(self.rng.integers(len(items)))]

    def __str__(self):
        names = [f.__name__ for f in (self.cell, *self.results, *self.losses)]
        sizes = f"hidden {self.hidden}, size {self.size}, {self.time} x {self.batch}"
        kinds = f"{self.layers} layers, reverse {self.reverse}, truncate {self.truncate}, twice {self.twice}"
        return f"seed {self.seed}: {' '.join(names)}, {self.dtype}, {sizes}, {kinds}"

    def weights(self):
        generator = np.random.default_rng(self.seed)
        shapes = {
            "w": (self.hidden, self.hidden),
            "u": (self.size, self.hidden),
            "v": (self.hidden,),
            "b": (self.hidden,),
        }
        return {
            name: graphc.parameter((generator.normal(size=s) / max(1, s[0]) ** 0.5).astype(self.dtype), name)
            for name, s in shapes.items()
        }

    def build(self, checkpoint):
        """Return the input and what is compared: losses, gradients and the last state."""
        w = self.weights()
        x = graphc.input("x", (self.time, self.batch, self.size), self.dtype)

        def step(h, now):
            new = self.cell(h, now, w)
            return new, tuple(make(new, now, h, w) for make in self.results)

        first = graphc.zeros((self.batch, self.hidden), self.dtype)
        options = {"checkpoint": checkpoint, "reverse": self.reverse, "truncate": self.truncate}
        rows = x
        if self.layers == 2:
            _, rows = graphc.scan(lambda h, now: (new := graphc.tanh(h * 0.5 + now @ w["u"]), new), first, x, **options)
            rows = rows @ w["u"].T
        last, rows = graphc.scan(step, first, rows, **options)
        losses = [reduce(one, rows[0]) for reduce, one in zip(self.losses, rows, strict=True)]
        total = losses[0] + losses[1] * 0.5
        by = [*w.values(), x]
        gradients = graphc.grad(total, by, disconnected="zeros")
        if self.twice:
            norm = sum((graphc.sin(one) * 0.5).sum() for one in gradients)
            gradients = graphc.grad(norm, by, disconnected="zeros")
        return x, [*losses, *gradients, last]

    def feeds(self):
        lengths = STEPS if self.time == "time" else (self.time,)
        batches = (1, 5, 17) if self.batch == "batch" else (self.batch,)
        for length in lengths:
            for batch in batches:
                generator = np.random.default_rng(100 * length + batch)
                yield generator.normal(size=(length, batch, self.size)).astype(self.dtype)


def tanh_cell(h, x, w):
    return graphc.tanh(h @ w["w"] + x @ w["u"] + w["b"])


def turned_cell(h, x, w):
    return graphc.tanh(h @ w["w"].T + graphc.sin(x) @ w["u"])


def mixed_cell(h, x, w):
    return h * 0.5 + graphc.tanh(x @ w["u"]) * w["v"]


CELLS = [tanh_cell, turned_cell, mixed_cell]


def state(h, x, before, w):
    return h


def product(h, x, before, w):
    return h @ w["w"]


def product_turned(h, x, before, w):
    return graphc.sin(h) @ w["w"].T


def projected(h, x, before, w):
    return x @ w["u"]


def with_vector(h, x, before, w):
    return h @ w["v"]


def row_sums(h, x, before, w):
    return (h * h).sum(-1, keepdims=True)


def column_sums(h, x, before, w):
    return graphc.exp(h).sum(0)


def total(h, x, before, w):
    return (h * h).sum()


def gram(h, x, before, w):
    return h.T @ h


def crossed(h, x, before, w):
    return h.T @ x


def transposed(h, x, before, w):
    return (h * 2.0).T


def outer(h, x, before, w):
    return before @ h.T


def normed(h, x, before, w):
    return graphc.softmax(h @ w["w"], -1) + w["b"]


def elementwise(h, x, before, w):
    return graphc.sin(h) * before


RESULTS = [
    state, product, product_turned, projected, with_vector, row_sums, column_sums, total, gram, crossed, transposed, outer,
    normed, elementwise,
]  # fmt: skip


def all_of(y, other):
    return graphc.sin(y).sum()


def plain_sum(y, other):
    return y.sum()


def over_time(y, other):
    return graphc.sin(y.sum(0)).sum()


def along_rows(y, other):
    return graphc.cos(y.sum(-1) if y.ndim else y).sum()


def of_last(y, other):
    return graphc.sin(y[-1]).sum()


def squares(y, other):
    return (y * y).mean()


def columns(y, other):
    flat = y.reshape((-1, y.shape[-1] if y.ndim > 1 else 1))
    return graphc.sin(flat.T @ flat).sum()


def turned(y, other):
    axes = (*range(1, y.ndim), 0)
    return (graphc.sin(graphc.permute_dims(y, axes)).sum(0) * 0.5).sum()


LOSSES = [all_of, plain_sum, over_time, along_rows, of_last, squares, columns, turned]


def differing(program, threads=(1, 2)):
    """Return what differs: pairs of how the loop is cut, and the numbers of the results."""
    x, wanted = program.build(None)
    whole = graphc.compile([x], wanted, threads=1)
    feeds = list(program.feeds())
    expected = [whole(fed) for fed in feeds]
    found = []
    for piece in PIECES:
        x, wanted = program.build(piece)
        for count in threads if piece == 2 else threads[-1:]:
            step = graphc.compile([x], wanted, threads=count)
            for fed, right in zip(feeds, expected, strict=True):
                for number, (one, other) in enumerate(zip(step(fed), right, strict=True)):
                    if one.tobytes() != other.tobytes():
                        found.append((piece, count, fed.shape, number))
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=100)
    options.add_argument("--start", type=int, default=0)
    options.add_argument("--deep", action="store_true")
    given = options.parse_args()
    began, failed = time.perf_counter(), 0
    for seed in range(given.start, given.start + given.count):
        program = Program(seed, given.deep)
        found = differing(program)
        failed += bool(found)
        if found:
            print(program)
            kinds = {(piece, number) for piece, _, _, number in found}
            print(f"    {len(found)}: pieces and results {sorted(kinds)}; first {found[0]}", flush=True)
    print(f"{given.count} loops, {failed} differ, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
