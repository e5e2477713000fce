"""Draws: known answers, independence of sites, steps and order, moments, initial values."""

import numpy as np
import pytest

import graphc
from graphc.ops import random as draws


@pytest.fixture(autouse=True)
def _fresh():
    graphc.seed(0)
    draws.STEP.set(0)
    yield
    graphc.seed(0)
    draws.STEP.set(0)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
         (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
)  # fmt: skip
def test_philox_known_answers(counter, key, words):
    assert tuple(int(word) for word in draws.philox(counter, key)) == words


def test_one_program_repeats_and_sites_steps_and_seeds_differ():
    first, second = graphc.uniform((100,)), graphc.uniform((100,))
    a, b = graphc.evaluate([first, second], {})
    assert not np.array_equal(a, b)
    assert np.array_equal(a, first.eval())
    draws.STEP.set(1)
    assert not np.array_equal(a, first.eval())
    graphc.seed(0)
    draws.STEP.set(0)
    assert np.array_equal(a, graphc.uniform((100,)).eval())
    graphc.seed(1)
    assert not np.array_equal(a, graphc.uniform((100,)).eval())
    with pytest.raises(graphc.GraphcError):
        graphc.seed(-1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_and_normal_moments(dtype):
    u, z, coin = graphc.evaluate(
        [
            graphc.uniform((40_000,), -1, 3, dtype),
            graphc.normal((40_000,), 2.0, 3.0, dtype),
            graphc.bernoulli(0.3, (40_000,)),
        ],
        {},
    )
    assert u.dtype == z.dtype == dtype
    assert u.min() >= -1
    assert u.max() < 3
    assert abs(u.mean() - 1) < 0.03
    assert abs(z.mean() - 2) < 0.06
    assert abs(z.std() - 3) < 0.05
    assert abs((((z - 2) / 3) ** 4).mean() - 3) < 0.2
    assert abs(coin.mean() - 0.3) < 0.01


def test_the_largest_word_stays_below_one():
    words = np.array([0, 2**32 - 1], np.uint32)
    f32 = graphc.graph.node.constant(words)
    assert draws.as_fraction(f32, graphc.float32, False).eval().max() < 1
    middle = draws.as_fraction(f32, graphc.float32, True).eval()
    assert 0 < middle.min() < middle.max() < 1


def test_quantiles_match_the_standard_library():
    from statistics import NormalDist

    p = np.array([1e-300, 1e-20, 1e-9, 0.01, 0.075, 0.0751, 0.3, 0.5, 0.9, 1 - 1e-12])
    np.testing.assert_allclose(draws.quantile(p), [NormalDist().inv_cdf(q) for q in p], rtol=1e-14)


def test_symbolic_shapes_and_loops_draw_anew():
    x = graphc.input("x", ("n",))
    assert (x + graphc.uniform(("n",))).eval({x: np.zeros(5)}).std() > 0
    _, rows = graphc.scan(lambda c, _: (c, graphc.uniform((4,))), graphc.constant(0.0), length=3)
    values = rows.eval()
    assert len(np.unique(values)) == 12


def test_initial_values_are_drawn_at_once():
    a = draws.draw_uniform((3, 4), -0.5, 0.5)
    b = draws.draw_uniform((3, 4), -0.5, 0.5)
    assert a.dtype == np.float32
    assert np.abs(a).max() <= 0.5
    assert not np.array_equal(a, b)
    assert abs(draws.draw_normal((10_000,), 0, 1).std() - 1) < 0.03


def test_sorting_kernel_is_stable_with_nan_last():
    generator = np.random.default_rng(0)
    for count in range(12):
        values = generator.choice([0.0, 1.0, 2.0, -1.0, np.nan, np.inf, -np.inf, -0.0], (50, count))
        order = np.zeros(values.shape, np.int64)
        graphc.ops.sorting.sort_rows(order, values)
        np.testing.assert_array_equal(order, np.argsort(values, 1, kind="stable"))
