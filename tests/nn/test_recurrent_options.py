"""What recurrent layers hand to their loops: truncation, states that are made again, and norms of gradients through time."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph.graph import Graph
from graphc.ops.scan import Scan
from graphc.passes import run_passes

RNG = np.random.default_rng(31)
T, BATCH, FEATURES, HIDDEN = 5, 3, 2, 3
X = RNG.normal(size=(T, BATCH, FEATURES))
KINDS = {"RNN": nn.RNNCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell}


def both(kind, **options):
    """A layer, and its cell with the same weights for each direction."""
    layer = getattr(nn, kind)(FEATURES, HIDDEN, dtype="float64", **options)
    cells = []
    for suffix in ("_l0", "_l0_reverse")[: 2 if options else 1]:
        cell = KINDS[kind](FEATURES, HIDDEN, dtype="float64")
        for name, _ in list(cell.named_parameters()):
            setattr(cell, name, getattr(layer, name + suffix))
        cells.append(cell)
    return layer, cells


def unrolled(cell, x, between, times):
    """The states h of a cell in the order of time; `between` is given the states after each step, and their number."""
    states, found = None, {}
    for number, time in enumerate(times):
        new = cell(x[time], states)
        new = between(new if isinstance(new, tuple) else (new,), number, time)
        states = new if len(new) > 1 else new[0]
        found[time] = new[0]
    return graphc.stack([found[time] for time in range(T)])


@pytest.mark.parametrize("kind", KINDS)
def test_watched_norms_are_those_by_each_state_in_both_directions(kind):
    layer, cells = both(kind, bidirectional=True)
    x, probes = graphc.input("x", X.shape, "float64"), graphc.zeros((2, T), "float64")
    weights = RNG.normal(size=(T, BATCH, 2 * HIDDEN))
    watched = (graphc.sin(layer(x, watch=probes)[0]) * weights).sum()
    added = [[graphc.zeros((BATCH, HIDDEN), "float64") + 0.0 * (t + 9 * d) for t in range(T)] for d in range(2)]
    sides = [
        unrolled(cell, x, lambda new, _, time, d=d: (new[0] + added[d][time], *new[1:]), times)
        for d, (cell, times) in enumerate(zip(cells, (range(T), reversed(range(T))), strict=True))
    ]
    plain = (graphc.sin(graphc.concat(sides, axis=-1)) * weights).sum()
    wrt = [x, *layer.parameters()]
    *gradients, norms = graphc.grad(watched, [*wrt, probes])
    expected = graphc.evaluate(
        [*graphc.grad(plain, wrt), *graphc.grad(plain, [a for side in added for a in side])], {x: X}
    )
    passed = run_passes(Graph((x,), (*gradients, norms))).outputs
    for found in (graphc.evaluate([*gradients, norms], {x: X}), graphc.evaluate(list(passed), {x: X})):
        for one, other in zip(found[:-1], expected, strict=False):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
        by_state = np.array([np.linalg.norm(one) for one in expected[len(wrt) :]]).reshape(2, T)
        assert by_state.min() > 0
        np.testing.assert_allclose(found[-1], by_state, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_states_that_are_made_again_change_nothing(kind, k):
    layer, _ = both(kind)
    x = graphc.input("x", ("time", BATCH, FEATURES), "float64")
    losses = [(graphc.sin(layer(x, checkpoint=c)[0]) ** 2).sum() for c in (None, k)]
    wrt = [x, *layer.parameters()]
    passed = [run_passes(Graph((x,), (loss, *graphc.grad(loss, wrt)))) for loss in losses]
    wanted, found = (graphc.evaluate(list(graph.outputs), {x: X}) for graph in passed)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    graphs = [run_passes(Graph((x,), tuple(graphc.grad(loss, [x])))) for loss in losses]
    lean = [sum(isinstance(n.op, Scan) and n.op.lean for n in graph.nodes()) for graph in graphs]
    assert lean[0] == 0 < lean[1]


def test_what_does_not_fit():
    layer, x = nn.GRU(FEATURES, HIDDEN), graphc.input("x", ("time", "n", FEATURES))
    with pytest.raises(ShapeError, match=r"GRU: expected probes float32\[1, time\] to watch by, got float32\[5\]"):
        layer(x, watch=graphc.zeros((5,)))
    with pytest.raises(
        (ShapeError, DTypeError), match=r"GRU: expected probes float32\[1, time\] to watch by, got float64"
    ):
        layer(x, watch=graphc.zeros((1, "time"), "float64"))
    with pytest.raises(GraphError, match="checkpoint must be"):
        layer(x, checkpoint=0)
    with pytest.raises(GraphError, match="truncate must be"):
        layer(x, truncate=0)
