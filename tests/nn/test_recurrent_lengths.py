"""Long sequences: code that does not grow with them, and memory that grows as their square root where states are made again."""

import pytest

import graphc
from graphc import nn

BATCH, FEATURES, HIDDEN = 64, 8, 256


def training(length, checkpoint="auto", kind="LSTM"):
    graphc.seed(0)
    layer = getattr(nn, kind)(FEATURES, HIDDEN)
    x = graphc.input("x", (length, BATCH, FEATURES))
    _, last = layer(x, checkpoint=checkpoint)
    loss = graphc.square(last[0] if kind == "LSTM" else last).sum()
    return graphc.compile([x], [loss, *graphc.grad(loss, layer.parameters())], threads=1)


@pytest.mark.parametrize("checkpoint", [None, 4])
def test_code_does_not_depend_on_the_length(checkpoint):
    short, long = (training(length, checkpoint).plan for length in (64, 4096))
    assert len(short.kernels) == len(long.kernels)
    lines = [sum(text.count("\n") for text in plan.kernels.values()) for plan in (short, long)]
    assert abs(lines[0] - lines[1]) <= 0.02 * lines[0]


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_memory_of_auto_grows_as_the_square_root(kind):
    auto, everything = ([training(n, c, kind).peak_bytes() for n in (1024, 4096)] for c in ("auto", None))
    assert everything[1] > 3.5 * everything[0]
    # The input, in pieces, is copied once.
    states = [total - 4 * n * BATCH * FEATURES for total, n in zip(auto, (1024, 4096), strict=True)]
    assert states[1] < 2.1 * states[0]
    assert auto[0] < everything[0] / 8
