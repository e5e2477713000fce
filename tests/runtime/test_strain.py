"""Fewer threads while other processes have the cores: what is booked for a long yield, and who leaves."""

import ctypes
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from graphc import dtypes
from graphc.runtime import threads
from graphc.runtime.walk import LEVERAGE, LONG_YIELD, LONGEST_YIELD, STRAIN
from tests.runtime.calm import calm
from tests.runtime.handmade import Maker
from tests.runtime.test_threads import chain, expected, ran

X = np.ones(33, np.float32)
LONG = 10**10


def strain(nanoseconds):
    """Let the strain end so long from now."""
    threads.pool()._strain.value = time.monotonic_ns() + nanoseconds


@pytest.fixture
def steady():
    """The strain is what a test sets and nothing else."""
    with calm():
        yield
    threads.pool()._strain.value = 0


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize(
    ("ahead", "used"), [(-LONG, 3), (STRAIN // 2, 3), (STRAIN * 3 // 2, 2), (STRAIN * 5 // 2, 1), (LONG, 1)]
)
def test_a_strain_takes_threads_from_a_launch(ahead, used):
    run = chain(work=10**7, threads=3).bind(X)
    counts = []
    for _ in range(50):
        strain(ahead)
        assert np.array_equal(run(), expected(X))
        counts.append(ran(run))
    assert max(counts) == used  # a worker may fall asleep just before a launch, so now and then there are fewer


@pytest.mark.usefixtures("steady")
def test_threads_come_back_when_the_strain_is_over():
    run = chain(work=10**7).bind(X)
    strain(2 * STRAIN)
    run()
    assert ran(run) == 1
    time.sleep(STRAIN / 1e9 * 1.5)
    assert 2 in [ran(run) for _ in range(10) if run() is not None]


@pytest.mark.usefixtures("steady")
def test_a_strained_launch_wakes_nobody():
    run = chain(work=10**7).bind(X)
    run()
    strain(LONG)
    time.sleep(0.02)
    start = time.process_time()
    run()
    time.sleep(0.2)
    assert time.process_time() - start < 0.05
    assert threads.pool()._states[0].value == threads.ASLEEP


def leaving(count):
    """Return a run of `count` threads that books a strain after its first step, and counts the threads before and after."""
    word = np.frombuffer((ctypes.c_int64 * 1).from_address(threads.pool().address + 8), np.int64)
    m = Maker(work=10**7)
    m.buffer("x", "input"), m.buffer("until", "input", (1,), dtypes.int64)
    m.buffer("before", "output"), m.buffer("after", "output"), m.buffer("y", "output")
    m.buffer("strain", "leaf", (1,), dtypes.int64)
    m.buffer("a", "temporary"), m.buffer("b", "temporary"), m.buffer("c", "temporary")
    steps = [
        m.call("count_threads", "x", "before"),
        m.call("rotate", "x", "a"),
        m.call("copy_i64", "until", "strain", 1),
        m.call("rotate", "a", "b"),
        m.call("rotate", "b", "c"),
        m.call("count_threads", "c", "after"),
        m.call("rotate", "c", "y"),
    ]
    return m.executable(*steps, leaves=[word], outputs=(0, 1, 2), threads=count)


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize(("count", "ahead", "left"), [(2, LONG, 1), (3, STRAIN * 3 // 2, 2), (3, LONG, 1), (3, 0, 3)])
def test_threads_leave_at_a_barrier(count, ahead, left):
    run, right, full = leaving(count), expected(X, 4), 0
    for _ in range(200):
        threads.pool()._strain.value = 0
        before, after, y = run(X, np.array([time.monotonic_ns() + ahead]))
        assert np.array_equal(y, right)
        assert (after == min(before[0], left)).all()
        full += (before == count).all()
    assert full > 100


@pytest.mark.usefixtures("steady")
def test_a_program_loses_threads_on_the_way_and_gets_them_back():
    run = leaving(2)
    threads.pool()._strain.value = 0
    program = run.repeat(1000, [X, np.array([time.monotonic_ns() + LONG])])
    program.resume(1e-6)
    threads.pool()._strain.value = 0
    program.resume(1e-6)
    before, after, y = program.results
    assert program.done >= 2
    assert np.array_equal(y[: program.done], np.broadcast_to(expected(X, 4), (program.done, len(X))))
    assert 2 in before[1 : program.done]
    assert (after[: program.done] == 1).all()


GIVE_WAY = """
import ctypes, time
from graphc.runtime import threads
from graphc.runtime.walk import native

pool = threads.pool()
give_way = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(native().give_way)
"""


def in_a_process(code, *arguments):
    """Start a process that has a pool and `give_way`."""
    command = [sys.executable, "-c", GIVE_WAY + code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_a_yield_is_booked_by_its_length():
    # Two processes share a core, so that one waits for the other.
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if not (child := os.fork()):
    while True:
        pass
try:
    for _ in range(100):
        pool._strain.value = 0
        start = time.monotonic_ns()
        give_way(pool.address, 0, 0)
        end = time.monotonic_ns()
        print(start, end, pool._strain.value)
finally:
    os.kill(child, 9)
"""
    with in_a_process(code) as process:
        rows = [tuple(map(int, line.split())) for line in process.stdout]
    assert len(rows) == 100
    booked = [row for row in rows if row[2]]
    assert booked
    for start, end, until in rows:
        # What passes besides the yield counts for nothing, however long it is.
        assert until == 0 or start + LEVERAGE * LONG_YIELD < until <= end + LEVERAGE * (end - start)
    # A process may lose its core before and behind the yield, too, but not often.
    missed = [row for row in rows if not row[2] and row[1] - row[0] >= LONG_YIELD]
    assert len(missed) <= len(booked) // 2
    exact = [until - end - LEVERAGE * (end - start) for start, end, until in booked]
    assert max(exact) > -LEVERAGE * LONG_YIELD


def test_a_process_that_stands_still_books_little():
    # A yield of 0.4 s counts as one of 0.1 s. Shorter ones are other processes' time slices, and are tried again.
    most = LEVERAGE * LONGEST_YIELD
    code = f"""
print("ready", flush=True)
ahead = 0
while ahead < {most * 7 // 8}:
    pool._strain.value = 0
    give_way(pool.address, 0, 0)
    ahead = pool._strain.value - time.monotonic_ns()
print(ahead)
"""
    with in_a_process(code) as process:
        assert process.stdout.readline() == "ready\n"
        end = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < end:
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.4)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        process.kill()
        ahead = int(process.stdout.read())
    assert 0 < ahead <= most
