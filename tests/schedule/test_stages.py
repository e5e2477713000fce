"""Rows in stages: what a sum and a result both need is made once; sums with several totals; the same bits at any size."""

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


def plan_for(inputs, outputs):
    return plan_of(run_passes(Graph(tuple(inputs), tuple(outputs))), host_level())


def results(plan, arrays, sizes):
    """Every kernel unjitted with its bounds checked, and compiled, each array ending at a protected page."""
    kernel_of = compiled(Loader(build.objects(plan.kernels, host_level(), dict)))
    found = [
        Interpreter(plan, arrays, [], sizes, k, threads=2).result("output") for k in (unjitted(plan, {}), kernel_of)
    ]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    return found[1]


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize("width", [33, 64, 200])
def test_softmax_makes_each_exponential_once(width):
    x = graphc.input("x", ("b", width), "float64")
    plan = plan_for([x], [graphc.softmax(x)])
    (text,) = plan.kernels.values()
    rounds = width // 16 * 16 != width  # a masked last round writes the loop's body again
    assert text.count(" exp(") == 1 + rounds
    array = np.random.default_rng(0).normal(size=(3, width)) * 10
    (found,) = results(plan, [array], {"b": 3})
    np.testing.assert_allclose(found, softmax(array), rtol=1e-14)


def test_short_rows_stay_in_registers():
    """Of two vectors; shorter ones stand side by side on the lanes."""
    x = graphc.input("x", ("b", 32), "float32")
    (text,) = plan_for([x], [graphc.softmax(x)]).kernels.values()
    assert text.count(" exp(") == 2


def test_what_is_read_beside_the_exponentials_is_not_lost():
    """The result may take the place of no operand that its second stage reads: its first stage fills that place."""
    x, y = graphc.input("x", ("b", "n"), "float64"), graphc.input("y", ("b", "n"), "float64")
    a, b = x @ graphc.permute_dims(y), (x * x) @ graphc.permute_dims(y)
    mixed = graphc.softmax(a) * b + a
    plan = plan_for([x, y], [mixed @ mixed])
    generator = np.random.default_rng(1)
    left, right = generator.normal(size=(40, 5)), generator.normal(size=(40, 5))
    c, d = left @ right.T, (left * left) @ right.T
    wanted = softmax(c) * d + c
    (found,) = results(plan, [left, right], {"b": 40, "n": 5})
    np.testing.assert_allclose(found, wanted @ wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_infinities_and_nan_in_a_row():
    x = graphc.input("x", ("b", 40), "float64")
    plan = plan_for([x], [graphc.softmax(x)])
    array = np.random.default_rng(2).normal(size=(6, 40))
    array[0, 3], array[1, 5], array[2, :], array[3, 7] = -np.inf, np.inf, -np.inf, np.nan
    array[4] = -800.0
    array[4, 39] = 800.0
    np.testing.assert_allclose(results(plan, [array], {"b": 6})[0], softmax(array), rtol=1e-14)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 127, 128, 200])
def test_a_known_size_gives_the_bits_of_an_unknown_one(size):
    array = np.random.default_rng(size).normal(size=(4, size)).astype("float32")
    bits = []
    for extent in ("n", size):
        x = graphc.input("x", (4, extent), "float32")
        centred = x - graphc.mean(x, axis=-1, keepdims=True)
        outputs = [x.sum(-1), graphc.sum(centred * centred, axis=-1), graphc.prod(1.0 + 0.01 * x, axis=-1)]
        outputs += [graphc.max(x, axis=-1)] if size else []
        plan = plan_for([x], outputs)
        bits.append(results(plan, [array], {"n": size} if extent == "n" else {}))
    for one, other in zip(*bits, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(bits[0][0], array.astype("float64").sum(-1), rtol=1e-4, atol=1e-4)
