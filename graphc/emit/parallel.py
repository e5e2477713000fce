"""The object code of many kernels at once, by a process for each core, beginning while others are still being written.

Part of a kernel's compilation is Python, so threads would take turns. A forked child has all that is imported; it makes
nothing but object code, leaves by `_exit`, and runs no handler of a signal that the program has set. Whoever is free takes the
longest kernel that waits. What a child does not deliver, the parent makes itself: so errors are raised here, and a child that a
lock of another thread keeps from going on costs only time, as does a system that gives no process or file.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import struct
import sys
import time
import warnings
from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any

from graphc.emit import objects
from graphc.errors import CompileError
from graphc.simd.levels import Level

Natives = Mapping[str, Callable[..., Any]]
# Lines of source that take about an eighth of a second: what a child must have to do to be worth it.
LEAST = 250
# Children are waited for as long as the parent's own part took, times this, and some seconds.
PATIENCE, AT_LEAST = 3, 10
# Seconds after which a child leaves that nobody gives anything to do, and that the system ends a child after that is at one
# kernel: nobody else would, if the parent ended while it hangs.
IDLE, LONGEST = 10.0, 600
# Children of which nobody asked for what they made; the system forgets them when they are waited for.
_left: list[_Child] = []


def compile_kernels(kernels: Mapping[str, str], level: Level, natives: Natives) -> dict[str, bytes]:
    """Return the objects of kernels by name; `natives` are the functions that they may call."""
    return Crew(level, natives).finish(kernels)


class Crew:
    """Processes that compile kernels: what is offered, while more is being made, and in the end all that is asked for."""

    def __init__(self, level: Level, natives: Natives) -> None:
        self._level, self._natives = level, natives
        self._board: _Board | None = None
        self._children: list[_Child] = []
        self._offered: dict[str, str] = {}
        self._lines = 0
        self._most = _processes()

    def offer(self, name: str, text: str) -> None:
        """Let a child compile a kernel of which the object will be asked for."""
        if name not in self._offered:
            self._add(name, text)
            self._hire()

    def finish(self, kernels: Mapping[str, str]) -> dict[str, bytes]:
        """Return the objects of kernels by name, and end the children."""
        for name, text in kernels.items():
            if name not in self._offered:
                self._add(name, text)
        if not self._children and self._wanted > 1:
            objects.prepare(self._level)
        self._hire()
        begun = time.monotonic()
        made: dict[str, bytes] = {}
        deadline = begun
        try:
            if self._board is not None:
                with contextlib.suppress(OSError):
                    self._board.close()
                    while job := self._board.take(kernels):
                        made[job[0]] = self._compile(*job)
            deadline = time.monotonic() + AT_LEAST + PATIENCE * (time.monotonic() - begun)
        finally:
            for child in self._children:
                made |= child.results(deadline)
            self._children.clear()
        for name in sorted(kernels.keys() - made.keys(), key=lambda name: -len(kernels[name])):
            made[name] = self._compile(name, kernels[name])
        return {name: made[name] for name in kernels}

    def _add(self, name: str, text: str) -> None:
        self._offered[name] = text
        self._lines += text.count("\n") + 20  # what a kernel costs besides its lines
        if self._board is not None:
            with self._making_do():
                self._board.add(name, text)

    @property
    def _wanted(self) -> int:
        """How many processes pay."""
        return min(self._most, len(self._offered), self._lines // LEAST)

    def _hire(self) -> None:
        for child in list(_left):
            if child.has_ended():
                with contextlib.suppress(ValueError):  # another thread was faster
                    _left.remove(child)
        with self._making_do():
            if self._board is None and self._wanted > 1:
                self._board = _Board()
                for name, text in self._offered.items():
                    self._board.add(name, text)
            while self._board is not None and len(self._children) + 1 < self._wanted:
                self._children.append(_Child(self._board, self._compile))

    @contextlib.contextmanager
    def _making_do(self) -> Generator[None]:
        """Go on with the children that there are where the system gives no more processes, files or memory for them."""
        try:
            yield
        except OSError:
            self._most = 1

    def _compile(self, name: str, text: str) -> bytes:
        called = {native: function for native, function in self._natives.items() if native in text}
        return objects.compile_kernel(text, name, self._level, called or None)

    def __del__(self) -> None:
        # Nobody asked: children leave by themselves, after the kernel that they are at.
        if self._children and self._board is not None:
            self._board.close()
            _left.extend(self._children)


def _processes() -> int:
    """Return the most processes to use: `$GRAPHC_COMPILE_PROCESSES`, else the cores; one where forking is not safe."""
    if sys.platform != "linux":
        return 1
    chosen = os.environ.get("GRAPHC_COMPILE_PROCESSES") or str(len(os.sched_getaffinity(0)))
    if not chosen.isdecimal():
        raise CompileError(f"GRAPHC_COMPILE_PROCESSES must be a whole number, got {chosen!r}")
    return max(1, int(chosen))


class _Board:
    """Kernels that wait to be compiled, in files that forked processes share: each is taken once, the longest first.

    A record is where the kernel's name and text begin, their lengths, and whether somebody took it; before all records stands
    whether more may come.
    """

    _RECORD = struct.Struct("<qqqq")

    def __init__(self) -> None:
        self._texts, self._records = _File(), _File()
        self._records.append(struct.pack("<q", 0))
        self._end = 0

    def add(self, name: str, text: str) -> None:
        data = name.encode() + text.encode()
        self._texts.append(data)
        self._records.append(self._RECORD.pack(self._end, len(name.encode()), len(data), 0))
        self._end += len(data)

    def close(self) -> None:
        self._records.write(struct.pack("<q", 1), 0)

    def is_closed(self) -> bool:
        return self._records.read(8, 0) != bytes(8)

    def take(self, wanted: Collection[str] | None = None) -> tuple[str, str] | None:
        """Return the name and text of a kernel (one of those wanted, if any are named), None if none waits."""
        with self._records.locked():
            found = list(self._RECORD.iter_unpack(self._records.read(-1, 8)))
            waiting = sorted((-length, number) for number, (_, _, length, taken) in enumerate(found) if not taken)
            for _, number in waiting:
                start, named, length, _ = found[number]
                data = self._texts.read(length, start)
                if wanted is None or data[:named].decode() in wanted:
                    self._records.write(self._RECORD.pack(start, named, length, 1), 8 + self._RECORD.size * number)
                    return data[:named].decode(), data[named:].decode()
        return None


class _File:
    """A file in memory that forked processes share."""

    _number = -1

    def __init__(self) -> None:
        self._number = os.memfd_create("graphc")
        self._size = 0

    def __del__(self) -> None:
        if self._number >= 0:
            os.close(self._number)

    def append(self, data: bytes) -> None:
        self.write(data, self._size)
        self._size += len(data)

    def write(self, data: bytes, start: int) -> None:
        if os.pwrite(self._number, data, start) < len(data):
            raise OSError("no room")  # a limit on the sizes of files cuts what crosses it

    def read(self, count: int, start: int) -> bytes:
        return os.pread(self._number, os.fstat(self._number).st_size if count < 0 else count, start)

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Keep other processes out; TimeoutError if one stays inside, which takes microseconds but for one that hangs."""
        deadline = time.monotonic() + AT_LEAST
        while True:
            try:
                fcntl.lockf(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(0.0001)
        try:
            yield
        finally:
            fcntl.lockf(self._number, fcntl.LOCK_UN)


class _Child:
    def __init__(self, board: _Board, compile_kernel: Callable[[str, str], bytes]) -> None:
        self.file = _File()
        parent = os.getpid()
        # A signal that comes as the child begins would have it go on with the program, in a copy.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with warnings.catch_warnings():
                # Python and some libraries warn that locks of other threads may be held; a child that hangs is ended.
                warnings.simplefilter("ignore")
                self.process = os.fork()
            if self.process == 0:
                try:
                    _become_a_child(before)
                    for name, text in _jobs(board, parent):
                        data = compile_kernel(name, text)
                        self.file.append(f"{name} {len(data)}\n".encode() + data)
                finally:
                    os._exit(0)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def has_ended(self) -> bool:
        """Whether the child's process is over; a program that ignores the ends of its children finds none to wait for."""
        try:
            return os.waitpid(self.process, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    def results(self, deadline: float) -> dict[str, bytes]:
        """Return what the child has made once it has ended, or was ended at the deadline."""
        while not self.has_ended():
            if time.monotonic() > deadline:
                os.kill(self.process, signal.SIGKILL)
                deadline += AT_LEAST
            time.sleep(0.001)
        made: dict[str, bytes] = {}
        rest = self.file.read(-1, 0)
        while rest:
            head, is_whole, rest = rest.partition(b"\n")
            if not is_whole:
                break  # it was ended as it wrote this
            name, length = head.decode().split()
            data, rest = rest[: int(length)], rest[int(length) :]
            if len(data) == int(length):
                made[name] = data
        return made


def _become_a_child(mask: Collection[int]) -> None:
    """Leave what the program does at signals and with its garbage to the parent; `mask` are the signals that it blocks."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    # Finalizers would run twice; and what the collector looks at is copied.
    gc.freeze()


def _jobs(board: _Board, parent: int) -> Generator[tuple[str, str]]:
    """Yield the kernels that a child takes: until no more can come, for a time none came, or there is no parent."""
    last = time.monotonic()
    while os.getppid() == parent:
        is_last = board.is_closed()
        job = board.take()
        if job is not None:
            signal.alarm(LONGEST)
            yield job
            signal.alarm(0)
            last = time.monotonic()
        elif is_last or time.monotonic() > last + IDLE:
            return
        else:
            time.sleep(0.001)
