"""A character language model of Python's own help texts, as a GRU and as a small GPT, against counts of three characters.

The text is `pydoc_data.topics`, which comes with Python. The last tenth is held out; a model is measured by the bits that it
needs for each character of it, and writes some text of its own.

python examples/charlm.py                # prints bits per character of both networks and of the 3-gram baseline
"""

import argparse
import math
from collections import Counter
from pydoc_data import topics

import numpy as np

import graphc
from graphc import nn, optim

WINDOW, BATCH = 64, 32


def texts():
    """Return the text as numbers of characters, for training and held out, and the characters."""
    text = "\n".join(topics.topics[name] for name in sorted(topics.topics))
    characters = sorted(set(text))
    numbers = {character: number for number, character in enumerate(characters)}
    encoded = np.array([numbers[character] for character in text], np.int32)
    known = len(encoded) * 9 // 10
    return encoded[:known], encoded[known:], characters


def bits_of_trigrams(known, held_out, size):
    """Return the bits per character of a 3-gram model, smoothed by shorter ones (Witten and Bell, 1991)."""
    counts = [Counter(zip(*(known[start:] for start in range(n)), strict=False)) for n in (1, 2, 3)]
    totals, kinds = [Counter() for _ in range(3)], [Counter() for _ in range(3)]
    for n in range(3):
        for gram, count in counts[n].items():
            totals[n][gram[:-1]] += count
            kinds[n][gram[:-1]] += 1
    bits = 0.0
    for place in range(2, len(held_out)):
        probability = 1 / size
        for n in range(3):
            gram = tuple(held_out[place - n : place + 1])
            total, seen = totals[n][gram[:-1]], kinds[n][gram[:-1]]
            if total:
                probability = (counts[n][gram] + seen * probability) / (total + seen)
        bits -= math.log2(probability)
    return bits / (len(held_out) - 2)


class GRU(nn.Module):
    """Embeddings, a GRU, and a score for each next character."""

    def __init__(self, size: int, width: int) -> None:
        self.embedding = nn.Embedding(size, 32)
        self.gru = nn.GRU(32, width, batch_first=True)
        self.head = nn.Linear(width, size)

    def forward(self, read: graphc.Node) -> graphc.Node:
        return self.head(self.gru(self.embedding(read))[0])


class GPT(nn.Module):
    """Embeddings of characters and places, two blocks of causal attention, and the embeddings again as scores."""

    def __init__(self, size: int, width: int) -> None:
        self.embedding = nn.Embedding(size, width)
        self.embedding.weight.set(nn.init.normal((size, width), std=0.02))
        self.positions = nn.PositionEmbedding(WINDOW, width)
        options = {"dropout": 0.0, "activation": "gelu", "norm_first": True, "batch_first": True}
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(width, 4, 4 * width, **options) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, size, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, read: graphc.Node) -> graphc.Node:
        x = self.positions(self.embedding(read))
        for block in self.blocks:
            x = block(x, is_causal=True)
        return self.head(self.norm(x))


def sampled(predict, start, count, seed=0):
    """Return `count` characters after a window of them, each drawn by the probabilities that the model gives."""
    rng = np.random.default_rng(seed)
    read = list(start[-WINDOW:])
    for _ in range(count):
        logs = predict(np.array(read[-WINDOW:], np.int32)[None])[0, -1].astype(np.float64)
        weights = np.exp((logs - logs.max()) / 0.7)
        read.append(int(rng.choice(len(weights), p=weights / weights.sum())))
    return read[-count:]


def trained(net, known, steps, rate):
    """Train on random windows, and return what gives the logarithms of the probabilities of all next characters."""
    read, following = (graphc.input(name, ("batch", WINDOW), "int32") for name in ("read", "following"))
    scores = net(read)
    loss = nn.cross_entropy(scores, following)
    optimizer = optim.AdamW(rate, clip_norm=1.0)
    step = graphc.compile([read, following], loss, updates=optimizer.minimize(loss))
    rng = np.random.default_rng(0)
    for done in range(steps):
        optimizer.learning_rate.set(rate * min((done + 1) / 100, 1.0, 2 * (1 - done / steps)))
        starts = rng.integers(0, len(known) - WINDOW, BATCH)
        windows = known[starts[:, None] + np.arange(WINDOW + 1)]
        step(windows[:, :-1], windows[:, 1:])
    return graphc.compile([read], nn.log_softmax(scores))


def bits_of_network(predict, held_out):
    """Return the bits per character over windows; what is measured is their second half, which has seen the first."""
    half = WINDOW // 2
    starts = np.arange(0, len(held_out) - WINDOW, half)
    nats = 0.0
    for some in np.array_split(starts, 16):
        windows = held_out[some[:, None] + np.arange(WINDOW + 1)]
        logs = predict(windows[:, :-1])[:, half:]
        nats -= np.take_along_axis(logs, windows[:, half + 1 :, None], -1).sum(dtype=np.float64)
    return nats / (len(starts) * half) / math.log(2)


def main(steps: int = 600, models: str = "gru,gpt", width: int = 128, count: int = 300) -> dict[str, float]:
    """Train, and return the bits per character of each model."""
    graphc.seed(0)
    known, held_out, characters = texts()
    bits = {"3-gram": bits_of_trigrams(known.tolist(), held_out.tolist(), len(characters))}
    print(f"3-gram: {bits['3-gram']:.2f} bits per character")
    networks = {"gru": (GRU(len(characters), 2 * width), 4e-3), "gpt": (GPT(len(characters), width), 2e-3)}
    for name in models.split(","):
        net, rate = networks[name]
        predict = trained(net, known, steps, rate)
        bits[name] = bits_of_network(predict, held_out)
        parameters = sum(p.value.size for p in net.parameters())
        print(f"{name}: {bits[name]:.2f} bits per character, {parameters:,} parameters")
        if count:
            written = "".join(characters[number] for number in sampled(predict, held_out, count))
            print("  wrote: " + "\n         ".join(written.splitlines()))
    return bits


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600, help="training steps of 32 windows (default 600)")
    parser.add_argument("--models", default="gru,gpt", help="which networks to train (default gru,gpt)")
    parser.add_argument(
        "--width", type=int, default=128, help="features of the GPT, half those of the GRU (default 128)"
    )
    parser.add_argument("--written", type=int, default=300, help="characters that each network writes (default 300)")
    options = parser.parse_args()
    main(options.steps, options.models, options.width, options.written)
