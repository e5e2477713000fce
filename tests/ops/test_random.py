"""Draws: known answers, independence of sites, steps and order, moments, initial values."""

import numpy as np
import pytest
from scipy import stats

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


def test_a_compiled_draw_gives_philox_words():
    words = graphc.compile([], draws.random_bits((4,)))()  # the first site, at seed 0: counter and key are zeros
    assert [int(word) for word in words] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


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


# name: (what draws n numbers in a dtype, the distribution that they have)
CONTINUOUS = {
    "uniform": (lambda n, d: graphc.uniform((n,), -2, 3, d), stats.uniform(-2, 5)),
    "normal": (lambda n, d: graphc.normal((n,), 1, 2, d), stats.norm(1, 2)),
    "exponential": (lambda n, d: graphc.exponential((n,), 3, d), stats.expon(0, 3)),
    "gumbel": (lambda n, d: graphc.gumbel((n,), 1, 2, d), stats.gumbel_r(1, 2)),
    "truncated": (lambda n, d: graphc.truncated_normal((n,), -1, 3, 1, 2, d), stats.truncnorm(-1, 1, 1, 2)),
    "upper tail": (lambda n, d: graphc.truncated_normal((n,), 5, 7, dtype=d), stats.truncnorm(5, 7)),
    "lower tail": (lambda n, d: graphc.truncated_normal((n,), -np.inf, -4, dtype=d), stats.truncnorm(-np.inf, -4)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_draws_have_their_distribution(name, dtype):
    draw, distribution = CONTINUOUS[name]
    values = graphc.compile([], draw(50_000, dtype))()
    assert values.dtype == dtype
    assert stats.kstest(values, distribution.cdf).pvalue > 1e-3


def test_categorical_draws_have_their_probabilities():
    logits = np.array([[0.0, 1.0, -np.inf, 2.0], [3.0, 0.0, 0.0, 0.0]], "float32")
    drawn = graphc.compile([], graphc.categorical(logits, (50_000, 2)))()
    for row in range(2):
        chances = np.exp(logits[row]) / np.exp(logits[row]).sum()
        counts = np.bincount(drawn[:, row], minlength=4)
        possible = chances > 0
        assert not counts[~possible].any()
        assert stats.chisquare(counts[possible], 50_000 * chances[possible]).pvalue > 1e-3
    assert stats.chi2_contingency(np.histogram2d(drawn[:, 0], drawn[:, 1], [[0, 1, 3, 4], 4])[0]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (0, 7, "int64"),
        (-3, 4, "int32"),
        (0, 256, "uint8"),
        (0, 2**32, "uint32"),
        (0, 3 * 2**30, "int64"),
        (-(2**40), 2**41 + 1, "int64"),
        (-(2**63), 2**63, "int64"),
        (-(2**63), 2**63 - 1, "int64"),
    ],
)
def test_integers_are_equally_probable_in_their_range(low, high, dtype):
    drawn = graphc.compile([], graphc.randint(low, high, (40_000,), dtype))()
    assert drawn.dtype == dtype
    assert low <= int(drawn.min())
    assert int(drawn.max()) < high
    words = draws.bits((40_000, 2), 0, 0).tolist()  # the first site, at seed 0
    assert drawn.tolist() == [low + ((a << 32 | b) * (high - low) >> 64) for a, b in words]
    parts = min(high - low, 64)
    places = [(int(value) - low) * parts // (high - low) for value in drawn]
    assert stats.chisquare(np.bincount(places, minlength=parts)).pvalue > 1e-3


def test_integers_up_to_a_dim_or_a_node():
    x, n = graphc.input("x", ("n",)), graphc.input("m", (2,), "int32")
    rows = graphc.compile([x], graphc.randint(0, x.shape[0], (1000,)))(np.zeros(5, "float32"))
    assert set(rows) == set(range(5))
    drawn = graphc.compile([n], graphc.randint(-1, n, (1000, 2)))(np.array([3, -1], "int32"))
    assert set(drawn[:, 0]) == {-1, 0, 1, 2}
    assert set(drawn[:, 1]) == {-1}  # an empty range


def test_permutations_are_equally_probable():
    orders = graphc.compile([], graphc.map(lambda _: graphc.permutation(4), graphc.zeros((4800,))))()
    assert np.array_equal(np.sort(orders, 1), np.tile(np.arange(4), (4800, 1)))
    assert stats.chisquare(np.bincount(orders @ [1, 4, 16, 64])[np.unique(orders @ [1, 4, 16, 64])]).pvalue > 1e-3
    assert len(np.unique(orders, axis=0)) == 24


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("low", "high"), [(100.0, 101.0), (-1.0, 1e-12), (2.0, 2.0), (0.0, 1.0)])
def test_uniform_never_reaches_its_upper_bound(monkeypatch, dtype, low, high):
    ends = np.array([0, 2**32 - 1], np.uint32)
    monkeypatch.setattr(draws, "random_bits", lambda shape, site=None: graphc.graph.node.constant(ends))
    first, last = graphc.compile([], graphc.uniform((2,), low, high, dtype))()
    assert first == np.asarray(low, dtype)
    assert low <= last
    assert last < np.asarray(high, dtype) or low == high


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_truncated_normals_stay_inside(monkeypatch, dtype):
    ends = np.array([0, 2**32 - 1], np.uint32)
    monkeypatch.setattr(draws, "random_bits", lambda shape, site=None: graphc.graph.node.constant(ends))
    for low, high in ((-2, 2), (5, 6), (-9, -8.5), (0, 1e-3), (30, 31)):
        values = graphc.compile([], graphc.truncated_normal((2,), low, high, dtype=dtype))()
        assert np.all((values >= np.asarray(low, dtype)) & (values <= np.asarray(high, dtype))), (low, high, values)


def test_bernoulli_at_its_ends_is_certain():
    assert graphc.bernoulli(1.0, (10_000,)).eval().all()
    assert not graphc.bernoulli(0.0, (10_000,)).eval().any()
    assert graphc.bernoulli(np.full((2, 3), 0.5, "float32")).shape == (2, 3)


def test_draws_do_not_depend_on_the_number_of_threads():
    outputs = [graphc.normal((300, 1001)), graphc.randint(0, 10**12, (300_001,)), graphc.permutation(2000)]
    one, two = (graphc.compile([], outputs, threads=count)() for count in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a, b)


def test_compiled_draws_differ_between_sites_runs_and_turns():
    run = graphc.compile([], [graphc.normal((50,)), graphc.normal((50,))])
    (a, b), (c, d) = run(), run()
    _, turns = graphc.scan(lambda s, _: (s, graphc.normal((50,))), graphc.constant(0.0), length=4)
    rows = graphc.compile([], turns)()
    assert len(np.unique(np.concatenate([a, b, c, d, rows.ravel()]))) == 8 * 50


def test_examples_of_vmap_share_a_draw():
    x = graphc.input("x", (3, 4), "float64")
    noise = graphc.vmap(lambda row: row + graphc.normal((4,), dtype="float64"))(x).eval({x: np.zeros((3, 4))})
    assert len(np.unique(noise)) == 4
    assert np.array_equal(noise[0], noise[1])


def test_sorting_kernel_is_stable_with_nan_last():
    generator = np.random.default_rng(0)
    for count in range(12):
        values = generator.choice([0.0, 1.0, 2.0, -1.0, np.nan, np.inf, -np.inf, -0.0], (50, count))
        order = np.zeros(values.shape, np.int64)
        graphc.ops.sorting.sort_rows(order, values)
        np.testing.assert_array_equal(order, np.argsort(values, 1, kind="stable"))
