"""Kernels of every kind at odd sizes, on buffers that end at a protected page, at every CPU level.

One graph with symbolic sizes is compiled once a level and dtype; then it runs at sizes around the vector and tile widths.
"""

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

SIZES = [(1, 1, 3), (1, 2, 1), (2, 3, 1), (7, 8, 9), (8, 16, 17), (15, 31, 2), (16, 33, 15), (17, 15, 31), (33, 2, 16)]
SIZES += [(3, 130, 67)]  # more than one turn of a sum by several totals


def graph_of(dtype):
    a = graphc.input("a", ("m", "k"), dtype)
    b = graphc.input("b", ("k", "n"), dtype)
    index = graphc.input("index", ("m",), "int64")
    product = a @ b
    hidden = graphc.tanh(product + graphc.sum(b, axis=0))
    loss = graphc.sum(graphc.log_softmax(hidden, axis=-1) * 0.1)
    rows = graphc.take(b, index, axis=0)
    outputs = (
        hidden,
        graphc.softmax(product, axis=0),
        *graphc.grad(loss, [a, b]),
        graphc.grad(graphc.sum(rows * rows), b),
        graphc.cumulative_sum(a, axis=0),
        graphc.cumulative_sum(a, axis=1),
        graphc.concat([product.T, product.T * 2.0], axis=1),
        graphc.pad(a, ((1, 0), (0, 2)), interior=(0, 1)),
        a[::-1, ::2],
        graphc.argmax(graphc.concat([b, b * 2.0], axis=0), axis=0),
        graphc.astype(product > 0.0, "int32"),
        graphc.scan(lambda h, row: (graphc.tanh(h + row), h), graphc.zeros((b.shape[1],), dtype), b)[1],
    )
    return Graph((a, b, index), outputs)


def arrays_of(dtype, m, k, n):
    generator = np.random.default_rng(m * 100 + n)
    index = generator.integers(-k, k, m)
    return [generator.normal(size=(m, k)).astype(dtype), generator.normal(size=(k, n)).astype(dtype), index]


def check(interpreter, graph, arrays, dtype):
    wanted = run(graph.outputs, dict(zip(graph.inputs, arrays, strict=True)))
    for k, (got, expected) in enumerate(zip(interpreter.result("output"), wanted, strict=True)):
        if expected.dtype.kind == "f":
            bound = 2000 * np.finfo(dtype).eps
            np.testing.assert_allclose(got, expected, rtol=bound, atol=bound, err_msg=f"output {k}")
        else:
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", supported_levels())
def test_compiled(level, dtype):
    graph = graph_of(dtype)
    passed = run_passes(graph)
    plan = plan_of(passed, LEVELS[level])
    kernel_of = compiled(Loader(build.objects(plan.kernels, LEVELS[level], lambda: natives(passed))))
    stored = [leaf.value for leaf in passed.stored]
    for m, k, n in SIZES:
        arrays = arrays_of(dtype, m, k, n)
        sizes = {"m": m, "k": k, "n": n}
        check(Interpreter(plan, arrays, stored, sizes, kernel_of, threads=3), graph, arrays, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unjitted(dtype):
    graph = graph_of(dtype)
    passed = run_passes(graph)
    plan = plan_of(passed, LEVELS["x86-64-v3"])
    stored = [leaf.value for leaf in passed.stored]
    for m, k, n in SIZES[:6]:
        arrays = arrays_of(dtype, m, k, n)
        sizes = {"m": m, "k": k, "n": n}
        kernel_of = unjitted(plan, natives(passed))
        check(Interpreter(plan, arrays, stored, sizes, kernel_of, threads=2), graph, arrays, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", supported_levels())
def test_panels(level, dtype):
    """Operands whose rows lie far apart, and transposed ones, go through panels: the last one is not full."""
    a, b = graphc.input("a", ("m", 70), dtype), graphc.input("b", (70, 521), dtype)
    c = graphc.input("c", (521, 70), dtype)
    product = a @ b
    outputs = (product, a @ c.T, *graphc.grad(graphc.sum(graphc.tanh(product * 0.1)), [a, b]))
    graph = Graph((a, b, c), outputs)
    passed = run_passes(graph)
    plan = plan_of(passed, LEVELS[level])
    assert sum(buffer.name.startswith("panel") for buffer in plan.buffers) >= 3
    native = compiled(Loader(build.objects(plan.kernels, LEVELS[level], lambda: natives(passed))))
    twins = unjitted(plan, natives(passed), has_fma=LEVELS[level].fma)
    stored = [leaf.value for leaf in passed.stored]
    for m, kernel_of in ((1, native), (65, native), (3, twins)):
        generator = np.random.default_rng(m)
        arrays = [
            generator.normal(size=[d if isinstance(d, int) else m for d in node.shape]).astype(dtype)
            for node in graph.inputs
        ]
        check(Interpreter(plan, arrays, stored, {"m": m}, kernel_of, threads=2), graph, arrays, dtype)
