"""The object code of many kernels at once, by a process for each core.

Part of a kernel's compilation is Python, so threads would take turns. A forked child has all that is imported; it makes
nothing but object code, and leaves by `_exit`. Whoever is free takes the next kernel, the longest first. What a child does not
deliver, the parent makes itself: so errors are raised here, and a child that a lock of another thread keeps from going on costs
only time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
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
    order = sorted(kernels, key=lambda name: -_lines(kernels[name]))
    count = _processes(kernels)
    if count > 1:
        objects.prepare(level)
    begun = time.monotonic()
    made: dict[str, bytes] = {}
    with _shared(order) if count > 1 else contextlib.nullcontext(order) as waiting:
        children = [_Child(waiting, kernels, level, natives) for _ in range(count - 1)]
        deadline = begun
        try:
            for name in waiting:
                made[name] = _compile(name, kernels[name], level, natives)
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


def _lines(text: str) -> int:
    return text.count("\n") + 20  # what a kernel costs besides its lines


@contextlib.contextmanager
def _shared(names: Sequence[str]) -> Generator[Iterable[str]]:
    """Give names that forked processes take, each of them once: they share the place in a file, which one read moves for all."""
    with open(os.memfd_create("graphc"), "r+b", buffering=0) as file:
        file.write(b"".join(number.to_bytes(4, "little") for number in range(len(names))))
        file.seek(0)
        yield (names[int.from_bytes(number, "little")] for number in iter(lambda: file.read(4), b""))


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
