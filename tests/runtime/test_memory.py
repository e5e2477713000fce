import random

import numpy as np
import pytest

from graphc import dims, dtypes
from graphc.errors import VerificationError
from graphc.runtime import barriers, memory
from graphc.runtime.binding import assign_memory
from graphc.schedule.plan import Address, Branch, Buffer, KernelCall, Plan, Repeat
from tests.runtime.handmade import Maker, N

# What offsets may cost above the most bytes that are alive at once.
FACTOR_ALWAYS, FACTOR_MEAN = 1.05, 1.005


def random_plan(seed):
    """A plan of random calls, repeats and branches, in which nothing is read before it is written."""
    rng = random.Random(seed)
    buffers = [Buffer(0, "x", dtypes.float32, (N,), "input", 0), Buffer(1, "p", dtypes.bool_, (), "input", 1)]

    def temporary(size=None, shape=None):
        shape = (size or rng.choice([1, 7, 64, 300, 1000]),) if shape is None else shape
        buffers.append(Buffer(len(buffers), f"t{len(buffers)}", dtypes.float32, shape, "temporary"))
        return len(buffers) - 1

    def call(reads, writes):
        words = tuple(Address(b) for b in (*reads, *writes))
        return KernelCall("k", words, tuple(reads), tuple(writes), rng.choice([1, 8]), 10**6)

    def block(known, depth):
        known, steps = list(known), []
        for _ in range(rng.randint(1, 6)):
            kind = rng.random()
            if kind < 0.75 or depth == 2:
                new = temporary()
                steps.append(call(rng.sample(known[-8:], min(len(known), rng.randint(1, 3), 8)), [new]))
                known.append(new)
            elif kind < 0.9:
                parent, carry = temporary(shape=(5, 16)), temporary(16)
                buffers.append(Buffer(len(buffers), "s", dtypes.float32, (16,), "slice", parent))
                piece = len(buffers) - 1
                steps.append(call([known[0]], [carry]))
                body, inner = block([*known, carry], depth + 1)
                body += [call([inner[-1]], [piece]), call([carry, piece], [carry])]
                steps.append(Repeat(rng.choice([1, 3, 5]), tuple(body), (piece,), rng.random() < 0.5))
                known += [parent, carry]
            else:
                new = temporary()
                arms = []
                for _ in range(2):
                    body, inner = block(known, depth + 1)
                    arms.append((*body, call([inner[-1]], [new])))
                steps.append(Branch(1, *arms))
                known.append(new)
        return steps, known

    steps, _ = block([0], 0)
    return Plan(tuple(buffers), tuple(steps), {}, (), (), ())


@pytest.mark.parametrize("threads", [1, 2])
def test_random_plans_are_safe_and_close_to_the_lower_bound(threads):
    ratios = []
    for seed in range(300):
        plan = random_plan(seed)
        layout, _ = assign_memory(plan, {"n": 50}, threads)  # verified, by the environment of these tests
        bound = memory.lower_bound(layout, memory.lifetimes(layout))
        if threads == 1:
            ratios.append(layout.arena / bound)
    if ratios:
        assert max(ratios) < FACTOR_ALWAYS
        assert np.mean(ratios) < FACTOR_MEAN


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_every_barrier_is_needed_and_the_verifier_misses_none(seed):
    layout, separations = assign_memory(random_plan(seed), {"n": 50}, 2)
    missed = 0
    for time in separations:
        try:
            barriers.verify(layout, separations - {time}, False)
        except VerificationError:
            missed += 1
    # Some are needed only on paths longer than the verifier's, or by what it knows more exactly.
    assert missed >= 0.6 * len(separations)


def test_the_verifier_sees_memory_that_is_used_twice():
    m = Maker()
    m.buffer("x", "input"), m.buffer("a", "temporary"), m.buffer("b", "temporary"), m.buffer("y", "output")
    steps = (
        m.call("add_one", "x", "a"),
        m.call("add_one", "x", "b"),
        m.call("add_to", "a", "y"),
        m.call("add_to", "b", "y"),
    )
    layout, separations = assign_memory(m.plan(*steps), {"n": 9}, 1)
    layout.offsets[2] = layout.offsets[1]
    with pytest.raises(VerificationError, match=r"reads 'a', over which add_one \(step 1\) has written"):
        barriers.verify(layout, separations, False)


def test_a_carry_outlives_its_iteration_and_a_scratch_buffer_does_not():
    m = Maker()
    m.buffer("x", "input"), m.buffer("h", "temporary"), m.buffer("s", "temporary"), m.buffer("u", "temporary")
    m.buffer("y", "output")
    body = [m.call("add_one", "h", "s"), m.call("double", "s", "u"), m.call("add_one", "u", "h")]
    plan = m.plan(m.call("double", "x", "h"), m.repeat(3, body), m.call("double", "h", "y"))
    life = memory.lifetimes(memory.lay_out(plan, {"n": 4}, 1))
    assert life == {1: (0, 4), 2: (1, 2), 3: (2, 3)}


def test_what_is_read_before_it_is_written_lives_for_the_whole_loop():
    m = Maker()
    m.buffer("x", "input"), m.buffer("a", "temporary"), m.buffer("b", "temporary")
    m.buffer("c", "temporary")
    body = [
        m.call("add_one", "x", "c"),
        m.call("add_one", "a", "b"),
        m.call("add_one", "b", "a"),
        m.call("double", "x", "c"),
    ]
    life = memory.lifetimes(memory.lay_out(m.plan(m.repeat(3, body)), {"n": 4}, 1))
    assert life == {3: (0, 3), 1: (0, 3), 2: (1, 2)}


def test_sharing_buffers_have_one_place():
    m = Maker()
    m.buffer("x", "input"), m.buffer("a", "temporary"), m.buffer("b", "temporary", shares="a")
    m.buffer("c", "temporary", shares="b"), m.buffer("y", "output")
    steps = (
        m.call("add_one", "x", "a"),
        m.call("double", "a", "b"),
        m.call("double", "b", "c"),
        m.call("double", "c", "y"),
    )
    run = m.executable(*steps)
    np.testing.assert_array_equal(run(np.arange(4.0)), (np.arange(4) + 1) * 8)
    assert run.peak_bytes(n=16) == 64 + 64


def test_peak_bytes_follow_the_sizes():
    m = Maker()
    m.buffer("x", "input"), m.buffer("a", "temporary"), m.buffer("b", "temporary"), m.buffer("y", "output")
    run = m.executable(m.call("add_one", "x", "a"), m.call("double", "a", "b"), m.call("double", "b", "y"))
    # An empty buffer has room for one element: see `Layout.spare`.
    assert [run.peak_bytes(n=n) for n in (0, 16, 1600)] == [4, 3 * 64, 3 * 6400]


def test_a_barrier_only_where_threads_meet():
    def separations(*steps, threads=2):
        return assign_memory(m.plan(*steps), {"n": 8}, threads)[1]

    m = Maker()
    m.buffer("x", "input"), m.buffer("a", "temporary"), m.buffer("b", "temporary"), m.buffer("y", "output")
    split = m.call("rotate", "x", "a"), m.call("rotate", "x", "b"), m.call("rotate", "a", "y")
    assert separations(*split) == {2}
    assert separations(*split, threads=1) == set()
    alone = m.call("rotate", "x", "a", units=1), m.call("rotate", "a", "b", units=1), m.call("rotate", "b", "y")
    assert separations(*alone) == {2}


def test_one_barrier_serves_the_way_back_of_a_loop():
    m = Maker()
    m.buffer("x", "input", (dims.symbol("t"), N)), m.buffer("y", "output", (dims.symbol("t"), N))
    m.buffer("xt", "slice", position="x"), m.buffer("yt", "slice", position="y")
    # Different positions are different bytes: threads need not meet.
    plan = m.plan(m.repeat(dims.symbol("t"), [m.call("rotate", "xt", "yt")], ["xt", "yt"]))
    assert assign_memory(plan, {"n": 8, "t": 5}, 2)[1] == set()


def test_barriers_are_the_same_however_conflicts_are_looked_for(monkeypatch):
    for seed in range(60):
        plan = random_plan(seed)
        found = []
        for few in (10**9, 0):  # pair by pair; sorted by place
            monkeypatch.setattr(barriers, "_FEW", few)
            found.append(assign_memory(plan, {"n": 50}, 2)[1])
        assert found[0] == found[1]
