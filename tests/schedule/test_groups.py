"""Rows in groups: what the elements of a window have in common is made once, at sizes that come out even and that do not."""

import numpy as np
import pytest

import graphc
from graphc.compiler import plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.passes import run_passes
from graphc.simd.levels import host_level
from tests.interpreter import Interpreter, compiled, unjitted


def plan_and_results(graph, arrays, batch):
    """The plan, and its results unjitted with bounds checked and compiled, on arrays that end at a protected page."""
    plan = plan_of(run_passes(graph), host_level())
    kernel_of = compiled(Loader(build.objects(plan.kernels, host_level(), dict)))
    found = [
        Interpreter(plan, arrays, [], {"n": batch}, one, threads=2).result("output")
        for one in (unjitted(plan, {}), kernel_of)
    ]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    return plan, found[1]


def pooled_gradient(x, g, size):
    """By its definition: the first of the largest in each window has the window's cotangent."""
    result = np.zeros_like(x)
    for n, i, j, c in np.ndindex(g.shape):
        best = None
        for a, b in np.ndindex(size):
            value = x[n, i * size[0] + a, j * size[1] + b, c]
            if best is None or value > best[0] or (np.isnan(value) and not np.isnan(best[0])):
                best = value, a, b
        result[n, i * size[0] + best[1], j * size[1] + best[2], c] = g[n, i, j, c]
    return result


@pytest.mark.parametrize(("side", "size"), [((4, 6), (2, 2)), ((6, 3), (3, 3)), ((5, 6), (2, 2)), ((8, 4), (4, 4))])
@pytest.mark.parametrize("channels", [3, 37])
def test_gradient_of_a_pool(side, size, channels):
    x = graphc.input("x", ("n", *side, channels))
    y = graphc.max_pool2d(x, size)
    g = graphc.input("g", y.shape)
    generator = np.random.default_rng(0)
    # Few different numbers, so that windows have ties; and one that is NaN.
    image = generator.integers(0, 3, (3, *side, channels)).astype("float32")
    image[1, 1, 1, 2] = np.nan
    cotangent = generator.normal(size=(3, *y.shape[1:])).astype("float32")
    plan, (found,) = plan_and_results(Graph((x, g), (graphc.vjp(y, x, g),)), [image, cotangent], 3)
    np.testing.assert_array_equal(found, pooled_gradient(image, cotangent, size))
    if side == (4, 6):
        (text,) = plan.kernels.values()
        masked = channels % 16 != 0  # the loop's body is written again, masked
        assert text.count(" in range(4):") == (channels > 16) + masked
        assert text.count(" store(") == 4 * ((channels > 16) + masked)


def test_repeated_elements_are_read_once():
    x = graphc.input("x", ("n", 3, 20))
    graph = Graph((x,), (graphc.repeat(x, 2, axis=1),))
    array = np.random.default_rng(1).normal(size=(5, 3, 20)).astype("float32")
    plan, (found,) = plan_and_results(graph, [array], 5)
    np.testing.assert_array_equal(found, np.repeat(array, 2, axis=1))
    (text,) = plan.kernels.values()
    assert text.count("store(") == 2 * text.count("load_f32")


def test_with_margins_beside():
    """What a convolution pads is walked in groups, too, though its margins are made by the same call."""
    x, w = graphc.input("x", ("n", 4, 6, 16)), graphc.input("w", (3, 3, 16, 16))
    y = graphc.max_pool2d(graphc.relu(graphc.conv2d(x, w, padding=1)), 2)
    g = graphc.input("g", y.shape)
    plan = plan_of(run_passes(Graph((x, w, g), (graphc.vjp(y, x, g),))), host_level())
    (text,) = (text for text in plan.kernels.values() if "place" in text)
    assert text.count(" in range(4):") == 1
    assert text.count(" store(") == 4 + 4
    assert "(i1) // (2)" not in text


@pytest.mark.parametrize("rows", [2, 6, 7, 64])
@pytest.mark.parametrize("width", [17, 64, 130])
def test_rows_that_are_summed_are_made_two_at_a_time(rows, width):
    x = graphc.input("x", ("n", rows, width))
    largest = graphc.max(x, -1, keepdims=True)
    weights = graphc.exp(x - largest)
    results = (weights, largest, graphc.sum(weights, -1))
    generator = np.random.default_rng(rows * width)
    array = generator.normal(size=(3, rows, width)).astype("float32")
    array[1, rows - 1, 0], array[2, 0, width - 1] = np.nan, np.inf
    plan, found = plan_and_results(Graph((x,), results), [array], 3)
    (text,) = plan.kernels.values()
    assert text.count("reduce_add") == (2 if rows % 2 == 0 else 1)
    with np.errstate(invalid="ignore"):
        expected = np.exp(array - array.max(-1, keepdims=True))
    np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(found[1], array.max(-1, keepdims=True))
    np.testing.assert_allclose(found[2], expected.sum(-1, dtype="float64"), rtol=1e-5)
    # A row has the bits that it has among an odd number of rows.
    alone = graphc.compile(
        [x := graphc.input("x", ("n", 1, width))], graphc.sum(graphc.exp(x - graphc.max(x, -1, keepdims=True)), -1)
    )
    np.testing.assert_array_equal(found[2].reshape(-1, 1), alone(array.reshape(-1, 1, width)))
