"""Loops whose threads own rows: no barrier inside, and each thread may be through before the next one begins."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.compiler import plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.graph.reference import run
from graphc.passes import run_passes
from graphc.runtime import barriers, binding, memory, sharing
from graphc.runtime.instructions import WIDTH, Opcode
from graphc.schedule.natives import natives
from graphc.schedule.plan import Repeat
from graphc.simd.levels import LEVELS, host_level
from tests.interpreter import Interpreter, compiled, unjitted

LAYERS = {
    "rnn": lambda: nn.RNN(5, 20),
    "relu": lambda: nn.RNN(5, 20, nonlinearity="relu"),
    "lstm": lambda: nn.LSTM(5, 20),
    "projected": lambda: nn.LSTM(5, 20, proj_size=7),
    "gru": lambda: nn.GRU(5, 20),
}


@pytest.fixture
def always_split(monkeypatch):
    """Split every kernel and loop among the threads, however small it is."""
    monkeypatch.setattr(memory, "OWNED_WORK", 0)
    monkeypatch.setattr(sharing, "RULE", sharing.FREE)


def training(layer):
    """Outputs, last state and gradients of all weights and of the input."""
    x = graphc.input("x", ("time", "batch", 5))
    net = LAYERS[layer]()
    outputs, _ = net(x)
    loss = (outputs * outputs).sum() + outputs[-1].sum()
    return Graph((x,), (outputs, loss, *graphc.grad(loss, [x, *net.parameters()])))


def loops(plan):
    return [step for step in plan.steps if isinstance(step, Repeat)]


def waits_inside(plan, sizes, threads=2):
    """How many barriers stand inside of loops in the table that the native walk reads; and loops."""
    bound = binding.bind(plan, sizes, threads, lambda name: 0)
    assert bound.threads == threads
    depth = waits = count = 0
    for opcode in bound.table[::WIDTH].tolist():
        depth += (opcode == Opcode.LOOP) - (opcode == Opcode.END)
        count += opcode == Opcode.LOOP
        waits += depth > 0 and opcode in (Opcode.BARRIER, Opcode.COMMIT, Opcode.SLICE)
    return waits, count


@pytest.mark.parametrize("layer", LAYERS)
def test_no_barrier_inside_of_the_loops_of_a_recurrent_layer(layer):
    plan = plan_of(run_passes(training(layer)), LEVELS["x86-64-v4"])
    assert [str(loop.owners) for loop in loops(plan)] == ["((batch + 7) // (8))"] * 2
    assert waits_inside(plan, {"time": 300, "batch": 50}) == (0, 2)


def test_a_step_without_own_rows_waits_inside(monkeypatch):
    """The count would see barriers: here rows are what threads share, and not the same ones throughout."""
    monkeypatch.setattr("graphc.schedule.region.own", lambda *_: False)
    plan = plan_of(run_passes(training("lstm")), LEVELS["x86-64-v4"])
    assert waits_inside(plan, {"time": 300, "batch": 2000})[0] > 2


@pytest.mark.parametrize("level", ["x86-64-v4", "x86-64-v3"])
@pytest.mark.parametrize("layer", LAYERS)
def test_each_thread_alone_on_guarded_buffers(layer, level):
    graph = run_passes(training(layer))
    plan = plan_of(graph, LEVELS[level])
    stored = [leaf.value for leaf in graph.stored]
    ways = [unjitted(plan, natives(graph), has_fma=LEVELS[level].fma)]
    if level == host_level().name:
        ways.append(compiled(Loader(build.objects(plan.kernels, LEVELS[level], lambda: natives(graph)))))
    for batch in (17, 21, 3, 0):
        x = np.random.default_rng(batch).normal(size=(3, batch, 5)).astype("float32")
        wanted = run(graph.outputs, {graph.inputs[0]: x})
        for kernel_of in ways if batch != 21 else ways[1:]:
            got = Interpreter(plan, [x], stored, {"time": 3, "batch": batch}, kernel_of, threads=3).result("output")
            for a, b in zip(got, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * max(1, np.abs(b).max(initial=0)))


@pytest.mark.usefixtures("always_split")
@pytest.mark.parametrize("layer", LAYERS)
def test_the_same_bits_on_one_thread_two_and_three(layer, monkeypatch):
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    graph = training(layer)
    for batch in (1, 16, 35):
        x = np.random.default_rng(batch).normal(size=(40, batch, 5)).astype("float32")
        one, *others = (graphc.compile(list(graph.inputs), list(graph.outputs), threads=n)(x) for n in (1, 2, 3))
        for other in others:
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b)


N = 24
W = np.random.default_rng(1).normal(size=(N, N)).astype("float32") / 8
# Steps that read rows other than their own; the state is as large as the batch, so shapes do not tell.
MIXED = {
    "transposed": lambda h, v: graphc.tanh(h.T + v),
    "mixed by a product": lambda h, v: graphc.tanh(W @ h + v),
    "the mean over the batch": lambda h, v: graphc.tanh(h - h.mean(axis=0) + v),
    "the next row": lambda h, v: graphc.tanh(graphc.roll(h, 1, 0) + v),
    "rows by a loaded number": lambda h, v: graphc.tanh(graphc.take(h, graphc.arange(N - 1, -1, -1), axis=0) + v),
    "a state for all": lambda h, v: graphc.tanh(h + v + (h * h).sum()),
}


@pytest.mark.usefixtures("always_split")
@pytest.mark.parametrize("step", MIXED.values(), ids=MIXED)
def test_rows_that_depend_on_each_other_are_nobodys_own(step, monkeypatch):
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    x = graphc.input("x", ("time", N, N))
    _, outputs = graphc.scan(lambda h, v: (step(h, v), h), graphc.zeros((N, N)), x)
    feed = np.random.default_rng(2).normal(size=(9, N, N)).astype("float32")
    compiled = graphc.compile([x], outputs, threads=2)
    assert [loop.owners for loop in loops(compiled.plan)] == [1]
    np.testing.assert_allclose(compiled(feed), graphc.evaluate(outputs, {x: feed}), rtol=1e-4, atol=1e-4)


def test_a_scalar_carry_is_nobodys_own():
    x = graphc.input("x", ("time", "batch", 3))
    last, _ = graphc.scan(
        lambda c, v: ((c[0] * 0.5 + v, c[1] * 0.5 + (c[0] * v).sum()), None),
        (graphc.zeros((x.shape[1], 3)), graphc.constant(0.0)),
        x,
    )
    (loop,) = loops(graphc.compile([x], list(last)).plan)
    assert loop.owners == 1


def test_the_verifier_sees_a_loop_that_begins_too_early():
    """The barrier before a loop of owned rows parts it from what its carries begin with, which another thread may make."""
    plan = plan_of(run_passes(training("lstm")), LEVELS["x86-64-v4"])
    layout, separations = binding.assign_memory(plan, {"time": 300, "batch": 50}, 2)
    starts = {loop.start for loop in layout.loops if loop.owned}
    assert len(starts) == 2
    assert starts <= separations
    barriers.verify(layout, separations, paused=False)
    for start in starts:
        with pytest.raises(graphc.errors.VerificationError):
            barriers.verify(layout, separations - {start}, paused=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(16,), (24,), (32,), (48,), (17,), (16, 1), (32, 3), ("n",)])
def test_owned_rows_that_are_no_whole_vectors(shape, dtype):
    """A carry of one row, whose lanes threads own in pieces smaller than a vector: also where its length is known."""
    x = graphc.input("x", ("time", *shape), dtype)
    zeros = graphc.zeros(x.shape[1:], dtype)
    last, history = graphc.scan(lambda h, v: (h * 0.5 + v, h), zeros, x)
    graph = run_passes(Graph((x,), (last, history)))
    sizes = {"time": 5, "n": 40}
    feed = np.random.default_rng(3).normal(size=[sizes.get(d, d) for d in ("time", *shape)]).astype(dtype)
    wanted = run(graph.outputs, {x: feed})
    for level in ("x86-64-v4", "x86-64-v3"):
        plan = plan_of(graph, LEVELS[level])
        assert [loop.owners == 1 for loop in loops(plan)] == [False]
        ways = [unjitted(plan, natives(graph), has_fma=LEVELS[level].fma)]
        if level == host_level().name:
            ways.append(compiled(Loader(build.objects(plan.kernels, LEVELS[level], lambda: natives(graph)))))
        for kernel_of in ways:
            for threads in (1, 2, 3):
                got = Interpreter(plan, [feed], [], sizes, kernel_of, threads=threads).result("output")
                for a, b in zip(got, wanted, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
