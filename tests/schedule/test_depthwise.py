"""Depthwise convolutions and both gradients: margins that nobody stores, tiles of several rows of an image.

Arrays end at a protected page, and so does what lies before them: the first and the last rows of images are read there.
Compared with sums of shifted images, in float64.
"""

import numpy as np
import pytest

import graphc
from graphc.compiler import plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.passes import run_passes
from graphc.simd.levels import LEVELS, supported_levels
from tests.interpreter import Interpreter, compiled, unjitted
from tests.schedule.test_convolutions import with_short_rounds

# height, width, channels, kernel, stride, pads, dilation
LAYERS = [
    (8, 12, 20, 3, 1, ((1, 1), (1, 1)), 1), (7, 7, 33, 3, 1, ((1, 1), (1, 1)), 1), (4, 9, 16, 5, 1, ((2, 2), (2, 2)), 1),
    (8, 8, 17, 3, 2, ((1, 1), (1, 1)), 1), (11, 5, 40, 3, 1, ((2, 0), (0, 1)), 1), (12, 10, 18, 3, 1, ((2, 2), (2, 2)), 2),
    (2, 3, 16, 3, 1, ((1, 1), (1, 1)), 1), (6, 8, 16, 3, 1, ((0, 0), (0, 0)), 1), (1, 14, 70, 3, 1, ((1, 1), (1, 1)), 1),
]  # fmt: skip
HOST, *OTHERS = supported_levels()
AT_LEVELS = [(HOST, layer) for layer in LAYERS] + [(level, layer) for level in OTHERS for layer in LAYERS[:4]]


def case(layer):
    height, width, channels, kernel, stride, pads, dilation = layer
    x, w = graphc.input("x", ("n", height, width, channels)), graphc.input("w", (kernel, kernel, 1, channels))
    y = graphc.conv2d(x, w, stride=stride, padding=pads, dilation=dilation, groups=channels)
    g = graphc.input("g", y.shape)
    return Graph((x, w, g), (y, *graphc.vjp(y, [x, w], g)))


def by_shifts(layer, x, w, g):
    """The three results, tap by tap."""
    _, _, _, kernel, stride, pads, dilation = layer
    padded = np.pad(np.float64(x), ((0, 0), *pads, (0, 0)))
    y, dx, dw = np.zeros(g.shape), np.zeros(padded.shape), np.zeros(w.shape)
    for i in range(kernel):
        for j in range(kernel):
            rows, columns = (
                slice(k * dilation, k * dilation + (count - 1) * stride + 1, stride)
                for k, count in ((i, g.shape[1]), (j, g.shape[2]))
            )
            seen = padded[:, rows, columns]
            y += seen * w[i, j, 0]
            dx[:, rows, columns] += g * np.float64(w[i, j, 0])
            dw[i, j, 0] = np.sum(seen * g, (0, 1, 2))
    (top, bottom), (left, right) = pads
    return y, dx[:, top : dx.shape[1] - bottom, left : dx.shape[2] - right], dw


def check(layer, level, kernels_of, batches, spoil=None):
    graph = case(layer)
    passed = run_passes(graph)
    plan = plan_of(passed, LEVELS[level])
    kernel_of = kernels_of(plan)
    for batch in batches:
        generator = np.random.default_rng(batch)
        shapes = ([batch if not isinstance(d, int) else d for d in node.shape] for node in graph.inputs)
        arrays = [generator.normal(size=shape).astype("float32") for shape in shapes]
        if spoil is not None:
            spoil(*arrays)
        several = [
            Interpreter(plan, arrays, [], {"n": batch}, kernel_of, threads=threads).result("output")
            for threads in (1, 2, 3)
        ]
        with np.errstate(invalid="ignore", over="ignore"):
            wanted = by_shifts(layer, *arrays)
        for k in range(3):
            found, right = several[0][k], wanted[k]
            finite = np.abs(right[np.isfinite(right)]).max(initial=1)
            np.testing.assert_allclose(found, right, rtol=2e-5, atol=2e-5 * finite, err_msg=str(k))
            for other in several[1:]:
                np.testing.assert_array_equal(other[k], found)
    return plan


@pytest.mark.parametrize(("level", "layer"), AT_LEVELS, ids=str)
def test_compiled(level, layer):
    def kernels_of(plan):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[level], dict)))

    plan = check(layer, level, kernels_of, (3, 1, 0))
    # No array with margins stands in between, only the parts of a sum.
    assert {b.kind for b in plan.buffers if not b.name.startswith("parts")} == {"input", "output"}


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_unjitted(layer):
    check(layer, "x86-64-v4", lambda plan: unjitted(plan, {}), (1,))


def of_images(x, w, g):
    x[0, 2, 3, 5], x[-1, -1, -1, 7] = np.nan, -np.inf
    g[0, 0, 0, 1] = np.inf


def of_filters(x, w, g):
    w[0, 0, 0, 3], w[-1, -1, 0, 2] = np.inf, np.nan


@pytest.mark.parametrize("spoil", [of_images, of_filters])
@pytest.mark.parametrize("layer", LAYERS[:4], ids=str)
def test_what_is_no_number(layer, spoil):
    """A margin times an infinite filter is NaN, but not in the gradient; what is no number stays with its windows."""

    def kernels_of(plan):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], dict)))

    check(layer, HOST, kernels_of, (2,), spoil)


@pytest.mark.parametrize("layer", [LAYERS[0], LAYERS[3], LAYERS[4]], ids=str)
def test_rounds(monkeypatch, layer):
    """The gradient by filters in rounds of a few rows of an image, whose sums so far stand where the result will."""
    with_short_rounds(monkeypatch, within=False, steps=6)

    def kernels_of(plan):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], dict)))

    plan = check(layer, HOST, kernels_of, (0, 1, 3))
    assert any("for first in " in text and "mask" in text for text in plan.kernels.values())


def test_tiles_are_stacked():
    """Nine taps are read once for four rows of four; the gradient by filters has them all at once."""
    graph = case((16, 16, 64, 3, 1, ((1, 1), (1, 1)), 1))
    texts = plan_of(run_passes(graph), LEVELS["x86-64-v4"]).kernels.values()
    counts = sorted((text.count(" = fma("), text.count("a = load_f32x16(")) for text in texts)
    # Products, and vectors of the image that they are made of, in each kernel; one more where sums may be made anew.
    assert counts == [(144, 36), (144, 36), (144, 37)]


def test_a_symbolic_image_has_no_stacks():
    """Sizes that are not known: rows one by one at the end, and margins all the same."""
    x, w = graphc.input("x", ("n", "h", "v", 20)), graphc.input("w", (3, 3, 1, 20))
    graph = Graph((x, w), (graphc.conv2d(x, w, padding=1, groups=20),))
    plan = plan_of(run_passes(graph), LEVELS[HOST])
    generator = np.random.default_rng(0)
    for kernel_of in (compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], dict))), unjitted(plan, {})):
        for batch, height, width in ((2, 5, 9), (1, 1, 1), (1, 3, 25)):
            image = generator.normal(size=(batch, height, width, 20)).astype("float32")
            filters = generator.normal(size=(3, 3, 1, 20)).astype("float32")
            sizes = {"n": batch, "h": height, "v": width}
            (found,) = Interpreter(plan, [image, filters], [], sizes, kernel_of, threads=2).result("output")
            layer = (height, width, 20, 3, 1, ((1, 1), (1, 1)), 1)
            wanted, _, _ = by_shifts(layer, image, filters, np.zeros_like(image))
            np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)
