"""Small kernels beside large ones: fewer calls, the same results, and nobody overwrites what another part reads."""

import random

import numpy as np
import pytest

import graphc
from graphc import optim
from graphc.compiler import plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.graph.reference import run
from graphc.loops.kernels import Beside, Map, Tile
from graphc.passes import run_passes
from graphc.schedule import region
from graphc.schedule.beside import side_by_side
from graphc.schedule.order import must_follow
from graphc.simd.levels import LEVELS, host_level
from tests.benchmarks.models.graphc import MODELS
from tests.interpreter import Interpreter, compiled, unjitted

LEVEL = LEVELS["x86-64-v4"]


def random_graph(seed):
    """Products, maps and sums of what came before; sums and the last values are results."""
    rng = random.Random(seed)
    inputs = [graphc.input(f"x{k}", ("m", 24) if k < 2 else (24, 24)) for k in range(4)]
    values, squares, results = inputs[:2], inputs[2:], []
    for _ in range(rng.randint(6, 14)):
        match rng.choice(["product", "product", "map", "sum", "gradient"]):
            case "product":
                values.append(rng.choice(values) @ rng.choice(squares) * 0.2)
            case "map":
                values.append(graphc.tanh(rng.choice(values)) + rng.choice(values))
            case "sum":
                results.append(graphc.sum(rng.choice(values), axis=rng.choice([None, 0, 1])))
            case _:
                squares.append(rng.choice(values).T @ rng.choice(values) * 0.1)
    return Graph(tuple(inputs), (*results, values[-1], squares[-1]))


def arrays_of(graph, m, seed=0):
    generator = np.random.default_rng(seed)
    return [
        generator.normal(size=[d if isinstance(d, int) else m for d in node.shape]).astype("float32")
        for node in graph.inputs
    ]


def check(plan, graph, kernel_of, m, threads):
    arrays = arrays_of(graph, m)
    wanted = run(graph.outputs, dict(zip(graph.inputs, arrays, strict=True)))
    got = Interpreter(plan, arrays, [], {"m": m}, kernel_of, threads=threads).result("output")
    for one, expected in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, expected, rtol=2e-3, atol=2e-3)


def test_random_graphs(monkeypatch):
    saved = 0
    for seed in range(25):
        graph = random_graph(seed)
        plan = plan_of(run_passes(graph), LEVEL)
        check(plan, graph, unjitted(plan, {}), 7, threads=2)
        with monkeypatch.context() as without:
            without.setattr(region, "side_by_side", list)
            saved += len(plan_of(run_passes(graph), LEVEL).steps) - len(plan.steps)
    assert saved > 25


@pytest.mark.parametrize("seed", [1, 2])
def test_compiled(seed):
    graph = random_graph(seed)
    plan = plan_of(run_passes(graph), host_level())
    kernel_of = compiled(Loader(build.objects(plan.kernels, host_level(), dict)))
    for m in (1, 6, 33):
        check(plan, graph, kernel_of, m, threads=3)


def test_a_result_does_not_take_the_place_of_what_another_part_reads():
    a, c, d = (graphc.input(name, ("m", 24) if name in "ac" else (24, 24)) for name in "acd")
    early = graphc.cumulative_sum(a, axis=0)
    late = graphc.tanh((c @ d) * early)
    graph = Graph((a, c, d), (late @ d + graphc.sum(early, axis=0),))
    plan = plan_of(run_passes(graph), LEVEL)
    assert [len(step.writes) for step in plan.steps] == [1, 2, 1]  # the sum is beside the first product
    check(plan, graph, unjitted(plan, {}), 9, threads=2)


@pytest.mark.parametrize("seed", range(20))
def test_units_stay_in_an_order_that_they_need(seed, monkeypatch):
    found = []

    def spy(units):
        result = side_by_side(units)
        found.append((units, result))
        return result

    monkeypatch.setattr(region, "side_by_side", spy)
    plan_of(run_passes(random_graph(100 + seed)), LEVEL)
    (before, after), *_ = found
    place = {part: n for n, unit in enumerate(after) for part in parts_of(unit)}
    for n, first in enumerate(before):
        for then in before[n + 1 :]:
            if must_follow(first, then):
                assert max(place[p] for p in parts_of(first)) < min(place[p] for p in parts_of(then))
    for unit in after:
        if isinstance(unit.kernel, Beside):
            assert sum(isinstance(part, Tile) for part in unit.kernel.parts) == 1
            assert all(isinstance(part, Map) or part is unit.kernel.parts[0] for part in unit.kernel.parts)


def parts_of(unit):
    """The stores of a unit, by which it is known whatever call it is in."""
    kernels = unit.kernel.parts if isinstance(unit.kernel, Beside) else (unit.kernel,)
    return [store.buffer for kernel in kernels for store in kernel.stores]


@pytest.mark.parametrize("row", ["mlp_tiny", "mlp", "mlp_big"])
def test_a_step_of_three_layers_has_ten_kernels(row):
    """Three products forward, five backward, the loss with its gradient, and the optimizer."""
    x, y, loss = MODELS[row]()
    updates = optim.Adam(1e-3).minimize(loss)
    plan = plan_of(run_passes(Graph((x, y), (loss,), tuple(updates.items())), training=True), LEVEL)
    assert len(plan.steps) == len(plan.kernels) == 10


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 7, 9, 12, 16])
def test_one_thread_makes_all_of_a_single_part(dtype, count):
    # One vector of 16 lanes for the cost rule, two of 8 in the source of a kernel of doubles.
    a, b = graphc.input("a", (24, 24), dtype), graphc.input("b", (24, 24), dtype)
    small = graphc.input("small", (count,), dtype)
    graph = Graph((a, b, small), (a @ b, small * 3.0))
    plan = plan_of(run_passes(graph), LEVEL)
    (call,) = plan.steps
    assert "if thread == threads - 1:" in plan.kernels[call.kernel]
    arrays = [np.random.default_rng(0).normal(size=node.shape).astype(dtype) for node in graph.inputs]
    for threads in (1, 2, 3):
        _, got = Interpreter(plan, arrays, [], {}, unjitted(plan, {}), threads=threads).result("output")
        np.testing.assert_array_equal(got, arrays[2] * np.asarray(3, dtype))


@pytest.mark.parametrize("asymmetric", [False, True])
def test_margins_are_in_the_call_that_makes_what_they_surround(asymmetric):
    x = graphc.input("x", ("m", 7, 6, 17))
    first, second = graphc.input("first", (3, 3, 17, 17)), graphc.input("second", (3, 3, 17, 17))
    padding = ((1, 2), (0, 1)) if asymmetric else 1
    inner = graphc.relu(graphc.conv2d(graphc.tanh(x), first, padding=padding))  # a map's inside, then an epilogue's
    graph = Graph((x, first, second), (graphc.conv2d(inner, second, padding=padding),))
    plan = plan_of(run_passes(graph), LEVEL)
    assert all(step.reads for step in plan.steps)
    assert len(plan.steps) == 3
    rng = np.random.default_rng(0)
    for m in (1, 2):
        arrays = [
            rng.normal(size=[d if isinstance(d, int) else m for d in n.shape]).astype("float32")
            for n in (x, first, second)
        ]
        (wanted,) = run(graph.outputs, dict(zip(graph.inputs, arrays, strict=True)))
        for threads in (2,) if m == 1 else (5,):
            (got,) = Interpreter(plan, arrays, [], {"m": m}, unjitted(plan, {}), threads=threads).result("output")
            np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-3)
