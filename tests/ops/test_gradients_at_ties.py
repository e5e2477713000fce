"""Derivatives where a function has a corner, and values where a formula could overflow: as PyTorch has them."""

import numpy as np
import pytest

import graphc

INF = float("inf")


def gradient(build, *values):
    inputs = [graphc.input(f"x{k}", np.shape(v), "float64") for k, v in enumerate(values)]
    gradients = graphc.grad(build(*inputs).sum(), inputs)
    return [g.eval(dict(zip(inputs, values, strict=True))).tolist() for g in gradients]


def test_maximum_and_minimum_give_each_side_half_of_a_tie():
    assert gradient(graphc.maximum, [1.0, 2.0, 3.0], [1.0, 5.0, 0.0]) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert gradient(graphc.minimum, [1.0, 2.0, 3.0], [1.0, 5.0, 0.0]) == [[0.5, 1, 0], [0.5, 0, 1]]


def test_max_and_min_share_evenly_among_equals():
    x = [[3.0, 3.0, 1.0, 3.0], [0.0, 1.0, 2.0, 0.0]]
    third = 1 / 3
    assert gradient(lambda x: x.max(1), x) == [[[third, third, 0, third], [0, 0, 1, 0]]]
    assert gradient(lambda x: x.min(1), x) == [[[0, 0, 1, 0], [0.5, 0, 0, 0.5]]]
    x = graphc.input("x", (4,), "float64")
    tangent = graphc.jvp(x.max(), x, graphc.constant(np.array([3.0, 6.0, 100.0, 0.0])))
    assert tangent.eval({x: [1.0, 1.0, 0.0, 1.0]}) == 3


@pytest.mark.parametrize(
    ("build", "at", "slope"),
    [(graphc.relu, 0.0, 0), (graphc.abs, 0.0, 0), (lambda x: x**2.5, 0.0, 0), (lambda x: x**2, 0.0, 0),
     (lambda x: x**0, 0.0, None), (lambda x: graphc.clip(x, 0, 1), 2.0, 0), (graphc.sigmoid, -800.0, 0),
     (graphc.tanh, 800.0, 0)],
)  # fmt: skip
def test_corners(build, at, slope):
    if slope is None:
        with pytest.raises(graphc.GraphError):
            gradient(build, [at])
    else:
        assert gradient(build, [at]) == [[slope]]


def test_softmax_family_without_overflow():
    x = np.array([[1e4, -1e4, 1e4], [-INF, 0.0, -INF], [INF, 0.0, 1.0]])
    soft = graphc.softmax(graphc.constant(x[:2])).eval()
    assert soft.tolist() == [[0.5, 0, 0.5], [0, 1, 0]]
    total = graphc.logsumexp(graphc.constant(x), 1).eval()
    assert total.tolist() == [1e4 + np.log(2), 0, INF]
    assert graphc.logsumexp(graphc.constant([-INF, -INF]), 0).eval() == -INF
    assert gradient(lambda x: graphc.logsumexp(x, 1), x[:2].tolist()) == [[[0.5, 0, 0.5], [0, 1, 0]]]
    np.testing.assert_array_equal(gradient(lambda x: graphc.softmax(x, 0), [1e4, 1e4, 0.0]), [[0, 0, 0]])


def test_gradients_of_repeated_indices_add_up():
    (x,) = gradient(lambda x: graphc.take(x, [0, 2, 0, -1]), [1.0, 2.0, 3.0])
    assert x == [2, 0, 2]


def test_integers_have_no_gradient_and_casts_pass_it():
    k = graphc.input("k", (2,), "int32")
    with pytest.raises(TypeError):
        graphc.grad(k.astype("float32").sum(), k)
    x = graphc.input("x", (2,), "float32")
    assert graphc.grad(x.astype("float64").sum(), x).dtype is graphc.float32
    with pytest.raises(graphc.GraphError):
        graphc.grad(x.astype("int32").astype("float32").sum(), x)
