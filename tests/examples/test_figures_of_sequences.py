"""What the examples of sequences print, held against computations of another kind."""

import itertools
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.examples.test_examples import is_same_but_for_rounding

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))


def test_the_sums_of_the_adding_problem_are_of_two_marked_numbers():
    import adding

    sequences, sums = adding.task(np.random.default_rng(0), 50, 20)
    marked = sequences[..., 1] == 1
    assert marked[:10].sum(0).tolist() == marked[10:].sum(0).tolist() == [1] * 50
    np.testing.assert_allclose([row[m].sum() for row, m in zip(sequences[..., 0].T, marked.T, strict=True)], sums)


def test_trigrams_give_probabilities():
    import charlm

    known = [0, 1, 2, 0, 1, 1, 2, 0, 1, 2]
    # Over all texts of three characters that start alike, the probabilities of the third sum to 1.
    for start in itertools.product(range(4), repeat=2):
        bits = [charlm.bits_of_trigrams(known, [*start, last], 4) for last in range(4)]
        assert sum(2.0**-b for b in bits) == pytest.approx(1)
    # Witten and Bell by hand: after 0, 1 came 2, 1, 2; after 1 came 2, 1, 2 and 2; of 10 characters 3 were 2.
    shorter = (3 + 3 * 0.25) / (10 + 3)
    shorter = (3 + 2 * shorter) / (4 + 2)
    assert charlm.bits_of_trigrams(known, [0, 1, 2], 4) == pytest.approx(-np.log2((2 + 2 * shorter) / (3 + 2)))


def test_edits_are_the_fewest():
    import ctc_tones

    @cache
    def fewest(one, other):
        if not one or not other:
            return len(one) + len(other)
        replaced = fewest(one[1:], other[1:]) + (one[0] != other[0])
        return min(replaced, fewest(one[1:], other) + 1, fewest(one, other[1:]) + 1)

    words = [word for length in range(4) for word in itertools.product((1, 2), repeat=length)]
    for one, other in itertools.product(words, repeat=2):
        assert ctc_tones.edits(list(one), list(other)) == fewest(one, other)
    assert ctc_tones.decoded(np.array([0, 3, 3, 0, 3, 5, 5, 0, 9]), 8) == [3, 3, 5]


def test_the_series_and_its_windows():
    import forecast

    assert (len(forecast.PASSENGERS), forecast.PASSENGERS.sum()) == (144, 40363)
    inputs, answers = forecast.windows(forecast.PASSENGERS)
    np.testing.assert_allclose(answers[-1], np.log(432 / 405), rtol=1e-5)
    np.testing.assert_allclose(inputs[-1, -1], np.log(390 / 362), rtol=1e-5)
    np.testing.assert_allclose(inputs[0, 0], np.log(115 / 112), rtol=1e-5)
    assert len(answers) == 144 - 24


def test_digits_are_read_before_they_are_written_in_order():
    import sort_gpt

    read, wanted = sort_gpt.task(np.array([[2, 0, 1, 1, 0, 2]]))
    assert read.tolist() == [[2, 0, 1, 1, 0, 2, 0, 0, 1, 1, 2]]
    assert wanted.tolist() == [[0, 0, 1, 1, 2, 2]]
    # A rule in the place of the network: what stands behind place k of the sorted digits.
    rows = np.array(list(itertools.product(range(3), repeat=6)))[::50]

    def rule(read):
        return np.concatenate([np.zeros((len(read), 5), int), np.sort(read[:, :6], axis=1)], axis=1)

    assert (sort_gpt.written(rule, rows) == np.sort(rows, axis=1)).all()


def test_norms_of_gradients_are_those_of_backpropagation_by_hand(monkeypatch):
    import gradients_in_time

    from graphc import nn

    kept = []
    monkeypatch.setattr(
        nn, "RNNCell", lambda *args, cell=nn.RNNCell, **options: kept.append(cell(*args, **options)) or kept[0]
    )
    weight = np.random.default_rng(5).normal(size=(32, 32)) * 0.2
    norms = gradients_in_time.of_rnn(weight)
    rng = np.random.default_rng(1)
    x, states = rng.normal(size=(100, 8, 4)), [np.zeros((8, 32))]
    for t in range(100):
        states.append(np.tanh(0.1 * x[t] @ kept[0].weight_ih.value.T + states[-1] @ weight.T))
    slope, expected = rng.normal(size=(8, 32)), np.zeros(100)
    for t in reversed(range(100)):
        expected[t] = np.sqrt((slope**2).sum())
        slope = (slope * (1 - states[t + 1] ** 2)) @ weight
    np.testing.assert_allclose(norms, expected, rtol=1e-9)


def test_gradients_shrink_by_exactly_rho_live_on_or_are_cut(request):
    import gradients_in_time

    found = gradients_in_time.main()
    linear = found["linear, 0.9 times orthogonal"]
    np.testing.assert_allclose(linear[:-1] / linear[1:], 0.9, rtol=1e-13)
    ratio = {name.strip(): norms[0] / norms[-1] for name, norms in found.items()}
    assert ratio["tanh, uniform weights"] < 1e-15 > ratio["LSTM"]
    assert ratio["tanh, 1.5 times orthogonal"] > 1e3 > 10 > ratio["the same, clipped at 30"] > 0.1
    assert 0.1 < ratio["tanh, orthogonal weights"] < 10
    assert 0.1 < ratio["LSTM, forget bias 5"] < 1000
    cut = found["tanh, truncated after 25"]
    assert (cut[:75] == 0).all()
    assert (cut[75:] > 0).all()
    picture, shown = gradients_in_time.picture(found), ROOT / "docs" / "gradients_in_time.svg"
    if request.config.getoption("--update-golden"):
        shown.write_text(picture)
    assert is_same_but_for_rounding(shown.read_text(), picture)
