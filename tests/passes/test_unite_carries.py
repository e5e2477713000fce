"""Carries that are equal at every step are one: two gradients of one loss cost one recurrence."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.graph.graph import Graph
from graphc.ops.scan import Scan
from graphc.passes import run_passes, unite_carries

RNG = np.random.default_rng(12)
T, B, H = 4, 2, 3


def scans(graph):
    return [node for node in graph.nodes() if isinstance(node.op, Scan)]


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_gradient_asked_for_apart_costs_no_second_recurrence(kind):
    layer = getattr(nn, kind)(3, H, dtype="float64")
    x, probes = graphc.input("x", (T, B, 3), "float64"), graphc.zeros((1, T), "float64")
    loss = (layer(x, watch=probes)[0] ** 2).sum()
    apart = [*graphc.grad(loss, layer.parameters()), graphc.grad(loss, probes), graphc.grad(loss, x)]
    forward, backward = scans(run_passes(Graph((x,), tuple(apart))))
    assert forward.op.carries == backward.op.carries == layer.carried
    together = graphc.grad(loss, [*layer.parameters(), probes, x])
    feeds = {x: RNG.normal(size=(T, B, 3))}
    found = graphc.evaluate(list(run_passes(Graph((x,), tuple(apart))).outputs), feeds)
    for a, b in zip(found, graphc.evaluate(together, feeds), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def carries_of(step, init, x):
    final, rows = graphc.scan(step, init, x)
    graph = Graph((x,), (*final, rows))
    passed = unite_carries(graph)
    feeds = {x: RNG.normal(size=(T, H))}
    for a, b in zip(
        graphc.evaluate(list(passed.outputs), feeds), graphc.evaluate(list(graph.outputs), feeds), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    (scan,) = scans(passed)
    return scan.op.carries


def test_what_begins_alike_and_stays_alike():
    x = graphc.input("x", (T, H), "float64")
    zero, one = graphc.zeros((H,), "float64"), graphc.ones((H,), "float64")
    assert carries_of(lambda c, v: ((graphc.sin(c[0] + v), graphc.sin(c[1] + v)), c[0] + c[1]), (zero, zero), x) == 1
    # In a circle: each is what the other was.
    assert carries_of(lambda c, v: ((graphc.sin(c[1] + v), graphc.sin(c[0] + v)), c[0] * c[1]), (zero, zero), x) == 1
    assert carries_of(lambda c, v: ((graphc.sin(c[0] + v), graphc.sin(c[1] + v)), c[0] + c[1]), (zero, one), x) == 2
    assert carries_of(lambda c, v: ((graphc.sin(c[0] + v), graphc.cos(c[1] + v)), c[0] + c[1]), (zero, zero), x) == 2

    # The first two are equal until the third, which begins alike, makes them differ.
    def step(c, v):
        return (c[0] + c[2], c[1] + c[1], c[2] + v), c[0] * c[1]

    assert carries_of(step, (zero, zero, zero), x) == 3


def test_two_draws_are_never_one():
    x = graphc.input("x", (T, H), "float64")
    zero = graphc.zeros((H,), "float64")

    def step(c, v):
        return tuple(one + graphc.normal((H,), dtype="float64") * v for one in c), v

    (scan,) = scans(unite_carries(Graph((x,), tuple(graphc.scan(step, (zero, zero), x)[0]))))
    assert scan.op.carries == 2


def test_in_loops_inside_loops():
    x = graphc.input("x", (2, T, H), "float64")
    zero = graphc.zeros((H,), "float64")

    def outer(h, block):
        pair, _ = graphc.scan(lambda c, v: ((graphc.sin(c[0] + v), graphc.sin(c[1] + v)), None), (h, h), block)
        return pair[0] + pair[1], None

    last, _ = graphc.scan(outer, zero, x)
    passed = unite_carries(Graph((x,), (last,)))
    (scan,) = scans(passed)
    (inner,) = scans(scan.op.step)
    assert inner.op.carries == 1
    feeds = {x: RNG.normal(size=(2, T, H))}
    np.testing.assert_array_equal(graphc.evaluate(passed.outputs[0], feeds), graphc.evaluate(last, feeds))
