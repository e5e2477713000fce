"""Copies that transpose, made in squares of vectors: right, and within bounds, at every size and CPU level."""

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

SIZES = [(0, 3), (1, 1), (8, 16), (15, 17), (16, 16), (16, 33), (17, 8), (32, 48), (50, 31)]


def case(dtype):
    """Transposed copies of a matrix, of a stack of matrices, and a weight that a product reads in panels, the last not full."""
    a = graphc.input("a", ("m", "n"), dtype)
    stack = graphc.input("stack", (2, "m", 3, "n"), dtype)
    outputs = [a.T, graphc.permute_dims(stack, (0, 3, 2, 1)), graphc.permute_dims(stack, (2, 0, 3, 1))]
    inputs = [a, stack]
    if dtype.startswith("f"):
        weight = graphc.input("weight", (70, "n"), dtype)
        outputs.append(a @ weight.T)
        inputs.append(weight)
    return run_passes(Graph(tuple(inputs), tuple(outputs)))


def arrays_of(dtype, m, n):
    generator = np.random.default_rng(m * 100 + n)
    shapes = [(m, n), (2, m, 3, n), *([(70, n)] if dtype.startswith("f") else [])]
    return [(generator.normal(size=shape) * 100).astype(dtype) for shape in shapes]


def check(results, arrays):
    a, stack, *rest = arrays
    np.testing.assert_array_equal(results[0], a.T)
    np.testing.assert_array_equal(results[1], stack.transpose(0, 3, 2, 1))
    np.testing.assert_array_equal(results[2], stack.transpose(2, 0, 3, 1))
    for weight in rest:
        np.testing.assert_allclose(results[3], a.astype("f8") @ weight.T, rtol=1e-3, atol=1e-1)


def squares_of(plan):
    return [text for text in plan.kernels.values() if "transpose_" in text]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("level", supported_levels())
def test_compiled(level, dtype):
    graph = case(dtype)
    plan = plan_of(graph, LEVELS[level])
    assert sum(text.count("transpose_") for text in squares_of(plan)) == 3 + dtype.startswith("f")
    kernel_of = compiled(Loader(build.objects(plan.kernels, LEVELS[level], dict)))
    for m, n in SIZES:
        arrays = arrays_of(dtype, m, n)
        interpreter = Interpreter(plan, arrays, [], {"m": m, "n": n}, kernel_of, threads=3)
        check(interpreter.result("output"), arrays)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unjitted(dtype):
    plan = plan_of(case(dtype), LEVELS["x86-64-v4"])
    for m, n in SIZES[1:6]:
        arrays = arrays_of(dtype, m, n)
        interpreter = Interpreter(plan, arrays, [], {"m": m, "n": n}, unjitted(plan, {}), threads=2)
        check(interpreter.result("output"), arrays)


def test_what_is_not_made_in_squares():
    """Bytes, what is short, what is reversed, and what is read at places from data."""
    a, index = graphc.input("a", ("m", 8), "float32"), graphc.input("index", ("m",), "int64")
    flags = graphc.input("flags", ("m", "n"), "bool")
    wide = graphc.input("wide", ("m", "n"), "float32")
    outputs = (a.T, flags.T, wide.T[:, ::-1], graphc.take(wide, index, axis=0).T)
    plan = plan_of(run_passes(Graph((a, index, flags, wide), outputs)), LEVELS["x86-64-v4"])
    squares = squares_of(plan)
    assert len(squares) == 1, squares
    assert "wide" in squares[0], "a negative step is a step"
