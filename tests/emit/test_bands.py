"""Columns copied out of rows that lie far apart, in bands of rows: right, and within bounds, at every size and CPU level."""

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


def case(dtype, left=518, right=130):
    """A weight's gradient, whose cotangents are read in strips."""
    a, b = graphc.input("a", ("n", left), dtype), graphc.input("b", ("n", right), dtype)
    return run_passes(Graph((a, b), (a.T @ b,)))


def bands_of(plan):
    return [text for text in plan.kernels.values() if "for i1 in range(first" in text]


def check(plan, kernel_of, dtype, sizes, left=518, right=130):
    assert len(bands_of(plan)) == 1
    for n in sizes:
        generator = np.random.default_rng(n)
        a, b = (generator.normal(size=(n, width)).astype(dtype) for width in (left, right))
        (got,) = Interpreter(plan, [a, b], [], {"n": n}, kernel_of, threads=3).result("output")
        np.testing.assert_allclose(got, a.astype("f8").T @ b.astype("f8"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", supported_levels())
def test_compiled(level, dtype):
    plan = plan_of(case(dtype), LEVELS[level])
    kernel_of = compiled(Loader(build.objects(plan.kernels, LEVELS[level], dict)))
    check(plan, kernel_of, dtype, (0, 1, 15, 16, 17, 40))


def test_unjitted():
    plan = plan_of(case("float32", 258, 129), LEVELS["x86-64-v4"])
    check(plan, unjitted(plan, {}), "float32", (1, 17), 258, 129)


def test_rows_that_lie_side_by_side_are_copied_one_after_another():
    a, b = graphc.input("a", ("n", 200)), graphc.input("b", ("n", 130))
    plan = plan_of(run_passes(Graph((a, b), (a.T @ b,))), LEVELS["x86-64-v4"])
    assert not bands_of(plan)
