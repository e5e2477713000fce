"""The rows of the table: what each model is fed, and the arithmetic of one training step.

A row's models stand under its name in `models/graphc.py`, `models/torch.py` and `models/jax.py`: a new row is an entry here and
one definition for each framework.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Row:
    """A row: `examples` makes its arrays (x, y), `flops` counts the contractions of a step, `sizes` the symbols.

    Two operations for a multiply-add; forward, and both gradients but the first layer's of its input.
    """

    about: str
    examples: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
    flops: int
    sizes: dict[str, int]

    def arrays(self):
        """Return x and y, the same in every process."""
        return self.examples(np.random.default_rng(0))


def classified(batch, width, classes):
    """Normal features and random labels."""
    return lambda generator: (
        generator.normal(size=(batch, width)).astype("float32"),
        generator.integers(0, classes, batch),
    )


def dense_flops(batch, widths):
    """Contractions of a step of fully connected layers."""
    products = [a * b for a, b in itertools.pairwise(widths)]
    return 2 * batch * (3 * sum(products) - products[0])


def dense(about, batch, widths):
    """A row of fully connected layers that ends in classes."""
    return Row(about, classified(batch, widths[0], widths[-1]), dense_flops(batch, widths), {"batch": batch})


def recurrent(kind, width, hidden, times, gates):
    """A row of one recurrent layer, time first, whose last state goes to ten classes, batch 32.

    A step's products: of the input forward and for its weights; of the state forward, for itself and for its weights.
    """
    batch = 32

    def examples(generator):
        x = generator.normal(size=(times, batch, width)).astype("float32")
        return x, generator.integers(0, 10, batch)

    flops = 2 * batch * (times * gates * hidden * (2 * width + 3 * hidden) + 3 * hidden * 10)
    return Row(f"{kind} {width}-{hidden}, T={times}, batch {batch}", examples, flops, {"time": times, "batch": batch})


WIDTHS = {"mlp_tiny": (2, 32, 32, 2), "mlp": (784, 256, 128, 10), "mlp_big": (784, 1024, 1024, 10)}
RECURRENT = {"rnn": ("RNN", 16, 64, 50, 1), "lstm": ("LSTM", 32, 128, 64, 4), "gru": ("GRU", 32, 128, 64, 3)}
DEEP = {"layers": 20, "width": 128, "classes": 10}
GPT = {"layers": 4, "width": 128, "heads": 4, "times": 64, "tokens": 64, "batch": 16}


def next_tokens(generator):
    """Random tokens (batch, times), and random next ones (batch * times,)."""
    shape = (GPT["batch"], GPT["times"])
    return tuple(generator.integers(0, GPT["tokens"], shape).reshape(one) for one in (shape, -1))


def gpt_flops():
    """Contractions of a step of the GPT: projections, the network for each position, scores and averages, the head."""
    width = GPT["width"]
    layer = 12 * width**2 + 2 * GPT["times"] * width
    return 6 * GPT["batch"] * GPT["times"] * (GPT["layers"] * layer + width * GPT["tokens"])


ROWS = {
    "mlp_tiny": dense("2-32-32-2 tanh, batch 32", 32, WIDTHS["mlp_tiny"]),
    "mlp": dense("784-256-128-10 relu, batch 128", 128, WIDTHS["mlp"]),
    "mlp_big": dense("784-1024-1024-10 relu, batch 256", 256, WIDTHS["mlp_big"]),
    "deep_mlp": dense(
        "20 x (layer norm, 128-128, GELU, residual), batch 64",
        64,
        (*[DEEP["width"]] * (DEEP["layers"] + 1), DEEP["classes"]),
    ),
    **{row: recurrent(*what) for row, what in RECURRENT.items()},
    "gpt": Row("4 layers, d=128, 4 heads, T=64, batch 16", next_tokens, gpt_flops(), {}),
}
