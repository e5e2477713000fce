"""Gradients of convolutions by their images become plain contractions that mean the same."""

import numpy as np
import pytest

import graphc
from graphc import dims
from graphc.graph.graph import Graph
from graphc.graph.reference import run
from graphc.graph.verify import verify
from graphc.ops.contraction import Contract
from graphc.passes import gather

# height, kernel, stride, padding, dilation
CASES = [
    (6, 3, 1, 1, 1), (7, 3, 2, 1, 1), (8, 3, 2, 1, 1), (8, 1, 2, 0, 1), (9, 2, 3, 0, 1), (7, 3, 1, 2, 2),
    (8, 3, 2, 2, 2), (9, 3, 3, 1, 2), (8, 5, 1, 0, 1), (9, 4, 2, (1, 2), 1), (1, 3, 2, 1, 1), (5, 3, 4, "same", 1),
]  # fmt: skip


def gradient(batch, height, width, kernel, stride, padding, dilation):
    x = graphc.input("x", (batch, height, width, 3), "float64")
    w = graphc.input("w", (kernel, kernel, 3, 2), "float64")
    y = graphc.conv2d(x, w, stride=stride, padding=padding, dilation=dilation)
    g = graphc.input("g", y.shape, "float64")
    return Graph((g, w), (graphc.vjp(y, x, g),))


def sums(graph):
    """The contractions that add into their result at sums of axes."""
    found = [node.op for node in graph.nodes() if isinstance(node.op, Contract)]
    return [op for op in found if any(len(dims.axes(index)) > 1 for index in op.out)]


def draw(graph, sizes):
    generator = np.random.default_rng(0)
    shapes = ([dims.evaluate(d, sizes) for d in node.shape] for node in graph.inputs)
    return dict(zip(graph.inputs, (generator.normal(size=shape) for shape in shapes), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_gathered(case):
    height, *rest = case
    graph = gradient(2, height, height + 1, *rest)
    gathered = verify(gather(graph))
    assert sums(graph)
    assert not sums(gathered)
    arrays = draw(graph, {})
    np.testing.assert_allclose(run(gathered.outputs, arrays)[0], run(graph.outputs, arrays)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1), (3, 0)])
def test_sizes_may_be_symbols(stride, padding):
    x, w = graphc.input("x", ("n", "h", "w", 3), "float64"), graphc.input("k", (3, 3, 3, 2), "float64")
    loss = graphc.sum(graphc.tanh(graphc.conv2d(x, w, stride=stride, padding=padding)))
    graph = Graph((x, w), (graphc.grad(loss, x),))
    gathered = verify(gather(graph))
    assert not sums(gathered)
    for height, width in ((5, 6), (7, 4), (8, 9)):
        arrays = draw(graph, {"n": 2, "h": height, "w": width})
        wanted = run(graph.outputs, arrays)[0]
        np.testing.assert_allclose(run(gathered.outputs, arrays)[0], wanted, rtol=1e-12, atol=1e-12)


def test_a_plain_contraction_stays():
    x, w = graphc.input("x", (2, 6, 6, 3)), graphc.input("w", (3, 3, 3, 2))
    plain = Graph((x, w), (graphc.conv2d(x, w),))
    assert gather(plain) is plain
