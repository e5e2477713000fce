"""Softmax, sigmoid and their kin written by hand are right where their formulas overflow, and so are their gradients."""

import numpy as np
import pytest

import graphc
from graphc.graph.verify import verify
from graphc.ops.exponential import Exp
from graphc.passes import exponentials, run_passes

X = graphc.input("x", (4, 3), "float64")
S = graphc.input("s", ("n", 3), "float64")
WEIGHT = np.array([1.0, -2.0, 3.0])
EXTREME = np.array([[1000.0, 0.0, -1000.0], [-1000.0, -1001.0, -1002.0], [0.5, 0.25, -0.125], [700.0, 709.0, 710.0]])
e = graphc.exp


def by_hand(x, axis=-1):
    weights = e(x)
    return weights / graphc.sum(weights, axis=axis, keepdims=True)


def shifted(x):
    weights = e(x - graphc.max(x, axis=-1, keepdims=True))
    return weights / graphc.sum(weights, axis=-1, keepdims=True)


# The true values and their gradients, in long doubles, by formulas that do not overflow.


def wide(x):
    return np.asarray(x, np.longdouble)


def log_sigmoid(x):
    return -(np.maximum(-x, 0) + np.log1p(np.exp(-np.abs(x))))


def sigmoid(x):
    return np.exp(log_sigmoid(x))


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def softmax(x):
    return np.exp(log_softmax(x))


def softmax_slope(x):
    p = softmax(x)
    return p * (WEIGHT - (WEIGHT * p).sum(-1, keepdims=True))


def log_softmax_slope(x):
    return WEIGHT - WEIGHT.sum() * softmax(x)


CASES = {
    "softmax": (by_hand, softmax, softmax_slope),
    "softmax, sum apart": (lambda x: e(x) / graphc.expand_dims(graphc.sum(e(x), axis=1), 1), softmax, softmax_slope),
    "log of softmax": (lambda x: graphc.log(by_hand(x)), log_softmax, log_softmax_slope),
    "log of shifted": (lambda x: graphc.log(shifted(x)), log_softmax, log_softmax_slope),
    "log of graphc.softmax": (lambda x: graphc.log(graphc.softmax(x)), log_softmax, log_softmax_slope),
    "x - log(sum)": (
        lambda x: x - graphc.log(graphc.sum(e(x), axis=-1, keepdims=True)),
        log_softmax,
        log_softmax_slope,
    ),
    "sigmoid": (lambda x: 1.0 / (1.0 + e(-x)), sigmoid, lambda x: WEIGHT * sigmoid(x) * sigmoid(-x)),
    "sigmoid of the other side": (lambda x: e(x) / (e(x) + 1.0), sigmoid, lambda x: WEIGHT * sigmoid(x) * sigmoid(-x)),
    "1 - sigmoid": (lambda x: 1.0 - graphc.sigmoid(x), lambda x: sigmoid(-x), None),
    "log of sigmoid": (lambda x: graphc.log(graphc.sigmoid(x)), log_sigmoid, lambda x: WEIGHT * sigmoid(-x)),
    "log(1 / (1 + exp(-x)))": (
        lambda x: graphc.log(1.0 / (1.0 + e(-x))),
        log_sigmoid,
        lambda x: WEIGHT * sigmoid(-x),
    ),
    "log(1 - sigmoid)": (
        lambda x: graphc.log(1.0 - graphc.sigmoid(x)),
        lambda x: log_sigmoid(-x),
        lambda x: -WEIGHT * sigmoid(x),
    ),
    "softplus": (lambda x: graphc.log(1.0 + e(x)), lambda x: -log_sigmoid(-x), lambda x: WEIGHT * sigmoid(x)),
    "log1p(exp(x))": (lambda x: graphc.log1p(e(x)), lambda x: -log_sigmoid(-x), lambda x: WEIGHT * sigmoid(x)),
    "a quotient": (
        lambda x: 3.0 / (1.0 + e(x)),
        lambda x: 3 * sigmoid(-x),
        lambda x: -3 * WEIGHT * sigmoid(x) * sigmoid(-x),
    ),
    "attention": (
        lambda x: (
            graphc.sum(e(x) * WEIGHT, axis=-1, keepdims=True) / graphc.sum(e(x), axis=-1, keepdims=True) + 0.0 * x
        ),
        lambda x: (softmax(x) * WEIGHT).sum(-1, keepdims=True) + 0 * x,
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_overflows_by_hand_is_right(name):
    build, value, slope = CASES[name]
    node = build(X)
    graph = verify(run_passes(graphc.Graph((X,), (node, graphc.grad((node * WEIGHT).sum(), X)))))
    found, gradient = graphc.evaluate(graph.outputs, {X: EXTREME})
    # By this formula x - L cancels, for every L.
    absolute = 1e-12 if name == "x - log(sum)" else 1e-300
    np.testing.assert_allclose(found, value(wide(EXTREME)).astype(float), rtol=1e-13, atol=absolute)
    if slope is not None:
        expected = (slope(wide(EXTREME)) + np.zeros_like(EXTREME)).astype(float)
        np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", CASES)
def test_nan_stays_nan_and_second_derivatives_are_finite(name):
    build, _, _ = CASES[name]
    node = build(X)
    gradient = graphc.grad((node * WEIGHT).sum(), X)
    second = graphc.grad((gradient * gradient).sum(), X)
    plain = graphc.Graph((X,), (node, gradient, second))
    passed = run_passes(plain)
    data = np.array([[1.0, np.nan, 2.0], [0.5, -0.5, 0.0], [np.nan, np.nan, np.nan], [3.0, 1.0, 2.0]])
    for before, after in zip(*(graphc.evaluate(g.outputs, {X: data}) for g in (plain, passed)), strict=True):
        np.testing.assert_array_equal(np.isnan(after), np.isnan(before))
        np.testing.assert_allclose(after, before, rtol=1e-11, atol=1e-13)
    assert np.isfinite(np.array(graphc.evaluate(passed.outputs[2], {X: np.clip(EXTREME, -1000, 1000)}))).all()


def test_a_softmax_over_an_axis_that_may_be_empty():
    node = graphc.log(graphc.sum(e(S), axis=0))
    graph = run_passes(graphc.Graph((S,), (node,)), check=verify)
    np.testing.assert_allclose(graphc.evaluate(graph.outputs[0], {S: EXTREME}), [1000.0, 709.0, 710.0])
    np.testing.assert_array_equal(graphc.evaluate(graph.outputs[0], {S: np.ones((0, 3))}), -np.inf)


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "log of softmax"])
def test_the_step_of_a_scan_is_stable_too(name):
    build, value, _ = CASES[name]
    rows = graphc.scan(lambda c, x: (c, build(x)), None, X)[1]
    graph = run_passes(graphc.Graph((X,), (rows,)), check=verify)
    np.testing.assert_allclose(
        graphc.evaluate(graph.outputs[0], {X: EXTREME}), value(wide(EXTREME)).astype(float), rtol=1e-13, atol=1e-300
    )


def test_rows_and_columns_of_one_exponential():
    weights = e(X)
    node = weights / weights.sum(0, keepdims=True) + weights / weights.sum(1, keepdims=True)
    graph = run_passes(graphc.Graph((X,), (node,)))
    expected = softmax(wide(EXTREME.T)).T + softmax(wide(EXTREME))
    np.testing.assert_allclose(graphc.evaluate(graph.outputs[0], {X: EXTREME}), expected.astype(float), rtol=1e-13)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: e(x) / (2.0 + e(x)),  # no sum of exponentials alone
        lambda x: e(x) / graphc.sum(e(x * 2.0), axis=-1, keepdims=True),
        lambda x: e(x) * e(-x),
        lambda x: graphc.sigmoid(x) * (1.5 - graphc.sigmoid(x)),
        lambda x: graphc.softmax(x),
        lambda x: e(x) / graphc.sum(e(x)[:2], axis=-1)[:, None][:1],
    ],
)
def test_what_does_not_cancel_stays(build):
    graph = graphc.Graph((X,), (build(X),))
    assert exponentials(graph) is graph


@pytest.mark.parametrize("name", ["log of sigmoid", "log(1 - sigmoid)", "log(1 / (1 + exp(-x)))", "softplus"])
def test_infinities_have_their_limits(name):
    build, value, _ = CASES[name]
    data = np.array([[np.inf, -np.inf, 0.0]] * 4)
    found = graphc.evaluate(run_passes(graphc.Graph((X,), (build(X),))).outputs[0], {X: data})
    np.testing.assert_allclose(found, value(wide(data)).astype(float), rtol=1e-14)


def test_a_scaled_exponential_has_its_logarithm_taken_as_it_is():
    node = graphc.log(X * (e(X) / graphc.sum(e(X), axis=-1, keepdims=True)))
    graph = run_passes(graphc.Graph((X,), (node,)), check=verify)
    data = np.abs(EXTREME[2:3].repeat(4, 0))
    expected = np.log(wide(data) * softmax(wide(data))).astype(float)
    np.testing.assert_allclose(graphc.evaluate(graph.outputs[0], {X: data}), expected, rtol=1e-13)


def test_the_derivative_of_sigmoid_needs_no_second_sigmoid():
    graph = run_passes(graphc.Graph((X,), (graphc.sigmoid(X), graphc.grad(graphc.sigmoid(X).sum(), X))))
    assert [n.op.name for n in graph.nodes()].count("sigmoid") == 1


def test_a_softmax_by_hand_subtracts_the_largest_once():
    graph = run_passes(graphc.Graph((X,), (by_hand(X), graphc.grad((by_hand(X) * WEIGHT).sum(), X))))
    assert sum(isinstance(n.op, Exp) for n in graph.nodes()) == 1
    assert [n.op.name for n in graph.nodes()].count("max") == 1
