"""Recurrent cells against their formulas, and layers against cells applied one after another."""

from functools import partial

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import DTypeError, GraphError, ShapeError

RNG = np.random.default_rng(22)
T, BATCH, FEATURES, HIDDEN = 4, 3, 2, 3
X = RNG.normal(size=(T, BATCH, FEATURES))


def logistic(x):
    return 1 / (1 + np.exp(-x))


def rnn(x, states, w):
    (h,) = states
    return (np.tanh(x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]),)


def lstm(x, states, w):
    h, c = states
    gates = x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
    i, f, g, o = (gates[..., k * HIDDEN : (k + 1) * HIDDEN] for k in range(4))
    c = logistic(f) * c + logistic(i) * np.tanh(g)
    return logistic(o) * np.tanh(c), c


def gru(x, states, w):
    (h,) = states
    cut = [slice(k * HIDDEN, (k + 1) * HIDDEN) for k in range(3)]
    inner = [x @ w["weight_ih"][k].T + w["bias_ih"][k] for k in cut]
    outer = [h @ w["weight_hh"][k].T + w["bias_hh"][k] for k in cut]
    r, z = logistic(inner[0] + outer[0]), logistic(inner[1] + outer[1])
    return ((1 - z) * np.tanh(inner[2] + r * outer[2]) + z * h,)


def relu_rnn(x, states, w):
    (h,) = states
    return (np.maximum(x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"], 0),)


KINDS = {
    "RNN": (nn.RNN, nn.RNNCell, rnn),
    "RNN, relu": (partial(nn.RNN, nonlinearity="relu"), partial(nn.RNNCell, nonlinearity="relu"), relu_rnn),
    "LSTM": (nn.LSTM, nn.LSTMCell, lstm),
    "GRU": (nn.GRU, nn.GRUCell, gru),
}


def packed(states):
    return tuple(states) if len(states) > 1 else states[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_is_its_formula(kind):
    _, cell_of, define = KINDS[kind]
    cell = cell_of(FEATURES, HIDDEN, dtype="float64")
    assert max(np.abs(p.value).max() for p in cell.parameters()) <= HIDDEN**-0.5
    states = [RNG.normal(size=(BATCH, HIDDEN)) for _ in range(cell.carried)]
    x = graphc.input("x", ("n", FEATURES), "float64")
    inner = [graphc.input(f"s{k}", ("n", HIDDEN), "float64") for k in range(cell.carried)]
    new = cell(x, packed(inner))
    got = graphc.evaluate(list(new) if cell.carried > 1 else [new], {x: X[0], **dict(zip(inner, states, strict=True))})
    for one, other in zip(got, define(X[0], states, cell.state_dict()), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    zeros = [np.zeros((BATCH, HIDDEN))] * cell.carried
    first = cell(x)[0] if cell.carried > 1 else cell(x)
    np.testing.assert_allclose(first.eval({x: X[0]}), define(X[0], zeros, cell.state_dict())[0], rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_sequence_ends_at_its_length(reverse):
    layer = nn.LSTM(FEATURES, HIDDEN, bidirectional=True, batch_first=True, dtype="float64")
    x = graphc.input("x", ("n", "time", FEATURES), "float64")
    lengths = graphc.input("lengths", ("n",), "int32")
    batch, ends = np.swapaxes(X, 0, 1), np.array([2, 4, 0])
    outputs, (h, c) = layer(x, lengths=lengths)
    outputs, h, c = graphc.evaluate([outputs, h, c], {x: batch, lengths: ends})
    suffix, columns = ("_l0_reverse", slice(HIDDEN, None)) if reverse else ("_l0", slice(HIDDEN))
    weights = {name.removesuffix(suffix): array for name, array in layer.state_dict().items() if name.endswith(suffix)}
    expected = np.zeros((BATCH, T, HIDDEN))
    for row, end in enumerate(ends):
        states = (np.zeros(HIDDEN), np.zeros(HIDDEN))
        for time in reversed(range(end)) if reverse else range(end):
            states = lstm(batch[row, time], states, weights)
            expected[row, time] = states[0]
        np.testing.assert_allclose([h[int(reverse), row], c[int(reverse), row]], states, rtol=1e-12)
    np.testing.assert_allclose(outputs[..., columns], expected, rtol=1e-12)


def test_dropout_is_between_the_layers_and_of_the_phase():
    layer = nn.GRU(FEATURES, HIDDEN, num_layers=2, dropout=1.0, dtype="float64")
    x = graphc.input("x", X.shape, "float64")
    outputs, final = layer(x)
    known, trained = (graphc.evaluate([outputs, final], {x: X, graphc.training(): np.array(p)}) for p in (False, True))
    plain = nn.GRU(FEATURES, HIDDEN, num_layers=2, dtype="float64")
    plain.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(known[0], plain(x)[0].eval({x: X}))
    np.testing.assert_array_equal(trained[1][0], known[1][0])
    # The second layer sees zeros only, so all its sequences are equal.
    assert np.ptp(trained[0], axis=1).max() == 0 < np.ptp(known[0], axis=1).max()


def test_a_trained_layer_compiled():
    graphc.seed(3)
    layer = nn.LSTM(FEATURES, HIDDEN, bidirectional=True)
    x, lengths = graphc.input("x", ("time", "n", FEATURES)), graphc.input("lengths", ("n",), "int32")
    loss = graphc.square(layer(x, lengths=lengths)[0]).sum()
    wanted = [loss, *graphc.grad(loss, layer.parameters())]
    step = graphc.compile([x, lengths], wanted)
    for time, batch in ((T, BATCH), (1, 1), (0, 2), (9, 5)):
        feeds = [RNG.normal(size=(time, batch, FEATURES)).astype("f"), RNG.integers(0, time + 1, batch).astype("int32")]
        expected = graphc.evaluate(wanted, dict(zip([x, lengths], feeds, strict=True)))
        for got, reference in zip(step(*feeds), expected, strict=True):
            np.testing.assert_allclose(got, reference, rtol=1e-4, atol=1e-6)


def test_what_does_not_fit():
    layer, x = nn.LSTM(FEATURES, HIDDEN), graphc.input("x", ("time", "n", FEATURES))
    with pytest.raises(ShapeError, match=r"expected an input \(time, batch, features\), or \(time, features\), got"):
        layer(graphc.input("x", (FEATURES,)))
    with pytest.raises(ShapeError, match=r"LSTM: expected a last axis of 2, got float32\[time, n, 5\]"):
        layer(graphc.input("x", ("time", "n", 5)))
    with pytest.raises(GraphError, match=r"LSTM: expected \(h, c\) as initial state, got 1"):
        layer(x, x)
    with pytest.raises(ShapeError, match=r"expected an initial state of shape \[1, n, 3\], got float32\[n, 3\]"):
        layer(x, (graphc.input("h", (1, "n", 3)), graphc.input("c", ("n", 3))))
    with pytest.raises(DTypeError, match=r"LSTM: expected integer lengths, got float32\[n\]"):
        layer(x, lengths=graphc.input("l", ("n",)))
    with pytest.raises(ShapeError, match=r"expected lengths \(batch,\) of an input with a batch"):
        layer(graphc.input("x", ("time", FEATURES)), lengths=np.array([3]))
    with pytest.raises(GraphError, match="nonlinearity: expected 'tanh' or 'relu', got 'elu'"):
        nn.RNN(FEATURES, HIDDEN, nonlinearity="elu")
    with pytest.raises(GraphError, match="expected a proj_size below hidden_size, got 3 and 3"):
        nn.LSTM(FEATURES, HIDDEN, proj_size=3)
    with pytest.raises(ShapeError, match="num_layers: expected a whole number of 1 or more, got 0"):
        nn.GRU(FEATURES, HIDDEN, 0)
    assert repr(nn.GRU(2, 3, 2, bidirectional=True)) == "GRU(2, 3, num_layers=2, bidirectional=True)"
    assert repr(nn.LSTMCell(2, 3)) == "LSTMCell(2, 3, bias=True)"
