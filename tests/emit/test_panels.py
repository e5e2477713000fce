"""Panels that threads make for themselves inside of a product's kernel: right, and within bounds, at every size and level."""

import numpy as np
import pytest

import graphc
from graphc.compiler import plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.passes import run_passes
from graphc.runtime.binding import assign_memory
from graphc.simd.levels import LEVELS, supported_levels
from tests.interpreter import Interpreter, compiled, unjitted

SIZES = [(0, 4), (1, 1), (5, 16), (6, 17), (13, 33), (70, 7)]

OPERANDS = {"narrow": (10, "n"), "across": (147, "n"), "far": ("n", 530)}


def graph_of(dtype):
    """Products whose right operand is transposed, or has rows that lie far apart; the last block of lanes is not full."""
    a = graphc.input("a", ("m", "n"), dtype)
    narrow, across, far = (graphc.input(name, size, dtype) for name, size in OPERANDS.items())
    return Graph((a, narrow, across, far), (a @ narrow.T, a @ across.T, a @ far))


def arrays_of(dtype, m, n):
    generator = np.random.default_rng(m * 100 + n)
    return [generator.normal(size=size).astype(dtype) for size in ((m, n), (10, n), (147, n), (n, 530))]


def check(results, arrays):
    a, narrow, across, far = (one.astype("f8") for one in arrays)
    for got, wanted in zip(results, (a @ narrow.T, a @ across.T, a @ far), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 3, 40])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", supported_levels())
def test_compiled(level, dtype, threads):
    plan = plan_of(run_passes(graph_of(dtype)), LEVELS[level])
    assert [b.kind for b in plan.buffers].count("private") == 3
    assert len(plan.steps) == 3
    kernel_of = compiled(Loader(build.objects(plan.kernels, LEVELS[level], dict)))
    for m, n in SIZES:
        arrays = arrays_of(dtype, m, n)
        interpreter = Interpreter(plan, arrays, [], {"m": m, "n": n}, kernel_of, threads=threads)
        check(interpreter.result("output"), arrays)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unjitted(dtype):
    plan = plan_of(run_passes(graph_of(dtype)), LEVELS["x86-64-v4"])
    for m, n in SIZES[1:5]:
        arrays = arrays_of(dtype, m, n)
        interpreter = Interpreter(plan, arrays, [], {"m": m, "n": n}, unjitted(plan, {}), threads=2)
        check(interpreter.result("output"), arrays)


def test_a_thread_that_works_alone_has_the_only_panel():
    plan = plan_of(run_passes(graph_of("float32")), LEVELS["x86-64-v4"])
    (panel,) = (b.number for b in plan.buffers if b.kind == "private" and str(b.shape[0]) == "n" and b.shape[-1] == 16)

    def nbytes(m, threads):
        return assign_memory(plan, {"m": m, "n": 32}, threads)[0].nbytes[panel]

    assert nbytes(1, 4) == nbytes(10_000, 1) == 4 * 32 * 16
    assert nbytes(10_000, 4) == 4 * nbytes(10_000, 1)


@pytest.mark.parametrize("level", supported_levels())
@pytest.mark.parametrize(("dtype", "other"), [("float64", "bool"), ("float64", "float32"), ("float32", "float64")])
def test_sums_beside_data_of_another_width(level, dtype, other):
    """What follows the sums reads, or stores, elements of another width: panels are as wide as the vectors all the same."""
    shapes = {"a": ("m", "n"), "across": (147, "n"), "far": ("n", 530)}
    a, across, far = (graphc.input(name, shape, dtype) for name, shape in shapes.items())
    flags, more = graphc.input("flags", ("m", 147), other), graphc.input("more", (530,), other)
    if other == "bool":
        outputs = graphc.where(flags, a @ across.T, -1.0), graphc.where(more, a @ far, -1.0)
    else:
        outputs = graphc.astype(a @ across.T, other) + flags, graphc.astype(a @ far, other) * more
    plan = plan_of(run_passes(Graph((a, across, far, flags, more), outputs)), LEVELS[level])
    assert len(plan.steps) == 2
    ways = [compiled(Loader(build.objects(plan.kernels, LEVELS[level], dict)))]
    for m, n in SIZES:
        generator = np.random.default_rng(m * 100 + n)
        arrays = [generator.normal(size=size).astype(dtype) for size in ((m, n), (147, n), (n, 530))]
        arrays += [(generator.normal(size=size) > 0).astype(other) for size in ((m, 147), (530,))]
        one, two, three, keep, keep_more = (array.astype("f8") for array in arrays)
        wanted = one @ two.T, one @ three
        if other == "bool":
            wanted = np.where(keep, wanted[0], -1), np.where(keep_more, wanted[1], -1)
        else:
            wanted = wanted[0] + keep, wanted[1] * keep_more
        more_ways = [unjitted(plan, {})] if (m, n) == SIZES[3] and level == "x86-64-v4" else []
        for kernel_of in ways + more_ways:
            got = Interpreter(plan, arrays, [], {"m": m, "n": n}, kernel_of, threads=3).result("output")
            for result, expected in zip(got, wanted, strict=True):
                np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def images_of(dtype):
    """A convolution and its gradient by the images: both have far more to read and write than a weight for 83 lanes has."""
    x, g = graphc.input("x", ("n", 80, 80, 12), dtype), graphc.input("g", ("n", 80, 80, 11), dtype)
    w, v = graphc.input("w", (1, 1, 12, 83), dtype), graphc.input("v", (1, 1, 83, 11), dtype)
    return Graph((x, g, w, v), (graphc.conv2d(x, w), graphc.conv_transpose2d(g, v)))


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", supported_levels())
def test_rows_that_pass_by_all_lanes(level, dtype, begins):
    plan = plan_of(run_passes(images_of(dtype)), LEVELS[level])
    texts = [text for text in plan.kernels.values() if "for band in" in text]
    assert len(texts) == 2
    (panels,) = (b for b in plan.buffers if b.kind == "private")
    assert panels.shape[0] > 1
    assert panels.shape[0] * panels.shape[-1] >= 83
    kernel_of = compiled(Loader(build.objects(plan.kernels, LEVELS[level], dict)))
    for n in range(3):
        generator = np.random.default_rng(n)
        arrays = [generator.normal(size=(n, 80, 80, c)).astype(dtype) for c in (12, 11)]
        arrays += [generator.normal(size=(1, 1, *size)).astype(dtype) for size in ((12, 83), (83, 11))]
        x, g, w, v = (one.astype("f8") for one in arrays)
        for threads in (1, 3):
            interpreter = Interpreter(plan, arrays, [], {"n": n}, kernel_of, threads=threads, begins=begins)
            for got, wanted in zip(interpreter.result("output"), (x @ w[0, 0], g @ v[0, 0].T), strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
