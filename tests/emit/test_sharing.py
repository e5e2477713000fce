"""Parts that several kernels have are kernels of their own, run by the same steps, and compute the same."""

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.compiler import passed, plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.schedule.plan import Plan, calls
from graphc.simd.levels import host_level
from tests.interpreter import Interpreter, compiled, unjitted

WIDTH = 16


def network(depth):
    """The graph of a step of a network whose layers are all alike, and its inputs."""
    graphc.seed(1)
    x, y = graphc.input("x", ("batch", WIDTH)), graphc.input("y", ("batch",), "int64")
    net = nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.GELU())])
    loss = nn.cross_entropy(net(x), y)
    updates = optim.SGD(0.1).minimize(loss)
    graph = passed(Graph((x, y), (loss,), tuple(updates.items())), training=True)
    rng = np.random.default_rng(2)
    return graph, [rng.normal(size=(5, WIDTH)).astype("f"), rng.integers(0, WIDTH, 5)]


def lines(plan):
    return sum(text.count("\n") for text in plan.kernels.values())


def test_more_equal_layers_are_no_more_kernels():
    plans = [plan_of(network(depth)[0], host_level()) for depth in (8, 16)]
    assert len(plans[0].kernels) == len(plans[1].kernels)
    assert lines(plans[0]) == lines(plans[1])
    ran = [sum(len(call.runs) for call in calls(plan.steps)) for plan in plans]
    assert ran[1] > ran[0] > len(plans[0].kernels)
    assert any(call.guests for call in calls(plans[0].steps))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_step_computes_what_the_graph_says(threads):
    graph, arrays = network(6)
    plan = plan_of(graph, host_level())
    assert any(call.guests for call in calls(plan.steps))
    wanted = graphc.evaluate(
        [*graph.outputs, *(value for _, value in graph.updates)], dict(zip(graph.inputs, arrays, strict=True))
    )
    leaves = [leaf.value for leaf in graph.stored]
    loader = Loader(build.objects(plan.kernels, host_level(), dict))
    for run in (compiled(loader), unjitted(plan, {})) if threads == 2 else (compiled(loader),):
        done = Interpreter(plan, arrays, leaves, {"batch": 5}, run, threads=threads)
        np.testing.assert_allclose(done.result("output")[0], wanted[0], rtol=1e-5)
        new = dict(zip([target for target, _ in graph.updates], wanted[1:], strict=True))
        for leaf, found in zip(graph.stored, done.result("leaf"), strict=True):
            np.testing.assert_allclose(found, new.get(leaf, leaf.value), rtol=1e-4, atol=1e-6)


def test_a_plan_is_the_same_after_the_cache():
    plan = plan_of(network(6)[0], host_level())
    again = Plan.from_json(plan.to_json())
    assert again.steps == plan.steps
    assert any(call.guests for call in calls(again.steps))


def test_what_no_other_kernel_has_stays_together():
    a, b, small = graphc.input("a", (24, 24)), graphc.input("b", (24, 24)), graphc.input("small", (12,))
    plan = plan_of(passed(Graph((a, b, small), (a @ b, small * 3.0)), training=False), host_level())
    (call,) = calls(plan.steps)
    assert not call.guests
    assert len(plan.kernels) == 1
