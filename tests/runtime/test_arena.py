"""The arena beside its lower bound: the most bytes that are alive at any one step."""

import itertools
import random

import numpy as np
import pytest

import graphc
from graphc import dims, dtypes, nn, optim
from graphc.runtime.binding import assign_memory
from graphc.schedule.plan import Buffer, KernelCall, Plan
from tests.digits import digits_step


def lower_bound(plan, sizes):
    """Count what each step has to find in memory, by the plan's text alone: no loops, 64-byte lines."""
    root = {b.number: b.number for b in plan.buffers}
    for b in plan.buffers:  # in the order of their numbers, so chains of shared places are followed
        if b.shares is not None:
            root[b.number] = root[b.shares]
    nbytes, touched = {}, {}
    for b in plan.buffers:
        if b.kind == "temporary":
            size = dims.evaluate(b.nbytes, sizes)
            nbytes[root[b.number]] = max(nbytes.get(root[b.number], 0), -(-size // 64) * 64)
    for at, step in enumerate(plan.steps):
        for number in {root[n] for n in (*step.reads, *step.writes)} & nbytes.keys():
            touched.setdefault(number, []).append(at)
    return max(
        sum(nbytes[n] for n, times in touched.items() if times[0] <= at <= times[-1]) for at in range(len(plan.steps))
    )


def mlp(widths, activation):
    x, y = graphc.input("x", ("batch", widths[0])), graphc.input("y", ("batch",), "int64")
    layers = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), activation())][:-1]
    return [x, y], nn.cross_entropy(nn.Sequential(*layers)(x), y)


def deep_mlp():
    x, y = graphc.input("x", ("batch", 128)), graphc.input("y", ("batch",), "int64")
    h = x
    for _ in range(20):
        h = h + nn.GELU()(nn.Linear(128, 128)(nn.LayerNorm(128)(h)))
    return [x, y], nn.cross_entropy(nn.Linear(128, 10)(h), y)


ROWS = {
    "mlp_tiny": (lambda: mlp([2, 32, 32, 2], nn.Tanh), 32),
    "mlp": (lambda: mlp([784, 256, 128, 10], nn.ReLU), 128),
    "mlp_big": (lambda: mlp([784, 1024, 1024, 10], nn.ReLU), 256),
    "deep_mlp": (deep_mlp, 64),
}


def plan_of(row):
    if row == "digits":
        return digits_step()[0].plan, {"batch": 50}
    make, batch = ROWS[row]
    inputs, loss = make()
    return graphc.compile(inputs, loss, updates=optim.Adam().minimize(loss)).plan, {"batch": batch}


@pytest.mark.parametrize("row", [*ROWS, "digits"])
def test_the_arena_of_every_benchmark_is_close_to_the_lower_bound(row):
    plan, sizes = plan_of(row)
    bound = lower_bound(plan, sizes)
    for threads in (1, 2):
        layout, _ = assign_memory(plan, sizes, threads)
        assert bound <= layout.arena <= 1.05 * bound


def straight_plan(seed):
    """A plan of calls alone, whose temporaries have all kinds of sizes and lifetimes."""
    rng = random.Random(seed)
    buffers = [Buffer(0, "x", dtypes.float32, (16,), "input", 0)]
    steps, known = [], [0]
    for _ in range(rng.choice([5, 20, 60])):
        buffers.append(Buffer(len(buffers), "t", dtypes.float32, (rng.choice([1, 16, 100, 700, 5000]),), "temporary"))
        reads = tuple(rng.sample(known, min(len(known), rng.randint(1, 3))))
        steps.append(KernelCall("k", (), reads, (len(buffers) - 1,), rng.choice([1, 8]), 10**7))
        known.append(len(buffers) - 1)
        known = known[-rng.randint(3, 12) :]
    return Plan(tuple(buffers), tuple(steps), {}, (), (), ())


@pytest.mark.parametrize("threads", [1, 2])
def test_the_arena_of_random_plans_is_close_to_the_lower_bound(threads):
    ratios = []
    for seed in range(150):
        plan = straight_plan(seed)
        layout, _ = assign_memory(plan, {}, threads)
        ratios.append(layout.arena / lower_bound(plan, {}))
    assert min(ratios) >= 1
    assert max(ratios) <= 1.05
    assert np.mean(ratios) < 1.005


def test_planning_is_deterministic():
    plan = straight_plan(3)
    assert len({tuple(sorted(assign_memory(plan, {}, 2)[0].offsets.items())) for _ in range(3)}) == 1
