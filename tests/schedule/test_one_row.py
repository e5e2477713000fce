"""One row times a matrix whose columns lie apart: a tile with panels where these serve all steps of a loop, else a plain sum."""

import numpy as np
import pytest

import graphc
from graphc.compiler import passed, plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.schedule import plan as plans
from graphc.simd.levels import host_level
from tests.interpreter import Interpreter, compiled, unjitted

HIDDEN = (3, 16, 19, 40)


def loop(hidden, dtype="float32", time="time", checkpoint=None):
    """A network that reads one sequence; its weight has a row for each output, as PyTorch's."""
    generator = np.random.default_rng(hidden)
    w = graphc.parameter((generator.normal(size=(hidden, hidden)) / hidden**0.5).astype(dtype), "w")
    x = graphc.input("x", (time, 1, hidden), dtype)

    def step(h, v):
        h = graphc.tanh(h @ w.T + v)
        return h, h

    rows = graphc.scan(step, graphc.zeros((1, hidden), dtype), x, checkpoint=checkpoint)[1]
    return x, w, rows


def by_numpy(x, w):
    h, rows = np.zeros((1, w.shape[0])), []
    for v in x.astype("float64"):
        h = np.tanh(h @ w.astype("float64").T + v)
        rows.append(h)
    return np.array(rows).reshape(x.shape)


def kernels_of(steps, inside=False):
    """Yield the names of kernels, and whether each stands in a loop."""
    for step in steps:
        if isinstance(step, plans.Repeat):
            yield from kernels_of(step.steps, True)
        elif isinstance(step, plans.KernelCall):
            yield step.kernel, inside


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_values_at_protected_pages(hidden, dtype):
    x, w, rows = loop(hidden, dtype)
    plan = plan_of(passed(Graph((x,), (rows,)), training=False), host_level())
    native = compiled(Loader(build.objects(plan.kernels, host_level(), dict)))
    for time in (0, 1, 5):
        fed = np.random.default_rng(time).normal(size=(time, 1, hidden)).astype(dtype)
        expected = by_numpy(fed, w.value)
        for kernel_of in (native, unjitted(plan, {})):
            for begins in (False, True):
                found = Interpreter(plan, [fed], [w.value], {"time": time}, kernel_of, threads=2, begins=begins)
                np.testing.assert_allclose(found.result("output")[0], expected, rtol=1e-5, atol=1e-5)


def test_in_a_loop_it_is_a_tile_whose_panels_are_made_before_it():
    x, _, rows = loop(40)
    plan = plan_of(passed(Graph((x,), (rows,)), training=False), host_level())
    inside = {name for name, is_inside in kernels_of(plan.steps) if is_inside}
    before = {name for name, is_inside in kernels_of(plan.steps) if not is_inside}
    assert any("c0_0" in plan.kernels[name] for name in inside)
    assert not any("transpose" in plan.kernels[name] for name in inside)
    assert any("panels" in plan.kernels[name] for name in before)


def test_once_it_is_a_plain_sum():
    x, w = graphc.input("x", (1, 40)), graphc.parameter(np.ones((40, 40), "float32"))
    plan = plan_of(passed(Graph((x,), (graphc.tanh(x @ w.T),)), training=False), host_level())
    assert "c0_0" not in "".join(plan.kernels.values()), "a tile's accumulators"
    assert len(plan.kernels) == 1


@pytest.mark.parametrize("time", ["time", 7])
@pytest.mark.parametrize("hidden", HIDDEN)
def test_pieces_have_the_bits_of_storing_everything(hidden, time, monkeypatch):
    # The weight's gradient is a sum of products of one column and one row each: in a loop, in pieces of one, or all at once.
    monkeypatch.setattr("graphc.forms.LARGE", 0)
    found = {}
    for checkpoint in (None, 1, 2, 3, "auto"):
        x, w, rows = loop(hidden, time=time, checkpoint=checkpoint)
        loss = (graphc.sin(rows) * rows).sum()
        step = graphc.compile([x], [loss, rows, *graphc.grad(loss, [w, x])])
        for length in (1, 2, 7, 12) if time == "time" else (time,):
            fed = np.random.default_rng(length).normal(size=(length, 1, hidden)).astype("float32")
            for one, same in zip(step(fed), found.setdefault(length, step(fed)), strict=True):
                np.testing.assert_array_equal(one, same, f"checkpoint={checkpoint}, time {length}")
