"""The pool: daemon Python threads parked in native code.

After a launch a worker stays awake for a while, so that the next launch costs about a microsecond; then it sleeps on a
lock and uses no CPU. Waking it takes 100 us and more, so only heavy plans wake sleepers, and launches that soon follow
another one: then more will come.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
import time
from functools import cache

from graphc.errors import CallError
from graphc.runtime.walk import ASLEEP, FREE, LINE, STRAIN, keep, native

AWAKE_NANOSECONDS = 200_000


class Pool:
    """Workers 1 to `size`, each with a line of state and a lock to sleep on; thread 0 is always the caller.

    `address` is what a launch block names as its pool.
    """

    def __init__(self) -> None:
        self.size = 0
        self._growing = threading.Lock()
        self._memory = ctypes.create_string_buffer(LINE * (MOST_THREADS + 2))
        keep(self._memory)
        self.address = -(-ctypes.addressof(self._memory) // LINE) * LINE
        words = (ctypes.c_int64.from_address(self.address + 8 * word) for word in (1, 2, 3))
        self._strain, give_way, self._last = words
        give_way.value = native().give_way
        self._states: list[ctypes.c_int64] = []
        self._beds: list[threading.Lock] = []

    def grow(self, size: int) -> None:
        """Have at least this many workers."""
        if size <= self.size:
            return
        with self._growing:
            while self.size < size:
                line = self.address + LINE * (self.size + 1)
                bed = threading.Lock()
                bed.acquire()
                name, given = f"graphc-{self.size + 1}", (line, bed, self.address)
                threading.Thread(target=_work, args=given, name=name, daemon=True).start()
                self._states.append(ctypes.c_int64.from_address(line))
                self._beds.append(bed)
                self.size += 1

    def sleeps(self, size: int) -> bool:
        """Whether one of the first `size` workers sleeps. It is asked before each launch, so it is a plain loop."""
        for state in self._states[:size]:  # noqa: SIM110
            if state.value == ASLEEP:
                return True
        return False

    @property
    def is_hot(self) -> bool:
        """Whether the last launch ended so recently that a worker which took part would be awake."""
        return now() - self._last.value < AWAKE_NANOSECONDS

    def wake(self, size: int) -> None:
        """Wake those of the first `size` workers that sleep, less those that cores are too strained for.

        They may be given work at once.
        """
        size -= max(0, self._strain.value - now()) // STRAIN
        for state, bed in zip(self._states[: max(0, size)], self._beds, strict=False):
            if state.value == ASLEEP:
                with self._growing:
                    if state.value == ASLEEP:
                        # Freed before it is woken; a worker that wakes and finds itself asleep goes back to bed.
                        try:
                            state.value = FREE
                        finally:
                            bed.release()


def now() -> int:
    """Return the nanoseconds of the clock that the walk reads (`time.monotonic` reads another one on some systems)."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


MOST_THREADS = 256
_pool: Pool | None = None


def pool() -> Pool:
    """Return this process's pool."""
    global _pool
    if _pool is None:
        _pool = Pool()
    return _pool


def _forget_pool() -> None:
    # A child of fork has the memory of its parent's workers but not the workers.
    global _pool
    _pool = None


os.register_at_fork(after_in_child=_forget_pool)


def _work(line: int, bed: threading.Lock, pool: int) -> None:
    serve = native().serve
    while True:
        serve(line, AWAKE_NANOSECONDS, pool)
        bed.acquire()


def thread_count(threads: int | None = None) -> int:
    """Return how many threads to use: the argument, else GRAPHC_THREADS, else the cores this process may use."""
    if threads is None:
        text = os.environ.get("GRAPHC_THREADS", "")
        if not text:
            return available_cores()
        if not text.isdigit():
            raise CallError(f"GRAPHC_THREADS must be a whole number of 1 or more, got {text!r}")
        threads = int(text)
    if type(threads) is not int or threads < 1:
        raise CallError(f"threads must be a whole number of 1 or more, got {threads!r}")
    return min(threads, MOST_THREADS)


@cache
def available_cores() -> int:
    """Return the cores that this process may use, by affinity and by the control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def _quota(root: str = "/") -> float:
    """Return the cores that the control groups of this process grant, its own and all above it; infinity without a limit."""
    granted = math.inf
    for line in _read(root, "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        names = [name for name in path.split("/") if name]
        for depth in range(len(names), -1, -1):
            above = names[:depth]
            if not controllers:  # version 2: all controllers in one tree
                quota, period = (*_read(root, "sys/fs/cgroup", *above, "cpu.max").split(), "max", "")[:2]
            elif "cpu" in controllers.split(","):
                base = root, "sys/fs/cgroup/cpu", *above
                quota, period = _read(*base, "cpu.cfs_quota_us").strip(), _read(*base, "cpu.cfs_period_us").strip()
            else:
                break
            if quota.isdigit() and period.isdigit():  # no limit is "max" in version 2, -1 in version 1
                granted = min(granted, int(quota) / int(period))
    return granted


def _read(*path: str) -> str:
    try:
        with open(os.path.join(*path)) as file:
            return file.read()
    except OSError:
        return ""
