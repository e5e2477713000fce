"""A binding in memory: arena, status block, frames and launch block. One run at a time owns it."""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Callable, Sequence
from functools import partial
from struct import Struct
from typing import Any, cast

import numpy as np

from graphc import reentry
from graphc.errors import CallError, IndexOutOfRangeError, PlanMemoryError
from graphc.runtime import threads
from graphc.runtime.arguments import Array, address_of
from graphc.runtime.binding import Binding
from graphc.runtime.locks import LOCK
from graphc.runtime.walk import FAILED, LAUNCH_WORDS, LINE, native

# Below this, the system is not asked how much memory it has.
SURELY_AVAILABLE = 1 << 28
# From so many bytes on the system makes an arena's pages as they are written, which takes half a microsecond each.
_PAGE_BY_PAGE = 1 << 22
_OUTCOME, _RAN = 8, 11


class Arena:
    """Memory for temporaries, 64-byte aligned."""

    def __init__(self, nbytes: int) -> None:
        check_memory(nbytes)
        try:
            self._memory = _memory(nbytes + LINE)
        except (MemoryError, OSError, OverflowError) as error:
            raise PlanMemoryError(_too_large(nbytes, None)) from error
        self.address = -(-address_of(self._memory) // LINE) * LINE
        self.nbytes = nbytes
        self._pages = (ctypes.c_int64 * 3)(self.address, nbytes, 0)
        self._is_populating = False

    def begin_populating(self) -> None:
        """Have a thread that needs no Python let the system make all pages, where there are many."""
        if self.nbytes >= _PAGE_BY_PAGE and not self._pages[2] and not self._is_populating:
            self._is_populating = True
            native()
            threading.Thread(target=self.populate, name="graphc-pages", daemon=True).start()

    def populate(self) -> None:
        """Take part in that until all pages are there; what has been written to them stays."""
        native().populate(ctypes.c_int64(ctypes.addressof(self._pages)))
        self._is_populating = False

    def make_ready(self) -> None:
        """Before a run: all its threads would wait for one that shares its core with the thread that populates."""
        if self._is_populating:
            self.populate()


def _memory(nbytes: int) -> Array:
    """Return new memory, made by the system page by page as it is written.

    From 4 MiB on NumPy asks for huge pages. These made no step faster, but the system may have to move others' memory
    together for them, which made a first step take up to three times as long.
    """
    if nbytes < _PAGE_BY_PAGE or not hasattr(mmap, "MAP_PRIVATE"):
        return np.empty(nbytes, np.uint8)
    # Private, so that a child of fork has its own.
    return np.frombuffer(mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)


# Arenas that no run uses. Runs that follow each other get the same one, so executables share it; it grows by being
# replaced.
_idle_arenas: list[Arena] = []


def take_arena(nbytes: int) -> Arena:
    """Return an arena of this size or more, for this run alone until it is given back."""
    arena = _any_arena(nbytes)
    arena.make_ready()
    return arena


def _any_arena(nbytes: int) -> Arena:
    try:
        arena = _idle_arenas.pop()
    except IndexError:
        return Arena(nbytes)
    if arena.nbytes < nbytes:
        del arena
        arena = Arena(nbytes)
    return arena


def give_back(arena: Arena) -> None:
    """Let later runs use this arena."""
    _idle_arenas.append(arena)


def prepare_arena(nbytes: int) -> None:
    """Have an arena for a run that will come, and its pages made by a thread while more is prepared for it."""
    arena = _any_arena(nbytes)
    arena.begin_populating()
    give_back(arena)


def check_memory(nbytes: int) -> None:
    """Raise PlanMemoryError if so many bytes are surely not to be had."""
    if nbytes >= SURELY_AVAILABLE and (available := available_memory()) is not None and nbytes > available:
        raise PlanMemoryError(_too_large(nbytes, available))


def available_memory() -> int | None:
    """Return the bytes that this process may still take, None where the system does not tell."""
    found: list[int] = []
    try:
        with open("/proc/meminfo") as file:
            found += [1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable:")]
        with open("/sys/fs/cgroup/memory.max") as most, open("/sys/fs/cgroup/memory.current") as taken:
            limit = most.read().strip()
            if limit != "max":
                found.append(int(limit) - int(taken.read()))
    except (OSError, ValueError):
        pass
    return min(found) if found else None


def _too_large(nbytes: int, available: int | None) -> str:
    have = "" if available is None else f", and {available / 2**20:,.0f} MiB are available"
    return f"this call needs {nbytes / 2**20:,.0f} MiB for temporaries{have}; use a smaller batch"


class Run:
    """Something native that is started under the readers-writer lock, and whose last word tells how it ended."""

    def __init__(self, start: Callable[[ctypes.c_int64], None], block: int, outcome: int, threads: int) -> None:
        self._start = start
        self._block = ctypes.c_int64(block)
        self._outcome = ctypes.c_int64.from_address(block + 8 * outcome)
        self._threads = threads

    def run(self, writes: bool) -> int:
        """Run, or go on where a pause left off, under the readers-writer lock; return how it ended.

        Raises what the status block says; then it is ready to start anew.
        """
        if reentry.inside and threading.get_ident() in reentry.inside:
            raise CallError(
                "a function called by py_callback must not run an executable: the run it belongs to waits for it"
            )
        if self._threads > 1:
            self.prepare_pool()
        if writes:
            if LOCK.patient:
                LOCK.give_way()
            with LOCK.mutex:
                try:
                    LOCK.writer = self
                    if LOCK.readers:
                        LOCK.enter_writing(self)
                    self._start(self._block)
                finally:
                    LOCK.writer = None
        else:
            try:
                LOCK.readers.add(self)
                if LOCK.writer is not None:
                    LOCK.enter_reading(self)
                self._start(self._block)
            finally:
                LOCK.readers.discard(self)
        outcome = self._outcome.value
        if outcome == FAILED:
            self.fail()
        return outcome

    def prepare_pool(self) -> None:
        """Before a run on several threads: see to it that workers are there, and awake where that pays."""
        raise NotImplementedError

    def fail(self) -> None:
        """Raise what the status block says."""
        raise NotImplementedError


class Activation(Run):
    """Frames for every thread, the table of external addresses, and the block that the native walk is started with."""

    def __init__(
        self,
        binding: Binding,
        leaves: Sequence[Array],
        code: object,
        flush_denormals: bool = False,
    ) -> None:
        self.binding = binding
        self.sites = binding.sites
        # Machine code and storage must live as long as something may run on them.
        self._keep = (tuple(leaves), binding.constants, code)
        line = LINE // 8
        stride = -(-len(binding.frame) // line) * line
        entries = -(-binding.entries // line) * line
        # launch block | status | barrier, two lines | externals | frames
        total = 4 * line + entries + binding.threads * stride
        self._memory = np.zeros(total + line, np.int64)
        skip = -address_of(self._memory) % LINE // 8
        words = self._memory[skip : skip + total]
        base = address_of(words)
        self._status = words[line : line + 4]
        self._externals = words[4 * line : 4 * line + binding.entries]
        self._frames = words[4 * line + entries :].reshape(binding.threads, stride)
        self._frames[:, : len(binding.frame)] = binding.frame
        self._externals[1] = base + LINE
        known = [address_of(array) for array in (*leaves, *binding.constants)]
        self._externals[2 : 2 + len(known)] = known
        walk = native()
        words[:LAUNCH_WORDS] = (
            *(base + LINE, address_of(binding.table), address_of(self._frames), 8 * stride, base + 2 * LINE),
            *(base + 8 * 4 * line, 0, 0, 0, walk.address, 0, 0, binding.threads, 0, flush_denormals),
        )
        self._words = words
        super().__init__(walk.launch, base, _OUTCOME, binding.threads)
        count = binding.entries - binding.inputs_at
        moving = self._externals[binding.inputs_at :]
        late = memoryview(cast(Any, moving)).cast("B") if count else bytearray()
        # Called with the addresses of inputs and outputs, before each run for which they may have changed.
        self.set_addresses = partial(Struct(f"{count}q").pack_into, late, 0)
        # Where a chain finds it: its launch block, those addresses, and how many they are.
        self.place_in_chain = base, address_of(moving), count
        self._arena_address = -1
        self._pool: threads.Pool | None = None

    def place(self, arena_address: int) -> None:
        """Point the frames at an arena."""
        if arena_address != self._arena_address:
            self._externals[0] = self._arena_address = arena_address
            word, entry, offset = self.binding.fixed.T
            self._frames[:, word] = self._externals[entry] + offset

    def align_threads(self) -> None:
        """After a pause: let all threads stand where thread 0 stands, as the next run may have more of them."""
        self._frames[1:] = self._frames[0]

    @property
    def threads_ran(self) -> int:
        """How many threads the last run had."""
        return int(self._words[_RAN])

    def iterations_done(self) -> int:
        """Return how many iterations of the first loop are complete, once it has begun."""
        return self.binding.count - int(self._frames[0, self.binding.counter])

    def prepare_pool(self) -> None:
        """Before a run on several threads: see to it that workers are there, and awake where that pays."""
        count, pool = self._threads - 1, threads.pool()
        if pool is not self._pool:
            pool.grow(count)
            self._words[10] = pool.address
            self._pool = pool
        if pool.sleeps(count) and (self.binding.heavy or pool.is_hot):
            pool.wake(count)

    def reset(self) -> None:
        """Make ready to start anew: instruction counters, status block and barrier."""
        self._frames[:, 0] = 0
        self._words[LINE // 8 : 4 * LINE // 8] = 0

    def fail(self) -> None:
        """Raise what the status block says."""
        code, site, index, size = (int(word) for word in self._status)
        self.reset()
        raised = reentry.waiting.pop(address_of(self._status), None)
        if code == reentry.PYTHON_RAISED and raised is not None:
            raise raised
        where = self.sites[site] if 0 <= site < len(self.sites) else f"site {site}"
        if code == 1:
            raise IndexOutOfRangeError(f"index {index} is out of range for an axis of size {size}: {where}")
        raise RuntimeError(f"a kernel reported code {code}: {where}")


def is_aligned(array: Any) -> bool:
    """Whether a kernel may read this array in place."""
    return bool(array.flags.c_contiguous and array.flags.aligned)
