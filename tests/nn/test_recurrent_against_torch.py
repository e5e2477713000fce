"""Recurrent layers and cells with the weights of PyTorch: values, gradients and second derivatives, where it is installed."""

import numpy as np
import pytest

import graphc
from graphc import nn

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(21)
T, BATCH, FEATURES, HIDDEN = 5, 3, 4, 6


def pair(kind, *args, **options):
    """A layer of each library, float64, with the same weights."""
    theirs = getattr(torch.nn, kind)(*args, **options).double()
    ours = getattr(nn, kind)(*args, **options, dtype="float64")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return ours, theirs


def flat(results):
    return [leaf for one in results for leaf in (flat(one) if isinstance(one, tuple) else [one])]


def compare(ours, theirs, arrays, call_ours, call_theirs, second=False):
    """Hold all results, and the derivatives of a weighted sum of them by inputs and weights, against torch's."""
    nodes = [graphc.input(f"x{k}", array.shape, "float64") for k, array in enumerate(arrays)]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    values = flat((call_ours(ours, *nodes),))
    expected = flat((call_theirs(theirs, *tensors),))
    weights = [RNG.normal(size=tuple(one.shape)) for one in expected]
    wrt, inner = [*nodes, *ours.parameters()], [*tensors, *theirs.parameters()]
    total = sum((value * weight).sum() for value, weight in zip(values, weights, strict=True))
    reference = sum((one * torch.tensor(weight)).sum() for one, weight in zip(expected, weights, strict=True))
    wanted, known = [*values, *graphc.grad(total, wrt)], torch.autograd.grad(reference, inner, create_graph=True)
    references = [*expected, *known]
    if second:
        along = [RNG.normal(size=tuple(one.shape)) for one in inner]
        wanted += graphc.hvp(total, wrt, [graphc.constant(one) for one in along])
        slope = sum((one * torch.tensor(direction)).sum() for one, direction in zip(known, along, strict=True))
        references += torch.autograd.grad(slope, inner)
    got = graphc.evaluate(wanted, dict(zip(nodes, arrays, strict=True)))
    for one, other in zip(got, references, strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-9, atol=1e-11)


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
    shapes = [(BATCH, ours.proj_size or HIDDEN), (BATCH, HIDDEN)][: ours.states]
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
