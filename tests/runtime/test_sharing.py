"""Which calls threads share: large ones, small ones between them, and none where fetching costs more than it saves."""

from types import SimpleNamespace

import numpy as np
import pytest

import graphc
from graphc.compiler import plan_of
from graphc.graph.graph import Graph
from graphc.passes import run_passes
from graphc.runtime import sharing
from graphc.runtime.memory import lay_out, points
from graphc.simd.levels import LEVELS

LEVEL = LEVELS["x86-64-v4"]


def decided(inputs, outputs, sizes, threads=2):
    """Whether each call of a plan is shared, in order, and what that saves."""
    layout = lay_out(plan_of(run_passes(Graph(tuple(inputs), tuple(outputs))), LEVEL), sizes, threads)
    return [call.split for call in points(layout.nodes)], layout.saved


def convolution(channels):
    x = graphc.input("x", ("m", 32, 32, channels))
    w = graphc.input("w", (3, 3, channels, channels))
    return [x, w], [graphc.conv2d(x, w, padding=1)]


def test_a_small_copy_before_a_large_product_is_shared_with_it():
    shared, saved = decided(*convolution(16), {"m": 1})
    assert shared == [True, True]
    assert saved > 0


def test_a_small_network_is_left_to_one_thread():
    x, w = graphc.input("x", ("m", 24)), graphc.input("w", (24, 24))
    shared, saved = decided([x, w], [graphc.tanh(x @ w) @ w], {"m": 8})
    assert not any(shared)
    assert saved < 0


def test_what_every_thread_reads_whole_counts():
    # Each thread's columns of the second product need all of the first one.
    x, v, w = graphc.input("x", (8, 512)), graphc.input("v", (512, 512)), graphc.input("w", (512, 512))
    plan = plan_of(run_passes(Graph((x, v, w), ((x @ v) @ w,))), LEVEL)
    first, second = plan.steps
    (between,) = set(first.writes) & set(second.reads)
    assert between in second.whole
    rows = plan_of(run_passes(Graph(*map(tuple, convolution(16)))), LEVEL)
    copy, product = rows.steps
    assert not set(copy.writes) & set(product.whole)


def test_a_loop_fetches_what_was_made_before_it_once():
    maker = sharing.Site(SimpleNamespace(split=True), 1, False, [], [])
    inside = sharing.Site(SimpleNamespace(split=True), 100, False, [(maker, 1000, True)], [], 10.0)
    once = 500 * sharing.RULE.exchanged + sharing.RULE.barrier
    assert sharing._cost(inside, 2) == pytest.approx(100 * 10.0 / 2 + once)
    maker.count = 100
    assert sharing._cost(inside, 2) == pytest.approx(100 * (10.0 / 2 + once))


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("threads", [2, 3])
def test_few_images_are_summed_to_the_same_bits_by_any_number_of_threads(m, threads):
    x = graphc.input("x", ("m", 12, 12, 16))
    g = graphc.input("g", ("m", 12, 12, 16))
    w = graphc.parameter(np.zeros((3, 3, 16, 16), "float32"), "w")
    gradient = graphc.vjp(graphc.conv2d(x, w, padding=1), w, g)
    rng = np.random.default_rng(m)
    arrays = [rng.normal(size=(m, 12, 12, 16)).astype("float32") for _ in range(2)]
    alone = graphc.compile([x, g], gradient, threads=1)(*arrays)
    np.testing.assert_array_equal(graphc.compile([x, g], gradient, threads=threads)(*arrays), alone)
    padded = np.pad(arrays[0], ((0, 0), (1, 1), (1, 1), (0, 0)))
    for i in range(3):
        for j in range(3):
            wanted = np.einsum("nhwc,nhwd->cd", padded[:, i : i + 12, j : j + 12].astype("float64"), arrays[1])
            np.testing.assert_allclose(alone[i, j], wanted, rtol=1e-4, atol=1e-3)
