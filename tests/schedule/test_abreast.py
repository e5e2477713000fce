"""Short rows side by side on the lanes: what they sum, store and check, by definitions, at every count of rows."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.compiler import plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.errors import IndexOutOfRangeError
from graphc.graph.graph import Graph
from graphc.passes import run_passes
from graphc.simd.levels import LEVELS, host_level
from tests.interpreter import Interpreter, compiled, unjitted


def results(inputs, outputs, arrays, sizes):
    """The plan, and its results unjitted with bounds checked, then compiled, on arrays that end at a protected page."""
    plan = plan_of(run_passes(Graph(tuple(inputs), tuple(outputs))), host_level())
    kernel_of = compiled(Loader(build.objects(plan.kernels, host_level(), dict)))
    found = [
        Interpreter(plan, arrays, [], sizes, one, threads=2).result("output") for one in (unjitted(plan, {}), kernel_of)
    ]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6 if one.dtype == np.float32 else 1e-14, atol=0)
    return plan, found[1]


def is_abreast(plan):
    return any("scatter(" in text for text in plan.kernels.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [0, 1, 15, 16, 37])
@pytest.mark.parametrize("width", [2, 3, 10, 16, 17])
def test_cross_entropy_and_its_gradient(width, rows, dtype):
    x, y = graphc.input("x", ("n", width), dtype), graphc.input("y", ("n",), "int64")
    loss = nn.cross_entropy(x, y, reduction="none")
    outputs = (loss, graphc.grad(graphc.sum(loss), x))
    generator = np.random.default_rng(width + rows)
    scores = generator.normal(scale=3, size=(rows, width)).astype(dtype)
    labels = generator.integers(0, width, rows)
    if rows > 3:
        scores[1] += 100 if dtype == "float32" else 1000  # overflows unless the largest is taken off
        scores[2, 0] = np.nan
        labels[3] = -100  # is left out
    plan, (losses, gradient) = results((x, y), outputs, [scores, labels], {"n": rows})
    assert is_abreast(plan) == (width <= 16)
    for n in range(rows):
        row = scores[n].astype("float64")
        e = np.exp(row - row.max())
        expected, slope = 0.0, np.zeros(width)
        if labels[n] != -100:
            expected, slope = np.log(e.sum()) + row.max() - row[labels[n]], e / e.sum()
            slope[labels[n]] -= 1
        accuracy = {"rtol": 1e-5, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-12}
        np.testing.assert_allclose(losses[n], expected, **accuracy)
        np.testing.assert_allclose(gradient[n], slope, **accuracy)


@pytest.mark.parametrize("times", [1, 5])
def test_what_an_earlier_stage_stores_is_at_hand(times):
    """Rows along two axes; the second stage reads the first one's result in its row."""
    x = graphc.input("x", ("n", times, 4))
    y = graphc.softmax(x, axis=-1)
    z = y * y / graphc.sum(y * y, axis=-1, keepdims=True)
    array = np.random.default_rng(times).normal(size=(19, times, 4)).astype("float32")
    _, (first, second) = results((x,), (y, z), [array], {"n": 19})
    for n, t in np.ndindex(19, times):
        e = np.exp(array[n, t].astype("float64"))
        e /= e.sum()
        np.testing.assert_allclose(first[n, t], e, rtol=1e-6)
        np.testing.assert_allclose(second[n, t], e * e / (e * e).sum(), rtol=2e-6)


@pytest.mark.parametrize("function", ["sum", "prod", "max", "min", "any", "all"])
def test_reductions_of_short_rows(function):
    """Each combiner, scaled by its own result so that a row is stored; integers wrap as NumPy's do."""
    dtype = "bool" if function in ("any", "all") else "int32"
    x = graphc.input("x", ("n", 3), dtype)
    y = getattr(graphc, function)(x, axis=-1, keepdims=True)
    y = graphc.logical_xor(x, y) if dtype == "bool" else x * y.astype("int32")
    array = np.random.default_rng(0).integers(-(2**31), 2**31 - 1, (35, 3)).astype("int32")
    array = array % 5 == 0 if dtype == "bool" else array
    plan, (found,) = results((x,), (y,), [array], {"n": 35})
    assert is_abreast(plan)
    with np.errstate(over="ignore"):
        one = getattr(np, function)(array.astype("int64") if dtype == "int32" else array, axis=-1, keepdims=True)
        expected = array ^ one if dtype == "bool" else array * one.astype("int32")
    np.testing.assert_array_equal(found, expected)


def test_results_do_not_depend_on_threads():
    x = graphc.input("x", ("n", 5))
    softmax = [graphc.compile([x], graphc.log_softmax(x, axis=-1), threads=threads) for threads in (1, 2, 3)]
    array = np.random.default_rng(0).normal(size=(60_000, 5)).astype("float32")
    one, *others = (run(array) for run in softmax)
    for other in others:
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(np.exp(one.astype("float64")).sum(-1), 1, rtol=1e-6)


def test_a_label_out_of_range_is_found_in_any_lane():
    x, y = graphc.input("x", ("n", 3)), graphc.input("y", ("n",), "int64")
    run = graphc.compile([x, y], graphc.grad(nn.cross_entropy(x, y), x))
    scores = np.zeros((21, 3), "float32")
    for place in (0, 15, 16, 20):
        labels = np.ones(21, "int64")
        labels[place] = 3
        with pytest.raises(IndexOutOfRangeError, match="3"):
            run(scores, labels)


@pytest.mark.parametrize("rows", [0, 5, 20])
def test_rows_without_elements(rows):
    """Nothing is stored of them, and nothing summed over them: neither stands side by side."""
    x, none = graphc.input("x", ("n", 3)), graphc.input("none", ("n", 0))
    a, b = np.arange(3.0 * rows).reshape(rows, 3).astype("float32"), np.empty((rows, 0), "float32")
    for output in (none + graphc.sum(x, axis=1, keepdims=True), (x - graphc.mean(x, axis=1, keepdims=True))[:, 1:1]):
        _, (empty,) = results((x, none), (output,), [a, b], {"n": rows})
        assert empty.shape == (rows, 0)
    _, (largest,) = results((x, none), (graphc.sum(none, axis=1) + graphc.max(x, axis=1),), [a, b], {"n": rows})
    np.testing.assert_array_equal(largest, a[:, 2])


@pytest.mark.parametrize("level", ["x86-64-v4", "x86-64-v3"])
def test_sums_over_what_lies_apart_are_of_vectors_as_they_lie(level):
    """Few elements a row, but each has a sum of its own: rows and elements are one axis, and nothing is gathered."""
    x = graphc.input("x", (4, 5, 9, 10))
    graph = Graph((x,), (x.sum(0),))
    plan = plan_of(run_passes(graph), LEVELS[level])
    (text,) = plan.kernels.values()
    assert "gather" not in text
    assert "in range(start" in text
    array = np.random.default_rng(0).normal(size=(4, 5, 9, 10)).astype("float32")
    (found,) = Interpreter(plan, [array], [], {}, unjitted(plan, {}), threads=2).result("output")
    np.testing.assert_allclose(found, array.astype("f8").sum(0), rtol=1e-6, atol=1e-6)
