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
