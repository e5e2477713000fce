"""Series in contiguous rows, and training on them with a state that is carried from call to call."""

import numpy as np
import pytest

import graphc
from graphc.data import stream
from graphc.errors import GraphError, ShapeError


def test_rows_go_on_from_window_to_window():
    windows = list(stream(np.arange(23), 3, 2))
    assert [w.shape for w in windows] == [(2, 3), (2, 3), (2, 3), (1, 3)]
    assert np.concatenate(windows).T.tolist() == [list(range(7 * r, 7 * r + 7)) for r in range(3)]
    assert [w.shape for w in stream(np.arange(23), 3, 2, drop_last=True)] == [(2, 3)] * 3


def test_several_series_stay_together():
    series = np.arange(40.0).reshape(20, 2)
    for x, y in stream((series[:-1], series[1:, 0]), 2, 4):
        assert x.shape[1:] == (2, 2)
        np.testing.assert_array_equal(y, x[..., 0] + 2)


def test_what_cannot_be_cut():
    with pytest.raises(ShapeError, match="4 times do not fill 5 rows"):
        stream(np.arange(4), 5, 1)
    with pytest.raises(ShapeError, match=r"one leading size.*\(3,\), \(4,\)"):
        stream((np.arange(3), np.arange(4)), 1, 1)
    with pytest.raises(GraphError, match="length of 1 or more, got 0"):
        stream(np.arange(4), 2, 0)


def test_a_carried_state_is_truncated_backpropagation():
    """Windows with the state of the one before give the sum of gradients of one scan cut at the windows' ends."""
    generator = np.random.default_rng(0)
    series = generator.normal(size=(2 * 9 + 1, 2))
    w = graphc.parameter(generator.normal(size=(2, 2)) * 0.7, "w")

    def step(h, x):
        h = graphc.tanh(h @ w + x)
        return h, h

    state = graphc.state(np.zeros((2, 2)))
    x = graphc.input("x", ("time", 2, 2), "float64")
    reset = graphc.input("reset", (2,), "bool")
    last, rows = graphc.scan(step, graphc.where(reset[:, None], 0.0, state), x)
    gradient = graphc.grad((rows * rows * rows).sum(), w)
    run = graphc.compile([x, reset], gradient, updates={state: last})

    whole = graphc.input("whole", (9, 2, 2), "float64")
    _, all_rows = graphc.scan(step, graphc.zeros((2, 2), "float64"), whole, truncate=4)
    expected = graphc.grad((all_rows * all_rows * all_rows).sum(), w)
    (everything,) = stream(series, 2, 9)
    for _ in range(2):  # the second time the mask must make the rows start anew
        total = np.zeros((2, 2))
        for number, window in enumerate(stream(series, 2, 4)):
            total += run(window, np.full(2, number == 0))
        np.testing.assert_allclose(total, graphc.evaluate(expected, {whole: everything}), rtol=1e-10)
