"""A loss as a function of one vector, in SciPy's hands."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import CallError, GraphError, MissingInputError

optimize = pytest.importorskip("scipy.optimize")


def test_rosenbrock_reaches_its_minimum():
    a, b = graphc.parameter(np.float64(-1.2), "a"), graphc.parameter(np.array([1.0, -0.5, 2.0]), "b")
    x = graphc.concat([graphc.reshape(a, (1,)), b])
    loss = (100.0 * graphc.square(x[1:] - graphc.square(x[:-1])) + graphc.square(1.0 - x[:-1])).sum()
    f = graphc.flat_function(loss)
    start = f.initial
    np.testing.assert_array_equal(start, [-1.2, 1.0, -0.5, 2.0])
    value, gradient = f(start)
    assert value == pytest.approx(optimize.rosen(start))
    np.testing.assert_allclose(gradient, optimize.rosen_der(start))
    result = optimize.minimize(f, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-14})
    np.testing.assert_allclose(result.x, np.ones(4), atol=1e-4)
    assert a.value == -1.2
    f.assign(result.x)
    np.testing.assert_allclose([a.value, *b.value], result.x)


def test_least_squares_of_a_module_in_float32():
    generator = np.random.default_rng(0)
    data = generator.normal(size=(50, 3)).astype("f")
    target = data @ np.array([[1.0], [-2.0], [0.5]], "f") + 0.25
    x, y = graphc.input("flat", ("n", 3)), graphc.input("y", ("n", 1))
    net = nn.Linear(3, 1)
    loss = graphc.mean(graphc.square(net(x) - y))
    f = graphc.flat_function(loss, net.parameters(), {x: data, y: target})
    result = optimize.minimize(f, f.initial, jac=True, method="BFGS", options={"gtol": 1e-5})
    wanted, *_ = np.linalg.lstsq(np.hstack([data, np.ones((50, 1))]), target, rcond=None)
    np.testing.assert_allclose(result.x, wanted.ravel(), atol=1e-4)
    f.assign(result.x)
    np.testing.assert_allclose(net.bias.value, wanted[3], atol=1e-4)
    assert net.bias.value.dtype == np.float32


def test_feeds_at_the_call_and_gradients_by_differences():
    x = graphc.input("x", (3,), "float64")
    w, b = graphc.parameter(np.arange(3.0), "w"), graphc.parameter(np.float64(0.5), "b")
    f = graphc.flat_function(graphc.exp(graphc.tanh(w * x).sum() * b), [b, w])
    at, values = np.array([0.3, 0.1, -0.2, 0.4]), np.array([1.0, -2.0, 0.5])
    value, gradient = f(at, {x: values})
    assert value == pytest.approx(np.exp(np.tanh(at[1:] * values).sum() * at[0]))
    for k in range(4):
        step = np.zeros(4)
        step[k] = 1e-6
        slope = (f(at + step, {x: values})[0] - f(at - step, {x: values})[0]) / 2e-6
        assert gradient[k] == pytest.approx(slope, abs=1e-8)
    with pytest.raises(MissingInputError, match="x"):
        f(at)
    with pytest.raises(CallError, match="a vector of 4 numbers, got shape \\(3,\\)"):
        f(at[:3], {x: values})
    np.testing.assert_array_equal(w.value, np.arange(3.0))


def test_what_is_refused():
    x, w, other = graphc.input("x", (3,)), graphc.parameter(np.ones(3, "f")), graphc.parameter(np.ones(3, "f"), "other")
    for call, message in (
        (lambda: graphc.flat_function(x.sum()), "no parameter"),
        (lambda: graphc.flat_function(w * x), "a scalar loss"),
        (lambda: graphc.flat_function((w * x).sum(), [other]), "'other'"),
        (lambda: graphc.flat_function((w * w).sum(), feeds={x: 1}), "does not depend on .*'x'"),
        (lambda: graphc.flat_function((w * x).sum(), [x]), "expected parameters"),
    ):
        with pytest.raises(GraphError, match=message) as caught:
            call()
        assert "test_flat.py:" in str(caught.value)
