"""Gradients of convolutions by their images where filters are infinite or NaN: only windows that there are see it.

The sums that make them read the cotangent with margins of zeros, which the definition does not have: an infinite filter
times such a zero must not show.
"""

import itertools

import numpy as np
import pytest

import graphc
from graphc.compiler import plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.graph.reference import run
from graphc.passes import run_passes
from graphc.schedule.natives import natives
from graphc.simd.levels import LEVELS, supported_levels
from tests.interpreter import Interpreter, compiled, unjitted
from tests.schedule.test_convolutions import with_short_rounds

HOST, *OTHERS = supported_levels()
# height, width, channels, filters, kernel, stride, padding, dilation, groups
LAYERS = [
    (4, 27, 16, 16, 3, 1, 1, 1, 1), (6, 5, 3, 20, 3, 1, 1, 1, 1), (9, 8, 4, 17, 3, 2, 1, 1, 1), (8, 8, 1, 4, 5, 1, 0, 1, 1),
    (6, 14, 6, 16, 5, 1, 0, 1, 1), (10, 9, 2, 8, 3, 1, 2, 2, 1), (6, 7, 40, 20, 3, 3, 1, 2, 1), (7, 8, 8, 12, 3, 1, 1, 1, 2),
    (7, 8, 18, 18, 3, 1, 1, 1, 18), (8, 9, 8, 8, 3, 2, 1, 1, 8),
]  # fmt: skip


def gradient(layer, sizes=None):
    height, width, channels, filters, kernel, stride, padding, dilation, groups = layer
    x = graphc.input("x", ("n", *(sizes or (height, width)), channels))
    w = graphc.input("w", (kernel, kernel, channels // groups, filters))
    y = graphc.conv2d(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    g = graphc.input("g", y.shape)
    return Graph((x, w, g), (graphc.vjp(y, x, g),))


def by_windows(layer, x, w, g):
    """The gradient by the image: each tap of each window that lies in it adds what it saw."""
    height, width, channels, filters, kernel, stride, padding, dilation, groups = layer
    found = np.zeros(x.shape)
    one, many = channels // groups, filters // groups
    for i, j, a, b in itertools.product(*map(range, (*g.shape[1:3], kernel, kernel))):
        row, column = i * stride + a * dilation - padding, j * stride + b * dilation - padding
        if 0 <= row < height and 0 <= column < width:
            for k in range(groups):
                of, by = slice(k * one, (k + 1) * one), slice(k * many, (k + 1) * many)
                products = g[:, i, j, None, by].astype(float) * w[a, b, :, by].astype(float)
                found[:, row, column, of] += products.sum(-1)
    return found


def spoiled(shapes, layer, count):
    generator = np.random.default_rng(count)
    x, w, g = (generator.normal(size=shape).astype("float32") for shape in shapes)
    for bad in (np.inf, -np.inf, np.nan)[:count]:
        w[tuple(generator.integers(w.shape))] = bad
    with np.errstate(invalid="ignore"):
        wanted = by_windows(layer, x, w, g)
    return [x, w, g], wanted


def check(layer, level, kernels_of, batch=2, counts=(1, 3), sizes=None):
    graph = gradient(layer, sizes)
    passed = run_passes(graph)
    plan = plan_of(passed, LEVELS[level])
    kernel_of = kernels_of(plan, passed)
    known = {"n": batch, **dict(zip(sizes or (), layer[:2], strict=False))}
    shapes = [[graphc.dims.evaluate(d, known) for d in node.shape] for node in graph.inputs]
    for count in counts:
        arrays, wanted = spoiled(shapes, layer, count)
        assert 0 < np.isfinite(wanted).sum() < wanted.size
        (one,), (other,) = (
            Interpreter(plan, arrays, [], known, kernel_of, threads=threads).result("output") for threads in (1, 2)
        )
        assert one.tobytes() == other.tobytes()
        np.testing.assert_allclose(one, wanted, rtol=2e-5, atol=5e-5)
        with np.errstate(invalid="ignore"):
            meant = run(passed.outputs, dict(zip(passed.inputs, arrays, strict=True)))[0]
        np.testing.assert_allclose(meant, wanted, rtol=2e-5, atol=5e-5)


def at_level(level):
    return lambda plan, passed: compiled(Loader(build.objects(plan.kernels, LEVELS[level], lambda: natives(passed))))


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_compiled(layer):
    check(layer, HOST, at_level(HOST))


@pytest.mark.parametrize("level", OTHERS)
@pytest.mark.parametrize("layer", [LAYERS[2], LAYERS[4], LAYERS[8]], ids=str)
def test_other_levels(level, layer):
    check(layer, level, at_level(level))


@pytest.mark.parametrize("layer", [LAYERS[1], LAYERS[2], LAYERS[8]], ids=str)
def test_unjitted(layer):
    check(layer, "x86-64-v4", lambda plan, passed: unjitted(plan, natives(passed)), batch=1, counts=(2,))


@pytest.mark.parametrize("layer", [LAYERS[0], LAYERS[2], LAYERS[8]], ids=str)
def test_sizes_may_be_symbols(layer):
    check(layer, HOST, at_level(HOST), sizes=("h", "w"))


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("layer", [LAYERS[0], LAYERS[4], LAYERS[6]], ids=str)
def test_rounds(monkeypatch, layer, within):
    """A sum that a round has begun with goes on from there."""
    with_short_rounds(monkeypatch, within, 30)
    check(layer, HOST, at_level(HOST))


def test_transposed():
    """A transposed convolution is the same sum; what it cuts off is not there."""
    x, w = graphc.input("x", ("n", 5, 6, 8)), graphc.input("w", (3, 3, 3, 8))
    graph = Graph((x, w), (graphc.conv_transpose2d(x, w, padding=1),))
    plan = plan_of(run_passes(graph), LEVELS[HOST])
    layer = (5, 6, 3, 8, 3, 1, 1, 1, 1)
    arrays, wanted = spoiled([(2, 5, 6, 3), (3, 3, 3, 8), (2, 5, 6, 8)], layer, 2)
    kernel_of = at_level(HOST)(plan, graph)
    (found,) = Interpreter(plan, [arrays[2], arrays[1]], [], {"n": 2}, kernel_of, threads=2).result("output")
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=5e-5)


def test_along_one_axis():
    """What follows the sum follows the one that counts."""
    x, w = graphc.input("x", ("n", 40, 16)), graphc.input("w", (5, 16, 16))
    g = graphc.input("g", ("n", 36, 16))
    graph = Graph((x, w, g), (graphc.maximum(graphc.vjp(graphc.conv1d(x, w), x, g), 0.0),))
    plan = plan_of(run_passes(graph), LEVELS[HOST])
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=s).astype("float32") for s in ((3, 40, 16), (5, 16, 16), (3, 36, 16))]
    arrays[1][1, 3, 4], arrays[1][4, 2, 2] = np.inf, -np.inf
    wanted = np.zeros((3, 40, 16))
    for tap in range(5):
        wanted[:, tap : tap + 36] += arrays[2].astype(float) @ arrays[1][tap].astype(float).T
    kernel_of = at_level(HOST)(plan, graph)
    (found,) = Interpreter(plan, arrays, [], {"n": 3}, kernel_of, threads=2).result("output")
    np.testing.assert_allclose(found, np.maximum(wanted, 0), rtol=2e-5, atol=5e-5)


@pytest.mark.parametrize(
    ("layer", "written"), [((14, 14, 6, 16, 5, 1, 0, 1, 1), 3 * 50), ((8, 8, 16, 16, 3, 1, 1, 1, 1), 2 * 22)]
)
def test_products_that_do_not_count_are_left_out(layer, written):
    """A tile of a whole row writes products of taps in the image alone, and then has nothing to make anew."""
    plan = plan_of(run_passes(gradient(layer)), LEVELS["x86-64-v4"])
    (text,) = (text for text in plan.kernels.values() if " = fma(" in text)
    assert text.count(" = fma(") == written
    assert "max(0, " in text
    assert "reduce_or" not in text
