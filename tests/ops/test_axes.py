"""Ops along axes against NumPy: every form of an axis, sizes 0 and 1, symbolic sizes, NaN and infinity."""

import warnings

import numpy as np
import pytest

import graphc

NAN, INF = np.nan, np.inf
X = np.random.default_rng(0).normal(size=(3, 1, 4)).astype("float32")


def value(node):
    return np.asarray(node.eval({}))


def reference(name, x, axis, keepdims):
    functions = {
        "logsumexp": lambda: np.log(np.exp(x).sum(axis, keepdims=keepdims)),
        "var": lambda: x.var(axis, keepdims=keepdims),
    }
    return functions[name]() if name in functions else getattr(np, name)(x, axis=axis, keepdims=keepdims)


@pytest.mark.parametrize("axis", [None, 0, -1, 1, (0, 2), (-1, 0), (), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(
    "name", ["sum", "prod", "mean", "var", "std", "max", "min", "any", "all", "median", "logsumexp"]
)
def test_every_form_of_an_axis(name, axis, keepdims):
    got = value(getattr(graphc, name)(graphc.constant(X), axis=axis, keepdims=keepdims))
    wanted = reference(name, X, axis, keepdims)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions(name, axis, keepdims):
    x = X.copy()
    x[1, 0, 2] = NAN
    got = value(getattr(graphc, name)(graphc.constant(x), axis, keepdims))
    np.testing.assert_array_equal(got, getattr(np, name)(x, axis, keepdims=keepdims))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "any", "all", "median"])
def test_of_no_elements_as_numpy(name, shape):
    x = np.zeros(shape, "float32")
    for axis in (None, *range(len(shape))):
        got = graphc.compile([], getattr(graphc, name)(graphc.constant(x), axis=axis))()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = getattr(np, name)(x, axis=axis)
        np.testing.assert_array_equal(got, wanted, err_msg=f"axis {axis}")


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin", "logsumexp"])
def test_an_extreme_of_no_elements_raises(name):
    with pytest.raises(graphc.ShapeError, match=rf"one element or more along axis 1.*\n  in {name} at test_axes\.py"):
        getattr(graphc, name)(graphc.input("x", (3, 0)), 1)
    x = graphc.input("x", (3, "n"))
    f = graphc.compile([x], getattr(graphc, name)(x, 1))
    assert f(np.ones((3, 1), "float32")).shape == (3,)
    with pytest.raises(
        graphc.CallError, match=rf"^{name}: an element along axis 1 of float32\[3, n\] needs n >= 1 \(test_axes"
    ):
        f(np.ones((3, 0), "float32"))


def test_a_variance_whose_correction_uses_up_the_count():
    x = graphc.input("x", ("n",))
    f = graphc.compile([x], graphc.var(x, correction=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in (0, 1, 2):
            array = np.arange(n, dtype="float32")
            np.testing.assert_array_equal(f(array), array.var(ddof=1))


ROWS = np.array(
    [[-INF, -INF, -INF], [INF, 0, 1], [-INF, 0, 1], [NAN, 0, 1], [INF, INF, 0], [1e30, -1e30, 0], [88, 89, 90]],
    "float32",
)


def test_rows_without_a_finite_value():
    x = graphc.input("x", ROWS.shape)
    outputs = [graphc.logsumexp(x, -1), graphc.softmax(x), graphc.log_softmax(x)]
    total, weights, logs = graphc.compile([x], outputs)(ROWS)
    third = np.log(np.exp(-2.0) + np.exp(-1.0) + 1.0) + 90
    np.testing.assert_allclose(
        total, [-INF, INF, np.log(1 + np.e), NAN, INF, 1e30, third], rtol=1e-6
    )  # scipy.special.logsumexp
    softmax = np.full((7, 3), NAN)
    for row in (2, 5, 6):
        e = np.exp(ROWS[row].astype(float) - ROWS[row].max())
        softmax[row] = e / e.sum()
    np.testing.assert_allclose(weights, softmax, rtol=1e-6)
    np.testing.assert_allclose(logs[2], [-INF, -np.log(1 + np.e), 1 - np.log(1 + np.e)], rtol=1e-6)
    assert np.isnan(logs[[0, 1, 3, 4]]).all()


@pytest.mark.parametrize("n", [1, 2, 3, 8, 31])
def test_symbolic_sizes(n):
    x = graphc.input("x", ("n", 3))
    values, places = graphc.topk(x, 1, 0)
    outputs = {
        "prod": graphc.prod(x, 0),
        "cumprod": x.cumprod(0),
        "roll": graphc.roll(x, 2, 0),
        "roll back": graphc.roll(x, (-5, 1), (0, 1)),
        "roll flat": graphc.roll(x, -4),
        "tile": graphc.tile(x, (3, 2)),
        "repeat": x.repeat(2, 0),
        "median": graphc.median(x, 0),
        "median all": graphc.median(x),
        "top": values,
        "places": places,
        "diagonal": (x @ x.T).diagonal(),
        "above": (x @ x.T).diagonal(1),
        "below": x.diagonal(-1),
        "linspace": graphc.linspace(0, 1, x.shape[0]),
        "eye": graphc.eye(x.shape[0], k=1),
        "last": graphc.split(x, [1], 0)[1],
    }
    a = np.random.default_rng(n).normal(size=(n, 3)).astype("float32")
    got = graphc.compile([x], outputs)(a)
    product = a @ a.T
    wanted = {
        "prod": a.prod(0),
        "cumprod": a.cumprod(0),
        "roll": np.roll(a, 2, 0),
        "roll back": np.roll(a, (-5, 1), (0, 1)),
        "roll flat": np.roll(a, -4),
        "tile": np.tile(a, (3, 2)),
        "repeat": np.repeat(a, 2, 0),
        "median": np.median(a, 0),
        "median all": np.median(a),
        "top": a.max(0, keepdims=True),
        "places": a.argmax(0, keepdims=True),
        "diagonal": product.diagonal(),
        "above": product.diagonal(1),
        "below": a.diagonal(-1),
        "linspace": np.linspace(0, 1, n),
        "eye": np.eye(n, k=1),
        "last": a[1:],
    }
    for name, array in wanted.items():
        assert got[name].shape == array.shape, name
        np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_what_a_symbolic_size_must_satisfy():
    x = graphc.input("x", ("n",))
    f = graphc.compile([x], graphc.split(x, 3)[1])
    np.testing.assert_array_equal(f(np.arange(6, dtype="float32")), [2, 3])
    with pytest.raises(graphc.CallError, match=r"needs n == 3 .*test_axes\.py"):
        f(np.arange(7, dtype="float32"))
    f = graphc.compile([x], x[np.array([True, False, True])])
    np.testing.assert_array_equal(f(np.arange(3, dtype="float32")), [0, 2])
    with pytest.raises(graphc.CallError, match=r"needs n == 3 .*test_axes\.py"):
        f(np.arange(4, dtype="float32"))


def test_rolling_nothing():
    x = graphc.input("x", ("n",))
    f = graphc.compile([x], [graphc.roll(x, 3), x.cumprod(), graphc.grad(x.cumprod().sum(), x)])
    for array in f(np.zeros(0, "float32")):
        assert array.shape == (0,)


def test_booleans_have_an_order():
    x = np.array([[True, False], [True, True]])
    node = graphc.constant(x)
    for name in ("max", "min", "argmax", "argmin", "argsort", "sort"):
        np.testing.assert_array_equal(value(getattr(graphc, name)(node, 1)), getattr(np, name)(x, 1))


def test_methods_as_numpy():
    x = graphc.constant(X)
    np.testing.assert_allclose(value(x.prod(2)), X.prod(2), rtol=1e-6)
    np.testing.assert_allclose(value(x.var((0, 2), correction=1)), X.var((0, 2), ddof=1), rtol=1e-6)
    np.testing.assert_allclose(value(x.std()), X.std(), rtol=1e-6)
    np.testing.assert_allclose(value(x.cumsum(2)), X.cumsum(2), rtol=1e-6)
    np.testing.assert_array_equal(value(x.argmin(0)), X.argmin(0))
    np.testing.assert_array_equal(value(x.argsort()), X.argsort())
    np.testing.assert_array_equal(value(x.swapaxes(0, 2)), X.swapaxes(0, 2))
    np.testing.assert_array_equal(value(x.take([1, -1], 2)), X.take([1, -1], 2))
    np.testing.assert_array_equal(value(x.ravel()), X.ravel())
    np.testing.assert_array_equal(value(x.diagonal(0, 0, 2)), X.diagonal(0, 0, 2))
