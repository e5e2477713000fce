"""Kernels compiled by several processes: the same objects, whatever becomes of a child."""

import ctypes
import os
import sys
import time

import numpy as np
import pytest

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
