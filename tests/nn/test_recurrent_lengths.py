"""Long sequences: code that does not grow with them, and memory that grows as their square root where states are made again."""

import numpy as np
import pytest

import graphc
from graphc import compiler, nn

BATCH, FEATURES, HIDDEN = 64, 8, 256


def training(length, checkpoint="auto", kind="LSTM", batch=BATCH, hidden=HIDDEN):
    graphc.seed(0)
    layer = getattr(nn, kind)(FEATURES, hidden)
    x = graphc.input("x", (length, batch, FEATURES))
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


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_auto_is_decided_by_the_sizes_of_a_call(kind, monkeypatch):
    planned = []
    made = compiler.plan_of
    monkeypatch.setattr(compiler, "plan_of", lambda *arguments: planned.append(arguments) or made(*arguments))
    monkeypatch.setenv("GRAPHC_VERIFY", "1")  # without the cache of plans
    auto, everything = (training("time", c, kind, "batch") for c in ("auto", None))
    assert len(planned) == 2, "the plan for many states is made when a call has them"
    sizes = [
        {"time": time, "batch": batch} for time, batch in ((16, 64), (100, 64), (1024, 64), (4096, 64), (64, 1024))
    ]
    used = [[step.peak_bytes(**size) for size in sizes] for step in (auto, everything)]
    assert len(planned) == 3
    assert used[0][:2] == used[1][:2], "up to 32 MiB of states all is stored"
    assert used[0][2] < used[1][2] / 8
    assert used[0][4] < used[1][4] / 2
    # The input, in pieces, is copied once.
    states = [total - 4 * FEATURES * size["time"] * size["batch"] for total, size in zip(used[0], sizes, strict=True)]
    assert states[3] < 2.1 * states[2]
    assert auto.binding(time=4096, batch=64).arena == auto.binding(time=4096, batch=64).arena
    assert len(planned) == 3


def test_many_states_give_the_gradients_that_few_give(monkeypatch):
    monkeypatch.setattr("graphc.forms.LARGE", 4 * 8 * 16 * 100)
    auto, everything = (training("time", c, "RNN", "batch", 16) for c in ("auto", None))
    for time in (0, 1, 99, 100, 101, 257):
        x = np.random.default_rng(time).normal(size=(time, 8, FEATURES)).astype("float32")
        for one, other in zip(auto(x), everything(x), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert [len(auto._for({"time": time, "batch": 8})[0].kernels) > len(auto.plan.kernels) for time in (100, 101)] == [
        False,
        True,
    ]
