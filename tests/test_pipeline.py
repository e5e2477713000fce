"""The whole pipeline on random graphs, random updates and calls, against the reference run."""

import numpy as np
import pytest

import graphc
from graphc.compiler import plan_of
from graphc.emit import objects
from graphc.emit.objects import compile_kernel
from graphc.passes import run_passes
from graphc.runtime import memory, sharing
from graphc.schedule.draft import Draft
from graphc.schedule.natives import natives
from graphc.schedule.plan import Plan
from graphc.simd.levels import LEVELS
from tests.interpreter import Interpreter, unjitted
from tests.passes.noise import unlike
from tests.schedule.random_graphs import SmallBuilder, random_graph
from tests.schedule.random_updates import random_updates


def compare(got, wanted, tolerance, what=""):
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted, err_msg=what)
    else:
        scale = max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)))
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale, err_msg=what)


@pytest.fixture
def always_split(monkeypatch):
    """Split every kernel among the threads, however small it is."""
    monkeypatch.setattr(memory, "OWNED_WORK", 0)
    monkeypatch.setattr(sharing, "RULE", sharing.FREE)


@pytest.mark.parametrize("seed", range(70))
def test_random_graphs_in_bounds(seed, monkeypatch):
    grown, graph, training, plain = random_graph(seed, SmallBuilder)
    passed = run_passes(graph, training=training)
    if seed % 4 == 0:
        monkeypatch.setattr(Draft, "share", lambda *_: None)
    plan = plan_of(passed, LEVELS["x86-64-v4" if seed % 2 else "x86-64-v3"])
    plan = Plan.from_json(plan.to_json())
    feeds, stored = [grown.feeds[node] for node in grown.inputs], [leaf.value for leaf in passed.stored]
    kernels = unjitted(plan, natives(passed))
    run = Interpreter(plan, feeds, stored, {"n": grown.length}, kernels, threads=1 + seed % 3)
    assert run.error[0] == 0
    assert not unlike(plain, grown.feeds, run.result("output"))


@pytest.mark.parametrize("seed", range(200, 225))
@pytest.mark.usefixtures("always_split")
def test_random_graphs_compiled_on_one_thread_and_on_two(seed):
    grown, graph, training, plain = random_graph(seed)
    feeds = [grown.feeds[node] for node in grown.inputs]
    one, two = (
        graphc.compile(grown.inputs, list(graph.outputs), training=training, threads=threads)(*feeds)
        for threads in (1, 2)
    )
    assert not unlike(plain, grown.feeds, one)
    for got, same in zip(one, two, strict=True):
        np.testing.assert_array_equal(got, same)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.usefixtures("always_split")
def test_updates_read_the_values_before_the_step(seed):
    inputs, outputs, updates, stored, feeds = random_updates(seed)
    before = [leaf.value.copy() for leaf in stored]
    found = graphc.evaluate([*updates.values(), *outputs], feeds)
    wanted = [np.array(value) for value in found]
    results = []
    for threads in (1, 2):
        for leaf, value in zip(stored, before, strict=True):
            leaf.value[...] = value
        step = graphc.compile(inputs, outputs, updates=updates, threads=threads)
        got = step(*feeds.values())
        results.append([*got, *(leaf.value.copy() for leaf in stored)])
        for target, expected in zip(updates, wanted, strict=False):
            compare(target.value, expected, 1e-9, f"{target!r}")
        for output, expected in zip(got, wanted[len(updates) :], strict=True):
            compare(output, expected, 1e-9)
        for leaf, value in zip(stored, before, strict=True):
            if leaf not in updates:
                np.testing.assert_array_equal(leaf.value, value)
    for got, same in zip(*results, strict=True):
        np.testing.assert_array_equal(got, same)


@pytest.mark.parametrize("seed", range(100, 110))
@pytest.mark.usefixtures("always_split")
def test_a_program_is_its_calls_one_after_another(seed):
    inputs, outputs, updates, stored, feeds = random_updates(seed)
    before = [leaf.value.copy() for leaf in stored]
    (x,) = feeds.values()
    stacked = np.random.default_rng(seed).normal(size=(4, *x.shape))
    step = graphc.compile(inputs, outputs, updates=updates, threads=2)
    calls = list(zip(*(step(one) for one in stacked), strict=True))
    after = [leaf.value.copy() for leaf in stored]
    for leaf, value in zip(stored, before, strict=True):
        leaf.value[...] = value
    program = step.repeat(4, [stacked], [0])
    while program.resume() < 4:
        pass
    for together, single in zip(program.results, calls, strict=True):
        np.testing.assert_array_equal(together, np.stack(single))
    for leaf, value in zip(stored, after, strict=True):
        np.testing.assert_array_equal(leaf.value, value)


def test_a_program_of_sizes_called_as_its_own():
    x, total = graphc.input("x", ("_steps", 3)), graphc.state(np.float32(0), "total")
    step = graphc.compile([x], x * 2.0, updates={total: total + x.sum()})
    program = step.repeat(4, [np.ones((4, 2, 3), "float32")], [0])
    program.resume()
    assert program.results.shape == (4, 2, 3)
    assert total.value == 24.0


def classifier():
    rng = np.random.default_rng(0)
    x, y = graphc.input("x", ("n", 7)), graphc.input("y", ("n",), "int32")
    w = graphc.parameter(rng.normal(size=(7, 9)).astype("float32"), "w")
    c = graphc.state(np.float32(0), "c")
    logits = graphc.tanh(x @ w)
    picked = graphc.take_along_axis(graphc.log_softmax(logits), graphc.expand_dims(y, 1), axis=1)
    loss = -picked.sum() / 9.0
    outputs = {"loss": loss, "best": graphc.argmax(logits, axis=1), "sums": graphc.cumulative_sum(logits, axis=0)}
    return (x, y), (w, c), outputs, {w: w - 0.1 * graphc.grad(loss, w), c: c + loss}


def test_one_executable_for_all_batch_sizes(monkeypatch):
    made: list[str] = []

    def counted(source, name, *more):
        made.append(name)
        return compile_kernel(source, name, *more)

    monkeypatch.setattr(objects, "compile_kernel", counted)
    (x, y), stored, outputs, updates = classifier()
    # Among half a million rows some have two best classes but for rounding, so the best is held to its logit.
    best = outputs.pop("best")
    outputs["logits"] = best.inputs[0]
    step = graphc.compile([x, y], {**outputs, "best": best}, updates=updates)
    rng = np.random.default_rng(1)
    for n in range(1001):
        feeds = {x: rng.normal(size=(n, 7)).astype("float32"), y: rng.integers(-9, 9, n).astype("int32")}
        wanted = [np.array(value) for value in graphc.evaluate([*outputs.values(), *updates.values()], feeds)]
        got = step(feeds)
        chosen = np.take_along_axis(got["logits"], got.pop("best")[:, None], axis=1)
        np.testing.assert_array_equal(chosen, got["logits"].max(axis=1, keepdims=True, initial=-np.inf))
        for value, expected in zip([*got.values(), *(leaf.value for leaf in stored)], wanted, strict=True):
            compare(value, expected, 3e-5, f"batch of {n}")
        if n == 0:
            first = list(made)
    assert made == first


def test_a_wrong_call_changes_nothing():
    (x, y), stored, outputs, updates = classifier()
    step = graphc.compile([x, y], outputs, updates=updates)
    before = [leaf.value.copy() for leaf in stored]
    values, labels = np.ones((5, 7), "float32"), np.zeros(5, "int32")
    wrong = {
        "axis 1 is 8": (np.ones((5, 8), "float32"), labels),
        "n = 5": (values, np.zeros(4, "int32")),
        "is not converted": (values, labels + 0.5),
        "does not fit int32": (values, np.full(5, 2**40)),
        "complex64": (values * 1j, labels),
        "index 9": (values, labels + 9),
        "index -10": (values, labels - 10),
    }
    for message, arguments in wrong.items():
        with pytest.raises(graphc.GraphcError, match=message):
            step(*arguments)
    for leaf, value in zip(stored, before, strict=True):
        np.testing.assert_array_equal(leaf.value, value)
