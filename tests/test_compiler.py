"""What `graphc.compile` promises beyond right numbers: structures, phases, rebinding, step counts, wrong uses."""

import re

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.compiler import plan_of
from graphc.emit.objects import assembly
from graphc.graph.graph import Graph
from graphc.inspect.plan_text import plan_text
from graphc.passes import run_passes
from graphc.schedule.plan import Plan
from graphc.simd.levels import LEVELS


def test_outputs_keep_their_structure():
    x = graphc.input("x", (2,))
    f = graphc.compile([x], {"a": x + 1.0, "b": (x * 2.0, [x - 1.0])})
    got = f(np.array([1.0, 2.0], "float32"))
    np.testing.assert_array_equal(got["a"], [2, 3])
    np.testing.assert_array_equal(got["b"][0], [2, 4])
    np.testing.assert_array_equal(got["b"][1][0], [0, 1])
    assert isinstance(got["b"], tuple)
    assert isinstance(got["b"][1], list)


def test_calls_by_position_name_and_node():
    x, y = graphc.input("x", (2,)), graphc.input("y", (2,))
    f = graphc.compile([x, y], x - y)
    a, b = np.array([5.0, 7.0], "float32"), np.array([1.0, 2.0], "float32")
    for got in (f(a, b), f(y=b, x=a), f({x: a, y: b})):
        np.testing.assert_array_equal(got, [4, 5])


def test_training_follows_updates_unless_said_otherwise():
    w = graphc.parameter(np.float32(1.0), "w")
    phase = graphc.where(graphc.training(), graphc.constant(1.0), graphc.constant(0.0))
    assert graphc.compile([], phase)() == 0
    assert graphc.compile([], phase, updates={w: w})() == 1
    assert graphc.compile([], phase, training=True)() == 1
    assert graphc.compile([], phase, updates={w: w}, training=False)() == 0


def test_dropout_draws_anew_each_call_and_repeats_with_the_seed():
    def run():
        graphc.seed(3)
        x = graphc.input("x", (1000,))
        f = graphc.compile([x], nn.Dropout(0.25)(x), training=True)
        return [f(np.ones(1000, "float32")) for _ in range(3)]

    first, again = run(), run()
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[0], first[1])
    values = np.concatenate(first)
    assert set(np.unique(values)) == {np.float32(0), np.float32(4 / 3)}
    # 3000 draws: 5 standard deviations
    assert abs((values == 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 3000)


def test_rebind_runs_on_other_storage():
    w, v = graphc.parameter(np.zeros(3, "float32"), "w"), graphc.parameter(np.full(3, 10, "float32"), "v")
    step = graphc.compile([], graphc.sum(w), updates={w: w + 1.0})
    other = step.rebind({w: v})
    assert other() == 30
    assert step() == 0
    np.testing.assert_array_equal(v.value, [11, 11, 11])
    np.testing.assert_array_equal(w.value, [1, 1, 1])
    with pytest.raises(graphc.GraphError, match="not a parameter or state of this executable"):
        step.rebind({v: w})


def test_right_sides_read_the_values_before_the_call():
    a, b = graphc.state(np.float32(1.0), "a"), graphc.state(np.float32(2.0), "b")
    swap = graphc.compile([], (a, b), updates={a: b, b: a})
    assert swap() == (1, 2)
    assert swap() == (2, 1)
    m = graphc.parameter(np.arange(9, dtype="float32").reshape(3, 3), "m")
    graphc.compile([], None, updates={m: m.T})()
    np.testing.assert_array_equal(m.value, np.arange(9).reshape(3, 3).T)


def test_missing_input_is_named():
    x, y = graphc.input("x", (2,)), graphc.input("forgotten", (2,))
    with pytest.raises(graphc.GraphError, match=r"forgotten.*test_compiler\.py"):
        graphc.compile([x], x + y)


def test_index_into_an_empty_axis():
    # Wide rows: reading one that is not there would leave any page that the empty array might share.
    table, index = graphc.input("table", ("rows", 10**6)), graphc.input("index", ("m",), "int64")
    f = graphc.compile([table, index], graphc.take(table, index, axis=0))
    assert f(np.zeros((0, 10**6), "float32"), np.zeros(0, "int64")).shape == (0, 10**6)
    with pytest.raises(graphc.IndexOutOfRangeError, match=r"axis of size 0.*test_compiler\.py"):
        f(np.zeros((0, 10**6), "float32"), np.zeros(3, "int64"))


def test_outputs_that_are_no_nodes():
    x = graphc.input("x", (2,))
    with pytest.raises(graphc.GraphError, match="expected nodes"):
        graphc.compile([x], [x, 3])


def test_two_inputs_of_one_name_are_refused():
    # A call by name, or one whose arrays are converted, could not tell them apart.
    x, other = graphc.input("x", ("n",)), graphc.input("x", ("n",))
    with pytest.raises(graphc.GraphError, match="two are called 'x'"):
        graphc.compile([x, other], x - other)


@pytest.mark.parametrize(
    ("inputs", "updates", "message"),
    [
        (lambda x, w: x, lambda x, w: None, r"expected a list of inputs.*input 'x'"),
        (lambda x, w: [np.ones(2)], lambda x, w: None, "got a ndarray; arrays are for the calls"),
        (lambda x, w: [x], lambda x, w: optim.SGD(), "got a SGD"),
        (lambda x, w: [x], lambda x, w: {w: 0.0}, "got a float for .*parameter 'w'"),
    ],
)
def test_wrong_arguments_are_named(inputs, updates, message):
    x, w = graphc.input("x", (2,)), graphc.parameter(np.ones(2, "float32"), "w")
    with pytest.raises(graphc.GraphError, match=message):
        graphc.compile(inputs(x, w), x * w, updates(x, w))


def test_a_node_that_left_its_step():
    x, kept = graphc.input("x", (4,)), []
    graphc.scan(lambda total, value: (total + value, kept.append(value)), graphc.constant(0.0), x)
    with pytest.raises(graphc.GraphError, match="only inside the step"):
        graphc.compile([x], kept[0])


def test_plan_survives_json():
    x = graphc.input("x", ("n", 4))
    out, _ = graphc.scan(lambda h, row: (graphc.tanh(h + row), h), graphc.zeros((4,)), x)
    plan = plan_of(
        run_passes(Graph((x,), (graphc.cond(graphc.sum(out) > 0.0, lambda: out, lambda: -out),))), LEVELS["x86-64"]
    )
    again = Plan.from_json(plan.to_json())
    assert plan_text(again) == plan_text(plan)
    assert again.kernels == plan.kernels
    assert again.requirements == plan.requirements


def test_aarch64_contraction_uses_vector_fma():
    x, w = graphc.input("x", ("n", 64)), graphc.parameter(np.ones((64, 32), "float32"), "w")
    plan = plan_of(run_passes(Graph((x,), (graphc.relu(x @ w),))), LEVELS["aarch64"])
    ((name, text),) = plan.kernels.items()
    code = assembly(text, name, LEVELS["aarch64"])
    assert len(re.findall(r"\bfmla\s+v\d+\.4s", code)) >= 16
    assert not re.search(r"\bbl\s+fmaf", code)


def test_a_derivative_that_depends_on_the_phase_needs_one():
    x = graphc.input("x", (4, 3))
    w = graphc.parameter(np.ones((3, 2), "f"), "w")
    hidden = graphc.where(graphc.training(), x @ w * 2.0, x @ w)
    plain, gradient = graphc.grad((x @ w).sum(), w), graphc.grad(hidden.sum(), w)
    tangent = graphc.jvp(hidden, w, np.ones((3, 2), "f"))
    looped = graphc.scan(lambda c, r: (c, graphc.grad(graphc.where(graphc.training(), r * r, r).sum(), r)), None, x)[1]
    ones = np.ones((4, 3), "f")
    for output in (gradient, tangent, looped, gradient * 2.0, graphc.grad((gradient * gradient).sum(), x)):
        with pytest.raises(graphc.GraphError, match=r"differs between training and evaluation.*\n.*training=True"):
            graphc.compile([x], output)
    np.testing.assert_array_equal(graphc.compile([x], gradient, training=True)(ones), 8)
    np.testing.assert_array_equal(graphc.compile([x], gradient, training=False)(ones), 4)
    np.testing.assert_array_equal(graphc.compile([x], looped, training=True)(ones), 2)
    graphc.compile([x], [hidden, plain])
    graphc.compile([x], hidden.sum(), updates={w: w - gradient})
