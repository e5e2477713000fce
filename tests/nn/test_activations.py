"""Activations against their formulas in NumPy."""

import math

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import GraphError, ShapeError
from tests.nn.checks import check, value_and_slopes

erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def leaky(x, slope):
    return np.where(x > 0, x, slope * x)


def exponential(x, alpha):
    return np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1))


def tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gate(x):
    return np.clip(x + 3, 0, 6) / 6


# The module, the function with the same options, the definition.
ROWS = {
    "relu": (nn.ReLU(), nn.relu, lambda x: np.maximum(x, 0)),
    "leaky_relu": (nn.LeakyReLU(), nn.leaky_relu, lambda x: leaky(x, 0.01)),
    "leaky_relu 0.3": (nn.LeakyReLU(0.3), lambda x: nn.leaky_relu(x, 0.3), lambda x: leaky(x, 0.3)),
    "elu": (nn.ELU(), nn.elu, lambda x: exponential(x, 1.0)),
    "elu 0.5": (nn.ELU(0.5), lambda x: nn.elu(x, 0.5), lambda x: exponential(x, 0.5)),
    "selu": (nn.SELU(), nn.selu, lambda x: 1.0507009873554805 * exponential(x, 1.6732632423543772)),
    "silu": (nn.SiLU(), nn.silu, lambda x: x * sigmoid(x)),
    "gelu": (nn.GELU(), nn.gelu, lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2)))),
    "gelu tanh": (nn.GELU("tanh"), lambda x: nn.gelu(x, "tanh"), tanh_gelu),
    "softplus": (nn.Softplus(), nn.softplus, lambda x: np.log(1 + np.exp(x))),
    "softplus 2": (
        nn.Softplus(2.0, 3.0),
        lambda x: nn.softplus(x, 2.0, 3.0),
        lambda x: np.where(2 * x > 3, x, np.log(1 + np.exp(2 * x)) / 2),
    ),
    "tanh": (nn.Tanh(), nn.tanh, np.tanh),
    "sigmoid": (nn.Sigmoid(), nn.sigmoid, sigmoid),
    "logsigmoid": (nn.LogSigmoid(), nn.logsigmoid, lambda x: np.log(sigmoid(x))),
    "hardsigmoid": (nn.Hardsigmoid(), nn.hardsigmoid, gate),
    "hardswish": (nn.Hardswish(), nn.hardswish, lambda x: x * gate(x)),
    "mish": (nn.Mish(), nn.mish, lambda x: x * np.tanh(np.log(1 + np.exp(x)))),
    "softmax": (nn.Softmax(), nn.softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    "softmax 0": (nn.Softmax(0), lambda x: nn.softmax(x, 0), lambda x: np.exp(x) / np.exp(x).sum(0, keepdims=True)),
    "log_softmax": (nn.LogSoftmax(1), nn.log_softmax, lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
}


@pytest.mark.parametrize("name", ROWS)
def test_modules_and_functions_are_their_formulas(name):
    module, function, define = ROWS[name]
    # No value is at a corner, where a difference quotient means nothing.
    data = np.random.default_rng(3).uniform(-5, 5, (7, 4)) + 1e-3
    check(module, define, data)
    value, _, _ = value_and_slopes(module, [data])
    np.testing.assert_array_equal(value, value_and_slopes(function, [data])[0])


@pytest.mark.parametrize("name", [name for name in ROWS if "softmax" not in name])
def test_values_and_slopes_stay_finite_far_out(name):
    data = np.array([-1e4, -200.0, -90.0, 90.0, 200.0, 1e4], "f")
    value, slopes, weights = value_and_slopes(ROWS[name][0], [data])
    assert np.isfinite(value).all()
    slope = slopes[0] / weights
    if name in ("tanh", "sigmoid", "hardsigmoid"):
        np.testing.assert_allclose(slope, 0, atol=1e-30)
    elif name != "logsigmoid":
        scale = 1.050701 if name == "selu" else 1.0
        np.testing.assert_allclose(slope[3:], scale, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in ROWS if "softmax" not in name])
def test_second_derivatives(name):
    module, _, define = ROWS[name]
    data = np.random.default_rng(3).uniform(-5, 5, 40) + 1e-3
    x = graphc.input("x", ("n",), "float64")
    second = graphc.grad(graphc.grad(module(x).sum(), x).sum(), x, disconnected="zeros").eval({x: data})
    step = 1e-4
    # A function of each element alone: second differences, element by element.
    expected = (define(data + step) - 2 * define(data) + define(data - step)) / step**2
    np.testing.assert_allclose(second, expected, rtol=1e-4, atol=1e-6)


def test_small_negative_and_large_values_keep_their_digits():
    x = graphc.input("x", ("n",))
    data = np.array([-1e-6, -9.0, -8.0], "f")
    elu, softplus, gelu = graphc.evaluate([nn.elu(x), nn.softplus(x), nn.gelu(x)], {x: data})
    wide = data.astype("d")
    np.testing.assert_allclose(elu, np.expm1(wide), rtol=1e-6)
    np.testing.assert_allclose(softplus, np.log1p(np.exp(wide)), rtol=1e-6)
    expected = [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in wide]
    np.testing.assert_allclose(gelu, expected, rtol=2e-5)


def test_slopes_at_corners_are_pytorchs():
    x = graphc.input("x", ("n",))
    zero = np.zeros(1, "f")
    for build, expected in [
        (nn.relu, 0.0),
        (nn.leaky_relu, 0.01),
        (lambda v: nn.elu(v, 0.5), 0.5),
        (lambda v: nn.prelu(v, 0.25), 0.25),
        (nn.softplus, 0.5),
    ]:
        assert graphc.grad(build(x).sum(), x).eval({x: zero}) == pytest.approx(expected)
    ends = graphc.grad(nn.hardswish(x).sum(), x).eval({x: np.array([-3.0, 3.0], "f")})
    np.testing.assert_array_equal(ends, [0, 1])


def test_prelu_has_a_slope_for_each_channel_of_the_last_axis():
    layer = nn.PReLU(3, init=0.5, dtype="float64")
    layer.weight.set([0.1, 0.2, 0.3])
    data = np.random.default_rng(0).normal(size=(4, 2, 3))
    check(lambda x, w: nn.prelu(x, w), lambda x, w: np.where(x > 0, x, w * x), data, np.array([0.1, 0.2, 0.3]))
    x = graphc.input("x", ("n", 2, 3), "float64")
    np.testing.assert_allclose(layer(x).eval({x: data}), np.where(data > 0, data, data * [0.1, 0.2, 0.3]))
    np.testing.assert_array_equal(nn.PReLU().weight.value, np.float32([0.25]))
    assert nn.PReLU()(x).shape == x.shape
    with pytest.raises(ShapeError, match="a last axis of 3, got"):
        layer(graphc.input("x", ("n", 4)))


def test_wrong_options():
    x = graphc.input("x", ("n",))
    with pytest.raises(GraphError, match="'none' or 'tanh', got 'erf'"):
        nn.GELU("erf")
    with pytest.raises(GraphError, match=r"'none' or 'tanh'(.|\n)*in nn.gelu at test_activations.py:"):
        nn.gelu(x, True)
    with pytest.raises(GraphError, match=r"beta: expected a number above 0.0, got 0"):
        nn.Softplus(0)
    with pytest.raises(GraphError, match=r"negative_slope: expected a number, got 'a'"):
        nn.LeakyReLU("a")
    with pytest.raises(ShapeError, match=r"num_parameters: expected a whole number of 1 or more, got 0"):
        nn.PReLU(0)
    assert "approximate='tanh'" in repr(nn.GELU("tanh"))
