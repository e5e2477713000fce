"""The rows in graphc: NAME() returns x, y and the loss; `Steps` trains them."""

import itertools

import graphc
from graphc import nn, optim
from tests.benchmarks.counts import footprint
from tests.benchmarks.rows import DEEP, ROWS, WIDTHS


def _classified(net, width):
    x, y = graphc.input("x", ("batch", width)), graphc.input("y", ("batch",), "int64")
    return x, y, nn.cross_entropy(net(x), y)


def _mlp(widths, activation):
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), activation())]
    return _classified(nn.Sequential(*layers[:-1]), widths[0])


class Residual(nn.Module):
    """x + GELU(Linear(LayerNorm(x)))."""

    def __init__(self, width):
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())

    def forward(self, x):
        return x + self.inner(x)


def _deep_mlp():
    blocks = [Residual(DEEP["width"]) for _ in range(DEEP["layers"])]
    return _classified(nn.Sequential(*blocks, nn.Linear(DEEP["width"], DEEP["classes"])), DEEP["width"])


MODELS = {
    "mlp_tiny": lambda: _mlp(WIDTHS["mlp_tiny"], nn.Tanh),
    "mlp": lambda: _mlp(WIDTHS["mlp"], nn.ReLU),
    "mlp_big": lambda: _mlp(WIDTHS["mlp_big"], nn.ReLU),
    "deep_mlp": _deep_mlp,
}


class Steps:
    """A row's training step: `call` from Python, `bind` with its buffers fixed, `run` many as one native program."""

    MODES = ("call", "bind", "run")

    def __init__(self, row, threads):
        x, y, loss = MODELS[row]()
        self.arrays = list(ROWS[row].arrays())
        self.step = graphc.compile([x, y], loss, updates=optim.Adam(1e-3).minimize(loss), threads=threads)
        self.sizes = ROWS[row].sizes

    def first(self):
        """Make the first step, to the value of its loss."""
        return float(self.step(*self.arrays))

    def about(self):
        """Return what is known at binding: bytes of temporaries, results and parameters, and those a step touches."""
        self.bound = self.step.bind(*self.arrays)
        stored = sum(leaf.value.nbytes for leaf in self.step.updates)
        return {
            "known": self.step.peak_bytes(**self.sizes) + stored,
            "footprint": footprint(self.step.plan, self.sizes),
        }

    def call(self, count):
        for _ in range(count):
            self.step(*self.arrays)

    def bind(self, count):
        for _ in range(count):
            self.bound()

    def run(self, count):
        self.step.repeat(count, self.arrays).run()
