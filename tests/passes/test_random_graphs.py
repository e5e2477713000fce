"""Random graphs mean the same before and after the passes, NaN and infinity included."""

import numpy as np
import pytest

import graphc
from graphc.graph.verify import verify
from graphc.passes import collect_updates, fold_phase, run_passes
from tests.passes.random_graphs import Builder


def random_graph(seed, special, training):
    """Return a random graph, its feeds, and its meaning before the passes."""
    grown = Builder(seed, special).grow(12)
    outputs = grown.outputs()
    if not special:
        outputs.append(graphc.grad(grown.scalar(), grown.w, disconnected="zeros"))
    graph = graphc.Graph((grown.x, grown.y), tuple(outputs))
    plain = fold_phase(collect_updates(graph, training), training)
    try:
        expected = graphc.evaluate(list(plain.outputs), grown.feeds)
    except graphc.CallError:
        # The sizes do not meet what the graph requires: take another graph.
        return random_graph(seed + 1000, special, training)
    return graph, grown.feeds, expected


@pytest.mark.parametrize("seed", range(60))
def test_passes_keep_the_meaning(seed):
    training = bool(seed % 2)
    graph, feeds, expected = random_graph(seed, seed % 3 == 0, training)
    after = run_passes(graph, training=training, check=verify)
    for a, b in zip(graphc.evaluate(list(after.outputs), feeds), expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)
