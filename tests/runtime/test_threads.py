import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from itertools import pairwise

import numpy as np
import pytest

from graphc.errors import CallError
from graphc.runtime import threads
from graphc.runtime.locks import ReadersWriterLock
from tests.runtime.calm import calm
from tests.runtime.handmade import Maker

N = 33


def chain(steps=20, work=10**6, threads=2):
    """Every step needs elements that the other thread made in the step before."""
    m = Maker(work)
    m.buffer("x", "input"), m.buffer("y", "output")
    names = ["x", *(m.buffer(f"t{n}", "temporary") for n in range(steps - 1)), "y"]
    return m.executable(*(m.call("rotate", a, b) for a, b in pairwise(names)), threads=threads)


def expected(x, steps=20):
    for _ in range(steps):
        x = np.roll(x, -(len(x) // 2)) + np.float32(1)
    return x


def ran(bound):
    return bound._run.__self__.threads_ran


@pytest.fixture
def no_strain():
    """All threads that are awake take part, whatever else this machine does."""
    with calm():
        yield


@pytest.mark.usefixtures("no_strain")
def test_two_threads_give_what_one_gives():
    x = np.random.default_rng(0).normal(size=N).astype(np.float32)
    bound = chain().bind(x)
    right = expected(x)
    together = 0
    for _ in range(20_000):
        result = bound()
        assert np.array_equal(result, right)
        result[:] = 0
        together += ran(bound) == 2
    assert together > 10_000


@pytest.mark.usefixtures("no_strain")
def test_workers_sleep_when_idle_and_only_heavy_plans_wake_them():
    x = np.ones(N, np.float32)
    heavy, light = chain(work=10**7).bind(x), chain(2, work=5 * 10**5).bind(x)
    heavy()
    assert ran(heavy) == 2
    light()
    assert ran(light) == 2  # the worker is still awake
    time.sleep(0.02)
    start = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - start < 0.05
    light()
    assert ran(light) == 1
    assert np.array_equal(light(), expected(x, 2))
    heavy()
    assert ran(heavy) == 2


def test_threads_are_used_only_where_they_save_more_than_barriers_cost():
    def threads_of(work):
        return chain(4, work=work).binding(n=N).threads

    assert [threads_of(work) for work in (10**4, 10**6)] == [1, 2]


@pytest.mark.usefixtures("no_strain")
def test_light_plans_wake_workers_where_they_follow_each_other():
    x = np.ones(N, np.float32)
    light = chain(2, work=5 * 10**5).bind(x)

    def counts(gap):
        found = []
        for _ in range(30):
            time.sleep(gap)
            light()
            found.append(ran(light))
        return found

    light()
    assert max(counts(0.003)) == 1  # each would wait for a worker that wakes up, and be done before
    assert 2 in counts(0)


@pytest.mark.usefixtures("no_strain")
def test_a_program_wakes_the_workers_by_the_work_of_all_its_steps():
    program = chain(2, work=5 * 10**5).repeat(100, [np.ones(N)], [])
    time.sleep(0.01)
    program.run()
    assert program._activations[0].threads_ran == 2


def test_many_sleeps_and_wakes_lose_none():
    x = np.ones(N, np.float32)
    bound, right = chain(work=10**7).bind(x), expected(x)
    rng = np.random.default_rng(0)
    for pause in rng.choice([0, 5e-5, 1.9e-4, 2e-4, 2.1e-4, 3e-4, 1e-3], 1500):
        until = time.perf_counter() + pause
        while time.perf_counter() < until:
            pass
        assert np.array_equal(bound(), right)


def test_calls_from_several_python_threads():
    run = chain(6)
    errors = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(400):
            x = rng.normal(size=rng.integers(1, 40)).astype(np.float32)
            if not np.array_equal(run(x), expected(x, 6)):
                errors.append(seed)

    everyone = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in everyone:
        thread.start()
    for thread in everyone:
        thread.join()
    assert not errors


def test_a_reader_never_sees_half_an_update():
    size = 5000
    m = Maker()
    m.buffer("g", "input"), m.buffer("a", "leaf", (size,)), m.buffer("b", "leaf", (size,))
    a, b = np.zeros(size, np.float32), np.zeros(size, np.float32)
    commits = [m.call("subtract_from", "g", leaf, commit=True) for leaf in ("a", "b")]
    write = m.executable(*commits, leaves=[a, b], outputs=(), threads=2)
    m = Maker()
    m.buffer("a", "leaf", (size,)), m.buffer("b", "leaf", (size,))
    m.buffer("x", "output", (size,)), m.buffer("y", "output", (size,))
    copies = m.call("double", "a", "x", size), m.call("double", "b", "y", size)
    read = m.executable(*copies, leaves=[a, b], outputs=(0, 1), threads=2)
    stop, seen, bad = threading.Event(), set(), []

    def look():
        while not stop.is_set():
            x, y = read()
            seen.add(float(x[0]))
            if not (x == x[0]).all() or not (y == x[0]).all():
                bad.append((x, y))

    readers = [threading.Thread(target=look) for _ in range(2)]
    for thread in readers:
        thread.start()
    gradient = np.ones(size, np.float32)
    for _ in range(2000):
        write(gradient)
    stop.set()
    for thread in readers:
        thread.join()
    assert not bad
    assert (a == -2000).all()
    assert len(seen) > 2  # readers got their turns while writes went on


def run_in_child(check):
    """Fork; return the child's exit status: 0 if `check()` is true there, 1 if not, 2 if it raises, 14 if it hangs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of threads, which is the point here
        child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 2
    try:
        signal.alarm(20)
        status = 0 if check() else 1
    finally:
        os._exit(status)


@pytest.mark.usefixtures("no_strain")
def test_after_fork():
    x = np.ones(N, np.float32)
    run, right = chain(work=10**7), expected(x)
    bound = run.bind(x)
    bound()
    for _ in range(5):
        good = lambda: np.array_equal(bound(), right) and np.array_equal(run(x), right)  # noqa: E731

        def check(good=good):
            with calm():
                return all(good() for _ in range(50)) and ran(bound) == 2

        assert run_in_child(check) == 0
        assert np.array_equal(run(x), right)


def test_fork_while_another_thread_runs():
    x = np.ones(N, np.float32)
    run, right = chain(), expected(x)
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            run(x)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(20):
            assert run_in_child(lambda: all(np.array_equal(run(x), right) for _ in range(20))) == 0
    finally:
        stop.set()
        thread.join()


def test_the_process_ends_while_workers_are_awake():
    code = (
        "import numpy as np\nfrom tests.runtime.test_threads import chain\n"
        "from graphc.runtime import threads\nthreads.AWAKE_NANOSECONDS = 10**10\n"
        "run = chain(work=10**7)\nfor _ in range(100): run(np.ones(9))\nprint('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_how_many_threads(monkeypatch):
    monkeypatch.setenv("GRAPHC_THREADS", "3")
    assert threads.thread_count() == 3
    assert threads.thread_count(1) == 1
    monkeypatch.setenv("GRAPHC_THREADS", "many")
    with pytest.raises(CallError, match="GRAPHC_THREADS must be a whole number of 1 or more, got 'many'"):
        threads.thread_count()
    monkeypatch.delenv("GRAPHC_THREADS")
    assert threads.thread_count() == threads.available_cores() >= 1
    with pytest.raises(CallError, match="threads must be a whole number of 1 or more, got 0"):
        threads.thread_count(0)


@pytest.mark.usefixtures("no_strain")
def test_more_threads_than_cores():
    x = np.arange(40, dtype=np.float32)
    bound = chain(threads=5, work=10**7).bind(x)
    counts = set()
    for _ in range(200):
        assert np.array_equal(bound(), expected(x))
        counts.add(ran(bound))
    assert max(counts) == 5  # fewer where other processes want the cores


def test_an_interrupted_reader_leaves_nothing_behind():
    lock = ReadersWriterLock()
    token = object()

    def read():
        try:
            lock.enter_reading(token)
            raise KeyboardInterrupt
        finally:
            lock.readers.discard(token)

    with pytest.raises(KeyboardInterrupt):
        read()
    with lock.mutex:
        lock.enter_writing(token)
        lock.writer = None
