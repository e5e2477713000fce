"""A user's function of scalars: fused, masked, in every place of a kernel, cached by what it reads."""

import math
import sys

import numpy as np
import pytest

import graphc
from graphc.errors import CompileError, GraphError

SCALE = 2.0
X = np.linspace(-3, 3, 37)


def scaled(x):
    return x * SCALE


def halvings(x):
    """How often x halves until it is below 1; for 0 or less it would not end if the mask let it in."""
    count = 0
    while x != 1.0:
        x = x / 2 if x > 1 else x * 2
        count += 1
    return float(count)


def test_it_fuses_with_what_stands_around_it():
    x = graphc.input("x", ("n",), "float64")
    y = graphc.tanh(graphc.elementwise(scaled, graphc.exp(x))) + 1.0
    executable = graphc.compile([x], y)
    assert len(executable.plan.kernels) == 1
    np.testing.assert_allclose(executable(X), np.tanh(np.exp(X) * 2) + 1, rtol=1e-14)
    total = graphc.compile([x], graphc.elementwise(scaled, x * x).sum())
    assert len(total.plan.kernels) == 1
    np.testing.assert_allclose(total(X), (X * X * 2).sum(), rtol=1e-14)


@pytest.mark.parametrize("count", [1, 3, 8, 17])
def test_lanes_beyond_the_end_are_not_given_to_it(count):
    # 0 never becomes 1: a lane that is not there would keep the loop going for ever.
    x = graphc.input("x", ("n",), "float64")
    got = graphc.compile([x], graphc.elementwise(halvings, x))(2.0 ** np.arange(count))
    np.testing.assert_array_equal(got, np.arange(count))


def test_in_epilogues_reductions_scans_and_scalars():
    x, w = graphc.input("x", (5, 4), "float64"), graphc.input("w", (4, 3), "float64")
    a = np.random.default_rng(0).normal(size=(5, 4))
    b = np.random.default_rng(1).normal(size=(4, 3))
    product = graphc.elementwise(lambda v: v if v > 0 else math.expm1(v), x @ w)
    _, running = graphc.scan(
        lambda c, row: ((n := c + graphc.elementwise(scaled, row)), n), graphc.zeros((4,), "float64"), x
    )
    one = graphc.elementwise(scaled, x.sum())
    outputs = [product, product.max(0), running, one]
    got = graphc.compile([x, w], outputs)(a, b)
    elu = np.where(a @ b > 0, a @ b, np.expm1(a @ b))
    for value, wanted in zip(got, [elu, elu.max(0), np.cumsum(2 * a, 0), 2 * a.sum()], strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-12)
    for value, wanted in zip(graphc.evaluate(outputs, {x: a, w: b}), got, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-12)


def test_what_it_reads_is_part_of_the_cache_key(monkeypatch):
    x = graphc.input("x", ("n",), "float64")

    def run(function):
        return graphc.compile([x], graphc.elementwise(function, x))(X)

    np.testing.assert_array_equal(run(scaled), X * 2)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    np.testing.assert_array_equal(run(scaled), X * 3)
    for factor in (4.0, 5.0):
        np.testing.assert_array_equal(run(_times(factor)), X * factor)
    monkeypatch.setattr(math, "pi", 3.0)
    np.testing.assert_array_equal(run(lambda x: x * math.pi), X * 3.0)
    monkeypatch.setattr(math, "pi", 4.0)
    np.testing.assert_array_equal(run(lambda x: x * math.pi), X * 4.0)


def _times(factor):
    return lambda x: x * factor


def test_outside_of_the_domain_it_gives_what_the_c_library_does():
    x = graphc.input("x", (3,), "float64")
    values = np.array([-1.0, 0.5, 800.0])
    for function, wanted in (
        (lambda v: math.sqrt(v), [math.nan, math.sqrt(0.5), math.sqrt(800)]),
        (lambda v: math.exp(v), [math.exp(-1), math.exp(0.5), math.inf]),
        (lambda v: 1 / (v - 0.5), [1 / -1.5, math.inf, 1 / 799.5]),
    ):
        node = graphc.elementwise(function, x)
        np.testing.assert_allclose(node.eval({x: values}), wanted, rtol=1e-15)
        np.testing.assert_allclose(graphc.compile([x], node)(values), wanted, rtol=1e-15)


def test_dtypes_of_results():
    x, i = graphc.input("x", (4,)), graphc.input("i", (4,), "uint8")
    assert graphc.elementwise(scaled, x).dtype is graphc.float32
    assert graphc.elementwise(scaled, x, dtype="float64").dtype is graphc.float64
    assert graphc.elementwise(lambda a, b: a + b, x, i).dtype is graphc.float32
    halves = graphc.elementwise(lambda a: a / 2, i, dtype="float32")
    np.testing.assert_array_equal(graphc.compile([i], halves)(np.arange(4, dtype="uint8")), [0, 0.5, 1, 1.5])


def test_derivatives():
    x, y = graphc.input("x", (37,)), graphc.input("y", ())
    power = graphc.elementwise(lambda a, b: a * a * b, x, y, dtype="float64", derivative=lambda a, b: (2 * a * b, None))
    first = graphc.grad(power.sum(), x)
    feeds = {x: X.astype("f"), y: np.float32(3)}
    np.testing.assert_allclose(first.eval(feeds), 6 * X, rtol=1e-6)
    with pytest.raises(GraphError, match="does not depend on"):
        graphc.grad(power.sum(), y)
    with pytest.raises(GraphError, match="scaled is called by elementwise and has no derivative"):
        graphc.grad(graphc.elementwise(scaled, x).sum(), x)
    with pytest.raises(GraphError, match="each of 1 operands, got 2"):
        graphc.grad(graphc.elementwise(scaled, x, derivative=lambda a: (a, a)).sum(), x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: graphc.elementwise(math.exp, x), "expected a Python function"),
        (lambda x: graphc.elementwise(scaled), "expected operands"),
        (lambda x: graphc.elementwise(scaled, x, x), "to take 2 scalars"),
        (lambda x: graphc.elementwise(lambda *a: 1.0, x), "to take 1 scalars"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(GraphError, match=message) as caught:
        call(graphc.input("x", (3,)))
    assert "test_elementwise_user.py:" in str(caught.value)


def shouting(x):
    if x > 0:
        return x.upper()
    return x


def raising(x):
    if x > 0:
        raise ValueError(x)
    return x


@pytest.mark.parametrize(("function", "message"), [(shouting, "upper"), (raising, "can raise an exception")])
def test_what_does_not_compile_names_the_function(function, message):
    x = graphc.input("x", (3,))
    with pytest.raises(CompileError, match=message) as caught:
        graphc.compile([x], graphc.elementwise(function, x))(np.ones(3, "f"))
    assert f"{function.__name__} at test_elementwise_user.py:" in str(caught.value)
