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
# Batch, side and channels of the images.
IMAGES = {"lenet": (64, 28, 1), "cnn": (64, 28, 1), "resnet20": (32, 32, 3)}
RESNET = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
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


def images(row):
    """Normal images, channels last, and random labels."""
    batch, side, channels = IMAGES[row]
    return lambda generator: (
        generator.normal(size=(batch, side, side, channels)).astype("float32"),
        generator.integers(0, 10, batch),
    )


def convolutional(about, row, convolutions, widths):
    """A row of convolutions, each (side of its result, side of its kernel, channels, filters), and then dense layers.

    The first one makes no gradient of its input.
    """
    batch, _, _ = IMAGES[row]
    products = [side**2 * kernel**2 * channels * filters for side, kernel, channels, filters in convolutions]
    products += [a * b for a, b in itertools.pairwise(widths)]
    return Row(about, images(row), 2 * batch * (3 * sum(products) - products[0]), {"batch": batch})


def resnet_convolutions():
    """ResNet-20's convolutions: a first one, then blocks of two, with one of a single tap around those that halve the image."""
    side = IMAGES["resnet20"][1]
    found = [(side, 3, IMAGES["resnet20"][2], RESNET[0])]
    for channels, filters in itertools.pairwise(RESNET):
        side = side * channels // filters
        found += [(side, 3, channels, filters), (side, 3, filters, filters)]
        if filters != channels:
            found.append((side, 1, channels, filters))
    return found


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
    "lenet": convolutional("LeNet-5 28x28, batch 64", "lenet", [(28, 5, 1, 6), (10, 5, 6, 16)], (400, 120, 84, 10)),
    "cnn": convolutional(
        "28x28 conv32-conv64-pool-128-10, batch 64", "cnn", [(28, 3, 1, 32), (28, 3, 32, 64)], (64 * 14**2, 128, 10)
    ),
    "resnet20": convolutional("ResNet-20 32x32x3, batch 32", "resnet20", resnet_convolutions(), (64, 10)),
    "gpt": Row("4 layers, d=128, 4 heads, T=64, batch 16", next_tokens, gpt_flops(), {}),
}
