"""Operands read where their elements lie, and results stored where they go: heads of attention are not copied apart."""

import numpy as np
import pytest

import graphc
from graphc.compiler import passed, plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.schedule.plan import calls
from graphc.simd.levels import host_level
from tests.interpreter import Interpreter, compiled, unjitted

BATCH, TIMES, HEADS, WIDTH = 2, 5, 3, 17


def results(inputs, outputs, arrays):
    """Every kernel unjitted with its bounds checked, and compiled, each array ending at a protected page; and the plan."""
    plan = plan_of(passed(Graph(tuple(inputs), tuple(outputs)), training=False), host_level())
    kernel_of = compiled(Loader(build.objects(plan.kernels, host_level(), dict)))
    found = [Interpreter(plan, arrays, [], {}, k, threads=2).result("output") for k in (unjitted(plan, {}), kernel_of)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    return found[1], plan


def shaped(*shapes):
    generator = np.random.default_rng(0)
    inputs = [graphc.input(f"x{n}", shape, "float64") for n, shape in enumerate(shapes)]
    return inputs, [generator.normal(size=shape) for shape in shapes]


def heads(x, parts, part):
    """Part `part` of the last axis, cut in heads: (batch, times, parts * heads * width) to (batch, heads, times, width)."""
    x = x.reshape((BATCH, TIMES, parts, HEADS, WIDTH))[:, :, part]
    return np.moveaxis(x, 2, 1) if isinstance(x, np.ndarray) else graphc.permute_dims(x, (0, 2, 1, 3))


def test_heads_are_read_where_the_projection_left_them():
    inputs, arrays = shaped((BATCH, TIMES, 7), (7, 2 * HEADS * WIDTH), (2 * HEADS * WIDTH,))

    def scores(x, w, bias):
        both = x @ w + bias
        q, k = heads(both, 2, 0), heads(both, 2, 1)
        return q @ (np.swapaxes(k, -1, -2) if isinstance(k, np.ndarray) else graphc.swapaxes(k, -1, -2))

    (found,), plan = results(inputs, [scores(*inputs)], arrays)
    np.testing.assert_allclose(found, scores(*arrays), rtol=1e-12, atol=1e-12)
    # The projection with its bias, keys in panels, the scores.
    assert len(list(calls(plan.steps))) == 3


def test_heads_are_put_together_by_the_products_that_make_them():
    shape = (BATCH, HEADS, TIMES, TIMES)
    inputs, arrays = shaped(shape, shape, (BATCH, HEADS, TIMES, WIDTH), (2 * HEADS * WIDTH, 9))

    def joined(a, b, v, w):
        xp = np if isinstance(a, np.ndarray) else graphc
        parts = [xp.reshape(xp.moveaxis(one @ v, 1, 2), (BATCH, TIMES, HEADS * WIDTH)) for one in (a, b)]
        both = np.concatenate(parts, 2) if xp is np else graphc.concat(parts, 2)
        return both, both @ w

    found, plan = results(inputs, joined(*inputs), arrays)
    for one, other in zip(found, joined(*arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    assert len(list(calls(plan.steps))) == 3


@pytest.mark.parametrize("axis", [0, 1])
def test_parts_of_unequal_sizes_that_others_read_too(axis):
    inputs, arrays = shaped((4, 6), (6, 5), (3, 6), (6, 5), (4, 6), (6, 8))

    def joined(a, b, c, d, e, f):
        xp = np if isinstance(a, np.ndarray) else graphc
        first, second = a @ b, (c @ d if axis == 0 else e @ f)
        whole = np.concatenate([first, second], axis) if xp is np else graphc.concat([first, second], axis)
        return whole, second * 2.0, xp.sum(first)

    found, _ = results(inputs, joined(*inputs), arrays)
    for one, other in zip(found, joined(*arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_what_would_lie_scattered_is_still_copied_together():
    """Rows of an operand whose elements lie far apart are read once for every block of lanes: the copy pays."""
    inputs, arrays = shaped((6, 24, 40), (40, 32))

    def product(x, w):
        return (np.moveaxis(x, 1, 0) if isinstance(x, np.ndarray) else graphc.moveaxis(x, 1, 0))[::2] @ w

    (found,), _ = results(inputs, [product(*inputs)], arrays)
    np.testing.assert_allclose(found, product(*arrays), rtol=1e-12, atol=1e-12)
    inputs, arrays = shaped((6, 40, 24), (40, 32))

    def turned(x, w):
        return graphc.reshape(graphc.permute_dims(x, (0, 2, 1)), (6 * 24, 40)) @ w

    (found,), _ = results(inputs, [turned(*inputs)], arrays)
    expected = np.swapaxes(arrays[0], 1, 2).reshape(6 * 24, 40) @ arrays[1]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
