"""Reductions and running sums, compiled, over axes of size 0 and 1 and of large odd sizes, on guarded buffers."""

import numpy as np
import pytest

import graphc
from graphc.compiler import plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.ops.cumulative import linear_recurrence
from graphc.passes import run_passes
from graphc.schedule.natives import natives
from graphc.simd.levels import LEVELS, supported_levels
from tests.interpreter import Interpreter, compiled

SIZES = [(0, 0), (0, 5), (5, 0), (1, 1), (1, 3), (3, 1), (1, 1009), (1009, 1), (17, 257), (257, 33)]


def graph_of(dtype):
    x = graphc.input("x", ("m", "n"), dtype)
    running = x.cumprod(1)
    outputs = [
        x.sum(),
        *(reduced for axis in (0, 1) for reduced in (x.sum(axis), x.mean(axis), x.var(axis), graphc.prod(x, axis))),
        *((x > 1.0).any(axis) for axis in (0, 1)),
        *((x > 0.9).all(axis) for axis in (0, 1)),
        *(x.cumsum(axis) for axis in (0, 1)),
        x.cumprod(0),
        running,
        graphc.cumulative_sum(x, 1, reverse=True),
        linear_recurrence(x, x, 0),
        graphc.grad(running.sum(), x),
    ]
    return Graph((x,), tuple(outputs))


def wanted(x):
    """By definition, in float64."""
    x = x.astype("float64")
    m, n = x.shape
    with np.errstate(all="ignore"):
        rows = [
            reduced
            for k in (0, 1)
            for count in [x.shape[k]]
            for reduced in (
                x.sum(k),
                np.divide(x.sum(k), count),
                np.divide(((x - np.divide(x.sum(k, keepdims=True), count)) ** 2).sum(k), count),
                x.prod(k),
            )
        ]
    recurrence = np.zeros_like(x)
    for t in range(m):
        recurrence[t] = x[t] + (x[t] * recurrence[t - 1] if t else 0)
    # d(sum of running products) / dx[i] = product before i * (1 + x[i+1] * (1 + x[i+2] * ...)).
    before, after = np.ones_like(x), np.ones_like(x)
    for i in range(1, n):
        before[:, i] = before[:, i - 1] * x[:, i - 1]
        after[:, n - 1 - i] = 1 + x[:, n - i] * after[:, n - i]
    return [
        x.sum(),
        *rows,
        *((x > 1.0).any(k) for k in (0, 1)),
        *((x > 0.9).all(k) for k in (0, 1)),
        *(x.cumsum(k) for k in (0, 1)),
        x.cumprod(0),
        x.cumprod(1),
        x[:, ::-1].cumsum(1)[:, ::-1],
        recurrence,
        before * after,
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", supported_levels())
def test_sizes(level, dtype):
    graph = graph_of(dtype)
    passed = run_passes(graph)
    plan = plan_of(passed, LEVELS[level])
    kernel_of = compiled(Loader(build.objects(plan.kernels, LEVELS[level], lambda: natives(passed))))
    stored = [leaf.value for leaf in passed.stored]
    for m, n in SIZES:
        # Near 1, so that products of a thousand factors stay in range.
        x = np.random.default_rng(m * 7 + n).uniform(0.97, 1.03, (m, n)).astype(dtype)
        got = Interpreter(plan, [x], stored, {"m": m, "n": n}, kernel_of, threads=3).result("output")
        for k, (array, expected) in enumerate(zip(got, wanted(x), strict=True)):
            assert array.shape == expected.shape
            bound = 5000 * np.finfo(dtype).eps
            np.testing.assert_allclose(array, expected, rtol=bound, atol=bound, err_msg=f"output {k} of {m}, {n}")
