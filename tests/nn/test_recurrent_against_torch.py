"""Recurrent layers and cells with the weights of PyTorch: values, gradients and second derivatives, where it is installed."""

import numpy as np
import pytest

from tests.nn.torch_checks import compare, pair

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(21)
T, BATCH, FEATURES, HIDDEN = 5, 3, 4, 6


CELLS = {
    "rnn": ("RNNCell", {}),
    "rnn relu": ("RNNCell", {"nonlinearity": "relu", "bias": False}),
    "lstm": ("LSTMCell", {}),
    "lstm without bias": ("LSTMCell", {"bias": False}),
    "gru": ("GRUCell", {}),
    "gru without bias": ("GRUCell", {"bias": False}),
}


@pytest.mark.parametrize("name", CELLS)
def test_cells_to_second_order(name):
    kind, options = CELLS[name]
    ours, theirs = pair(kind, FEATURES, HIDDEN, **options)
    x, h, c = (RNG.normal(size=(BATCH, size)) for size in (FEATURES, HIDDEN, HIDDEN))
    if kind == "LSTMCell":
        compare(ours, theirs, [x, h, c], *[lambda cell, x, h, c: cell(x, (h, c))] * 2, second=True)
    else:
        compare(ours, theirs, [x, h], *[lambda cell, x, h: cell(x, h)] * 2, second=True)
    compare(ours, theirs, [x[0]], *[lambda cell, x: cell(x)] * 2)


LAYERS = {
    "rnn": ("RNN", {}),
    "rnn relu, two layers": ("RNN", {"nonlinearity": "relu", "num_layers": 2, "bias": False}),
    "lstm, two ways": ("LSTM", {"bidirectional": True, "num_layers": 2}),
    "lstm, projected": ("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
    "gru, batch first": ("GRU", {"batch_first": True, "num_layers": 2}),
    "gru, two ways": ("GRU", {"bidirectional": True}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    kind, options = LAYERS[name]
    ours, theirs = pair(kind, FEATURES, HIDDEN, **options)
    x = RNG.normal(size=(BATCH, T, FEATURES) if options.get("batch_first") else (T, BATCH, FEATURES))
    compare(ours, theirs, [x], *[lambda layer, x: layer(x)] * 2)
    compare(ours, theirs, [x[:, 0]], *[lambda layer, x: layer(x)] * 2)
    shapes = [(BATCH, ours.proj_size or HIDDEN), (BATCH, HIDDEN)][: ours.carried]
    count = ours.num_layers * (2 if ours.bidirectional else 1)
    states = [RNG.normal(size=(count, *shape)) for shape in shapes]
    call = lambda layer, x, *states: layer(x, states if len(states) > 1 else states[0])  # noqa: E731
    compare(ours, theirs, [x, *states], call, call)


@pytest.mark.parametrize("name", ["rnn", "lstm, two ways", "gru, batch first", "gru, two ways"])
def test_lengths_are_those_of_packed_sequences(name):
    kind, options = LAYERS[name]
    ours, theirs = pair(kind, FEATURES, HIDDEN, **options)
    first = options.get("batch_first", False)
    x = RNG.normal(size=(BATCH, T, FEATURES) if first else (T, BATCH, FEATURES))
    lengths = np.array([3, 5, 1])

    def padded(layer, x):
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, first, enforce_sorted=False)
        output, final = layer(packed)
        return torch.nn.utils.rnn.pad_packed_sequence(output, first, total_length=T)[0], final

    compare(ours, theirs, [x], lambda layer, x: layer(x, lengths=lengths), padded)
