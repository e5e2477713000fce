"""Sums of columns several vectors at a time: values at protected pages, and the same bits as one vector at a time."""

import numpy as np
import pytest

import graphc
from graphc.compiler import passed, plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.loops.merging import TOTALS
from graphc.simd.levels import host_level
from tests.interpreter import Interpreter, compiled, unjitted


def results(inputs, outputs, arrays, sizes):
    """Every kernel unjitted with its bounds checked, and compiled, each array ending at a protected page; and the text."""
    plan = plan_of(passed(Graph(tuple(inputs), tuple(outputs)), training=False), host_level())
    kernel_of = compiled(Loader(build.objects(plan.kernels, host_level(), dict)))
    found = [
        Interpreter(plan, arrays, [], sizes, k, threads=3).result("output") for k in (unjitted(plan, {}), kernel_of)
    ]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    return found[1], "\n".join(plan.kernels.values())


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("width", [1, 17, 127, 128, 131, 300])
def test_sums_of_columns(width, dtype):
    x, y = (graphc.input(name, ("rows", "width"), dtype) for name in "xy")
    generator = np.random.default_rng(0)
    arrays = [generator.integers(-9, 9, (7, width)).astype(dtype) for _ in "xy"]
    sizes = {"rows": 7, "width": width}
    found, text = results([x, y], [graphc.sum(x * y, 0), graphc.sum(x, 0), graphc.max(y, 0)], arrays, sizes)
    expected = (arrays[0] * arrays[1]).sum(0), arrays[0].sum(0), arrays[1].max(0)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert text.count("total") > TOTALS


@pytest.mark.parametrize("width", [64, 200])
def test_sums_within_each_of_several_arrays(width):
    x = graphc.input("x", (3, 5, width), "float64")
    array = np.random.default_rng(1).normal(size=(3, 5, width))
    (found,), _ = results([x], [graphc.sum(x * x, 1)], [array], {})
    np.testing.assert_allclose(found, (array * array).sum(1), rtol=1e-14)


def test_bits_do_not_depend_on_how_many_columns_there_are():
    array = np.random.default_rng(2).normal(size=(100, 256)).astype("f")
    x = graphc.input("x", (100, "width"))
    total = graphc.compile([x], graphc.sum(x, 0))
    whole = total(array)
    for width in (1, 15, 16, 130, 255):
        np.testing.assert_array_equal(total(np.ascontiguousarray(array[:, :width])), whole[:width])


def test_columns_of_joined_axes_are_read_by_vectors():
    x = graphc.input("x", (6, 3, 40))
    array = np.random.default_rng(3).integers(-9, 9, (6, 3, 40)).astype("f")
    (found,), text = results([x], [graphc.sum(graphc.reshape(x, (6, 120)), 0)], [array], {})
    np.testing.assert_array_equal(found, array.reshape(6, 120).sum(0))
    assert "gather" not in text


def test_sums_within_arrays_whose_rows_fill_pages():
    x = graphc.input("x", ("arrays", 5, 1030))
    array = np.random.default_rng(0).integers(-9, 9, (3, 5, 1030)).astype("f")
    found, _ = results([x], [graphc.sum(x, 1)], [array], {"arrays": 3})
    np.testing.assert_array_equal(found[0], array.sum(1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [1, 5, 15])
@pytest.mark.parametrize("width", [48, 64, 80, 112, 144, 1040])
def test_rows_that_begin_within_lines(width, shift, dtype):
    """Blocks begin where lines do, and at both ends some lanes are made twice."""
    rows, draw = 9, np.random.default_rng(4)
    long = graphc.input("long", (rows * width + shift,), dtype)
    x = graphc.reshape(long[:-shift], (rows, width))
    array = draw.integers(-9, 9, (rows * width + shift,)).astype(dtype)
    (found,), text = results([long], [graphc.sum(x * x, 0) - graphc.max(x, 0)], [array], {})
    matrix = array[:-shift].reshape(rows, width)
    np.testing.assert_array_equal(found, (matrix * matrix).sum(0) - matrix.max(0))
    assert "line" in text


@pytest.mark.parametrize("width", [64, 80, 1040])
def test_bits_do_not_depend_on_where_rows_begin(width):
    memory = np.empty(33 * width + 32, "f")
    numbers = np.random.default_rng(5).normal(size=(33, width)).astype("f")
    x = graphc.input("x", (33, width))
    total = graphc.compile([x], graphc.sum(x, 0), threads=2)
    found = []
    for shift in (0, 1, 7, 15):
        place = memory[-memory.ctypes.data % 64 // 4 + shift :][: 33 * width].reshape(33, width)
        place[:] = numbers
        found.append(total(place))
    for one in found[1:]:
        np.testing.assert_array_equal(one, found[0])


def test_one_of_two_matrices_has_even_rows():
    x, y = graphc.input("x", (9, 81)), graphc.input("y", (9, 96))
    arrays = [np.random.default_rng(8).integers(-9, 9, one.shape).astype("f") for one in (x, y)]
    (found,), text = results([x, y], [graphc.sum(x[:, :80], 0) - graphc.max(y[:, 16:], 0)], arrays, {})
    np.testing.assert_array_equal(found, arrays[0][:, :80].sum(0) - arrays[1][:, 16:].max(0))
    assert "line" in text


def test_rows_may_be_said_by_an_array():
    x, index = graphc.input("x", (12, 96)), graphc.input("index", (9,), "int64")
    array, rows = (
        np.random.default_rng(9).integers(-9, 9, (12, 96)).astype("f"),
        np.array([3, 0, 11, 5, 5, 1, 7, 2, 10]),
    )
    (found,), _ = results([x, index], [graphc.sum(graphc.take(x, index, axis=0), 0)], [array, rows], {})
    np.testing.assert_array_equal(found, array[rows].sum(0))


def test_lanes_whose_numbers_a_result_may_replace_are_made_once():
    x, t = graphc.input("x", (9, 80)), graphc.input("t", (80,))
    scale = graphc.cumulative_sum(t, 0)
    array, numbers = (np.random.default_rng(7).integers(-3, 3, shape).astype("f") for shape in ((9, 80), (80,)))
    (found,), text = results([x, t], [graphc.sum(x * scale, 0) - scale], [array, numbers], {})
    np.testing.assert_array_equal(found, (array * numbers.cumsum()).sum(0) - numbers.cumsum())
    assert "line" not in text
