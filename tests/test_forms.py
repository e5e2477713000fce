"""Forms: code for known numbers in the place of symbols, chosen at binding by sizes alone."""

import numpy as np
import pytest

import graphc
from graphc import forms, nn, optim
from graphc.emit import objects
from graphc.emit.objects import compile_kernel
from graphc.schedule.plan import Address, calls

X = graphc.input("x", ("batch", 5))
Y = graphc.input("y", ("batch", 3))


def numbers(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def training_step(**options):
    w, b = graphc.parameter(numbers(5, 3), "w"), graphc.parameter(numbers(3), "b")
    loss = graphc.mean(graphc.square(graphc.tanh(X @ w + b) - Y))
    step = graphc.compile([X, Y], loss, {w: w - 0.1 * graphc.grad(loss, w), b: b * 0.5}, **options)
    return step, w, b


def expected(w, b, x, y):
    """The loss, and the parameters after the step, by the formulas of the chain rule."""
    out = np.tanh(x @ w + b)
    slope = 2 * (out - y) / out.size * (1 - out**2)
    return np.mean((out - y) ** 2), w - 0.1 * x.T @ slope, b * 0.5


def test_both_forms_compute_the_same(monkeypatch):
    made = []

    def counted(source, name, *more):
        made.append(name)
        return compile_kernel(source, name, *more)

    monkeypatch.setattr(objects, "compile_kernel", counted)
    step, w, b = training_step(specialize={"batch": 8})
    for n in (3, 8, 1, 9, 8):
        x, y = numbers(n, 5), numbers(n, 3)
        loss, new_w, new_b = expected(w.value.astype(float), b.value.astype(float), x, y)
        np.testing.assert_allclose(step(x, y), loss, rtol=1e-5)
        np.testing.assert_allclose(w.value, new_w, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(b.value, new_b)
        if n == 3:
            first = len(made)
    assert len(made) == first, "the first call compiles all forms"


def test_the_form_has_numbers_where_the_general_one_has_symbols():
    step, *_ = training_step(specialize={"batch": 8})
    ((form, general), *_) = [(form.plan, step.plan) for form in step.forms]
    for plan, has_symbols in ((form, False), (general, True)):
        words = [word for call in calls(plan.steps) for word in call.words if not isinstance(word, Address)]
        assert any(not isinstance(word, int) for word in words) == has_symbols
    assert step.binding(batch=8).outputs == step.binding(batch=9).outputs
    assert set(form.kernels) <= {line[4:].split("(")[0] for line in step.source().splitlines() if line[:4] == "def "}


def test_repeats_and_other_storage_keep_the_forms():
    step, w, b = training_step(specialize={"batch": 8})
    x, y = numbers(4, 8, 5), numbers(4, 8, 3)
    want_w, want_b = w.value.astype(float), b.value.astype(float)
    losses = []
    for one, two in zip(x, y, strict=True):
        loss, want_w, want_b = expected(want_w, want_b, one, two)
        losses.append(loss)
    other = step.rebind({w: w.value.copy(), b: b.value.copy()})
    program = other.repeat(4, [x, y], [0, 1])
    program.run()
    np.testing.assert_allclose(program.results, losses, rtol=1e-5)
    np.testing.assert_allclose(
        other(numbers(8, 5), numbers(8, 3)), expected(want_w, want_b, numbers(8, 5), numbers(8, 3))[0], rtol=1e-5
    )
    assert [dict(form.sizes) for form in other.forms] == [{"batch": 8}]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"bach": 8}, "no dimension 'bach'; the inputs have batch\n"),
        ({"batch": -1}, "whole number of 0 or more for 'batch', got -1"),
        ({"batch": 2.0}, "whole number of 0 or more for 'batch', got 2.0"),
        ({"batch": True}, "whole number of 0 or more for 'batch', got True"),
        ([8], "expected {name of a dimension: number}"),
    ],
)
def test_what_cannot_be_specialized_is_told(sizes, message):
    with pytest.raises(graphc.GraphError, match=message):
        training_step(specialize=sizes)


def test_a_number_that_breaks_a_requirement_is_told():
    x = graphc.input("x", ("n", 2))
    with pytest.raises(graphc.GraphError, match=r"^specialize: reshape of .* needs 2 .* got \{'n': 3\}"):
        graphc.compile([x], graphc.reshape(x, (-1, 4)), specialize={"n": 3})


def test_predicting_one_sample_has_a_form_where_it_pays():
    x = graphc.input("x", ("batch", 160))
    net = nn.Linear(160, 96)
    predict = graphc.compile([x], graphc.relu(net(x)))
    assert [dict(form.sizes) for form in predict.forms] == [{"batch": 1}]
    # A product of a vector with a matrix is one kernel: nothing is copied for it.
    assert len(predict.forms[0].plan.kernels) == 1
    weight, bias = (p.value.astype(float) for p in net.parameters())
    for n in (1, 2):
        want = np.maximum(numbers(n, 160) @ weight.T + bias, 0)
        np.testing.assert_allclose(predict(numbers(n, 160)), want, rtol=1e-4, atol=1e-5)
    assert not graphc.compile([X], nn.Linear(5, 3)(X)).forms
    loss = graphc.mean(net(x))
    assert not graphc.compile([x], loss, optim.SGD(0.1).minimize(loss)).forms


def test_a_graph_with_loops_draws_and_states_is_specialized_whole():
    x = graphc.input("x", ("time", "batch", 4))
    _, outs = graphc.scan(lambda h, row: (graphc.tanh(h + row), h), graphc.zeros(("batch", 4)), x)
    graph = graphc.Graph((x,), (outs.sum(axis=0), graphc.mean(x)))
    small = forms.specialized(graph, {"time": 3, "batch": 2})
    assert [node.shape for node in (*small.inputs, *small.outputs)] == [(3, 2, 4), (2, 4), ()]
    feed = numbers(3, 2, 4)
    for one, two in zip(
        graphc.evaluate(list(graph.outputs), {x: feed}),
        graphc.evaluate(list(small.outputs), {small.inputs[0]: feed}),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_there_is_no_form_for_one_sample_that_the_graph_refuses(monkeypatch):
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    x = graphc.input("x", ("n", 64))
    rows = graphc.conv1d(x.reshape((1, -1, 64)), np.ones((3, 64, 8), "float32"))[0]
    wide = graphc.tanh(x) @ np.ones((64, 256), "float32")
    run = graphc.compile([x], [rows, wide])
    assert not run.forms
    found, _ = run(np.ones((4, 64), "float32"))
    np.testing.assert_array_equal(found, np.full((2, 8), 192))
    with pytest.raises(graphc.CallError, match="n - 2 >= 1"):
        run(np.ones((1, 64), "float32"))
