"""Initial values: bounds, moments, orthogonality, fans."""

import math

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import GraphError, ShapeError

DENSE, FILTERS = (300, 200), (3, 5, 40, 60)
FANS = {DENSE: (200, 300), FILTERS: (15 * 40, 15 * 60)}


@pytest.fixture(autouse=True)
def _seed():
    graphc.seed(5)


def test_fans_of_both_layouts():
    for shape, expected in FANS.items():
        assert nn.init.fans(shape) == expected
    assert nn.init.fans((7, 4, 6)) == (28, 42)
    for shape in ((3,), (), 4):
        with pytest.raises(ShapeError, match=r"\(out, in\) or \(\*kernel, in, out\)"):
            nn.init.glorot_uniform(shape)
    with pytest.raises(ShapeError, match="a shape: expected a whole number of 0 or more, got 'batch'"):
        nn.init.he_normal(("batch", 3))


@pytest.mark.parametrize("shape", FANS)
@pytest.mark.parametrize(
    ("name", "options", "variance"),
    [
        ("glorot", {}, lambda i, o: 2 / (i + o)),
        ("glorot", {"gain": 3.0}, lambda i, o: 9 * 2 / (i + o)),
        ("he", {}, lambda i, o: 2 / i),
        ("he", {"negative_slope": 0.5}, lambda i, o: 2 / 1.25 / i),
        ("he", {"mode": "fan_out"}, lambda i, o: 2 / o),
        ("lecun", {}, lambda i, o: 1 / i),
    ],
)
def test_variances_and_bounds(shape, name, options, variance):
    expected = variance(*FANS[shape])
    uniform = getattr(nn.init, f"{name}_uniform")(shape, **options)
    normal = getattr(nn.init, f"{name}_normal")(shape, **options)
    for values in (uniform, normal):
        assert values.shape == shape
        assert values.dtype == np.float32
        assert values.var() == pytest.approx(expected, rel=0.03)
        assert abs(values.mean()) < 5 * math.sqrt(expected / values.size)
    bound = math.sqrt(3 * expected)
    assert 0.999 * bound < np.abs(uniform).max() <= bound * (1 + 1e-6)
    # The fourth moment tells the two apart: 1.8 and 3 times the squared variance.
    assert (uniform.astype("d") ** 4).mean() == pytest.approx(1.8 * expected**2, rel=0.05)
    assert (normal.astype("d") ** 4).mean() == pytest.approx(3 * expected**2, rel=0.1)


@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (9, 5), (2, 3, 4, 7), (2, 1, 4, 16)])
def test_orthogonal(shape):
    values = nn.init.orthogonal(shape, gain=2.0, dtype="float64")
    matrix = values.reshape(-1, shape[-1])
    small = matrix.T @ matrix if len(matrix) >= shape[-1] else matrix @ matrix.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)
    assert nn.init.orthogonal(shape).dtype == np.float32


def test_orthogonal_matrices_are_uniform():
    # Without the correction of signs the first element of each column would never be positive on average 0.
    values = np.array([nn.init.orthogonal((3, 3), dtype="float64") for _ in range(2000)])
    np.testing.assert_allclose(values.mean(0), 0, atol=0.06)
    np.testing.assert_allclose((values**2).mean(0), 1 / 3, atol=0.03)


@pytest.mark.parametrize(
    ("mean", "std", "low", "high"),
    [
        (0.0, 1.0, -2.0, 2.0),
        (1.0, 2.0, 0.5, 4.0),
        (0.0, 1.0, 3.0, 4.0),
        (0.0, 1.0, -9.0, -8.5),
        (0.0, 1.0, 8.5, 9.0),
        (0.0, 0.02, -2.0, 2.0),
    ],
)
def test_truncated_normal(mean, std, low, high):
    values = nn.init.truncated_normal((100_000,), mean, std, low, high, "float64")
    assert low <= values.min()
    assert values.max() <= high
    # Moments by integrating the density on a fine grid.
    start, stop = max(low, mean - 12 * std), min(high, mean + 12 * std)
    grid = np.linspace(start, stop, 200_001)
    density = np.exp(-0.5 * (((grid - mean) ** 2) - min((start - mean) ** 2, (stop - mean) ** 2)) / std**2)
    if start < mean < stop:
        density = np.exp(-0.5 * ((grid - mean) / std) ** 2)
    density /= density.sum()
    centre = (grid * density).sum()
    spread = math.sqrt(((grid - centre) ** 2 * density).sum())
    assert values.mean() == pytest.approx(centre, abs=5 * spread / math.sqrt(len(values)))
    assert values.std() == pytest.approx(spread, rel=0.02)
    for other in (values.astype("f"), nn.init.truncated_normal((1000,), mean, std, low, high)):
        assert np.float32(low) <= other.min()
        assert other.max() <= np.float32(high)


def test_plain_ones_and_draws_that_repeat_with_the_seed():
    np.testing.assert_array_equal(nn.init.zeros((2, 3)), np.zeros((2, 3), "f"))
    np.testing.assert_array_equal(nn.init.ones(3, "float64"), np.ones(3))
    np.testing.assert_array_equal(nn.init.constant((), 4.0), np.float32(4))
    first = nn.init.uniform((1000,), -1, 3)
    assert -1 <= first.min() < -0.9
    assert 2.9 < first.max() < 3
    second = nn.init.normal((1000,), 5, 0.1)
    assert second.mean() == pytest.approx(5, abs=0.02)
    graphc.seed(5)
    np.testing.assert_array_equal(nn.init.uniform((1000,), -1, 3), first)
    assert nn.init.he_normal((0, 4)).shape == (0, 4)


def test_wrong_options():
    with pytest.raises(GraphError, match="'fan_in' or 'fan_out', got 'fan'"):
        nn.init.he_uniform(DENSE, mode="fan")
    with pytest.raises(GraphError, match="low < high, got 2 and 1"):
        nn.init.truncated_normal(3, low=2, high=1)
    with pytest.raises(GraphError, match=r"std: expected a number above 0\.0, got 0"):
        nn.init.truncated_normal(3, std=0)
