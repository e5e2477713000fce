"""The pages of an arena are made by a thread while the rest of a first call is prepared."""

import ctypes
import mmap
import sys
import threading

import numpy as np
import pytest

import graphc
from graphc.runtime import activation
from graphc.runtime.activation import Arena

NBYTES = 8 << 20
N = 1500  # squares of so many floats: an arena of 9 MB for each array that is alive


@pytest.fixture
def idle(monkeypatch):
    """The arenas that wait for a run; none at first."""
    found = []
    monkeypatch.setattr(activation, "_idle_arenas", found)
    return found


@pytest.fixture
def begun(monkeypatch):
    """The arenas that a thread was begun for."""
    found = []

    class Noted(threading.Thread):
        def start(self):
            if self.name == "graphc-pages":
                found.append(self._target.__self__)
            super().start()

    monkeypatch.setattr(threading, "Thread", Noted)
    return found


def wait():
    for thread in threading.enumerate():
        if thread.name == "graphc-pages":
            thread.join(20)


def resident(arena):
    """Return whether each page that lies in the arena as a whole is in memory."""
    first = -(-arena.address // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = (arena.address + arena.nbytes - first) // mmap.PAGESIZE
    found = (ctypes.c_ubyte * pages)()
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(first), ctypes.c_size_t(pages * mmap.PAGESIZE), found) == 0
    return np.frombuffer(found, np.uint8) & 1


def contents(arena):
    return np.frombuffer((ctypes.c_ubyte * arena.nbytes).from_address(arena.address), np.uint8)


def chained():
    x = graphc.input("x", ("n", "n"))
    return graphc.compile([x], graphc.tanh(x @ x) @ x, threads=1)


def ones():
    return np.full((N, N), 1e-3, "float32")


@pytest.mark.skipif(sys.platform != "linux", reason="mincore as Linux has it")
def test_all_pages_of_an_arena_are_there_before_a_run_writes_to_them(idle):
    assert not resident(Arena(NBYTES)).any()
    activation.prepare_arena(NBYTES)
    wait()
    assert resident(idle[0]).all()
    assert not contents(idle[0]).any()


def test_what_a_run_has_written_stays(idle):
    arena = Arena(NBYTES)
    written = np.random.default_rng(0).integers(0, 256, NBYTES, np.uint8)
    contents(arena)[:] = written
    arena.populate()
    assert np.array_equal(contents(arena), written)


def test_a_small_arena_needs_no_thread(idle, begun):
    activation.prepare_arena(1 << 20)
    wait()
    assert len(idle) == 1
    assert begun == []


def test_an_arena_that_waits_is_not_gone_through_again(idle, begun):
    for nbytes in (NBYTES, NBYTES // 2, NBYTES, 2 * NBYTES):
        activation.prepare_arena(nbytes)
        wait()
    assert [arena.nbytes for arena in begun] == [NBYTES, 2 * NBYTES]
    assert [arena.nbytes for arena in idle] == [2 * NBYTES]


def test_a_first_call_prepares_the_arena_that_it_runs_in(idle, begun):
    run = chained()
    first = run(ones())
    wait()
    assert [arena.nbytes for arena in begun] == [run.binding(n=N).arena]
    assert idle == begun
    assert np.array_equal(run(ones()), first)
    assert len(begun) == 1


def test_nothing_waits_for_what_has_an_arena_of_its_own(idle):
    chained().bind(ones())
    assert idle == []


def test_to_look_at_a_binding_takes_no_memory(idle):
    run = chained()
    run.binding(n=N)
    run.peak_bytes(n=N)
    assert idle == []


def test_who_takes_an_arena_helps_until_its_pages_are_there(idle, monkeypatch):
    class Late(threading.Thread):
        def start(self):
            pass

    monkeypatch.setattr(threading, "Thread", Late)
    activation.prepare_arena(NBYTES)
    assert not resident(idle[0]).any()
    arena = activation.take_arena(NBYTES)
    assert resident(arena).all()
    monkeypatch.setattr(Arena, "populate", lambda arena: pytest.fail("all pages are there"))
    activation.give_back(arena)
    assert activation.take_arena(NBYTES) is arena
