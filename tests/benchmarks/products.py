"""Matrix products in each framework, for `contractions`: a product, and both of its gradients, as one call each.

A framework's `seconds` gives the time of one call; `product` is "forward" (a @ b), "left" (c @ b.T, the gradient of a) or
"right" (a.T @ c, that of b), with a: m x k, b: k x n, c: m x n.
"""

import numpy as np

from tests.benchmarks.clock import clock_for


class Products:
    """What the frameworks share: operands, and a timed block of calls. `call` makes the function to be timed."""

    MODES = ()

    def __init__(self, row, threads):
        self.threads, self.clock, self.made = threads, clock_for(threads), {}
        self.prepare()

    def prepare(self):
        """Import and set up the framework; raises ImportError."""

    def first(self):
        return self.seconds("forward", 4, 4, 4, "float32", 1e-4)

    def seconds(self, product, m, n, k, dtype, block):
        key = product, m, n, k, dtype
        if key not in self.made:
            generator = np.random.default_rng(0)
            a, b, c = (generator.normal(size=size).astype(dtype) for size in ((m, k), (k, n), (m, n)))
            self.made = {key: self.call(product, *{"forward": (a, b), "left": (c, b), "right": (a, c)}[product])}
        call = self.made[key]
        call(1)
        start = self.clock()
        call(1)
        count = max(1, int(block / (self.clock() - start + 1e-9)))
        call(-(-count // 10))
        start = self.clock()
        call(count)
        return (self.clock() - start) / count


class Graphc(Products):
    """Compiled for symbolic rows, as layers are for the batch, and called with bound arrays."""

    def prepare(self):
        import graphc

        self.graphc = graphc

    def call(self, product, one, other):
        graphc = self.graphc
        left, right = (
            graphc.input(name, ("m", of.shape[1]) if name == "left" or product == "right" else of.shape, str(of.dtype))
            for name, of in (("left", one), ("right", other))
        )
        node = {"forward": lambda: left @ right, "left": lambda: left @ right.T, "right": lambda: left.T @ right}
        bound = graphc.compile([left, right], node[product](), threads=self.threads).bind(one, other)

        def call(count):
            for _ in range(count):
                bound()

        return call


class Numpy(Products):
    """NumPy, into an array that is there."""

    def call(self, product, one, other):
        one, other = {"forward": (one, other), "left": (one, other.T), "right": (one.T, other)}[product]
        out = one @ other

        def call(count):
            for _ in range(count):
                np.matmul(one, other, out=out)

        return call


class Torch(Products):
    """PyTorch, into a tensor that is there."""

    def prepare(self):
        import torch

        self.torch = torch
        torch.set_num_threads(self.threads)

    def call(self, product, one, other):
        torch = self.torch
        one, other = torch.from_numpy(one), torch.from_numpy(other)
        one, other = {"forward": (one, other), "left": (one, other.T), "right": (one.T, other)}[product]
        out = one @ other

        def call(count):
            for _ in range(count):
                torch.matmul(one, other, out=out)

        return call


class Jax(Products):
    """JAX, compiled."""

    def prepare(self):
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax = jax

    def call(self, product, one, other):
        put = self.jax.numpy.asarray
        function = {"forward": lambda a, b: a @ b, "left": lambda a, b: a @ b.T, "right": lambda a, b: a.T @ b}
        compiled, one, other = self.jax.jit(function[product]), put(one), put(other)

        def call(count):
            for _ in range(count):
                result = compiled(one, other)
            result.block_until_ready()

        return call
