"""A GPT of 86,000 parameters that learns to sort: six digits of three values go in, and the same come out in order.

The task is that of the demonstration of Karpathy's minGPT. The network sees the digits and what it has written so far, and
gives the next digit; there are 729 different inputs, and at the end it sorts every one of them.

python examples/sort_gpt.py              # prints how many of the 729 it sorts
"""

import argparse
import itertools

import numpy as np

import graphc
from graphc import nn, optim

LENGTH, VALUES = 6, 3
TIMES = 2 * LENGTH - 1  # the last digit that it writes is not read again


class GPT(nn.Module):
    """Embeddings of digits and places, blocks of causal attention, and a score for each next digit."""

    def __init__(self, layers: int = 3, width: int = 48, heads: int = 3) -> None:
        self.embedding = nn.Embedding(VALUES, width)
        self.positions = nn.PositionEmbedding(TIMES, width)
        options = {"dropout": 0.0, "activation": "gelu", "norm_first": True, "batch_first": True}
        blocks = [nn.TransformerEncoderLayer(width, heads, 4 * width, **options) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VALUES, bias=False)

    def forward(self, digits: graphc.Node) -> graphc.Node:
        x = self.positions(self.embedding(digits))
        for block in self.blocks:
            x = block(x, is_causal=True)
        return self.head(self.norm(x))


def task(digits):
    """Return what is read, (count, 11), and what should be written after the sixth digit, (count, 6)."""
    ordered = np.sort(digits, axis=1)
    return np.concatenate([digits, ordered[:, :-1]], axis=1), ordered


def written(predict, digits):
    """Return what the network writes after each row of digits, its own digits read again, (count, 6)."""
    read = np.zeros((len(digits), TIMES), np.int32)
    read[:, :LENGTH] = digits
    for place in range(LENGTH, TIMES):
        read[:, place] = predict(read)[:, place - 1]
    return np.concatenate([read[:, LENGTH:], predict(read)[:, -1:]], axis=1)


def main(steps: int = 800, layers: int = 3) -> int:
    """Train, and return how many of the 729 inputs are sorted."""
    graphc.seed(0)
    net = GPT(layers)
    read, wanted = graphc.input("read", ("batch", TIMES), "int32"), graphc.input("wanted", ("batch", LENGTH), "int32")
    scores = net(read)
    loss = nn.cross_entropy(scores[:, LENGTH - 1 :], wanted)
    rate = optim.AdamW(1e-3, betas=(0.9, 0.95), weight_decay=0.1, clip_norm=1.0)
    step = graphc.compile([read, wanted], loss, updates=rate.minimize(loss))
    predict = graphc.compile([read], graphc.argmax(scores, axis=-1))
    rng = np.random.default_rng(0)
    batches = [task(rng.integers(0, VALUES, (64, LENGTH)).astype(np.int32)) for _ in range(steps)]
    step.repeat(steps, [np.stack(side) for side in zip(*batches, strict=True)], [0, 1]).run()

    inputs = np.array(list(itertools.product(range(VALUES), repeat=LENGTH)), np.int32)
    right = int((written(predict, inputs) == np.sort(inputs, axis=1)).all(axis=1).sum())
    print(f"{sum(p.value.size for p in net.parameters()):,} parameters")
    print(f"sorted: {right} of {len(inputs)}")
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=800, help="training steps of 64 rows (default 800)")
    parser.add_argument("--layers", type=int, default=3, help="blocks of attention (default 3)")
    options = parser.parse_args()
    main(options.steps, options.layers)
