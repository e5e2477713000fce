"""Recurrent layers against their cells applied one after another: values, gradients, second derivatives, truncated ones too."""

from functools import partial

import numpy as np
import pytest

import graphc
from graphc import nn

RNG = np.random.default_rng(22)
T, BATCH, FEATURES, HIDDEN = 5, 3, 2, 3
X = RNG.normal(size=(T, BATCH, FEATURES))
KINDS = {
    "RNN": (nn.RNN, nn.RNNCell),
    "RNN, relu": (partial(nn.RNN, nonlinearity="relu"), partial(nn.RNNCell, nonlinearity="relu")),
    "LSTM": (nn.LSTM, nn.LSTMCell),
    "GRU": (nn.GRU, nn.GRUCell),
}


def both(kind):
    """A layer and a cell that have the same weights, whatever other tests have drawn."""
    graphc.seed(3)
    layer, cell = (of(FEATURES, HIDDEN, dtype="float64") for of in KINDS[kind])
    for name, parameter in list(cell.named_parameters()):
        setattr(cell, name, getattr(layer, f"{name}_l0"))
        assert getattr(cell, name).shape == parameter.shape
    return layer, cell


def unrolled(cell, x, states, truncate):
    """The states h after each step, and all states after the last; by definition no gradient enters every k-th step's past."""
    rows = []
    for time in range(T):
        if truncate and time and time % truncate == 0:
            states = tuple(graphc.stop_gradient(state) for state in states)
        new = cell(x[time], states if len(states) > 1 else states[0])
        states = new if isinstance(new, tuple) else (new,)
        rows.append(states[0])
    return graphc.stack(rows), states


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"checkpoint": 2},
        {"truncate": 2},
        {"truncate": 2, "checkpoint": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_equals_its_cell_unrolled_to_second_order(kind, options):
    layer, cell = both(kind)
    x = graphc.input("x", X.shape, "float64")
    start = [graphc.input(f"s{k}", (BATCH, HIDDEN), "float64") for k in range(cell.carried)]
    given = tuple(state[None] for state in start)
    outputs, final = layer(x, given if len(start) > 1 else given[0], **options)
    last = [one[0] for one in (final if isinstance(final, tuple) else (final,))]
    weights = RNG.normal(size=(T, BATCH, HIDDEN))
    wrt = [x, *start, *layer.parameters()]
    directions = [graphc.constant(RNG.normal(size=one.shape)) for one in wrt]

    def wanted(rows, ends):
        loss = (graphc.square(rows) * weights).sum() + sum(graphc.sin(end).sum() for end in ends)
        return [loss, *graphc.grad(loss, wrt), *graphc.hvp(loss, wrt, directions)]

    mine, others = wanted(outputs, last), wanted(*unrolled(cell, x, tuple(start), options.get("truncate")))
    feeds = {x: X, **{state: RNG.normal(size=(BATCH, HIDDEN)) for state in start}}
    expected = graphc.evaluate(others, feeds)
    assert all(np.abs(one).max() > 0 for one in expected)
    compiled = graphc.compile([x, *start], mine)(*feeds.values())
    for found in (graphc.evaluate(mine, feeds), compiled):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_changes_gradients_and_no_value(kind):
    layer, _ = both(kind)
    x = graphc.input("x", X.shape, "float64")
    losses = [graphc.square(layer(x, truncate=k)[0]).sum() for k in (None, 2, T)]
    values = graphc.evaluate(losses, {x: X})
    assert values[0] == values[1] == values[2]
    whole, cut, uncut = (graphc.evaluate(graphc.grad(loss, x), {x: X}) for loss in losses)
    np.testing.assert_array_equal(uncut, whole)
    # The last piece sees all that follows; the step before it no longer sees what comes behind.
    np.testing.assert_allclose(cut[4:], whole[4:], rtol=1e-12)
    assert np.abs(cut[3] - whole[3]).max() > 1e-6
