"""Random graphs over the ops that passes rewrite, for comparing a graph before and after."""

import numpy as np

import graphc

SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.0, 0.5, np.inf, -np.inf, np.nan])


class Builder:
    """Grows a graph node by node; every choice comes from the seed."""

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
        return self.pick(self.pool[-12:])

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
        return graphc.pad(a, widths, value=self.pick([0.0, 0.0, 1.0]), interior=interior)

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

    def again(self):
        """The same op on the same operands: something for cse."""
        a = self.node()
        return graphc.tanh(a * 2.0) + graphc.tanh(a * 2.0)

    KINDS = (
        *(binary, binary, binary, divide, unary, where, permute, permute, reshape, squeeze, broadcast, broadcast),
        *(reduce, reduce, slice, slice, rows, pad, concat, matmul, gradient, scan, cond, again),
    )
