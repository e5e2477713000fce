"""What several consumers want of a contraction's sums: stored in its epilogue instead of them, where that is worth the arrays."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.compiler import passed, plan_of
from graphc.graph.graph import Graph
from graphc.schedule.plan import calls
from graphc.simd.levels import host_level

ROWS, WIDTH, HIDDEN = 6, 21, 37


def network(bias, activation):
    """x @ a (+ b) through an activation and a second product, and the gradients by all weights."""
    generator = np.random.default_rng(0)
    x = graphc.input("x", ("batch", WIDTH))
    a = graphc.parameter(generator.normal(size=(WIDTH, HIDDEN)).astype("f") / 4, "a")
    b = graphc.parameter(generator.normal(size=HIDDEN).astype("f"), "b")
    c = graphc.parameter(generator.normal(size=(HIDDEN, 5)).astype("f"), "c")
    sums = x @ a + b if bias else x @ a
    result = activation(sums) @ c
    weights = [a, b, c] if bias else [a, c]
    return x, sums, result, graphc.grad((result * result).sum(), weights)


def plan_for(x, outputs):
    return plan_of(passed(Graph((x,), tuple(outputs)), training=False), host_level())


def agrees(x, outputs):
    array = np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype("f")
    expected = graphc.evaluate(list(outputs), {x: array})
    for one, other in zip(graphc.compile([x], list(outputs))(array), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_gelu_and_its_slope_are_made_where_the_sums_are(bias):
    x, _, result, gradients = network(bias, nn.gelu)
    outputs = (result, *gradients)
    plan = plan_for(x, outputs)
    (text,) = (text for text in plan.kernels.values() if "normal_" in text)
    assert "fma(" in text, "no kernel of its own"
    written = {b for call in calls(plan.steps) for b in call.writes}
    stored = [b for b in written if plan.buffers[b].shape == (x.shape[0], HIDDEN)]
    # The activation, its slope, and the cotangent of the sums.
    assert len(stored) == 3
    agrees(x, outputs)


def test_a_residual_sum_and_the_slope_are_made_where_the_sums_are():
    """What is added was there before; so the epilogue reads it, and neither the sums nor GELU of them are stored."""
    x, sums, _, _ = network(True, nn.gelu)
    weights = graphc.parameter(np.random.default_rng(2).normal(size=(HIDDEN, HIDDEN)).astype("f") / 4, "d")
    first = graphc.tanh(sums)
    second = first + nn.gelu(first @ weights)
    third = second + nn.gelu(second @ weights)
    outputs = (third, graphc.grad((third * third).sum(), weights))
    plan = plan_for(x, outputs)
    made = [text for text in plan.kernels.values() if "normal_" in text]
    assert all("fma(" in text and "normal_pdf" in text for text in made), "no kernel of its own"
    written = {b for call in calls(plan.steps) for b in call.writes}
    # tanh, then each time the sum and the slope, and the cotangents of both products.
    assert sum(plan.buffers[b].shape == (x.shape[0], HIDDEN) for b in written) == 7
    agrees(x, outputs)


@pytest.mark.parametrize(("function", "arrays"), [(graphc.normal_cdf, 2), (graphc.square, 1)])
def test_an_array_more_is_worth_what_both_would_repeat(function, arrays):
    """Both are made of the function's value; it is repeated if it is cheap."""
    x, sums, _, _ = network(True, nn.gelu)
    shared = [function(sums) * sums, function(sums) + sums]
    outputs = [graphc.softmax(shared[0], -1), graphc.softmax(x[:, :1] * shared[1], -1)]
    plan = plan_for(x, outputs)
    (product,) = (call for call in calls(plan.steps) if "fma(" in plan.kernels[call.kernel] and len(call.reads) == 3)
    assert sum(plan.buffers[b].shape == (x.shape[0], HIDDEN) for b in product.writes) == arrays
    agrees(x, outputs)


def test_sums_that_others_read_are_stored():
    """Then the slope is made in the epilogue that needs it: to store it, too, would take an array more."""
    x, sums, result, gradients = network(True, nn.gelu)
    outputs = (sums, result, *gradients)
    assert sum("normal_pdf(" in text for text in plan_for(x, outputs).kernels.values()) == 1
    agrees(x, outputs)


def test_what_is_read_further_on_is_not_read_by_the_kernel_that_stores_it():
    """tanh is stored for a product, and so its square is made of the stored numbers, in another kernel."""
    x, _, result, gradients = network(True, lambda h: graphc.tanh(h) * graphc.tanh(h) + graphc.tanh(h))
    agrees(x, (result, *gradients))
    x, sums, _, _ = network(True, nn.gelu)
    half = graphc.tanh(sums)
    agrees(x, (half @ np.ones((HIDDEN, 3), "f"), (half * half + 1.0) @ np.ones((HIDDEN, 3), "f"), half * half))


def test_a_loop_may_read_the_sums_too():
    x = graphc.input("x", ("batch", WIDTH))
    sums = x @ np.full((WIDTH, HIDDEN), 0.1, "float32")
    (total, last), _ = graphc.scan(lambda c, row: ((c[0] + row, row), None), (sums[0], sums[0]), sums)
    outputs = [total, last, graphc.tanh(sums), sums * 2.0]
    feed = np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype("f")
    got = graphc.compile([x], outputs)(feed)
    for one, wanted in zip(got, graphc.evaluate(outputs, {x: feed}), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-5)
