"""`compile(..., tune=True)`: measured once, remembered, right, and bit for bit what the cost model's tilings give."""

import json
import subprocess
import sys

import numpy as np
import pytest

import graphc
from graphc import nn, tuning
from graphc.compiler import plan_of
from graphc.emit import build, cache
from graphc.emit.loader import Loader
from graphc.errors import GraphcWarning, GraphError
from graphc.forms import Bench
from graphc.graph.graph import Graph
from graphc.passes import run_passes
from graphc.schedule import tiles, tilings
from graphc.simd.levels import LEVELS, host_level
from tests.interpreter import Interpreter, compiled, unjitted

# Of candidates, and of those that are measured.
POSITIONS, WINNERS = [1, 3, 11, 23], [1, 3]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned", [])
    monkeypatch.setattr(cache, "_measured", [])
    # Few candidates, and briefly: what wins does not matter but where the test says so.
    monkeypatch.setattr(tuning, "MOST", 4)
    monkeypatch.setattr(tuning, "SECONDS", 0.02)


@pytest.fixture
def measured(monkeypatch):
    """The lists of plans that were measured."""
    calls, measure = [], tuning.measure

    def counted(plans, *rest):
        calls.append(plans)
        return measure(plans, *rest)

    monkeypatch.setattr(tuning, "measure", counted)
    return calls


def entries():
    return [entry for entry in cache.entries() if entry.kind == "tiling"]


def product(rows=64, depth=48, columns=80, dtype="float32"):
    a, b = graphc.input("a", (rows, depth), dtype), graphc.input("b", (depth, columns), dtype)
    return a, b, graphc.relu(a @ b)


def draws(*inputs, **sizes):
    draw = np.random.default_rng(3)
    shapes = [[d if isinstance(d, int) else sizes[str(d)] for d in one.shape] for one in inputs]
    return [draw.normal(size=shape).astype(str(one.dtype)) for shape, one in zip(shapes, inputs, strict=True)]


def test_a_wrong_cost_model_is_corrected(monkeypatch, measured):
    monkeypatch.setattr(tuning, "MOST", 12)
    monkeypatch.setattr(tuning, "SECONDS", 0.8)
    # To this model the smallest tile, which waits for its only sum, is the best.
    monkeypatch.setattr(tiles.Steps, "cycles", lambda _, rows, vectors: rows * vectors * (1 + 0.02 * rows * vectors))
    a, b, y = product(128, 256, 128)
    graph = run_passes(Graph((a, b), (y,)))
    shapes = []

    def choose(trial):
        shapes.append(next(tilings.candidates(trial.nest, host_level(), trial.size_of)).roles.shape)
        return 0

    picked = plan_of(graph, host_level(), choose=choose)
    assert shapes == [(1, 1)]
    step = graphc.compile([a, b], y, tune=True, threads=1)
    assert len(measured) == 1
    (entry,) = entries()
    data = json.loads(cache.read("tiling", entry.key))
    times = [found for _, found in data["microseconds"] if found is not None]
    assert times[0] > 1.5 * min(times)
    assert data["best"] == times.index(min(times))
    assert step.plan.kernels.keys() != picked.kernels.keys()
    left, right = draws(a, b)
    wanted = np.maximum(left.astype("f8") @ right.astype("f8"), 0)
    np.testing.assert_allclose(step(left, right), wanted, rtol=1e-5, atol=1e-4)


def test_nothing_is_measured_twice(measured):
    a, b, y = product()
    first = graphc.compile([a, b], y, tune=True)
    assert len(measured) == 1
    second = graphc.compile([a, b], y, tune=True)
    assert len(measured) == 1
    assert second.plan.kernels == first.plan.kernels
    # Another number of threads, another size or another epilogue is another question.
    graphc.compile([a, b], y, tune=True, threads=1 if first.threads > 1 else 2)
    assert len(measured) == 2
    graphc.compile(*(lambda a, b, y: ([a, b], y))(*product(65)), tune=True)
    assert len(measured) == 3
    graphc.compile([a, b], y + 1.0, tune=True)
    assert len(measured) == 4


def test_equal_layers_are_measured_once(measured):
    x = graphc.input("x", (32, 48))
    draw = np.random.default_rng(0)
    weights = [graphc.parameter(draw.normal(size=(48, 48)).astype("f4"), f"w{k}") for k in range(4)]
    y = x
    for weight in weights:
        y = graphc.tanh(y @ weight)
    graphc.compile([x], y, tune=True)
    assert len(measured) == len(entries()) == 1


def test_another_process_measures_nothing(measured, monkeypatch):
    monkeypatch.setattr(tuning, "MOST", 12)
    program = "import graphc\nfrom tests.test_tuning import product\na, b, y = product()\ngraphc.compile([a, b], y, tune=True)\n"
    at_once = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [process.wait() for process in at_once] == [0, 0]
    a, b, y = product()
    graphc.compile([a, b], y, tune=True)
    assert measured == []
    assert len(entries()) == 1
    assert cache.verify() == []


def test_an_untuned_program_neither_measures_nor_reads(measured, monkeypatch):
    a, b, y = product()
    plain = graphc.compile([a, b], y).plan
    # The last candidate wins.
    monkeypatch.setattr(tuning, "measure", lambda plans, *_: [1.0 / k for k in range(1, len(plans) + 1)])
    assert graphc.compile([a, b], y, tune=True).plan.kernels != plain.kernels
    assert graphc.compile([a, b], y).plan.kernels == plain.kernels


@pytest.mark.parametrize(
    "payload", [None, b"{}", b'{"best": 99, "microseconds": []}', b'{"best": 0, "microseconds": [["3 x 1", 1.0]]}']
)
def test_a_damaged_entry_is_measured_anew(measured, payload):
    a, b, y = product()
    graphc.compile([a, b], y, tune=True)
    (entry,) = entries()
    path = cache.path_of("tiling", entry.key)
    if payload is None:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        assert [one.key for one in cache.verify()] == [entry.key]
        with pytest.warns(GraphcWarning, match="damaged"):
            graphc.compile([a, b], y, tune=True)
    else:
        cache.write("tiling", entry.key, payload)
        graphc.compile([a, b], y, tune=True)
    assert len(measured) == 2
    assert cache.verify() == []
    graphc.compile([a, b], y, tune=True)
    assert len(measured) == 2
    cache.clear()
    assert entries() == []


def test_sizes_come_from_specialize(measured):
    x = graphc.input("x", ("batch", 40))
    w = graphc.parameter(np.ones((40, 24), "f4"), "w")
    y = x @ w
    with pytest.raises(GraphError, match=r"at which size of 'batch'\? say it by specialize=\{\"batch\": 128\}"):
        graphc.compile([x], y, tune=True)
    step = graphc.compile([x], y, tune=True, specialize={"batch": 16})
    assert len(measured) == 2  # the general form, and that for 16
    for batch in (0, 1, 16, 33):
        (rows,) = draws(x, batch=batch)
        np.testing.assert_allclose(step(rows), rows.sum(axis=1, keepdims=True).repeat(24, 1), rtol=1e-4, atol=1e-5)


def test_a_level_that_this_machine_lacks(monkeypatch):
    monkeypatch.setenv("GRAPHC_CPU", "aarch64" if host_level().name != "aarch64" else "x86-64-v4")
    a, b, y = product()
    with pytest.raises(GraphError, match="nothing to measure"):
        graphc.compile([a, b], y, tune=True)


def convolution(dtype):
    x = graphc.input("x", ("batch", 9, 10, 3), dtype)
    w = graphc.parameter(np.random.default_rng(1).normal(size=(3, 3, 3, 20)).astype(dtype), "w")
    v = graphc.parameter(np.random.default_rng(2).normal(size=(3, 3, 20, 17)).astype(dtype), "v")
    y = graphc.conv2d(graphc.relu(graphc.conv2d(x, w, padding=1)), v, stride=2)
    return Graph((x,), (y, *graphc.grad(graphc.sum(graphc.square(y)), [x, w, v])))


def depthwise(dtype):
    x = graphc.input("x", ("batch", 10, 11, 40), dtype)
    w = graphc.parameter(np.random.default_rng(1).normal(size=(3, 3, 1, 40)).astype(dtype), "w")
    y = graphc.conv2d(x, w, padding=1, groups=40)
    return Graph((x,), (y, *graphc.grad(graphc.sum(y * y), [x, w])))


def products(dtype):
    a = graphc.input("a", ("batch", 70), dtype)
    b = graphc.parameter(np.random.default_rng(1).normal(size=(70, 530)).astype(dtype), "b")
    y = graphc.tanh(a @ b)
    return Graph((a,), (y, y @ b.T, *graphc.grad(graphc.sum(y * y), [a, b])))


def recurrent(dtype):
    layer = nn.GRU(5, 24, dtype=dtype)
    x = graphc.input("x", (6, "batch", 5), dtype)
    y = layer(x)[0]
    return Graph((x,), (y, *graphc.grad(graphc.sum(y * y), list(layer.parameters()))))


def images(dtype):
    """Few channels, whose positions stand side by side, and more than a block of lanes has; sums over all positions."""
    x = graphc.input("x", ("batch", 24, 24, 6), dtype)
    draw = np.random.default_rng(1)
    first, second = (
        graphc.parameter(draw.normal(size=size).astype(dtype), name)
        for name, size in (("first", (5, 5, 6, 8)), ("second", (1, 1, 8, 112)))
    )
    y = graphc.conv2d(graphc.tanh(graphc.conv2d(x, first, padding=2)), second)
    return Graph((x,), (y, *graphc.grad(graphc.mean(y * y), [x, first, second])))


CASES = {
    "images": images,
    "convolution": convolution,
    "depthwise": depthwise,
    "products": products,
    "recurrent": recurrent,
}


def results(graph, level, batch, threads, choose=None, twins=False):
    plan = plan_of(graph, level, choose=choose)
    stored = [leaf.value for leaf in graph.stored]
    kernel_of = unjitted(plan, {}) if twins else compiled(Loader(build.objects(plan.kernels, level, dict)))
    run = Interpreter(plan, draws(*graph.inputs, batch=batch), stored, {"batch": batch}, kernel_of, threads=threads)
    return run.result("output")


def at(position, level):
    """Choose the candidate at a position."""
    return lambda trial: position % sum(1 for _ in tilings.candidates(trial.nest, level, trial.size_of))


@pytest.mark.parametrize(("case", "dtype"), [*((case, "float32") for case in CASES), ("products", "float64")])
def test_every_candidate_is_right_and_within_bounds(case, dtype):
    """The interpreter's buffers end at a protected page."""
    graph, level = run_passes(CASES[case](dtype)), host_level()
    first = results(graph, level, 13, 1)
    for position in POSITIONS:
        bound = 1000 * np.finfo(dtype).eps
        for got, wanted in zip(results(graph, level, 13, 2, at(position, level)), first, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=bound, atol=bound * np.abs(wanted).max())


@pytest.mark.parametrize("case", CASES)
def test_tuning_keeps_the_bits(case, monkeypatch):
    """Whatever wins, on however many threads, each sum is made in the same order."""
    graph, level = run_passes(CASES[case]("float32")), host_level()
    first = results(graph, level, 13, 1)
    for winner in WINNERS:
        monkeypatch.setattr(
            tuning, "measure", lambda plans, *_, k=winner: [n != k % len(plans) for n in range(len(plans))]
        )
        cache.clear()
        for threads in (1, 3):
            again = results(graph, level, 13, threads, tuning.Tuner(level, Bench("", threads, (("batch", 13),))))
            for got, wanted in zip(again, first, strict=True):
                np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("level", ["x86-64-v3", "aarch64"])
def test_candidates_of_other_levels_are_within_bounds(level):
    graph = run_passes(convolution("float32"))
    first = results(graph, LEVELS[level], 1, 1, twins=True)
    for position in POSITIONS[:1]:
        again = results(graph, LEVELS[level], 1, 2, at(position, LEVELS[level]), twins=True)
        for got, wanted in zip(again, first, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("case", CASES)
def test_trials_run(case, measured, monkeypatch):
    """What is measured runs: convolutions with margins, panels made before a loop, rows that threads own."""
    monkeypatch.setattr(tuning, "MOST", 2)
    graph = CASES[case]("float32")
    outputs = list(graph.outputs)
    step = graphc.compile(list(graph.inputs), outputs, tune=True, specialize={"batch": 16}, threads=2)
    assert measured
    plain = graphc.compile(list(graph.inputs), outputs, threads=1)
    arrays = draws(*graph.inputs, batch=16)
    for got, wanted in zip(step(*arrays), plain(*arrays), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_loops_and_nests_are_candidates():
    """What makes a sum in the same order may win: in rounds or not, all lanes at once or not, and tiles of a wide nest."""
    found, level = [], LEVELS["x86-64-v4"]

    def choose(trial):
        every = list(tilings.candidates(trial.nest, level, trial.size_of))
        alike = [one.kernel() for one in every if one.order == every[0].order]
        found.append(
            (len(alike), *({bool(getattr(one, name)) for one in alike} for name in ("rounds", "passing", "within")))
        )
        return 0

    *operands, long = product(1500, 4096, 1500)
    for graph in (images("float32"), Graph(tuple(operands), (long,))):
        plan_of(run_passes(graph), level, choose=choose)
    assert any(rounds == {False, True} for _, rounds, _, _ in found)
    assert any(passing == {False, True} for _, _, passing, _ in found)
    assert any(within == {True} and count > 1 for count, _, _, within in found)
