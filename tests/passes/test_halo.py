"""Who reads an image reads it inside of the margins that a convolution needs, and the image itself is stored nowhere."""

import numpy as np
import pytest

import graphc
from graphc.compiler import plan_of
from graphc.graph.graph import Graph
from graphc.graph.reference import run
from graphc.graph.verify import verify
from graphc.passes import gather, halo, run_passes
from graphc.simd.levels import LEVELS

rng = np.random.default_rng(3)


def block(padding, stride=1, roots=()):
    """Two convolutions with a way around them, and their gradients; what is asked for besides is a root."""
    x = graphc.input("x", (2, 6, 7, 3), "float64")
    w = graphc.input("w", (3, 3, 3, 4), "float64")
    v = graphc.input("v", (3, 3, 4, 4), "float64")
    inner = graphc.relu(graphc.conv2d(x, w, padding=1))
    out = graphc.conv2d(inner, v, stride=stride, padding=padding)
    loss = graphc.sum(graphc.tanh(out)) + graphc.sum(inner * inner)
    return Graph((x, w, v), (loss, *graphc.grad(loss, [x, w, v]), *(inner for _ in roots))), inner


def readers(graph, op):
    return [node for node in graph.nodes() if any(x.op.name == op for x in node.inputs)]


@pytest.mark.parametrize(("padding", "stride"), [(1, 1), (2, 1), (((2, 1), (1, 2)), 1), (1, 2), (((0, 2), (1, 1)), 1)])
def test_the_graph_means_the_same(padding, stride):
    graph, _ = block(padding, stride)
    arrays = {node: rng.normal(size=node.shape) for node in graph.inputs}
    new = verify(halo(gather(graph)))
    for got, wanted in zip(run(new.outputs, arrays), run(graph.outputs, arrays), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_only_the_pad_reads_the_image():
    graph, _ = block(1)
    before, after = (readers(one, "relu") for one in (graph, halo(graph)))
    assert {node.op.name for node in before} > {"pad", "multiply"}
    assert [node.op.name for node in after] == ["pad"]
    # A result is needed as it is, so nothing is gained by reading it elsewhere.
    graph, _ = block(1, roots=(0,))
    assert halo(graph) is graph


def test_a_margin_at_the_end_alone_is_left():
    """An index that is an axis alone goes to the end of its dimension, so a contraction could not step over it."""
    graph, _ = block(((0, 2), (1, 1)))
    assert halo(graph) is graph


def test_no_kernel_copies_the_image():
    graph, _ = block(1)
    plan = plan_of(run_passes(graph), LEVELS["x86-64-v4"])
    names = [buffer.name for buffer in plan.buffers if buffer.kind == "temporary"]
    assert not any(name.startswith("relu") for name in names)
    # The first convolution's tile ends in it.
    assert any("fma(" in text and "maximum(" in text and "  # pad_" in text for text in plan.kernels.values())
