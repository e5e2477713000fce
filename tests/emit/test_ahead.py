"""Rows that fill pages fetch the next row ahead, at the end of the arrays, too; shorter ones do not."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.compiler import passed, plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.simd.levels import LEVELS, host_level
from tests.interpreter import Interpreter, compiled, unjitted


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def normalised(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize(("build_node", "define"), [(graphc.softmax, softmax), (nn.LayerNorm(1030), normalised)])
def test_the_next_row_is_fetched_ahead(build_node, define):
    x = graphc.input("x", ("rows", 1030))
    plan = plan_of(passed(Graph((x,), (build_node(x),)), training=False), host_level())
    array = np.random.default_rng(0).normal(size=(3, 1030)).astype("f")
    leaves = [leaf.value for leaf in Graph((x,), (build_node(x),)).stored]
    kernel_of = compiled(Loader(build.objects(plan.kernels, host_level(), dict)))
    for run in (unjitted(plan, {}), kernel_of):
        (found,) = Interpreter(plan, [array], leaves, {"rows": 3}, run, threads=2).result("output")
        np.testing.assert_allclose(found, define(array.astype("d")), rtol=2e-6, atol=2e-6)
    (text,) = plan.kernels.values()
    # What is read and what is written, in the loop over whole vectors and for what is left of a row.
    assert text.count("prefetch(") == 4


def test_short_rows_are_not():
    x = graphc.input("x", ("rows", 1000))
    plan = plan_of(passed(Graph((x,), (graphc.softmax(x),)), training=False), host_level())
    assert "prefetch(" not in "".join(plan.kernels.values())


@pytest.mark.parametrize(
    ("level", "depth", "asks"), [("x86-64-v3", 1000, True), ("x86-64-v3", 1024, False), ("x86-64-v4", 1024, True)]
)
def test_rows_of_the_next_tile_are_if_they_do_not_drive_out_those_being_read(level, depth, asks):
    """Rows a multiple of 4096 bytes apart share one set of the first-level cache."""
    a, b = graphc.input("a", ("rows", depth)), graphc.input("b", (depth, 64))
    plan = plan_of(passed(Graph((a, b), (a @ b,)), training=False), LEVELS[level])
    assert ("prefetch(at" in "".join(plan.kernels.values())) == asks
