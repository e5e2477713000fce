"""Carries that are kept where all their values go: a step copies nothing, whoever reads these values, and however often."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.compiler import plan_of
from graphc.graph.graph import Graph
from graphc.passes import run_passes
from graphc.runtime import memory, sharing
from graphc.schedule.plan import Repeat
from graphc.simd.levels import LEVELS
from tests.interpreter import Interpreter, unjitted

RNG = np.random.default_rng(8)
T, B, H = 5, 3, 4


def loops(plan):
    return [step for step in plan.steps if isinstance(step, Repeat)]


@pytest.mark.parametrize(("kind", "kernels"), [("RNN", 1), ("LSTM", 2), ("GRU", 2)])
def test_a_training_step_copies_no_state(kind, kernels):
    x = graphc.input("x", ("time", "batch", 3))
    layer = getattr(nn, kind)(3, H)
    loss = (layer(x)[0] ** 2).sum()
    plan = plan_of(run_passes(Graph((x,), (loss, *graphc.grad(loss, layer.parameters())))), LEVELS["x86-64-v4"])
    forward, _ = loops(plan)
    assert len(forward.steps) == kernels
    kept = [b for b in plan.buffers if b.name.startswith("states") and b.kind == "temporary"]
    assert len(kept) == layer.carried
    assert all(str(b.shape[0]) == "time + 1" for b in kept)
    shifts = sorted(
        plan.buffers[b].shift for b in forward.slices if plan.buffers[b].position in {k.number for k in kept}
    )
    assert shifts == [0] * layer.carried + [1] * layer.carried


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("entering", [False, True])
def test_a_loop_that_keeps_its_states_copies_none_whichever_way_it_walks(reverse, entering):
    x = graphc.input("x", ("time", B, H))
    w = graphc.parameter(RNG.normal(size=(H, H)).astype("float32"))

    def step(h, v):
        new = graphc.tanh(h @ w + v)
        return new, graphc.sin(h) if entering else new

    _, rows = graphc.scan(step, graphc.zeros((B, H)), x, reverse=reverse)
    outputs = [graphc.grad((rows * rows).sum(), w)]
    forward, _ = loops(plan_of(run_passes(Graph((x,), tuple(outputs))), LEVELS["x86-64-v4"]))
    assert len(forward.steps) == 1 + entering


def uses(rows, last, zero):
    """Losses that read the states as they entered, as they left, the last one, and all of these."""
    weights = graphc.constant(RNG.normal(size=(T, B, H)))
    return {
        "left": (rows * rows).sum(),
        "last": graphc.sin(last).sum(),
        "both": (rows * weights).sum() + (last * last).sum(),
        "in place": (graphc.tanh(rows * weights) ** 2).sum() + (graphc.flip(rows, 0) * rows).sum(),
        "moved": (rows[1:] * rows[:-1]).sum() + zero.sum(),
    }


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", uses(*[graphc.zeros((T, B, H), "float64")] * 3))
@pytest.mark.parametrize("splits", ["rows of its own", "rows of none"])
def test_whoever_reads_the_states(name, reverse, splits, monkeypatch):
    monkeypatch.setattr(memory, "OWNED_WORK", 0)
    monkeypatch.setattr(sharing, "RULE", sharing.FREE)
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    if splits == "rows of none":  # then barriers stand between the steps
        monkeypatch.setattr("graphc.schedule.region.own", lambda *_: False)
    x, zero = graphc.input("x", (T, B, H), "float64"), graphc.input("zero", (B, H), "float64")
    w = graphc.parameter(RNG.normal(size=(H, H)) * 0.5)

    def step(h, v):
        h = graphc.tanh(h @ w + v)
        return h, h

    last, rows = graphc.scan(step, zero, x, reverse=reverse)
    loss = uses(rows, last, zero)[name]
    outputs = [loss, *graphc.grad(loss, [w, x, zero], disconnected="zeros"), rows]
    feeds = {x: RNG.normal(size=(T, B, H)), zero: RNG.normal(size=(B, H))}
    wanted = graphc.evaluate(outputs, feeds)
    passed = run_passes(Graph((x, zero), tuple(outputs)))
    plan = plan_of(passed, LEVELS["x86-64-v4"])
    alone = Interpreter(plan, list(feeds.values()), [w.value], {}, unjitted(plan, {}), threads=2).result("output")
    for found in (alone, *(graphc.compile([x, zero], outputs, threads=n)(*feeds.values()) for n in (1, 2))):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_length_zero_leaves_the_state_as_it_was():
    x, zero = graphc.input("x", ("time", B, H)), graphc.input("zero", (B, H))
    last, rows = graphc.scan(lambda h, v: ((n := graphc.tanh(h + v)), n), zero, x)
    outputs = [last, rows, *graphc.grad((rows * rows).sum() + (last * last).sum(), [zero])]
    start = RNG.normal(size=(B, H)).astype("float32")
    found = graphc.compile([x, zero], outputs)(np.zeros((0, B, H), "float32"), start)
    np.testing.assert_array_equal(found[0], start)
    assert found[1].shape == (0, B, H)
    np.testing.assert_allclose(found[2], 2 * start, rtol=1e-6)
