"""Loops in pieces: the bits of loops that store everything, whatever the length of a piece, and their sums on guarded buffers."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.compiler import plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.graph.reference import run
from graphc.loops import kernels
from graphc.passes import run_passes
from graphc.runtime import memory, sharing
from graphc.simd.levels import LEVELS, host_level
from tests.interpreter import Interpreter, compiled, unjitted


def training(kind, dtype="float32", checkpoint="auto", features=5, hidden=20):
    graphc.seed(0)
    layer = getattr(nn, kind)(features, hidden, dtype=dtype)
    x = graphc.input("x", ("time", "batch", features), dtype)
    rows, last = layer(x, checkpoint=checkpoint)
    cotangent = graphc.cos(x.sum(-1, keepdims=True))
    last = last[0] if kind == "LSTM" else last
    gradients = graphc.vjp([rows, last], [x, *layer.parameters()], [cotangent + rows, last])
    return Graph((x,), (rows, last, *gradients))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(("dtype", "sizes"), [("float64", (1, 32)), ("float32", (24, 40))])
def test_all_bits_are_those_of_storing_everything(kind, dtype, sizes, monkeypatch):
    monkeypatch.setattr("graphc.forms.LARGE", 0)
    monkeypatch.setattr(memory, "OWNED_WORK", 0)
    monkeypatch.setattr(sharing, "RULE", sharing.FREE)
    graphs = {c: training(kind, dtype, c, *sizes) for c in (None, "auto", 3)}
    steps = {
        (c, n): graphc.compile(list(graph.inputs), list(graph.outputs), threads=n)
        for c, graph in graphs.items()
        for n in ((1, 3) if c == "auto" else (2,))
    }
    for length, batch in ((13, 7), (9, 17), (2, 1), (0, 3)):
        x = np.random.default_rng(length).normal(size=(length, batch, sizes[0])).astype(dtype)
        wanted = steps[None, 2](x)
        assert length == 0 or all(np.abs(one).max() > 0 for one in wanted)
        for (c, threads), step in steps.items():
            for one, other in zip(step(x), wanted, strict=True):
                np.testing.assert_array_equal(one, other, f"checkpoint={c}, {threads} threads, time {length}")


def summed(checkpoint, features=5, hidden=20):
    """A loss that sums over results of all times, of a step that uses one weight in three products."""
    generator = np.random.default_rng(5)
    shapes = ((hidden, hidden), (features, hidden))
    w, u = (graphc.parameter((generator.normal(size=shape) / hidden**0.5).astype("float32")) for shape in shapes)
    x = graphc.input("x", ("time", "batch", features))

    def step(h, v):
        h = graphc.tanh(h @ w + v @ u)
        h = graphc.tanh(h @ w) + graphc.sin(h) @ w * 0.5
        return h, h

    last, rows = graphc.scan(step, graphc.zeros(("batch", hidden)), x, checkpoint=checkpoint)
    losses = [(rows * rows).sum(), graphc.mean(rows), graphc.sin(rows.sum(0)).sum(), graphc.cos(rows.sum((0, 1))).sum()]
    gradients = [g for loss in losses for g in graphc.grad(loss, [w, u, x])]
    return Graph((x,), (last, *losses, *gradients))


def test_sums_over_all_times_have_the_bits_of_storing_everything(monkeypatch):
    monkeypatch.setattr(memory, "OWNED_WORK", 0)
    monkeypatch.setattr(sharing, "RULE", sharing.FREE)
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    graphs = {c: summed(c) for c in (None, 1, 3, 5)}
    steps = {c: graphc.compile(list(g.inputs), list(g.outputs), threads=2) for c, g in graphs.items()}
    for length, batch in ((13, 7), (9, 17), (2, 1), (15, 4), (0, 3)):
        x = np.random.default_rng(length).normal(size=(length, batch, 5)).astype("float32")
        wanted = steps[None](x)
        for c, step in steps.items():
            for one, other in zip(step(x), wanted, strict=True):
                np.testing.assert_array_equal(one, other, f"checkpoint={c}, time {length}")


def test_pieces_and_what_is_left_over_stand_in_one_array():
    graph = run_passes(summed(3))
    plan = plan_of(graph, LEVELS["x86-64-v4"])
    assert any(b.first != 0 and "time" in str(b.first) for b in plan.buffers)
    stored = [leaf.value for leaf in graph.stored]
    for length, batch in ((7, 3), (6, 2), (2, 1), (0, 2)):
        x = np.random.default_rng(batch).normal(size=(length, batch, 5)).astype("float32")
        wanted = run(graph.outputs, {graph.inputs[0]: x})
        found = Interpreter(plan, [x], stored, {"time": length, "batch": batch}, unjitted(plan, {}), threads=2)
        for a, b in zip(found.result("output"), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * max(1, np.abs(b).max(initial=0)))


@pytest.mark.parametrize("checkpoint", [None, 3])
def test_results_that_several_joins_repeat_stand_in_each(checkpoint):
    x = graphc.input("x", ("time", "batch"))
    zeros = graphc.zeros(("batch",))
    one = graphc.scan(lambda h, v: (h * 0.5 + v, h - v), zeros, x, checkpoint=checkpoint)[1]
    two = graphc.scan(lambda h, v: (h - v, h + 2.0 * v), zeros, x, checkpoint=checkpoint)[1]
    joins = [graphc.concat(parts, 0) for parts in ([one, two], [two, one], [one, one], [one, two])]
    wanted = [z for y in joins for z in (graphc.sin(y) * y, graphc.grad((graphc.sin(y) * y).sum(), x))]
    step = graphc.compile([x], wanted)
    for time in (0, 1, 3, 7):
        fed = np.random.default_rng(time).normal(size=(time, 4)).astype("float32")
        found, expected = step(fed), graphc.evaluate(wanted, {x: fed})
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("level", ["x86-64-v4", "x86-64-v3"])
def test_totals_of_loops_begin_with_what_they_are_added_to_on_guarded_buffers(level, monkeypatch):
    found = []
    begins = kernels.Tile.start.fget
    monkeypatch.setattr(kernels.Tile, "start", property(lambda tile: found.append(begins(tile)) or found[-1]))
    graph = run_passes(training("GRU", checkpoint=3))
    plan = plan_of(graph, LEVELS[level])
    assert any(one is not None for one in found)
    stored = [leaf.value for leaf in graph.stored]
    ways = [unjitted(plan, {}, has_fma=LEVELS[level].fma)]
    if level == host_level().name:
        ways.append(compiled(Loader(build.objects(plan.kernels, LEVELS[level], dict))))
    for length, batch in ((7, 3), (6, 2), (2, 1)):
        x = np.random.default_rng(batch).normal(size=(length, batch, 5)).astype("float32")
        wanted = run(graph.outputs, {graph.inputs[0]: x})
        for kernel_of in ways:
            got = Interpreter(plan, [x], stored, {"time": length, "batch": batch}, kernel_of, threads=3).result(
                "output"
            )
            for a, b in zip(got, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * max(1, np.abs(b).max(initial=0)))


@pytest.mark.parametrize("swap", [False, True])
def test_a_product_is_added_to_a_carry_that_others_read(swap):
    """Fast weights: what is added to W is made of a state that W itself makes."""
    xs = graphc.input("xs", ("time", 20, 20))

    def step(carry, x):
        w, h = carry
        after = graphc.tanh(h @ w + x)
        return (w + (w @ h if swap else h.T @ h), after), after

    first = graphc.constant(np.eye(20, dtype="float32")), graphc.zeros((20, 20))
    (w, _), rows = graphc.scan(step, first, xs)
    x = np.random.default_rng(0).normal(size=(5, 20, 20)).astype("float32") / 9
    weights, h = np.eye(20), np.zeros((20, 20))
    for one in x:
        weights, h = weights + (weights @ h if swap else h.T @ h), np.tanh(h @ weights + one)
    found, states = graphc.compile([xs], [w, rows], threads=2)(x)
    np.testing.assert_allclose(found, weights, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(states[-1], h, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("checkpoint", [1, 2])
def test_only_the_last_state_is_kept_where_only_that_is_used(checkpoint):
    x = graphc.input("x", (64, 8, 5))
    for kind in ("RNN", "LSTM", "GRU"):
        layer = getattr(nn, kind)(5, 20)
        loss = graphc.square(layer(x, checkpoint=checkpoint)[0][-1]).sum()
        graph = run_passes(Graph((x,), (loss, *graphc.grad(loss, layer.parameters()))))
        (forward,) = [n for n in graph.nodes() if n.op.name == "scan" and not n.op.reverse]
        stored = [t.shape for t in forward.type.items[forward.op.carries :]]
        assert stored == [(64 // checkpoint, 8, 20)] * layer.carried, "the states between pieces alone"
