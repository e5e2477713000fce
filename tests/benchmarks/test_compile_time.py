"""Compile time grows with the graph, not faster: counts that noise cannot move, and no depth that Python cannot take."""

import cProfile
import pstats

import pytest

from graphc.compiler import passed, plan_of
from graphc.runtime import binding
from graphc.schedule.plan import calls
from graphc.simd.levels import host_level
from tests.benchmarks import compile_time


def calls_of(graph):
    """Return how many functions a compilation up to the source, and its binding, call."""
    profile = cProfile.Profile()
    profile.enable()
    plan = plan_of(passed(graph, training=True), host_level(), graph.stored)
    binding.bind(plan, {"batch": 32}, 2, lambda kernel: 1)
    profile.disable()
    return pstats.Stats(profile).total_calls, plan  # pyright: ignore


@pytest.mark.parametrize("make", [compile_time.pointwise, lambda n: compile_time.layers(n, 8)], ids=["chain", "layers"])
def test_three_times_the_graph_takes_three_times_the_calls(make):
    small = 150 if make is compile_time.pointwise else 4
    calls_of(make(small))  # what is made once
    few, _ = calls_of(make(small))
    many, _ = calls_of(make(3 * small))
    assert many < 3.6 * few


def test_equal_layers_are_compiled_once():
    (_, four), (_, twelve) = (calls_of(compile_time.layers(n, 8)) for n in (4, 12))
    assert four.kernels.keys() == twelve.kernels.keys()
    assert len(list(calls(twelve.steps))) > 2.3 * len(list(calls(four.steps)))


def test_a_deep_chain_needs_no_deep_recursion():
    # Python's limit is 1000 frames.
    _, plan = calls_of(compile_time.pointwise(1500))
    assert 1 < len(plan.kernels) < 10
