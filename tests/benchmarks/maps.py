"""Elementwise functions and row kernels in each framework, for `elements`: `seconds` gives the time of one call.

A kernel is softmax, layer_norm, adam (a parameter, its gradient and two moments), or an element function by name. Its
arrays are float32 of `rows` x 1024.
"""

import numpy as np

from tests.benchmarks.clock import clock_for

WIDTH = 1024
# Arrays that a kernel must read and write, each once.
ARRAYS = {"softmax": 2, "layer_norm": 2, "adam": 7}
# Where these arguments come from is inside every function's domain, and large arguments are rare.
LOW = {"log": 0.01, "log2": 0.01, "log10": 0.01, "log1p": 0.01, "pow": 0.01, "sqrt": 0.01, "rsqrt": 0.01, "acosh": 1.0}
HIGH = {"asin": 1.0, "acos": 1.0, "atanh": 1.0}


class Maps:
    """What the frameworks share: arguments, and a timed block of calls.

    `call` makes the function to be timed, or gives None where the framework has none.
    """

    MODES = ()

    def __init__(self, row, threads):
        self.threads, self.clock, self.made = threads, clock_for(threads), {}
        self.prepare()

    def first(self):
        return self.seconds("softmax", 4, 1e-4)

    def seconds(self, kernel, rows, block):
        key = kernel, rows
        if key not in self.made:
            generator = np.random.default_rng(0)
            high = HIGH.get(kernel, 5.0)
            x = generator.uniform(LOW.get(kernel, -high), high, (rows, WIDTH)).astype("float32")
            self.made = {key: self.call(kernel, x)}
        call = self.made[key]
        if call is None:
            return None
        call(1)
        start = self.clock()
        call(1)
        count = max(1, int(block / (self.clock() - start + 1e-9)))
        call(-(-count // 10))
        start = self.clock()
        call(count)
        return (self.clock() - start) / count


class Graphc(Maps):
    """Compiled for symbolic rows and called with bound arrays."""

    def prepare(self):
        import graphc

        self.graphc = graphc

    def call(self, kernel, x):
        graphc = self.graphc
        if kernel == "adam":
            p, g = graphc.parameter(x.copy(), "p"), graphc.input("g", x.shape)
            bound = graphc.compile([g], None, graphc.optim.Adam(1e-3).apply({p: g}), threads=self.threads).bind(x)
        else:
            given = graphc.input("x", ("rows", WIDTH))
            function = {
                "softmax": lambda x: graphc.softmax(x, -1),
                "layer_norm": lambda x: graphc.nn.LayerNorm(WIDTH)(x),
                "atan2": lambda x: graphc.atan2(x, 1.5),
                "pow": lambda x: x**1.7,
            }.get(kernel) or getattr(graphc, kernel)
            bound = graphc.compile([given], function(given), threads=self.threads).bind(x)

        def call(count):
            for _ in range(count):
                bound()

        return call


class Torch(Maps):
    """PyTorch, into a tensor that is there where it takes one."""

    def prepare(self):
        import torch

        self.torch = torch
        torch.set_num_threads(self.threads)

    def call(self, kernel, x):
        torch = self.torch
        x = torch.from_numpy(x)
        if kernel == "adam":
            p = torch.nn.Parameter(x.clone())
            p.grad, optimizer = x, torch.optim.Adam([p], lr=1e-3, fused=True)
            step = optimizer.step
        elif kernel == "layer_norm":
            norm = torch.nn.LayerNorm(WIDTH)
            step = torch.no_grad()(lambda: norm(x))
        else:
            out, function = torch.empty_like(x), getattr(torch, kernel, None)
            step = {
                "softmax": lambda: torch.softmax(x, -1, out=out),
                "softplus": lambda: torch.nn.functional.softplus(x),
                "atan2": lambda: torch.atan2(x, torch.tensor(1.5), out=out),
                "pow": lambda: torch.pow(x, 1.7, out=out),
            }.get(kernel) or (function and (lambda: function(x, out=out)))
            if step is None:
                return None

        def call(count):
            for _ in range(count):
                step()

        return call


class Jax(Maps):
    """JAX, compiled; Adam by optax, with its arrays donated."""

    def prepare(self):
        import jax
        import optax

        self.jax, self.optax = jax, optax

    def call(self, kernel, x):
        jax, jnp = self.jax, self.jax.numpy
        x = jnp.asarray(x)
        if kernel == "adam":
            return self._adam(x)

        def layer_norm(x):
            centred = x - x.mean(-1, keepdims=True)
            return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * ones + zeros

        ones, zeros = jnp.ones(WIDTH), jnp.zeros(WIDTH)
        special = {"softmax": jax.nn.softmax, "layer_norm": layer_norm, "sigmoid": jax.nn.sigmoid}
        special |= {"softplus": jax.nn.softplus, "rsqrt": jax.lax.rsqrt, "erf": jax.lax.erf, "erfc": jax.lax.erfc}
        special |= {"atan2": lambda x: jnp.arctan2(x, 1.5), "pow": lambda x: x**1.7}
        compiled = jax.jit(special.get(kernel) or getattr(jnp, kernel))

        def call(count):
            for _ in range(count):
                result = compiled(x)
            result.block_until_ready()

        return call

    def _adam(self, x):
        optimizer = self.optax.adam(1e-3)

        def step(p, slots, g):
            updates, slots = optimizer.update(g, slots)
            return p + updates, slots

        compiled, held = self.jax.jit(step, donate_argnums=(0, 1)), [x + 0, optimizer.init(x)]

        def call(count):
            for _ in range(count):
                held[:] = compiled(*held, x)
            held[0].block_until_ready()

        return call
