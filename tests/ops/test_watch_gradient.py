"""The norm of dL/dh_t for every t, from the backward pass of the other gradients."""

import numpy as np

import graphc
from graphc.graph.graph import Graph
from graphc.ops.control import Scan
from graphc.passes import run_passes

RNG = np.random.default_rng(7)


def watched(x, w, probes, activation):
    def step(h, v):
        h = graphc.watch_gradient(activation(h @ w + v[0]), v[1])
        return h, h

    return graphc.scan(step, graphc.zeros((2, 3), "float64"), (x, probes))


def test_norms_are_those_of_the_gradient_by_each_state():
    x, w = graphc.input("x", (5, 2, 3), "float64"), graphc.parameter(RNG.normal(size=(3, 3)), "w")
    probes = graphc.zeros((5,), "float64")
    rows = watched(x, w, probes, graphc.tanh)[1]
    of_w, norms = graphc.grad((rows * rows).sum(), [w, probes])
    feeds = {x: RNG.normal(size=(5, 2, 3))}
    # The same by hand: what is added to a state before anything reads it has the gradient of the state.
    added = [graphc.zeros((2, 3), "float64") + t * 0.0 for t in range(5)]
    h, total = graphc.zeros((2, 3), "float64"), 0.0
    for t in range(5):
        h = graphc.tanh(h @ w + x[t]) + added[t]
        total = total + (h * h).sum()
    expected = graphc.evaluate([graphc.grad(total, w), *graphc.grad(total, added)], feeds)
    passed = run_passes(Graph((x,), (of_w, norms))).outputs
    for found in (graphc.evaluate([of_w, norms], feeds), graphc.evaluate(list(passed), feeds)):
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-10)
        np.testing.assert_allclose(found[1], [np.linalg.norm(g) for g in expected[1:]], rtol=1e-10)


def test_an_orthogonal_recurrence_scaled_by_rho_shrinks_gradients_by_rho():
    orthogonal = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    for rho in (0.5, 0.9, 1.0, 1.25):
        x, w = graphc.input("x", (6, 2, 3), "float64"), graphc.parameter(rho * orthogonal, "w")
        probes = graphc.zeros((6,), "float64")
        last = watched(x, w, probes, lambda z: z)[0]
        norms = graphc.evaluate(graphc.grad((last * RNG.normal(size=(2, 3))).sum(), probes), {x: np.ones((6, 2, 3))})
        np.testing.assert_allclose(norms[:-1] / norms[1:], rho, rtol=1e-12)


def test_watching_leaves_the_loops_as_they_are():
    x, w = graphc.input("x", (5, 2, 3), "float64"), graphc.parameter(RNG.normal(size=(3, 3)), "w")
    probes = graphc.zeros((5,), "float64")
    last = watched(x, w, probes, graphc.tanh)[0]
    graph = run_passes(Graph((x,), tuple(graphc.grad(last.sum(), [w, probes]))))
    forward, backward = (node for node in graph.nodes() if isinstance(node.op, Scan))
    assert len(forward.op.step.outputs) == 3  # the state, its history, and its activation for the gradient
    # One more result, of few numbers: the norms are made for all times at once after the loop.
    assert "sqrt" not in {node.op.name for node in backward.op.step.nodes()}
    assert len(backward.op.step.outputs) == 3


def test_of_a_long_state_a_number_for_each_row_is_stored():
    layer = graphc.nn.LSTM(3, 32)
    x, probes = graphc.input("x", (5, 2, 3)), graphc.zeros((1, 5))
    loss = layer(x, watch=probes)[0][-1].sum()
    plain = run_passes(Graph((x,), tuple(graphc.grad(loss, layer.parameters()))))
    graph = run_passes(Graph((x,), tuple(graphc.grad(loss, [*layer.parameters(), probes]))))
    before, after = (
        [type.shape for node in one.nodes() if isinstance(node.op, Scan) for type in node.type.items]
        for one in (plain, graph)
    )
    assert sorted(after) == sorted([*before, (5, 2)])


def test_forward_derivatives_pass_through():
    x = graphc.input("x", (3,), "float64")
    tangent = graphc.jvp(
        graphc.watch_gradient(x * x, graphc.constant(0.0, "float64")), [x], [graphc.ones(3, "float64")]
    )
    assert graphc.evaluate(tangent, {x: np.arange(3.0)}).tolist() == [0, 2, 4]
