"""What does the same to several parameters is one kernel that walks them as segments."""

import numpy as np
import pytest

import graphc
from graphc import optim
from graphc.compiler import plan_of
from graphc.schedule.plan import calls
from graphc.simd.levels import host_level
from tests.interpreter import Interpreter, unjitted

SHAPES = [(5,), (3, 7), (1,), (16,), (33,), (64, 3), (2, 16), (100,)]
rng = np.random.default_rng(5)


def parameters(dtype="float32"):
    return [graphc.parameter(rng.normal(size=shape).astype(dtype), f"p{n}") for n, shape in enumerate(SHAPES)]


def commits(plan):
    return [call for call in calls(plan.steps) if call.commit]


def launches(plan):
    """How many parameters and slots each launch writes; the step count goes beside one of them."""
    return sorted(sum(plan.buffers[b].name != "step_count" for b in call.writes) for call in commits(plan))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_each_thread_does_its_share_of_every_segment_and_no_byte_beside(threads):
    leaves = parameters()
    gradients = [graphc.input(f"g{n}", shape) for n, shape in enumerate(SHAPES)]
    updates = {p: p - 0.5 * g for p, g in zip(leaves, gradients, strict=True)}
    plan = plan_of(graphc.compile(gradients, updates=updates).graph, host_level())
    (call,) = commits(plan)
    assert len(call.writes) == len(SHAPES)
    feeds = [rng.normal(size=shape).astype("float32") for shape in SHAPES]
    stored = [p.value.copy() for p in leaves]
    run = Interpreter(plan, feeds, stored, {}, unjitted(plan, {}), threads=threads)
    for got, before, gradient in zip(run.result("leaf"), stored, feeds, strict=True):
        np.testing.assert_array_equal(got, before - np.float32(0.5) * gradient)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_optimizer_is_one_launch_for_parameters_of_one_rule(dtype):
    x, leaves = graphc.input("x", ("n", 4), dtype), parameters(dtype)
    loss = sum(graphc.sum(graphc.square(p)) for p in leaves) * graphc.mean(x)
    before = [p.value.copy() for p in leaves]
    step = graphc.compile([x], loss, updates=optim.SGD(0.1, momentum=0.9).minimize(loss), threads=2)
    assert launches(step.plan) == [2 * len(SHAPES)]
    velocity = [np.zeros_like(p) for p in before]
    for _ in range(3):
        step(np.ones((5, 4), dtype))
        velocity = [0.9 * v + 2 * p for v, p in zip(velocity, before, strict=True)]
        before = [p - 0.1 * v for v, p in zip(velocity, before, strict=True)]
    for p, wanted in zip(leaves, before, strict=True):
        np.testing.assert_allclose(p.value, wanted, rtol=1e-6, atol=1e-7)


def test_equal_rules_have_one_text_for_any_number_and_size_of_parameters():
    def names(shapes):
        gradients = {
            graphc.parameter(np.zeros(shape, "float32")): graphc.input(f"g{n}", shape) for n, shape in enumerate(shapes)
        }
        plan = graphc.compile(list(gradients.values()), updates=optim.Adam().apply(gradients)).plan
        return {call.kernel for call in commits(plan)}

    assert names([(3,)]) == names([(40, 2), (7,), (9, 9)])


def test_a_parameter_that_another_reads_keeps_its_old_value_till_then():
    a, b, c = (graphc.parameter(np.full(20, value, "float32")) for value in (1, 2, 3))
    step = graphc.compile([], updates={a: a + b, b: b + c, c: c + a})
    step()
    assert [p.value[0] for p in (a, b, c)] == [3, 5, 4]
    swap = graphc.compile([], updates={a: b * 2, b: a * 2})
    swap()
    assert [p.value[-1] for p in (a, b)] == [10, 6]


def test_groups_with_other_rates_are_kernels_of_their_own():
    leaves = parameters()
    loss = sum(graphc.sum(graphc.square(p)) for p in leaves)
    groups = [{"parameters": leaves[:3], "learning_rate": 0.5}, {"parameters": leaves[3:]}]
    before = [p.value.copy() for p in leaves]
    step = graphc.compile([], updates=optim.SGD(0.25).minimize(loss, groups))
    assert launches(step.plan) == [3, 5]
    step()
    for n, (p, old) in enumerate(zip(leaves, before, strict=True)):
        np.testing.assert_allclose(p.value, old - (0.5 if n < 3 else 0.25) * 2 * old, atol=1e-6)


def test_a_gradient_that_is_a_sum_is_made_before_the_update():
    x = graphc.input("x", ("n", 40))
    weight, bias = graphc.parameter(np.ones((40, 24), "float32")), graphc.parameter(np.zeros(24, "float32"))
    loss = graphc.sum(graphc.square(x @ weight + bias))
    step = graphc.compile([x], updates=optim.SGD(0.001).minimize(loss))
    data = rng.normal(size=(6, 40)).astype("float32")
    step(data)
    assert launches(step.plan) == [2]
    slope = 2 * (data @ np.ones((40, 24)))
    np.testing.assert_allclose(bias.value, -0.001 * slope.sum(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(weight.value, 1 - 0.001 * (data.T @ slope), rtol=1e-4, atol=1e-5)
