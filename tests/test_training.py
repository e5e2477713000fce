"""Training as a whole: the plan of the digits step, equal bits on any number of threads, interruption, a warm start."""

import itertools
import os
import random
import re
import subprocess
import sys
import time

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.dims import evaluate
from graphc.inspect.plan_text import plan_text
from graphc.runtime.instructions import Opcode
from graphc.schedule.plan import calls
from graphc.simd.dialect import NAMES
from tests.digits import data, digits_step
from tests.interrupts import interrupted_after


def test_plan_of_the_digits_step(golden, monkeypatch):
    monkeypatch.setenv("GRAPHC_CPU", "x86-64-v4")
    step, *_ = digits_step(threads=1)
    kernels = sum(1 for _ in calls(step.plan.steps))
    text = f"kernels per step: {kernels}\npeak at batch 32: {step.peak_bytes(batch=32)} bytes\n\n"
    golden("digits_plan.txt", text + plan_text(step.plan, {"batch": 32}))


def test_emitted_source_uses_the_dialect_and_nothing_else():
    step, *_ = digits_step()
    for name, text in step.plan.kernels.items():
        code = compile(text, name, "exec").co_consts[0]
        outside = set(code.co_names) - set(NAMES)
        assert outside <= {"range", "min", "max"}, f"{name} uses {outside}"
        assert not re.search(r"\bnp\b|numpy|empty|zeros", text)


def test_a_full_batch_has_the_gradient_that_minibatches_add_up_to():
    rng = np.random.default_rng(3)
    images, labels = rng.normal(size=(203, 6)), rng.integers(0, 4, 203)
    x, y = graphc.input("x", ("batch", 6), "float64"), graphc.input("y", ("batch",), "int64")
    net = nn.Sequential(
        nn.Linear(6, 17, dtype="float64"), nn.Tanh(), nn.Linear(17, 9, dtype="float64"), nn.ReLU(),
        nn.Linear(9, 4, dtype="float64"),
    )  # fmt: skip
    loss = nn.cross_entropy(net(x), y)
    gradients = graphc.compile([x, y], graphc.grad(loss, list(net.parameters())))
    full = gradients(images, labels)
    totals = [np.zeros_like(one) for one in full]
    cuts = [0, 1, 33, 64, 128, 177, 203]
    for start, stop in itertools.pairwise(cuts):
        for total, one in zip(totals, gradients(images[start:stop], labels[start:stop]), strict=True):
            total += one * (stop - start) / len(images)
    for total, one in zip(totals, full, strict=True):
        assert np.abs(one).max() > 1e-3
        np.testing.assert_allclose(total, one, rtol=1e-12, atol=1e-12)


def trained(threads):
    step, net, x, y = digits_step(hidden=512, threads=threads)
    images, labels = data(2048)
    losses = [step(images, labels)["loss"] for _ in range(3)]
    graphc.fit(step, {x: images, y: labels}, batch_size=1024, epochs=2, verbose=False)
    return step, losses, [p.value.copy() for p in net.parameters()]


def test_equal_bits_on_one_and_two_threads():
    step, losses, parameters = trained(2)
    _, alone_losses, alone_parameters = trained(1)
    assert losses == alone_losses
    for one, two in zip(parameters, alone_parameters, strict=True):
        np.testing.assert_array_equal(one, two)
    shared = shared_kernels(step, 2048)
    expected = splittable(step, 2048)
    assert len(expected) >= 4
    assert set(expected) <= set(shared)


def splittable(step, batch):
    """The kernels with several pieces and so much work that it is surely worth a second thread."""
    sizes = {"batch": batch}
    return sorted(
        name
        for call in calls(step.plan.steps)
        for name, _ in call.runs
        if evaluate(call.units, sizes) > 1 and evaluate(call.work, sizes) >= 1_000_000
    )


def shared_kernels(step, batch):
    """The kernels that the bound plan runs on all threads, read from its instructions."""
    table = np.asarray(step.binding(batch=batch).table).reshape(-1, 4)
    name_of = {step._code.address(step.plan, name): name for name in step.plan.kernels}
    return sorted(name_of[int(row[1])] for row in table if row[0] == Opcode.CALL)


@pytest.mark.alone
def test_interrupted_fit_stops_at_a_whole_step():
    generator = random.Random(7)
    w = graphc.parameter(np.zeros((64, 256), "float32"), "w")
    x = graphc.input("x", ("batch", 64))
    loss = graphc.mean(x @ w)
    # Every step adds one to every element, so a half-made step would show.
    step = graphc.compile([x], {"loss": loss}, updates={w: w + 1.0})
    images = np.ones((4096, 64), "float32")
    graphc.fit(step, {x: images}, batch_size=64, epochs=1, verbose=False)
    w.set(np.zeros((64, 256), "float32"))
    delays = []
    for _ in range(20):
        with interrupted_after(generator.uniform(0.01, 0.12)) as sent:
            with pytest.raises(KeyboardInterrupt):
                graphc.fit(step, {x: images}, batch_size=64, epochs=10**6, verbose=False)
            delays.append(time.perf_counter() - sent[-1])
        assert np.ptp(w.value) == 0
        assert w.value[0, 0] == int(w.value[0, 0]) > 0
    # A step takes well under 1 ms and a slice 50; a busy machine may hold one or the other up by more than the 10 ms of slack.
    assert sorted(delays)[15] < 0.06, delays
    assert max(delays) < 0.5, delays


WARM = """
import sys, builtins
start = __import__("time").perf_counter()
from tests.digits import data, digits_step
step, net, x, y = digits_step()
loss = step(*data(32))["loss"]
seconds = __import__("time").perf_counter() - start
libraries = ("numba", "networkx", "llvmlite")
cold = (*libraries, "graphc.passes", "graphc.schedule.scheduling", "graphc.emit.source", "graphc.simd.translate")
print(float(loss), seconds, *(name for name in cold if name in sys.modules))
"""


def test_warm_start_imports_nothing_that_compiles(tmp_path):
    environment = {**os.environ, "GRAPHC_CACHE": str(tmp_path / "cache")}
    environment |= {"GRAPHC_VERIFY": "0"}

    def run():
        done = subprocess.run(
            [sys.executable, "-c", WARM], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    cold, warm = run(), run()
    assert {"graphc.passes", "graphc.simd.translate"} <= set(cold)
    assert "numba" not in cold, "it compiles users' own functions, and there is none"
    assert warm[2:] == []
    assert warm[0] == cold[0]
    assert float(warm[1]) < float(cold[1])


def test_a_failed_step_changes_nothing():
    step, net, *_ = digits_step()
    images, labels = data(40)
    before = [p.value.copy() for p in net.parameters()]
    labels[17] = 10
    with pytest.raises(graphc.IndexOutOfRangeError, match=r"digits\.py"):
        step(images, labels)
    for old, parameter in zip(before, net.parameters(), strict=True):
        np.testing.assert_array_equal(old, parameter.value)


def test_optimizers_follow_their_published_formulas():
    target = np.array([3.0, -2.0])
    for make, rule in ((lambda: optim.SGD(0.1, momentum=0.9), sgd), (lambda: optim.Adam(0.1), adam)):
        w = graphc.parameter(np.zeros(2), "w")
        loss = graphc.sum(graphc.square(w - target))
        step = graphc.compile([], loss, updates=make().minimize(loss))
        for _ in range(20):
            step()
        np.testing.assert_allclose(w.value, rule(target, 20), rtol=1e-12)


def sgd(target, steps):
    w, velocity = np.zeros(2), np.zeros(2)
    for _ in range(steps):
        velocity = 0.9 * velocity + 2 * (w - target)
        w = w - 0.1 * velocity
    return w


def adam(target, steps):
    w, first, second = np.zeros(2), np.zeros(2), np.zeros(2)
    for t in range(1, steps + 1):
        gradient = 2 * (w - target)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        w = w - 0.1 * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
    return w
