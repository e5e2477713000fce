"""Losses of numbers and of pairs against their formulas in NumPy."""

import math

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import GraphError, ShapeError
from tests.nn.checks import check

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(5, 3)) * 2, RNG.normal(size=(5, 3))
REDUCE = {"mean": np.mean, "sum": np.sum, "none": lambda losses: losses}


def huber(d, delta):
    return np.where(abs(d) < delta, 0.5 * d**2, delta * (abs(d) - 0.5 * delta))


ROWS = {
    "mse": (nn.mse_loss, {}, lambda x, y: (x - y) ** 2),
    "l1": (nn.l1_loss, {}, lambda x, y: abs(x - y)),
    "smooth l1": (nn.smooth_l1_loss, {}, lambda x, y: huber(x - y, 1.0)),
    "smooth l1 0.3": (nn.smooth_l1_loss, {"beta": 0.3}, lambda x, y: huber(x - y, 0.3) / 0.3),
    "smooth l1 0": (nn.smooth_l1_loss, {"beta": 0.0}, lambda x, y: abs(x - y)),
    "huber": (nn.huber_loss, {}, lambda x, y: huber(x - y, 1.0)),
    "huber 0.3": (nn.huber_loss, {"delta": 0.3}, lambda x, y: huber(x - y, 0.3)),
    "quantile": (nn.quantile_loss, {"quantile": 0.8}, lambda x, y: np.maximum(0.8 * (y - x), -0.2 * (y - x))),
}


@pytest.mark.parametrize("reduction", REDUCE)
@pytest.mark.parametrize("name", ROWS)
def test_losses_are_their_formulas(name, reduction):
    function, options, define = ROWS[name]
    check(
        lambda x, y: function(x, y, reduction=reduction, **options),
        lambda x, y: REDUCE[reduction](define(x, y)),
        X,
        Y,
    )


@pytest.mark.parametrize("reduction", REDUCE)
@pytest.mark.parametrize("full", [False, True])
def test_gaussian_nll(reduction, full):
    variances = RNG.uniform(0.5, 2, (5, 3))

    def define(x, y, v):
        v = v[:, None] if v.ndim == 1 else v
        return REDUCE[reduction](0.5 * (np.log(v) + (x - y) ** 2 / v + (math.log(2 * math.pi) if full else 0)))

    for var in (variances, variances[:, :1], variances[:, 0], np.array(0.7)):
        check(lambda x, y, v: nn.gaussian_nll_loss(x, y, v, full=full, reduction=reduction), define, X, Y, var)


def test_a_variance_of_zero_is_limited_and_has_a_gradient():
    v = graphc.input("v", (), "float64")
    loss = nn.gaussian_nll_loss(np.float64(1.0), np.float64(3.0), v, eps=1e-2)
    value, slope = graphc.evaluate([loss, graphc.grad(loss, v)], {v: 0.0})
    assert value == pytest.approx(0.5 * (math.log(1e-2) + 4 / 1e-2))
    assert slope == pytest.approx(0.5 * (1 / 1e-2 - 4 / 1e-4))


def test_several_quantiles():
    levels = [0.1, 0.5, 0.9]

    def define(x, y):
        d = y[:, None] - x
        return np.maximum(np.array(levels) * d, (np.array(levels) - 1) * d).mean()

    check(lambda x, y: nn.quantile_loss(x, y, levels), define, X, Y[:, 0])
    # A constant that minimises the loss is the quantile of the data.
    data = np.sort(RNG.normal(size=101))
    x = graphc.input("x", (1,), "float64")
    loss = nn.quantile_loss(graphc.broadcast_to(x, (101,)), data, 0.8)
    slopes = [graphc.grad(loss, x).eval({x: np.array([at])})[0] for at in (data[79] - 1e-9, data[81] + 1e-9)]
    assert slopes[0] < 0 < slopes[1]


def test_large_errors_have_finite_gradients():
    x, y = graphc.input("x", ("n",)), graphc.input("y", ("n",))
    feeds = {x: np.array([1e30, -1e38, np.inf], "f"), y: np.zeros(3, "f")}
    for loss in (nn.huber_loss(x, y, reduction="sum"), nn.smooth_l1_loss(x, y, reduction="sum")):
        np.testing.assert_array_equal(graphc.grad(loss, x).eval(feeds), [1, -1, 1])
    equal = {x: np.zeros(3, "f"), y: np.zeros(3, "f")}
    np.testing.assert_array_equal(graphc.grad(nn.l1_loss(x, y), x).eval(equal), np.zeros(3))


def distance(a, b, p=2.0, eps=1e-6):
    d = abs(a - b + eps)
    return d.max(-1) if p == math.inf else (d**p).sum(-1) ** (1 / p)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5, math.inf])
@pytest.mark.parametrize("swap", [False, True])
def test_triplet_margin(p, swap):
    third = RNG.normal(size=(5, 3))

    def define(a, b, c):
        far = np.minimum(distance(a, c, p), distance(b, c, p)) if swap else distance(a, c, p)
        return np.maximum(0, distance(a, b, p) - far + 0.9).mean()

    check(lambda a, b, c: nn.triplet_margin_loss(a, b, c, margin=0.9, p=p, swap=swap), define, X, Y, third)
    check(lambda a, b: nn.pairwise_distance(a, b, p, keepdim=True), lambda a, b: distance(a, b, p)[:, None], X, Y)


def test_equal_vectors_have_a_gradient_of_zero():
    x = graphc.input("x", (2, 3))
    for p in (2.0, 3.0):
        loss = nn.pairwise_distance(x, x * 1.0, p, eps=0.0).sum()
        np.testing.assert_array_equal(graphc.grad(loss, x).eval({x: np.ones((2, 3), "f")}), np.zeros((2, 3)))


def test_cosine_embedding_and_hinge_embedding():
    sides = np.array([1, -1, -1, 1, -1])

    def cosine(a, b):
        c = (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
        return np.where(sides == 1, 1 - c, np.maximum(0, c - 0.1)).mean()

    check(lambda a, b: nn.cosine_embedding_loss(a, b, sides, margin=0.1), cosine, X, Y)
    check(
        lambda x: nn.hinge_embedding_loss(x, sides, margin=2.0, reduction="sum"),
        lambda x: np.where(sides == 1, x, np.maximum(0, 2.0 - x)).sum(),
        X[:, 0],
    )


@pytest.mark.parametrize("loss", [nn.mse_loss, nn.l1_loss, nn.huber_loss, nn.binary_cross_entropy, nn.kl_div])
def test_operands_that_would_broadcast_are_refused(loss):
    column, row = graphc.input("p", ("n", 1)), graphc.input("t", ("n",))
    with pytest.raises(ShapeError, match=r"one shape, got float32\[n, 1\] and float32\[n\]; .*first: graphc.squeeze"):
        loss(column, row)
    with pytest.raises(ShapeError, match=r"from the second: graphc.squeeze(.|\n)*in nn\..* at test_regression.py:"):
        loss(row, column)
    with pytest.raises(ShapeError, match="reshape one of them"):
        loss(graphc.input("p", ("n", 3)), graphc.input("t", (1, 3)))
    with pytest.raises(ShapeError, match="reshape one of them"):
        loss(graphc.input("p", (4, 3)), 1.0)


def test_symbolic_sizes_are_compared_when_the_graph_runs():
    a, b = graphc.input("a", ("n",)), graphc.input("b", ("m",))
    loss = graphc.compile([a, b], nn.mse_loss(a, b))
    assert loss(np.ones(3, "f"), np.zeros(3, "f")) == 1
    with pytest.raises(graphc.GraphcError):
        loss(np.ones(3, "f"), np.zeros(1, "f"))


def test_wrong_options():
    x = graphc.input("x", ("n", 2))
    with pytest.raises(GraphError, match=r"beta: expected a number of 0.0 or more, got -1"):
        nn.smooth_l1_loss(x, x, beta=-1)
    with pytest.raises(GraphError, match=r"delta: expected a number above 0.0, got 0"):
        nn.huber_loss(x, x, delta=0)
    with pytest.raises(GraphError, match=r"quantile: expected a number between 0.0 and 1.0, got 1.0"):
        nn.quantile_loss(x, x, 1.0)
    with pytest.raises(ShapeError, match="a last axis of 3, one for each quantile"):
        nn.quantile_loss(x, x[:, 0], [0.1, 0.5, 0.9])
    with pytest.raises(GraphError, match=r"margin: expected a number from -1.0 to 1.0, got 3"):
        nn.cosine_embedding_loss(x, x, x[:, 0], margin=3)
    with pytest.raises(GraphError, match=r"p: expected a number above 0.0, got 0"):
        nn.pairwise_distance(x, x, 0)
    with pytest.raises(ShapeError, match="expected variances"):
        nn.gaussian_nll_loss(x[..., None], x[..., None], x[0])
    with pytest.raises(ShapeError, match=r"one shape, got float32\[1\] and float32\[n\]"):
        nn.gaussian_nll_loss(x, x, np.ones((1, 2), "f"))
    with pytest.raises(GraphError, match="got 'max'"):
        nn.mse_loss(x, x, reduction="max")
