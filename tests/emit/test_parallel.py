"""Kernels compiled by several processes: the same objects, whatever becomes of a child."""

import ctypes
import os
import sys
import time

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.emit import objects, parallel
from graphc.emit.loader import Loader
from graphc.errors import CompileError
from graphc.simd.levels import host_level

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
KERNELS = {
    f"kernel_{n}": f"def kernel_{n}(args, thread, threads):\n    store(i64({n}), word(args, 0))\n" for n in range(5)
}
LENGTHS = {f"kernel_{n}": f"{n}" + "\n" * n for n in (900, 300, 500, 100, 600, 200)}


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.setenv("GRAPHC_COMPILE_PROCESSES", "3")
    monkeypatch.setattr(parallel, "LEAST", 1)
    monkeypatch.setattr(objects, "prepare", lambda level: None)


def by(compile_kernel, monkeypatch):
    monkeypatch.setattr(objects, "compile_kernel", compile_kernel)


def test_children_make_kernels_that_run(processes):
    made = parallel.compile_kernels(KERNELS, host_level(), {})
    assert list(made) == list(KERNELS)
    loader, result = Loader(made), np.zeros(1, np.int64)
    row = np.array([result.ctypes.data], np.int64)
    for n, name in enumerate(KERNELS):
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(loader.address(name))(row.ctypes.data, 0, 1)
        assert result[0] == n


def test_whoever_is_free_takes_the_next_one(processes, monkeypatch):
    parent = os.getpid()

    def compile_kernel(text, name, level, natives):
        time.sleep(0.5 if os.getpid() == parent else 0.01)
        return f"{os.getpid()} {name}".encode()

    by(compile_kernel, monkeypatch)
    many = {f"{name}_{copy}": text for name, text in LENGTHS.items() for copy in range(4)}
    made = [data.decode().split() for data in parallel.compile_kernels(many, host_level(), {}).values()]
    assert [name for _, name in made] == list(many)
    makers = [int(process) for process, _ in made]
    assert len(set(makers)) == 3
    assert makers.count(parent) <= 2


def test_the_longest_are_made_first(monkeypatch):
    monkeypatch.setenv("GRAPHC_COMPILE_PROCESSES", "1")
    begun = []
    by(lambda text, name, level, natives: begun.append(text.count("\n")) or b"", monkeypatch)
    parallel.compile_kernels(LENGTHS, host_level(), {})
    assert begun == sorted(begun, reverse=True)


@pytest.mark.parametrize("end", ["raises", "exits", "is killed"])
def test_what_a_child_does_not_deliver_the_parent_makes(processes, monkeypatch, end):
    parent, delivered = os.getpid(), []

    def compile_kernel(text, name, level, natives):
        if os.getpid() != parent:
            if end == "raises":
                raise CompileError("a child")
            if end == "exits":
                os._exit(1)
            delivered.append(name)
            if len(delivered) == 2:
                os.kill(os.getpid(), 9)
        return name.encode()

    by(compile_kernel, monkeypatch)
    made = parallel.compile_kernels(LENGTHS, host_level(), {})
    assert made == {name: name.encode() for name in LENGTHS}


def test_a_child_that_hangs_is_ended(processes, monkeypatch):
    parent = os.getpid()
    monkeypatch.setattr(parallel, "AT_LEAST", 0.05)

    def compile_kernel(text, name, level, natives):
        if os.getpid() != parent:
            time.sleep(100)
        return name.encode()

    by(compile_kernel, monkeypatch)
    begun = time.monotonic()
    assert parallel.compile_kernels(LENGTHS, host_level(), {}) == {name: name.encode() for name in LENGTHS}
    assert time.monotonic() - begun < 30


def test_an_error_is_raised_and_leaves_no_child(processes, monkeypatch):
    parent = os.getpid()

    def compile_kernel(text, name, level, natives):
        if os.getpid() != parent:
            time.sleep(100)
        raise CompileError(f"cannot compile {name}")

    by(compile_kernel, monkeypatch)
    with pytest.raises(CompileError, match="cannot compile kernel_"):
        parallel.compile_kernels(LENGTHS, host_level(), {})
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_few_lines_are_compiled_alone(monkeypatch):
    monkeypatch.setenv("GRAPHC_COMPILE_PROCESSES", "3")
    by(lambda text, name, level, natives: str(os.getpid()).encode(), monkeypatch)
    assert set(parallel.compile_kernels(KERNELS, host_level(), {}).values()) == {str(os.getpid()).encode()}


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_offered_is_made_before_it_is_asked_for(processes, monkeypatch, tmp_path):
    parent = os.getpid()

    def compile_kernel(text, name, level, natives):
        assert os.getpid() != parent, "everything was to be made by then"
        (tmp_path / name).touch()
        return name.encode()

    by(compile_kernel, monkeypatch)
    crew = parallel.Crew(host_level(), {})
    for name, text in LENGTHS.items():
        crew.offer(name, text)
        crew.offer(name, text)
    until(lambda: len(list(tmp_path.iterdir())) == len(LENGTHS))
    asked = dict(list(LENGTHS.items())[::2])
    assert crew.finish(asked) == {name: name.encode() for name in asked}


def test_what_was_not_offered_is_made_too(processes, monkeypatch):
    by(lambda text, name, level, natives: text[:3].encode(), monkeypatch)
    crew = parallel.Crew(host_level(), {})
    offered = dict(list(LENGTHS.items())[:3])
    for name, text in offered.items():
        crew.offer(name, text)
    assert crew.finish(LENGTHS) == {name: text[:3].encode() for name, text in LENGTHS.items()}


@pytest.mark.parametrize("left", ["dropped", "idle"])
def test_children_leave_whom_nobody_asks(processes, monkeypatch, left):
    if left == "idle":
        monkeypatch.setattr(parallel, "IDLE", 0.05)
    by(lambda text, name, level, natives: b"", monkeypatch)
    crew = parallel.Crew(host_level(), {})
    for name, text in LENGTHS.items():
        crew.offer(name, text)
    children = list(crew._children)
    assert len(children) == 2
    if left == "dropped":
        del crew
        assert parallel._left == children
    until(lambda: all(child.has_ended() for child in children))
    parallel.compile_kernels(LENGTHS, host_level(), {})
    assert parallel._left == []


def test_a_child_that_hangs_where_others_must_wait_costs_only_time(processes, monkeypatch):
    parent, take = os.getpid(), parallel._Board.take
    monkeypatch.setattr(parallel, "AT_LEAST", 0.2)

    def hang(board, wanted=None):
        if os.getpid() == parent:
            time.sleep(0.1)  # until a child is inside
            return take(board, wanted)
        with board._records.locked():
            time.sleep(100)

    monkeypatch.setattr(parallel._Board, "take", hang)
    by(lambda text, name, level, natives: str(os.getpid()).encode(), monkeypatch)
    made = parallel.compile_kernels(LENGTHS, host_level(), {})
    assert set(made.values()) == {str(parent).encode()}


def test_no_file_stays_open(processes, monkeypatch):
    by(lambda text, name, level, natives: b"", monkeypatch)
    parallel.compile_kernels(LENGTHS, host_level(), {})
    before = os.listdir("/proc/self/fd")
    parallel.compile_kernels(LENGTHS, host_level(), {})
    assert len(os.listdir("/proc/self/fd")) == len(before)


def steps(count):
    """Return a training step's losses and weights, and what it was compiled to."""
    x, w = graphc.input("x", ("n", 8)), graphc.parameter(np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4), "w")
    loss = graphc.mean(nn.softmax(graphc.tanh(x @ w)) ** 2)
    step = graphc.compile([x], loss, {w: w - 0.5 * graphc.grad(loss, w)})
    losses = [step(np.float32(k) * np.ones((5, 8), np.float32)).tobytes() for k in range(count)]
    return losses, w.value.tobytes(), step.source()


def test_a_cold_start_makes_the_same_with_children_and_a_warm_one_has_none(monkeypatch, tmp_path):
    found, hired = [], []
    child = parallel._Child
    monkeypatch.setattr(parallel, "_Child", lambda *arguments: hired.append(1) or child(*arguments))
    monkeypatch.setattr(parallel, "LEAST", 1)
    for folder, count in (("alone", "1"), ("several", "3"), ("several", "3")):
        monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / folder))
        monkeypatch.setenv("GRAPHC_COMPILE_PROCESSES", count)
        found.append((steps(3), len(hired)))
        hired.clear()
    assert found[0][0] == found[1][0] == found[2][0]
    assert found[0][1] == found[2][1] == 0
    assert found[1][1] >= 2
    objects_of = [
        {path.name: path.read_bytes() for path in (tmp_path / folder / "object").iterdir()}
        for folder in ("alone", "several")
    ]
    assert objects_of[1]
    assert objects_of[0].items() >= objects_of[1].items()  # the walk is made once in a process


def test_objects_that_are_there_start_nobody_though_the_plan_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    steps(1)
    for path in (tmp_path / "plan").iterdir():
        path.unlink()
    monkeypatch.setenv("GRAPHC_COMPILE_PROCESSES", "3")
    monkeypatch.setattr(parallel, "LEAST", 1)
    hired, child = [], parallel._Child
    monkeypatch.setattr(parallel, "_Child", lambda *arguments: hired.append(1) or child(*arguments))
    steps(1)
    assert not hired
