"""Random graphs over the ops that passes rewrite, for comparing a graph before and after.

`python -m tests.passes.random_graphs --count 100000` does so many times.
"""

import argparse
import time
import warnings

import numpy as np

import graphc
from graphc.graph.structure import leaves
from graphc.graph.verify import verify
from graphc.passes import collect_updates, drop_marks, run_passes
from tests.ops.catalogue import ROWS
from tests.passes.noise import difference, is_open

# Draws differ by the place of their making, a user's own functions may do anything, unbounded loops have no gradient.
NOT_HERE = ("uniform", "normal", "native", "callback", "random", "bernoulli", "dropout", "elementwise", "while")
CATALOGUE = [row for row in ROWS if not any(word in row.name for word in NOT_HERE)]
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.0, 0.5, np.inf, -np.inf, np.nan])


class Builder:
    """Grows a graph node by node; every choice comes from the seed."""

    float = "float64"

    def __init__(self, seed, special=False):
        self.rng = np.random.default_rng(seed)
        self.special = special
        self.sizes = [1, 2, 3]
        shape = (2, 3)
        self.x = graphc.input("x", shape, "float64")
        self.y = graphc.input("y", ("n", 3), "float64")
        self.w = graphc.parameter(self.rng.normal(size=(3, 3)), "w")
        self.pool = [self.x, self.y, self.w, graphc.constant(self.numbers((3,)))]
        self.feeds = {self.x: self.numbers(shape), self.y: self.numbers((int(self.rng.integers(1, 4)), 3))}

    def numbers(self, shape):
        plain = self.rng.normal(size=shape)
        if not self.special:
            return plain
        return np.where(self.rng.random(shape) < 0.3, self.rng.choice(SPECIAL, shape), plain)

    def pick(self, items):
        return items[int(self.rng.integers(len(items)))]

    def node(self):
        return self.pick(self.pool[-9:])

    def number(self):
        return self.pick([0.0, 1.0, -1.0, 2.0, 0.5, 3.0, -0.25])

    def grow(self, count):
        for _ in range(count):
            try:
                new = self.pick(self.KINDS)(self)
            except (graphc.ShapeError, graphc.GraphError):
                continue
            if all(not isinstance(d, int) or d <= 12 for d in new.shape) and new.ndim <= 4:
                self.pool.append(new)
        return self

    def outputs(self, count=3):
        return [self.node() for _ in range(count)]

    def scalar(self):
        return sum((graphc.tanh(o) * self.number()).sum() for o in self.outputs()) * 1.0

    def binary(self):
        a, b = self.node(), self.pick([self.node(), self.number(), self.like(self.node())])
        return self.pick([graphc.add, graphc.subtract, graphc.multiply, graphc.maximum, graphc.minimum])(a, b)

    def like(self, node):
        return graphc.full(node.shape, self.number(), dtype="float64")

    def divide(self):
        return self.node() / self.pick([1.0, 2.0, 3.0, -4.0, graphc.exp(graphc.tanh(self.node()))])

    def unary(self):
        return self.pick(
            [graphc.negative, graphc.negative, graphc.tanh, graphc.relu, graphc.sigmoid, graphc.stop_gradient]
        )(self.node())

    def where(self):
        a = self.node()
        condition = self.pick([a > 0.0, ~(a > 0.0), (a > 0.0) & (a < 1.0), (a > 0.0) | True, graphc.training()])
        return graphc.where(condition, a, self.pick([a, a * 2.0, 0.0]))

    def permute(self):
        a = self.node()
        return graphc.permute_dims(a, tuple(int(k) for k in self.rng.permutation(a.ndim)))

    def reshape(self):
        a = self.node()
        return self.pick([lambda: a.reshape(-1), lambda: graphc.expand_dims(a, int(self.rng.integers(a.ndim + 1)))])()

    def squeeze(self):
        a = self.node()
        ones = [k for k, size in enumerate(a.shape) if size == 1]
        return graphc.squeeze(a, self.pick(ones)) if ones else a

    def broadcast(self):
        a = self.node()
        inner = [self.pick(self.sizes) if size == 1 else size for size in a.shape]
        return graphc.broadcast_to(a, (*self.pick([(), (2,), (1,), (3, 1)]), *inner))

    def reduce(self):
        a = self.node()
        axes = tuple(k for k in range(a.ndim) if self.rng.random() < 0.5)
        return graphc.sum(a, axis=axes, keepdims=bool(self.rng.random() < 0.5)) if axes else graphc.sum(a)

    def slice(self):
        a = self.node()
        key = tuple(
            slice(None)
            if not isinstance(size, int) or size == 0
            else self.pick(
                [
                    slice(None),
                    slice(0, size - 1),
                    slice(1, None),
                    slice(None, None, 2),
                    slice(None, None, -1),
                    slice(0, 1),
                ]
            )
            for size in a.shape
        )
        return a[key]

    def rows(self):
        a = self.node()
        if not a.ndim or not isinstance(a.shape[0], int):
            return a
        total = None
        for k in range(a.shape[0]):
            row = graphc.tanh(a[k]) * float(k + 1)
            total = row if total is None else total + row
        return a if total is None else total

    def pad(self):
        a = self.node()
        widths = [(int(self.rng.integers(2)), int(self.rng.integers(2))) for _ in a.shape]
        interior = [int(self.rng.integers(2)) if isinstance(size, int) else 0 for size in a.shape]
        return graphc.pad(a, widths, constant_values=self.pick([0.0, 0.0, 1.0]), interior=interior)

    def concat(self):
        a = self.node()
        axis = int(self.rng.integers(max(a.ndim, 1)))
        return graphc.concat([a, graphc.tanh(a), a * 2.0][: int(self.rng.integers(1, 4))], axis=axis) if a.ndim else a

    def matmul(self):
        a, b = self.node(), self.node()
        return a @ self.pick([self.w, self.w.T, b, graphc.permute_dims(b)])

    def gradient(self):
        a = self.node()
        return graphc.grad(graphc.tanh(a).sum(), self.pick([self.x, self.w, a]), disconnected="zeros")

    def scan(self):
        a = self.node()
        h0 = graphc.constant(self.rng.normal(size=3))

        def step(h, x):
            h = graphc.tanh(h @ self.w + x)
            return h, (h * 2.0, x)

        return self.pick([lambda s: s[0], lambda s: s[1][0], lambda s: s[1][1]])(graphc.scan(step, h0, a))

    def cond(self):
        a = self.node()
        condition = self.pick([a.sum() > 0.0, graphc.constant(True), graphc.training()])
        return graphc.cond(condition, lambda: graphc.tanh(a) * 2.0, lambda: -a)

    def operand(self, operand):
        """What a row of the catalogue wants: a node of the pool, cut or padded to the shape; draws for integers."""
        if operand.kind != "f":
            return graphc.constant(operand.draw(self.rng, self.float))
        known = [n for n in self.pool if all(isinstance(d, int) for d in n.shape) and n.tensor.size > 0]
        flat = self.pick(known).reshape(-1)
        size, wanted = flat.shape[0], int(np.prod(operand.shape))
        flat = flat[:wanted] if size >= wanted else graphc.pad(flat, (0, wanted - size), constant_values=0.5)
        return flat.reshape(operand.shape)

    def row(self):
        """An op of the catalogue, whatever it is."""
        row = self.pick(CATALOGUE)
        found = [n for n in leaves(row.build(*map(self.operand, row.operands))) if n.dtype.name == self.float]
        if not found:
            raise graphc.GraphError("no float to go on with")
        return self.pick(found)

    def whole(self):
        """Integers and booleans, whose algebra wraps around."""
        i = graphc.astype(graphc.clip(self.node(), -9.0, 9.0) * 3.7, self.pick(["int64", "int32"]))
        kinds = [
            lambda: (i + 3) + 5,
            lambda: i * 0 + i,
            lambda: -(i - 2),
            lambda: (i * 3) * 7,
            lambda: i - i,
            lambda: i // 1,
        ]
        j = self.pick(kinds)()
        b = (i > j) | ~(j <= 2)
        last = self.pick(
            [lambda: j, lambda: abs(-j), lambda: graphc.where(b & ~b, i, j), lambda: graphc.where(~b, i, j * 2)]
        )
        return graphc.astype(last(), self.float)

    def clipped(self):
        low, high = sorted((self.number(), self.number()))
        a = graphc.clip(self.node(), low, high)
        return self.pick(
            [lambda: graphc.clip(a, self.number(), 4.0), lambda: graphc.maximum(a, low), lambda: graphc.relu(a)]
        )()

    def exponential(self):
        """Formulas that overflow and cancel by hand."""
        a = self.node() * self.pick([1.0, 1.0, 30.0])
        weights = graphc.exp(a)
        axis = self.pick([None, -1, 0]) if a.ndim else None
        total = graphc.sum(weights, axis=axis, keepdims=True)
        kinds = [
            lambda: weights / total,
            lambda: graphc.log(weights / total),
            lambda: graphc.log(total),
            lambda: graphc.log(graphc.softmax(a, axis=axis if a.ndim else ())) if a.ndim else weights,
            lambda: graphc.sum(weights * self.number(), axis=axis, keepdims=True) / total,
            lambda: 1.0 / (1.0 + graphc.exp(-a)),
            lambda: weights / (weights + 1.0),
            lambda: graphc.log(1.0 + weights),
            lambda: graphc.log(graphc.sigmoid(a)),
            lambda: graphc.log(1.0 - graphc.sigmoid(a)),
            lambda: 1.0 - graphc.sigmoid(a),
            lambda: graphc.log(1.0 + graphc.relu(a)),
            lambda: weights - 1.0,
            lambda: graphc.sqrt(a * a),
        ]
        return self.pick(kinds)()

    def edges(self):
        """What equals something simpler for most numbers, but not for NaN, infinities or a zero's sign."""
        a, b = self.node(), self.node()
        same = self.pick([a, a * self.number(), -a])
        kinds = [
            *(lambda: same - same, lambda: same * 0.0, lambda: same / same, lambda: -(same - b), lambda: same + 0.0),
            *(
                lambda: 0.0 - same,
                lambda: graphc.negative(-same),
                lambda: (same * 3.0) * 0.7,
                lambda: (same / 3.0) / 7.0,
            ),
            *(lambda: -same * -b, lambda: b - -same, lambda: -(same * 0.3), lambda: graphc.sum(-same)),
            *(lambda: abs(-same), lambda: graphc.relu(same * same), lambda: (same - same) * b),
        ]
        found = self.pick(kinds)()
        if Builder.exponential not in self.KINDS:
            # Where an exponential overflows by hand, NaN becomes the number that it stands for: then this would choose anew.
            return self.pick([found, found, 1.0 / found, graphc.where(found == found, found, b)])
        return self.pick([found, found, 1.0 / found])

    def again(self):
        """The same op on the same operands: something for cse."""
        a = self.node()
        return graphc.tanh(a * 2.0) + graphc.tanh(a * 2.0)

    KINDS = (
        *(binary, binary, binary, divide, unary, where, permute, permute, reshape, squeeze, broadcast, broadcast),
        *(reduce, reduce, slice, slice, rows, pad, concat, matmul, gradient, gradient, scan, cond, again),
        *(row, row, row, row, row, row, whole, clipped, edges, edges, edges, exponential, exponential, gradient),
    )


def random_graph(seed):
    """Return a random graph in one phase, its feeds, and what the passes are given; None where sizes do not fit."""
    special, training = seed % 3 == 0, bool(seed % 2)
    grown = Builder(seed, special)
    if special and seed % 2:
        grown.KINDS = tuple(kind for kind in grown.KINDS if kind not in (Builder.exponential, Builder.row))
    outputs = grown.grow(14).outputs(4)
    length = grown.feeds[grown.y].shape[0]

    def fits(graph, size):
        return all(requirement.holds({"n": size}) for requirement in graph.requirements)

    # A size that must be 2 and 3 at once has no gradient to build.
    plain = graphc.Graph((grown.x, grown.y), tuple(outputs))
    if not any(fits(plain, size) for size in range(1, 13)):
        return None
    if seed % 2:
        outputs.append(graphc.grad(grown.scalar(), grown.w, disconnected="zeros"))
    graph = graphc.Graph((grown.x, grown.y), tuple(outputs))
    return (graph, grown.feeds, training) if fits(graph, length) else None


def failure(seed):
    """Return what the passes change of a random graph's meaning, "" if nothing.

    None where there is no such graph, or where what differs is left open by the documentation (`is_open`).
    """
    made = random_graph(seed)
    if made is None:
        return None
    graph, feeds, training = made
    passed = run_passes(graph, training=training, check=verify if seed % 10 == 0 else None)
    before = drop_marks(collect_updates(graph, training), training)
    found = difference(before, passed, feeds)
    return None if found and is_open(before, feeds) else found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    begun, run, failed = time.perf_counter(), 0, 0
    seed = options.start
    while run < options.count:
        try:
            found = failure(seed)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        run += found is not None
        failed += bool(found)
        if found:
            print(f"seed {seed}: {found}", flush=True)
        if run % 1000 == 0 and found is not None:
            print(f"{run} graphs, {failed} failures, {time.perf_counter() - begun:.0f} s", flush=True)
        seed += 1


if __name__ == "__main__":
    main()
