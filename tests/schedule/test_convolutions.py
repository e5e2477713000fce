"""Convolutions and both gradients as register tiles, on buffers that end at a protected page, at every CPU level.

The batch is a symbol; images are narrower and wider than a tile, strided, dilated, with 1, 3 and many channels.
"""

import re

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.compiler import plan_of
from graphc.emit import build, fetches
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.graph.reference import run
from graphc.passes import run_passes
from graphc.schedule import rounds, tilings
from graphc.schedule.natives import natives
from graphc.simd.levels import LEVELS, supported_levels
from tests.interpreter import Interpreter, compiled, unjitted

# height, width, channels, filters, kernel, stride, padding, dilation
LAYERS = [
    (4, 19, 3, 16, 3, 1, 1, 1), (7, 5, 4, 17, 3, 2, 1, 1), (9, 7, 2, 3, 2, 3, 0, 2), (4, 4, 20, 7, 1, 1, 0, 1),
    (3, 8, 1, 6, 5, 1, 2, 1), (5, 12, 3, 4, 3, 2, 1, 1),
]  # fmt: skip
HOST, *OTHERS = supported_levels()
AT_LEVELS = [(HOST, layer) for layer in LAYERS] + [(level, layer) for level in OTHERS for layer in LAYERS[:2]]


def case(layer):
    height, width, channels, filters, kernel, stride, padding, dilation = layer
    x = graphc.input("x", ("n", height, width, channels))
    w = graphc.input("w", (kernel, kernel, channels, filters))
    b = graphc.input("b", (filters,))
    y = graphc.conv2d(x, w, stride=stride, padding=padding, dilation=dilation)
    g = graphc.input("g", y.shape)
    return Graph((x, w, b, g), (graphc.relu(y + b), *graphc.vjp(y, [x, w], g)))


def check(graph, level, kernels_of, batches, threads=(2,)):
    """Compare with the definition; all numbers of threads must give the bits of the first."""
    passed = run_passes(graph)
    plan = plan_of(passed, LEVELS[level])
    kernel_of = kernels_of(plan, passed)
    stored = [leaf.value for leaf in passed.stored]
    for batch in batches:
        generator = np.random.default_rng(batch)
        shapes = ([batch if not isinstance(d, int) else d for d in node.shape] for node in graph.inputs)
        arrays = [generator.normal(size=shape).astype("float32") for shape in shapes]
        got, *others = (
            Interpreter(plan, arrays, stored, {"n": batch}, kernel_of, threads=count).result("output")
            for count in threads
        )
        assert all(a.tobytes() == b.tobytes() for other in others for a, b in zip(got, other, strict=True))
        wanted = run(graph.outputs, dict(zip(graph.inputs, arrays, strict=True)))
        for k, (a, b) in enumerate(zip(got, wanted, strict=True)):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * max(1, np.abs(b).max(initial=0)), err_msg=str(k))
    return plan


@pytest.mark.parametrize(("level", "layer"), AT_LEVELS, ids=str)
def test_compiled(level, layer):
    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[level], lambda: natives(passed))))

    check(case(layer), level, kernels_of, (3, 0))


@pytest.mark.parametrize("layer", LAYERS[1:3], ids=str)
def test_unjitted(layer):
    check(case(layer), "x86-64-v4", lambda plan, passed: unjitted(plan, natives(passed)), (1,))


def block(channels, filters, pads):
    """A residual block and its gradients: margins, sums over a batch by image, numbers of channels once for all rows."""
    x = graphc.input("x", ("n", 6, 7, channels))
    w, v = graphc.input("w", (3, 3, channels, filters)), graphc.input("v", (3, 3, filters, filters))
    scale, shift = graphc.input("scale", (filters,)), graphc.input("shift", (filters,))
    inner = graphc.relu(nn.batch_norm(graphc.conv2d(x, w, padding=1), None, None, scale, shift))
    out = graphc.conv2d(inner, v, padding=pads) + inner
    leaves = [x, w, v, scale, shift]
    return Graph(tuple(leaves), (out, *graphc.grad(graphc.sum(out * out), leaves)))


BLOCKS = [(3, 16, 1), (4, 17, ((2, 0), (1, 1))), (16, 40, 1), (2, 70, 1)]


@pytest.mark.parametrize(("level", "shape"), [(HOST, one) for one in BLOCKS] + [(one, BLOCKS[1]) for one in OTHERS])
def test_blocks(level, shape):
    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[level], lambda: natives(passed))))

    check(block(*shape), level, kernels_of, (3, 1))


def test_block_unjitted():
    check(block(2, 18, 1), "x86-64-v4", lambda plan, passed: unjitted(plan, natives(passed)), (2,))


def test_phases_write_one_array():
    """The gradient by a strided convolution's image: one kernel for each phase, and none that puts them together."""
    graph = case(LAYERS[1])
    plan = plan_of(run_passes(graph), LEVELS["x86-64-v4"])
    (image,) = (b.number for b in plan.of_kind("output") if b.position == 1)
    assert sum(image in step.writes for step in plan.steps) == 4
    assert not any(b.name.startswith("interleave") for b in plan.buffers)


@pytest.mark.parametrize(("groups", "filters"), [(1, 18), (6, 6)])
def test_sums_in_rounds(groups, filters):
    """A weight's gradient adds image after image to what it has stored: none, one and several; depthwise too."""
    x, w = graphc.input("x", ("n", 18, 18, 6)), graphc.input("w", (3, 3, 6 // groups, filters))
    y = graphc.conv2d(x, w, groups=groups)
    g = graphc.input("g", y.shape)
    graph = Graph((x, w, g), (graphc.vjp(y, w, g),))

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(graph, HOST, kernels_of, (0, 1, 3))
    assert groups > 1 or any(
        "for first in range(begin, max(end, begin + 1), " in text for text in plan.kernels.values()
    )
    check(graph, "x86-64-v3", lambda plan, passed: unjitted(plan, natives(passed)), (0, 1))


def with_short_rounds(monkeypatch, within, steps):
    """Let all sums go by rounds of about so many steps, also where those do not pay."""
    for name, value in {
        "LARGE": 0,
        "IN_ORDER": 0,
        "ROUND": 1,
        "LONG": steps,
        "MANY": 2,
        "STAYS": 0 if within else 1 << 40,
    }.items():
        monkeypatch.setattr(rounds, name, value)


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize(("rows", "depth", "lanes"), [("n", 70, 40), (33, "n", 24), (20, 150, 300)])
def test_short_rounds(monkeypatch, within, rows, depth, lanes):
    """Products and their gradients: what follows a sum is made in its last round, of operands that die there."""
    with_short_rounds(monkeypatch, within, 6)
    shapes = {"x": (rows, depth), "w": (lanes, depth), "v": (lanes, 3), "g": (rows, lanes)}
    x, w, v, g = (graphc.input(*one) for one in shapes.items())
    y = x @ w.T
    inner = graphc.relu(y * 0.1) + graphc.tanh(x) @ w.T
    graph = Graph((x, w, v, g), (inner @ v, *graphc.vjp(y, [x, w], g)))

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(graph, HOST, kernels_of, (0, 1, 7, 20))
    assert sum("for first in " in text for text in plan.kernels.values()) >= 2
    if rows == "n":
        check(graph, HOST, lambda plan, passed: unjitted(plan, natives(passed)), (7,))


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("layer", [LAYERS[1], (3, 4, 2, 270, 3, 1, 1, 1)], ids=str)
def test_short_rounds_of_convolutions(monkeypatch, within, layer):
    """Likewise rounds of several images, of which the last one has fewer; panels are made for a round at a time."""
    with_short_rounds(monkeypatch, within, 30)

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(case(layer), HOST, kernels_of, (0, 1, 5))
    assert any("for first in " in text for text in plan.kernels.values())


@pytest.mark.parametrize(
    ("layer", "parts"),
    [
        (LAYERS[0], 2),
        (LAYERS[1], 4),
        ((4, 4, 20, 9, 1, 1, 0, 1), 2),
        ((3, 4, 2, 270, 3, 1, 1, 1), 4),
        ((5, 6, 20, 24, 1, 1, 0, 1), 4),
    ],
    ids=str,
)
def test_sums_in_parts(monkeypatch, layer, parts):
    """Parts of several rounds, of one and of none; threads fewer and more than parts, which give the same bits."""
    with_short_rounds(monkeypatch, False, 30)
    monkeypatch.setattr(rounds, "PARTS", parts)
    monkeypatch.setattr(rounds, "SMALL", 1 << 40)

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(case(layer), HOST, kernels_of, (0, 1, 5, 23), threads=(1, 2, 3, 2 * parts + 1))
    assert any(f"share(n, part, {parts})" in text or f"// {parts}" in text for text in plan.kernels.values())
    check(case(layer), "x86-64-v3", lambda plan, passed: unjitted(plan, natives(passed)), (0, 2))


def test_what_follows_sums_in_parts(monkeypatch):
    """A gradient that is added to, scaled, and read by two: made when its parts are added."""
    monkeypatch.setattr(rounds, "SMALL", 1 << 40)
    x, w = graphc.input("x", ("n", 18, 18, 6)), graphc.input("w", (3, 3, 6, 18))
    y = graphc.conv2d(x, w)
    g = graphc.input("g", y.shape)
    found = graphc.vjp(y, w, g)
    graph = Graph((x, w, g), (graphc.tanh(found * 0.01 + w), found, (found * found).sum()))

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(graph, HOST, kernels_of, (0, 1, 9), threads=(1, 2, 5))
    assert any("// slices" in text for text in plan.kernels.values())


@pytest.mark.parametrize("name", ["part", "slice", "begin", "first", "strip", "vector", "panel", "piece"])
def test_names_of_sizes_are_the_users(monkeypatch, name):
    """What a kernel's text calls its own does not hide a size of the same name."""
    with_short_rounds(monkeypatch, False, 6)
    monkeypatch.setattr(tilings, "WIDE", 1)
    x, w, g = graphc.input("x", (name, 70)), graphc.input("w", (40, 70)), graphc.input("g", (name, 40))
    y = x @ w.T
    step = graphc.compile([x, w, g], [y, *graphc.vjp(y, [x, w], g)])
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=shape).astype("float32") for shape in ((29, 70), (40, 70), (29, 40)))
    for got, wanted in zip(step(a, b, c), (a @ b.T, c @ b, c.T @ a), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-4)


def test_rounds_of_parts_of_images(monkeypatch):
    """A few rows of an image at a time: what follows the sum is made in the last part of the last image, of none too."""
    with_short_rounds(monkeypatch, within=False, steps=30)
    monkeypatch.setattr(rounds, "SMALL", 0)
    x, w = graphc.input("x", ("n", 14, 10, 4)), graphc.input("w", (3, 3, 4, 20))
    y = graphc.conv2d(x, w)
    g = graphc.input("g", y.shape)
    graph = Graph((x, w, g), (w - 0.1 * graphc.vjp(y, w, g),))

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(graph, HOST, kernels_of, (0, 1, 3))
    (text,) = plan.kernels.values()
    assert re.search(r"d0 \+ 1 < n or \w+d1 \+ 1 < 12 or last < min\(8, 8 \* n\):", text)
    check(graph, "x86-64-v4", lambda plan, passed: unjitted(plan, natives(passed)), (0, 2))


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_few_rows_are_stacked(batch):
    """One channel, nine taps: the gradient by filters has all of them at once, of two vectors each."""
    graph = case((8, 14, 1, 32, 3, 1, 1, 1))

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(graph, HOST, kernels_of, (batch,))
    plan = plan if HOST == "x86-64-v4" else plan_of(run_passes(graph), LEVELS["x86-64-v4"])
    assert any("c8_1 = fma(" in text and "c9_0 = fma(" not in text for text in plan.kernels.values())
    check(graph, "x86-64-v4", lambda plan, passed: unjitted(plan, natives(passed)), (min(batch, 1),))


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_lines_from_far_are_asked_for(monkeypatch, layer):
    """What is prefetched may lie anywhere: also beyond the end of all arrays."""
    monkeypatch.setattr(fetches, "LARGE", 0)
    monkeypatch.setattr(fetches, "AHEAD", 0)

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(case(layer), HOST, kernels_of, (0, 3))
    plan = plan if HOST == "x86-64-v4" else plan_of(run_passes(case(layer)), LEVELS["x86-64-v4"])
    texts = plan.kernels.values()
    assert any("claim(line" in text for text in texts)
    # Windows of one channel lie side by side.
    assert layer == LAYERS[4] or any("prefetch(at" in text and "claim(line" in text for text in texts)


@pytest.mark.parametrize("times", [60, 131])
def test_long_sums_copy_nothing(times):
    """What a round reads has a place in the cache where it lies: of 0, 1 and 3 batches, the last round a shorter one."""
    x, g = graphc.input("x", ("n", times, 300)), graphc.input("g", ("n", times, 70))
    graph = Graph((x, g), (graphc.einsum("nti,ntj->ji", x, g), graphc.einsum("nti,ntj->ij", x, g)))

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(graph, HOST, kernels_of, (0, 1, 3))
    assert sum("for first in range(begin, max(end, begin + 1), " in text for text in plan.kernels.values()) == 2
    assert all(buffer.kind in ("input", "output") or buffer.name.startswith("parts") for buffer in plan.buffers)
    if times == 60:
        check(graph, "x86-64-v4", lambda plan, passed: unjitted(plan, natives(passed)), (0, 1))


@pytest.mark.parametrize(
    "layer", [(3, 8, 1, 6, 5, 1, 2, 1), (5, 16, 3, 4, 3, 2, 1, 1), (4, 9, 2, 5, 3, 1, 1, 1)], ids=str
)
def test_infinities_stay_with_their_windows(layer):
    """Positions side by side read what their neighbours alone see, and do not multiply it."""
    height, width, channels, filters, kernel, stride, padding, _ = layer
    x, w = graphc.input("x", ("n", height, width, channels)), graphc.input("w", (kernel, kernel, channels, filters))
    graph = Graph((x, w), (graphc.conv2d(x, w, stride=stride, padding=padding),))
    plan = plan_of(run_passes(graph), LEVELS[HOST])
    assert any("a = select(" in text for text in plan.kernels.values())
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=[2 if d == "n" else d for d in s]).astype("float32") for s in (
        ("n", height, width, channels), (kernel, kernel, channels, filters))]  # fmt: skip
    arrays[0][0, 1, 3, 0], arrays[0][1, 2, 4, 0] = np.inf, np.nan
    wanted = run(graph.outputs, dict(zip(graph.inputs, arrays, strict=True)))[0]
    assert 0 < np.isfinite(wanted).sum() < wanted.size
    for kernel_of in (compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], dict))), unjitted(plan, {})):
        found = Interpreter(plan, arrays, [], {"n": 2}, kernel_of, threads=2).result("output")[0]
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


def test_positions_side_by_side_in_a_loop():
    """The filters do not change in the loop: their copy, with zeros beside them, is made before it."""
    x, w = graphc.input("x", (1, 4, 8, 3)), graphc.input("w", (3, 3, 3, 3))
    last, _ = graphc.scan(lambda carry, _: (graphc.tanh(graphc.conv2d(carry, w, padding=1)), ()), x, length=3)
    graph = Graph((x, w), (last,))

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(graph, HOST, kernels_of, (1,))
    assert any("a = select(" in text for text in plan.kernels.values())


@pytest.mark.parametrize(("depth", "asks"), [(64, True), (63, False)])
def test_what_follows_a_sum_asks_for_its_operands(depth, asks):
    """While a long sum is made the lines come that are read with it as it goes; not those of a row of biases."""
    shapes = {"x": ("n", depth), "w": (depth, 40), "r": ("n", 40), "b": (40,)}
    x, w, r, b = (graphc.input(*one) for one in shapes.items())
    graph = Graph((x, w, r, b), (graphc.tanh(x @ w + b) * r,))

    def kernels_of(plan, passed):
        return compiled(Loader(build.objects(plan.kernels, LEVELS[HOST], lambda: natives(passed))))

    plan = check(graph, HOST, kernels_of, (0, 1, 7, 20))
    (text,) = plan.kernels.values()
    assert ("prefetch(line" in text) == asks
