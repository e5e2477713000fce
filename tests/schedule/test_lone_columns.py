"""Products of one column or one term: plain sums, right at protected pages, with the same bits for any number of threads."""

import numpy as np
import pytest

import graphc
from graphc.compiler import passed, plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.simd.levels import host_level
from tests.interpreter import Interpreter, compiled, unjitted

SIZES = (1, 2, 15, 16, 17, 63, 64, 65, 130)


def products(known, dtype):
    """All products between a vector and a matrix, and of two vectors; the matrix is symbolic, and `known` wide."""
    a, column = graphc.input("a", ("m", known), dtype), graphc.input("column", (known, 1), dtype)
    weights, row = graphc.input("weights", ("m", 1), dtype), graphc.input("row", (1, known), dtype)
    return (a, column, weights, row), (a @ column, a.T @ weights, weights @ row, a @ row.T, weights.T @ a)


def by_loops(a, column, weights, row):
    """The same, element by element, in the order of the definition."""

    def product(left, right):
        out = np.zeros((left.shape[0], right.shape[1]), left.dtype)
        for i, j in np.ndindex(*out.shape):
            out[i, j] = sum((x * y for x, y in zip(left[i], right[:, j], strict=True)), np.zeros((), left.dtype))
        return out

    return product(a, column), product(a.T, weights), product(weights, row), product(a, row.T), product(weights.T, a)


def planned(known, dtype):
    inputs, outputs = products(known, dtype)
    plan = plan_of(passed(Graph(inputs, outputs), training=False), host_level())
    return plan, compiled(Loader(build.objects(plan.kernels, host_level(), dict)))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("known", [1, 16, 33])
def test_values_at_protected_pages(known, dtype):
    plan, native = planned(known, dtype)
    generator = np.random.default_rng(known)
    for m in SIZES:
        # Whole numbers: any order of adding gives the same.
        shapes = (m, known), (known, 1), (m, 1), (1, known)
        arrays = [generator.integers(-9, 10, shape).astype(dtype) for shape in shapes]
        expected = by_loops(*arrays)
        for kernel_of in (native, *([unjitted(plan, {})] if m < 64 else [])):
            for begins in (False, True):
                got = Interpreter(plan, arrays, [], {"m": m}, kernel_of, threads=2, begins=begins).result("output")
                for one, other in zip(got, expected, strict=True):
                    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_threads(dtype):
    plan, native = planned(521, dtype)
    generator = np.random.default_rng(2)
    arrays = [generator.normal(size=shape).astype(dtype) for shape in ((300, 521), (521, 1), (300, 1), (1, 521))]
    first, *others = (
        Interpreter(plan, arrays, [], {"m": 300}, native, threads=count).result("output") for count in (1, 2, 3, 7)
    )
    for other in others:
        for one, same in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, same)
    a, column, weights, row = (array.astype("float64") for array in arrays)
    exact = a @ column, a.T @ weights, weights @ row, a @ row.T, weights.T @ a
    for one, right in zip(first, exact, strict=True):
        np.testing.assert_allclose(one, right, rtol=0, atol=600 * np.finfo(dtype).eps)


def test_they_are_no_tiles():
    plan, _ = planned(128, "float32")
    text = "\n".join(plan.kernels.values())
    assert "c0_0" not in text, "a tile's accumulators"
    # One column's sums run along rows, with all lanes, or along the lanes; nothing is masked where sizes come out even.
    assert text.count("reduce_add") >= 1
    assert "tail_bx16(1" not in text


def test_zeros_and_what_is_not_finite_are_those_of_a_sum():
    plan, native = planned(1, "float32")
    a = np.array([[np.nan], [np.inf], [-0.0], [0.0], [2.0]], "float32")
    arrays = [a, -np.zeros((1, 1), "float32"), -np.ones((5, 1), "float32"), np.zeros((1, 1), "float32")]
    with np.errstate(invalid="ignore"):
        expected = by_loops(*arrays)
    for one, other in zip(Interpreter(plan, arrays, [], {"m": 5}, native).result("output"), expected, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.signbit(one[~np.isnan(one)]), np.signbit(other[~np.isnan(other)]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_that_leave_one_column_at_protected_pages(dtype):
    """Sums along time of states of one column have rows for their lanes, however many axes of extent 1 there are."""
    x = graphc.input("x", ("time", "rows", 1), dtype)
    again = x.reshape(("time", 1, "rows", 1)) * 2.0
    outputs = (
        x.sum(0),
        graphc.sin(x.sum(0)),
        again.sum(0),
        x.sum(1),
        x.sum((0, 1)),
        again.sum((0, 1, 2)),
        graphc.max(x, 0),
    )
    plan = plan_of(passed(Graph((x,), outputs), training=False), host_level())
    native = compiled(Loader(build.objects(plan.kernels, host_level(), dict)))
    for time, rows in ((1, 1), (4, 16), (5, 17), (3, 65), (70, 2), (0, 3), (3, 0)):
        array = np.random.default_rng(rows).integers(-9, 10, (time, rows, 1)).astype(dtype)
        largest = array.max(0) if time else np.full((rows, 1), -np.inf, dtype)
        total = array.sum(0)
        wanted = total, np.sin(total), 2 * total[None], array.sum(1), total.sum(0), 2 * total.sum(0), largest
        for kernel_of in (native, unjitted(plan, {}, has_fma=host_level().fma)):
            found = Interpreter(plan, [array], [], {"time": time, "rows": rows}, kernel_of, threads=3).result("output")
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    loads = [line for text in plan.kernels.values() for line in text.splitlines() if "p0 +" in line and "load" in line]
    assert loads
    assert not any("gather" in text for text in plan.kernels.values())
