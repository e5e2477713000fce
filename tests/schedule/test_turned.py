"""Results of few columns, whose rows are the lanes: by definition, at sizes that fill tiles and vectors and that do not."""

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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [0, 1, 6, 33])
@pytest.mark.parametrize(("rows", "columns"), [(32, 2), (37, 1), (37, 3), (70, 8), (16, 5), (40, 9), (7, 2)])
def test_gradient_of_a_weight_with_few_inputs(rows, columns, count, dtype):
    """Unjitted with bounds checked, then compiled, on arrays that end at a protected page; sums in order of the examples."""
    x, g = graphc.input("x", ("n", columns), dtype), graphc.input("g", ("n", rows), dtype)
    plan = plan_of(run_passes(Graph((x, g), (graphc.permute_dims(g) @ x,))), host_level())
    generator = np.random.default_rng(rows + columns)
    arrays = [generator.normal(size=(count, width)).astype(dtype) for width in (columns, rows)]
    kernel_of = compiled(Loader(build.objects(plan.kernels, host_level(), dict)))
    expected = np.zeros((rows, columns))
    for one, other in zip(*arrays, strict=True):
        expected += np.outer(other, one.astype("float64"))
    for runner in (unjitted(plan, {}), kernel_of):
        (found,) = Interpreter(plan, arrays, [], {"n": count}, runner, threads=2).result("output")
        np.testing.assert_allclose(found, expected, rtol=1e-12 if dtype == "float64" else 1e-5, atol=1e-5)
    is_turned = any("scatter(" in text for text in plan.kernels.values())
    assert is_turned == (1 < columns <= 8 and rows >= 16)


def test_what_else_is_made_of_the_sums_keeps_their_columns():
    """An epilogue that reads an array beside the sums: columns stay the lanes."""
    x, g, b = (graphc.input(name, shape) for name, shape in (("x", ("n", 3)), ("g", ("n", 40)), ("b", (40, 3))))
    run = graphc.compile([x, g, b], graphc.permute_dims(g) @ x + b)
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=shape).astype("float32") for shape in ((21, 3), (21, 40), (40, 3))]
    np.testing.assert_allclose(run(*arrays), arrays[1].T @ arrays[0] + arrays[2], rtol=1e-5, atol=1e-5)


def test_results_do_not_depend_on_threads():
    x, g = graphc.input("x", ("n", 4)), graphc.input("g", ("n", 1000))
    made = [graphc.compile([x, g], graphc.permute_dims(g) @ x, threads=threads) for threads in (1, 2, 3)]
    generator = np.random.default_rng(1)
    arrays = [generator.normal(size=(700, width)).astype("float32") for width in (4, 1000)]
    one, *others = (run(*arrays) for run in made)
    for other in others:
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one, arrays[1].astype("float64").T @ arrays[0], rtol=1e-4, atol=1e-3)
