"""Random graphs over everything that the scheduler must place: mixed dtypes, draws, indices from data, loops, branches, images.

Sizes lie below, at and above a vector's lanes; "n" may be 0 or 1. `python -m tests.schedule.random_graphs --count 2000`
compiles many and compares what they compute with the reference run: called with views that begin anywhere, and each kernel
on arrays that end at a protected page. With `--passes` nothing is compiled: what the passes make of them is compared.
"""

import argparse
import time
import warnings

import numpy as np

import graphc
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.verify import verify
from graphc.passes import collect_updates, drop_marks, run_passes
from graphc.schedule.natives import natives
from graphc.simd.levels import host_level
from tests.interpreter import Interpreter, compiled
from tests.passes.noise import difference, is_open, unlike
from tests.passes.random_graphs import Builder
from tests.schedule.random_images import LARGEST, Images
from tests.schedule.random_products import Products


class WideBuilder(Products, Images, Builder):
    """Grows graphs of both float dtypes, one of them `float`, the `other` rarer, of integers and bool."""

    LENGTHS = (0, 1, 2, 3, 5, 7, 17, 33)

    def __init__(self, seed):
        self.rng = np.random.default_rng([seed, 1])
        self.special = False
        self.float = self.pick(["float64", "float64", "float32"])
        self.other = "float32" if self.float == "float64" else "float64"
        self.side = int(self.pick([1, 2, 3, 4, 8, 16, 17, 20]))
        self.length = int(self.pick(self.LENGTHS))
        self.sizes = [1, 2, 3, self.side]
        side = self.side
        self.x = self.leaf("x", (2, side))
        self.y = self.leaf("y", ("n", side))
        self.v = self.leaf("v", ("n",))
        self.z = graphc.input("z", ("n", side), self.other)
        self.b = graphc.input("b", (2, side), self.pick(["uint8", "uint32"]))
        self.k = graphc.input("k", ("n",), "int32")
        self.m = graphc.input("m", (2, 3), self.pick(["int64", "int32"]))
        self.w = graphc.parameter(self.numbers((side, side)), "w", dtype=self.float)
        self.h = graphc.state(self.numbers((side,)), "h", dtype=self.float)
        self.u = graphc.parameter(self.numbers((side, side)), "u", dtype=self.other)
        picture, factors = self.begin_images(), self.begin_products()
        self.inputs = [self.x, self.y, self.v, self.k, self.m, self.z, self.b, self.picture, *self.factors]
        self.pool = [self.x, self.y, self.v, self.z, self.w, self.u, self.h, graphc.constant(self.numbers((side,)))]
        self.integers = [self.b, self.k, self.m, graphc.arange(4), graphc.astype(graphc.arange(side), "int32")]
        self.feeds = {
            self.x: self.numbers((2, side)),
            self.y: self.numbers((self.length, side)),
            self.v: self.numbers((self.length,)),
            self.k: self.rng.integers(-2, 2, self.length).astype("int32"),
            self.m: self.rng.integers(-2, 2, (2, 3)).astype(self.m.dtype.numpy),
            self.z: self.numbers((self.length, side)).astype(self.other),
            self.b: self.rng.integers(0, 250, (2, side)).astype(self.b.dtype.numpy),
            self.picture: picture,
            **dict(zip(self.factors, factors, strict=True)),
        }

    def leaf(self, name, shape):
        return graphc.input(name, shape, self.float)

    def numbers(self, shape):
        return self.rng.normal(size=shape).astype(self.float)

    def kind(self):
        return self.pick([self.float, self.float, self.other])

    def like(self, node):
        return graphc.full(node.shape, self.number(), dtype=self.kind())

    def grow(self, count):
        for _ in range(count):
            try:
                new = self.pick(self.pick(self.FAMILIES))(self)
            except (graphc.ShapeError, graphc.GraphError, graphc.DTypeError):
                continue
            known = [d for d in new.shape if isinstance(d, int)]
            if new.ndim > 4 or np.prod(known, dtype=float) > LARGEST:
                continue
            if new.dtype.is_float:
                self.pool.append(new)
            elif new.dtype.kind in "iu":
                self.integers.append(new)
        return self

    def integer(self):
        return self.pick(self.integers[-8:])

    def condition(self):
        return self.pick([self.node() > 0.1, self.integer() > 0, self.node() <= self.node()])

    def outputs(self, count=3):
        found = [self.node() for _ in range(count)] + [self.integer()]
        found += [self.pick(self.large)] if self.large and self.rng.random() < 0.7 else []
        return [*found, self.pick(found)] if self.rng.random() < 0.2 else found

    def scalar(self):
        return sum((graphc.tanh(self.node()) * self.number()).sum() for _ in range(3)) * 1.0

    def axis(self, node):
        if not node.ndim:
            raise graphc.ShapeError("no axis")
        return int(self.rng.integers(node.ndim))

    def unary(self):
        kinds = [graphc.negative, graphc.tanh, graphc.relu, graphc.sigmoid, graphc.abs, graphc.square]
        kinds += [lambda a: graphc.exp(-graphc.square(a)), lambda a: graphc.log(graphc.square(a) + 1.0)]
        return self.pick(kinds)(self.node())

    def extreme(self):
        a = self.node()
        axis = self.axis(a)
        return self.pick([graphc.max, graphc.min])(a, axis=axis, keepdims=bool(self.rng.random() < 0.5))

    def normalised(self):
        a = self.node()
        return self.pick([graphc.softmax, graphc.logsumexp, graphc.log_softmax, graphc.mean])(a, axis=self.axis(a))

    def arg(self):
        a = self.node()
        return self.pick([graphc.argmax, graphc.argmin])(a, axis=self.axis(a))

    def cumulative(self):
        a = self.pick([self.node(), self.node(), self.integer()])
        return graphc.cumulative_sum(a, axis=self.axis(a), reverse=bool(self.rng.random() < 0.5))

    def take(self):
        a = self.node()
        axis = self.axis(a)
        indices = graphc.clip(graphc.astype(self.integer(), "int64"), -1, 0)
        if isinstance(a.shape[axis], int):
            indices = graphc.remainder(graphc.astype(self.integer(), "int64"), max(1, a.shape[axis]))
        elif self.length == 0:
            raise graphc.ShapeError("nothing to take")
        return graphc.take(a, indices, axis=axis)

    def scatter(self):
        a = self.node()
        if not a.ndim or a.shape[0] == 0:
            raise graphc.ShapeError("nothing to add")
        size = int(self.rng.integers(1, 5))
        positions = graphc.arange(a.shape[0]) * int(self.rng.integers(1, 4))
        return graphc.scatter_add(graphc.remainder(positions, size), a, size)

    def hot(self):
        return graphc.one_hot(graphc.clip(self.integer(), 0, 1), int(self.rng.integers(2, 5)), self.kind())

    def whole(self):
        a, b = self.integer(), self.pick([self.integer(), 2, 3, -1])
        kinds = [graphc.add, graphc.subtract, graphc.multiply, graphc.maximum, graphc.minimum]
        return self.pick(kinds)(a, b)

    def divided(self):
        a = self.integer()
        return self.pick([graphc.floor_divide, graphc.remainder])(
            a, int(self.pick([2, 3, -3 if a.dtype.kind == "i" else 7]))
        )

    def cast(self):
        a = self.node()
        if self.rng.random() < 0.5:
            return graphc.astype(a, self.kind())
        whole = self.pick([self.integer(), graphc.clip(a * 4.0 + 0.123, -9, 9), graphc.clip(a * a * 9.0 + 0.3, 0, 200)])
        unsigned = ["uint8", "uint32"] if whole.dtype.kind == "u" else []
        return graphc.astype(whole, self.pick(["int32", "int64", self.float, self.other, *unsigned]))

    def counted(self):
        return graphc.sum(graphc.astype(self.condition(), self.pick(["int32", "int64", self.kind()])), axis=-1)

    def logical(self):
        a = self.condition()
        return self.pick([graphc.any, graphc.all])(a, axis=self.axis(a))

    def chosen(self):
        return graphc.where(self.condition(), self.node(), self.pick([self.node(), self.number()]))

    def draw(self):
        shape = self.node().shape
        kinds = [graphc.uniform, graphc.normal]
        return self.pick(kinds)(shape, dtype=self.kind())

    def matmul(self):
        a, b = self.node(), self.node()
        return a @ self.pick([self.w, self.w.T, self.u, b, graphc.permute_dims(b)])

    def einsum(self):
        a, b = self.node(), self.node()
        forms = ["ij,jk->ik", "ij,kj->ki", "ij,ij->i", "ij,ij->j", "ji,jk->ik", "i,j->ji", "ij,j->i", "ij,ik->jk"]
        fitting = [f for f in forms if len(f.split(",")[0]) == a.ndim and f.index("->") - a.ndim - 1 == b.ndim]
        if not fitting:
            raise graphc.ShapeError("no form fits")
        return graphc.einsum(self.pick(fitting), a, b)

    def operand(self, operand):
        """As the other builder's, of any float."""
        given = super().operand(operand)
        return graphc.astype(given, self.float) if given.dtype.is_float else given

    def scan(self):
        a = self.node()
        self.axis(a)
        rest = a.shape[1:]
        if any(not isinstance(d, int) for d in rest):
            raise graphc.ShapeError("a carry of unknown size")
        kinds = self.kind(), self.kind()
        first, second = (graphc.constant(self.numbers(rest).astype(kind)) for kind in kinds)
        kind = int(self.rng.integers(5))

        def step(carry, x):
            carry, results = steps(carry, x)
            return tuple(graphc.astype(c, kind) for c, kind in zip(carry, kinds, strict=True)), results

        def steps(carry, x):
            p, q = carry
            match kind:
                case 0:
                    return (q, p), p + x
                case 1:
                    return (graphc.tanh(p + x), p), (q, x * 2.0)
                case 2:
                    return (graphc.where(x > 0.0, p, q), q * 0.5 + x), p * q
                case 3:
                    return (p * 0.9 + x.sum(), q + graphc.tanh(p)), (p, p)
                case _:
                    sides = (lambda: graphc.tanh(p) + x, lambda: q * 0.5)
                    picked = graphc.cond(
                        q.sum() > 0.0, *(lambda one=one: graphc.astype(one(), self.other) for one in sides)
                    )
                    return (picked, p), picked.sum()

        (p, q), results = graphc.scan(step, (first, second), a, reverse=bool(self.rng.random() < 0.3))
        return self.pick([p, q, *(results if isinstance(results, tuple) else [results])])

    def nested(self):
        a = self.node()
        if a.ndim < 2 or any(not isinstance(d, int) for d in a.shape[1:]):
            raise graphc.ShapeError("no rows of rows")
        back = bool(self.rng.random() < 0.5)

        def inner(carry, x):
            return graphc.tanh(carry * 0.7 + x), carry + x

        def outer(carry, rows):
            last, history = graphc.scan(inner, carry, rows, reverse=back)
            return last + history.sum(axis=0) * 0.1, (history, last)

        begin = graphc.constant(self.numbers(a.shape[2:]).astype(a.dtype.numpy))
        last, (history, lasts) = graphc.scan(outer, begin, a)
        return self.pick([last, history, lasts])

    def branch(self):
        a, w = self.node(), self.w

        def deep(x):
            return graphc.scan(lambda h, r: (graphc.astype(graphc.tanh(h @ w + r), self.float), h), self.h, x)[1]

        kinds = [(lambda: a * 2.0, lambda: graphc.tanh(a)), (lambda: a, lambda: -a)]
        if a.ndim == 2 and a.shape[1] == self.side:
            kinds.append((lambda: deep(a), lambda: graphc.astype(a @ w, self.float)))
        return graphc.cond(self.pick([a.sum() > 0.0, self.v.sum() > 0.0]), *self.pick(kinds))

    def second(self):
        inner = graphc.grad(graphc.tanh(self.node()).sum(), self.w, disconnected="zeros")
        return graphc.grad((inner * inner).sum(), self.pick([self.w, self.x]), disconnected="zeros")

    KINDS = (
        *(kind for kind in Builder.KINDS if kind not in (Builder.scan, Builder.matmul)),
        *(matmul, matmul, cast, cast),
        *(unary, extreme, normalised, arg, cumulative, cumulative, take, take, scatter, hot, whole, divided, cast),
        *(counted, logical, chosen, draw, einsum, einsum, scan, scan, nested, branch, second, Builder.gradient),
    )
    FAMILIES = (KINDS, KINDS, KINDS, Images.LAYERS, Products.MATRICES)


class SmallBuilder(WideBuilder):
    """Grows what takes little time to run unjitted."""

    LENGTHS, CHANNELS, SIZES = (0, 1, 2, 3, 5), (1, 2, 3, 5, 17), ((1, 3, 17), (64, 65), (1, 7, 17))


def random_graph(seed, kind=WideBuilder):
    """Return the builder, a graph, whether it is for training, and the graph of that phase."""
    grown = kind(seed).grow(25)
    outputs = grown.outputs()
    if seed % 2:
        by = [grown.w, grown.x, grown.z, grown.picture, *grown.filters[-1:], *grown.factors]
        outputs.append(graphc.grad(grown.scalar(), grown.pick(by), disconnected="zeros"))
    graph, training = graphc.Graph(tuple(grown.inputs), tuple(outputs)), seed % 3 == 0
    plain = drop_marks(collect_updates(graph, training), training)
    try:
        graphc.evaluate(list(plain.outputs), grown.feeds)
    except (graphc.CallError, graphc.IndexOutOfRangeError):
        return random_graph(seed + 100_000, kind)  # sizes or indices that the graph refuses: take another graph
    return grown, graph, training, plain


def failure(seed):
    """Return what a compiled random graph computes that it does not mean, "" if nothing."""
    grown, graph, training, plain = random_graph(seed)
    run = graphc.compile(grown.inputs, list(graph.outputs), training=training, threads=1 + seed % 3)
    feeds = [anywhere(grown.feeds[node], (seed + n) % 7) for n, node in enumerate(grown.inputs)]
    stored = [leaf.value.copy() for leaf in run.graph.stored]
    if found := unlike(plain, grown.feeds, run(*feeds)):
        return "" if is_open(plain, grown.feeds) else found
    kernels = compiled(Loader(build.objects(run.plan.kernels, host_level(), lambda: natives(run.graph))))
    for begins in (False, True):
        alone = Interpreter(run.plan, feeds, stored, {"n": grown.length}, kernels, threads=2, begins=begins)
        if found := alone.error[0] or unlike(plain, grown.feeds, alone.result("output")):
            return f"on guarded arrays: {found}"
    return ""


def changed(seed):
    """Return what the passes change of a random graph's meaning, "" if nothing."""
    grown, graph, training, plain = random_graph(seed)
    found = difference(
        plain, run_passes(graph, training=training, check=verify if seed % 10 == 0 else None), grown.feeds
    )
    return "" if found and is_open(plain, grown.feeds) else found


def anywhere(array, elements):
    """Return an equal array that begins so many elements behind the place where memory was given."""
    whole = np.empty(array.size + elements, array.dtype)
    view = whole[elements:].reshape(array.shape)
    view[...] = array
    return view


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--start", type=int, default=10_000)
    parser.add_argument("--passes", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    begun, failed = time.perf_counter(), 0
    for k in range(options.count):
        try:
            found = (changed if options.passes else failure)(options.start + k)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        failed += bool(found)
        if found:
            print(f"seed {options.start + k}: {found}", flush=True)
        if (k + 1) % 50 == 0:
            print(f"{k + 1} graphs, {failed} failures, {time.perf_counter() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
