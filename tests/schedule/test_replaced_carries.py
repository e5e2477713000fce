"""Contractions that replace a loop's carry themselves: when they may, and the detours where they may not."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.compiler import plan_of
from graphc.graph.graph import Graph
from graphc.passes import run_passes
from graphc.runtime import memory, sharing
from graphc.schedule import rounds
from graphc.schedule.plan import Repeat
from graphc.simd.levels import LEVELS
from tests.interpreter import Interpreter, unjitted

RNG = np.random.default_rng(21)
T, B, H = 5, 6, 20
W, V = (RNG.normal(size=(H, H)) * 0.2 for _ in range(2))


def inner_kernels(inputs, outputs):
    """The number of kernels in each loop of a plan."""
    plan = plan_of(run_passes(Graph(tuple(inputs), tuple(outputs))), LEVELS["x86-64-v4"])
    return [len(step.steps) for step in plan.steps if isinstance(step, Repeat)]


@pytest.mark.parametrize(("kind", "kernels"), [("RNN", 2), ("LSTM", 3), ("GRU", 2)])
def test_the_gradient_of_a_state_is_written_where_the_step_before_reads_it(kind, kernels):
    x = graphc.input("x", ("time", "batch", 3))
    layer = getattr(nn, kind)(3, H)
    loss = graphc.square(layer(x)[0][-1]).sum()
    assert inner_kernels([x], [loss, *graphc.grad(loss, layer.parameters())])[1] == kernels


# Steps of two carries, with the functions of `f`; and their kernels: one more where something waits in a temporary.
STEPS = {
    "in place": (lambda f, a, b, w, v: (f.tanh(a) + b @ w, f.cos(b)), 2),
    "read by another": (lambda f, a, b, w, v: (b @ w, f.sin(a) * b), 2),
    "turned": (lambda f, a, b, w, v: (a @ w, b * a), 2),
    "swapped": (lambda f, a, b, w, v: (b @ w, a @ v), 3),
    "from the row below": (lambda f, a, b, w, v: (f.roll(a, 1, 0) * 0.5 + b @ w, b * 0.9), 3),
    "added to itself": (lambda f, a, b, w, v: (a + b @ w, f.tanh(a + b)), 2),
    "wanted, too": (lambda f, a, b, w, v: (b @ w, f.cos(a + b @ w)), 2),
}


def check(step, monkeypatch):
    """Hold a loop of two carries against the same steps by NumPy, on kernels unjitted and compiled."""
    monkeypatch.setattr(memory, "OWNED_WORK", 0)
    monkeypatch.setattr(sharing, "RULE", sharing.FREE)
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    starts = [RNG.normal(size=(B, H)) for _ in range(2)]
    a, b = starts
    for _ in range(T):
        a, b = step(np, a, b, W, V)
    inputs = [graphc.input(name, (B, H), "float64") for name in "ab"]
    weights = graphc.constant(W), graphc.constant(V)
    found, _ = graphc.scan(lambda c, _: (step(graphc, *c, *weights), None), tuple(inputs), length=T)
    graph = run_passes(Graph(tuple(inputs), found))
    plan = plan_of(graph, LEVELS["x86-64-v4"])
    alone = Interpreter(plan, starts, [], {}, unjitted(plan, {}), threads=2).result("output")
    for got in (alone, *(graphc.compile(inputs, list(found), threads=n)(*starts) for n in (1, 2, 3))):
        np.testing.assert_allclose(got[0], a, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(got[1], b, rtol=1e-12, atol=1e-13)
    return inner_kernels(inputs, found)


@pytest.mark.parametrize("splits", ["rows of its own", "rows of none"])
@pytest.mark.parametrize("name", STEPS)
def test_who_reads_the_old_value_reads_it_before(name, splits, monkeypatch):
    step, kernels = STEPS[name]
    if splits == "rows of none":
        monkeypatch.setattr("graphc.schedule.region.own", lambda *_: False)
    assert check(step, monkeypatch) == [kernels]


def test_sums_in_rounds_do_not_stand_where_the_old_value_is_read(monkeypatch):
    # Not in parts, for these have places of their own.
    known = {"LARGE": 0, "IN_ORDER": 0, "ROUND": 6 * 8 * (B + H), "LONG": 1, "MANY": 2, "SQUARE": 1, "SMALL": 0}
    for name, value in known.items():
        monkeypatch.setattr(rounds, name, value)
    made = []
    rounds_of = rounds.rounds_of
    monkeypatch.setattr(
        "graphc.schedule.tilings.rounds_of",
        lambda *args, **options: made.append(rounds_of(*args, **options)) or made[-1],
    )
    monkeypatch.setattr("graphc.schedule.region.own", lambda *_: False)
    check(STEPS["in place"][0], monkeypatch)
    assert any(made)


@pytest.mark.parametrize("steps", [1, 1 << 12])
def test_a_result_in_rounds_does_not_take_the_place_of_what_is_added_to_it(steps, monkeypatch):
    known = {"LARGE": 0, "IN_ORDER": 0, "ROUND": 6 * 8 * (B + H), "LONG": steps, "MANY": 2, "SQUARE": 1, "SMALL": 0}
    for name, value in known.items():
        monkeypatch.setattr(rounds, name, value)
    x, q = (graphc.input(name, (B, H), "float64") for name in "xq")
    y = graphc.tanh(x @ graphc.constant(W)) + graphc.cumulative_sum(q, axis=1)
    out = graphc.sin(y) @ graphc.constant(V) + graphc.flip(y, 0)
    plan = plan_of(run_passes(Graph((x, q), (out,))), LEVELS["x86-64-v4"])
    # Without rounds it does.
    assert any(buffer.shares is not None for buffer in plan.buffers) == (steps > 1)


def test_one_number_for_each_row_is_made_before_the_product_that_it_scales(monkeypatch):
    """A running softmax: of each row the sum is made with its exponentials, and no function is called in a product's epilogue."""
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    scores, values = graphc.input("scores", ("time", B, H)), graphc.input("values", ("time", H, 32))

    def step(carry, x):
        largest, total, sums = carry
        new = graphc.maximum(largest, graphc.max(x[0], -1, keepdims=True))
        weights, shrunk = graphc.exp(x[0] - new), graphc.exp(largest - new)
        return (new, total * shrunk + weights.sum(-1, keepdims=True), sums * shrunk + weights @ x[1]), None

    first = graphc.full((B, 1), -1e9), graphc.zeros((B, 1)), graphc.zeros((B, 32))
    (largest, total, sums), _ = graphc.scan(step, first, (scores, values))
    graph = run_passes(Graph((scores, values), (largest, total, sums)))
    plan = plan_of(graph, LEVELS["x86-64-v4"])
    tiles = [text for text in plan.kernels.values() if "c0_0 = fma" in text]
    assert len(tiles) == 1
    assert "exp(" not in tiles[0]
    (loop,) = [step for step in plan.steps if isinstance(step, Repeat)]
    assert len(loop.steps) == 2, "rows, and the product that replaces all carries"
    x, y = RNG.normal(size=(T, B, H)).astype("float32"), RNG.normal(size=(T, H, 32)).astype("float32")
    flat, rows = np.swapaxes(x, 0, 1).reshape(B, -1).astype("float64"), y.reshape(-1, 32)
    most = flat.max(1, keepdims=True)
    weights = np.exp(flat - most)
    found = Interpreter(plan, [x, y], [], {"time": T}, unjitted(plan, {}), threads=2).result("output")
    for one, other in zip(found, (most, weights.sum(1, keepdims=True), weights @ rows), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
