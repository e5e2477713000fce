"""Gradients by filters of few channels take positions side by side and mean the same."""

import numpy as np
import pytest

import graphc
from graphc import dims
from graphc.graph.graph import Graph
from graphc.graph.reference import run
from graphc.graph.verify import verify
from graphc.ops.contraction import Contract
from graphc.passes import gather, widen

# height, width, channels, filters, kernel, stride, padding, dtype; whether the gradient by the filters is widened
CASES = [
    (5, 8, 1, 6, 5, 1, 2, "float32", 1), (4, 12, 6, 16, 3, 1, 1, "float32", 0), (4, 12, 16, 5, 3, 1, 1, "float32", 1),
    (4, 6, 3, 3, 2, 1, (0, 1), "float64", 1), (9, 17, 2, 2, 5, 2, 2, "float64", 1), (5, 16, 2, 4, 3, 2, 1, "float32", 1),
    (5, 7, 3, 4, 3, 1, 1, "float32", 0), (4, 8, 5, 5, 1, 1, 0, "float32", 0), (4, 8, 24, 30, 3, 1, 1, "float32", 0),
]  # fmt: skip


def layer(height, width, channels, filters, kernel, stride, padding, dtype):
    x = graphc.input("x", ("n", height, width, channels), dtype)
    w = graphc.input("w", (kernel, kernel, channels, filters), dtype)
    around = padding if isinstance(padding, int) else ((0, 1), (0, 1))
    y = graphc.conv2d(x, w, stride=stride, padding=around)
    g = graphc.input("g", y.shape, dtype)
    return Graph((x, w, g), (y, *graphc.vjp(y, [x, w], g)))


def side_by_side(graph):
    """How many contractions have a result with one more dimension than the filters."""
    return sum(isinstance(node.op, Contract) and node.ndim == 5 for node in graph.nodes())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_means_the_same(case):
    *about, count = case
    graph = gather(layer(*about))
    widened = verify(widen(graph))
    assert side_by_side(widened) == count
    generator = np.random.default_rng(0)
    shapes = ([dims.evaluate(d, {"n": 3}) for d in node.shape] for node in graph.inputs)
    arrays = [generator.normal(size=shape).astype(about[-1]) for shape in shapes]
    results = (run(one.outputs, dict(zip(one.inputs, arrays, strict=True))) for one in (graph, widened))
    for wanted, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
