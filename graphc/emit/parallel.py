"""The object code of many kernels at once, by a process for each core.

Part of a kernel's compilation is Python, so threads would take turns. A forked child has all that is imported; it makes
nothing but object code, and leaves by `_exit`. What a child does not deliver, the parent makes itself: so errors are
raised here, and a child that a lock of another thread keeps from going on costs only time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphc.emit import objects
from graphc.simd.levels import Level

Natives = Mapping[str, Callable[..., Any]]
# Lines of source that take about an eighth of a second: what a child must have to do to be worth it.
LEAST = 250
# Children are waited for as long as the parent's own part took, times this, and some seconds.
PATIENCE, AT_LEAST = 3, 10


def compile_kernels(kernels: Mapping[str, str], level: Level, natives: Natives) -> dict[str, bytes]:
    """Return the objects of kernels by name; `natives` are the functions that they may call."""
    parts = _parts(kernels, _processes(kernels))
    if len(parts) > 1:
        objects.prepare(level)
    begun = time.monotonic()
    children = [_Child(part, kernels, level, natives) for part in parts[1:]]
    made: dict[str, bytes] = {}
    deadline = begun
    try:
        made |= {name: _compile(name, kernels[name], level, natives) for name in parts[0]}
        deadline = time.monotonic() + AT_LEAST + PATIENCE * (time.monotonic() - begun)
    finally:
        for child in children:
            made |= child.results(deadline)
    return {name: made[name] if name in made else _compile(name, kernels[name], level, natives) for name in kernels}


def _compile(name: str, text: str, level: Level, natives: Natives) -> bytes:
    called = {native: function for native, function in natives.items() if native in text}
    return objects.compile_kernel(text, name, level, called or None)


def _processes(kernels: Mapping[str, str]) -> int:
    """Return how many processes to use: `$GRAPHC_COMPILE_PROCESSES`, else the cores; one where forking is not safe."""
    if sys.platform != "linux":
        return 1
    chosen = int(os.environ.get("GRAPHC_COMPILE_PROCESSES") or len(os.sched_getaffinity(0)))
    return max(1, min(chosen, len(kernels), sum(map(_lines, kernels.values())) // LEAST))


def _parts(kernels: Mapping[str, str], count: int) -> list[list[str]]:
    """Share the kernels out, the longest first to whoever has least."""
    parts: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for name in sorted(kernels, key=lambda name: -_lines(kernels[name])):
        least = loads.index(min(loads))
        parts[least].append(name)
        loads[least] += _lines(kernels[name])
    return parts


def _lines(text: str) -> int:
    return text.count("\n") + 20  # what a kernel costs besides its lines


class _Child:
    def __init__(self, names: Iterable[str], kernels: Mapping[str, str], level: Level, natives: Natives) -> None:
        self.file = os.memfd_create("graphc")
        with warnings.catch_warnings():
            # Python and some libraries warn that locks of other threads may be held; a child that hangs is ended.
            warnings.simplefilter("ignore")
            self.process = os.fork()
        if self.process == 0:
            try:
                for name in names:
                    data = _compile(name, kernels[name], level, natives)
                    head = f"{name} {len(data)}\n".encode()
                    os.write(self.file, head + data)
            finally:
                os._exit(0)

    def results(self, deadline: float) -> dict[str, bytes]:
        """Return what the child has made once it has ended, or was ended at the deadline."""
        # A program that ignores the ends of its children finds none to wait for.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self.process, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:
                    os.kill(self.process, signal.SIGKILL)
                    os.waitpid(self.process, 0)
                    break
                time.sleep(0.001)
        made: dict[str, bytes] = {}
        with open(self.file, "rb") as file:
            file.seek(0)
            while head := file.readline().decode():
                name, length = head.split()
                data = file.read(int(length))
                if len(data) == int(length):
                    made[name] = data
        return made
