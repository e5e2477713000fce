"""Reductions of large arrays to one number are made by rows, which threads share."""

import numpy as np
import pytest

import graphc
from graphc import dims
from graphc.graph.graph import Graph
from graphc.passes import reduce_by_rows

rng = np.random.default_rng(8)


def after(node, *inputs):
    return reduce_by_rows(Graph(tuple(inputs), (node,), ())).outputs[0]


def longest(node):
    """Return the most numbers that one reduction of the graph puts into one."""
    found = []
    for one in Graph((), (node,), ()).nodes():
        if hasattr(one.op, "axes") and one.op.name in ("sum", "prod", "max", "min"):
            found.append(dims.product(one.inputs[0].shape[k] for k in one.op.axes))
    return max(found)


@pytest.mark.parametrize("shape", [(300, 300), (70_000,), (2, 3, 4, 5000), (65_536,), (40, 40, 64)])
@pytest.mark.parametrize("name", ["sum", "max", "min"])
def test_the_value_is_that_of_the_definition(name, shape):
    x = rng.normal(size=shape)
    node = getattr(graphc, name)(graphc.constant(x))
    new = after(node)
    assert longest(new) < longest(node) == x.size
    np.testing.assert_allclose(graphc.evaluate(new), getattr(np, name)(x), rtol=1e-12)
    assert new.type == node.type


def test_products_and_nan_and_rows_of_any_number():
    x = graphc.input("x", ("n", 2000), "float64")
    value = rng.uniform(0.99, 1.01, size=(3, 2000))
    product = after(graphc.prod(x), x)
    np.testing.assert_allclose(graphc.evaluate(product, {x: value}), value.prod())
    value[1, 7] = np.nan
    assert np.isnan(graphc.evaluate(after(graphc.max(x), x), {x: value}))
    assert graphc.evaluate(after(graphc.sum(x), x), {x: value[:0]}) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: graphc.sum(graphc.input("x", (100, 100))),  # small
        lambda: graphc.sum(graphc.input("x", (1000, 1000)), axis=0),  # its results are work enough for threads
        lambda: graphc.sum(graphc.input("x", (10**6, 7))[:, :6].astype("float64") * 2 + 1, axis=1),
        lambda: graphc.sum(graphc.input("x", (65_537,))),  # a prime number
        lambda: graphc.sum(graphc.input("x", ("n", 10))),
        lambda: graphc.argmax(graphc.input("x", (70_000,)), axis=0),
    ],
)
def test_what_stays(make):
    node = make()
    assert after(node) is node


def test_threads_share_the_rows_and_give_equal_bits():
    p = graphc.parameter(rng.normal(size=(500, 1000)).astype("float32"))
    runs = [graphc.compile([], graphc.sum(p * p), threads=threads) for threads in (1, 2, 3)]
    results = [run() for run in runs]
    assert runs[1].binding().threads == 2
    assert len({float(result) for result in results}) == 1
    np.testing.assert_allclose(results[0], (p.value.astype("float64") ** 2).sum(), rtol=1e-6)


@pytest.mark.parametrize("name", ["sum", "max"])
def test_a_batch_of_images_is_reduced_image_by_image(name):
    x = rng.normal(size=(3, 40, 40, 20))
    node = getattr(graphc, name)(graphc.constant(x), axis=(0, 1, 2))
    new = after(node)
    assert longest(new) == 1600
    np.testing.assert_allclose(graphc.evaluate(new), getattr(x, name)((0, 1, 2)), rtol=1e-12)
    batch = graphc.input("x", ("n", 8, 8, 64))
    total = after(graphc.sum(batch, (0, 1, 2)), batch)
    assert [one.op.axes for one in (total, *total.inputs)] == [(0,), (1, 2)]
    few = graphc.sum(graphc.input("x", ("n", 2, 2, 64)), (0, 1, 2))
    assert after(few) is few
