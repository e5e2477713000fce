"""The native walk, in the SIMD dialect: three functions compiled, cached and loaded like any kernel.

`graphc_walk` runs an activation's instructions on one thread, `graphc_launch` shares an activation between its caller
and the workers that are awake, `graphc_serve` is what a worker runs. What they are given:

    launch block   int64 words: status, table, frames, frame stride, barrier, externals, time slice in ns (0: none),
                   deadline, outcome, address of the walk, pool, threads that ran, threads that may run
    pool           lines of 128 bytes: its owner (0: none), then for each worker its state, thread, threads, launch
    block

A worker is free, asleep, given work, or claimed. Only the pool's owner claims (free to claimed to given), only the
worker itself frees itself or falls asleep (free to asleep), each by compare-and-exchange: no wake-up can be lost.
Whoever finds the pool taken, or its workers asleep, runs with fewer threads; results do not depend on how many there
are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.records import record
from graphc.runtime.locks import LOADING
from graphc.simd.levels import host_level

LINE = 128
LAUNCH_WORDS = 13
DONE, PAUSED, FAILED = 0, 1, 2
FREE, ASLEEP, GIVEN, CLAIMED = 0, 1, 2, 3

# The waits spin for about a microsecond and then yield: a pure spin collapses when another process takes a core, and
# where two threads share one, each wait costs all of the spin.
WALK = """
def graphc_walk(args, thread, threads):
    # An instruction is 32 bytes: opcode a b c (instructions.py says what each does).
    status = word(args, 0)
    table = word(args, 1)
    frame = word(args, 2) + thread * word(args, 3)
    barrier = word(args, 4)
    externals = word(args, 5)
    pc = load_i64(frame)
    stop = 0
    running = 1
    while running == 1:
        at = table + 32 * pc
        opcode = load_i64(at)
        a = load_i64(at + 8)
        b = load_i64(at + 16)
        pc += 1
        if opcode == 0:  # CALL
            call_kernel(a, frame + b, thread, threads)
        elif opcode == 1:  # CALL_ONE
            if thread == 0:
                call_kernel(a, frame + b, 0, 1)
        elif opcode <= 4:  # BARRIER, COMMIT, SLICE
            last = 1
            generation = 0
            if threads > 1:
                generation = atomic_load(barrier + 128)
                if atomic_add(barrier, 1) != threads - 1:
                    last = 0
            if last == 1:
                # Decided once, by the last to arrive, and carried in the generation: all threads do the same.
                if opcode >= 3:
                    if atomic_load(status) != 0:
                        stop = 2
                    elif opcode == 4:
                        if nanoseconds() > load_i64(args + 56):
                            stop = 1
                if threads > 1:
                    atomic_store(barrier, 0)
                    atomic_store(barrier + 128, ((generation >> 2) + 1) * 4 + stop)
            else:
                spins = 0
                now = atomic_load(barrier + 128)
                while now == generation:
                    spins += 1
                    if spins < 64:
                        pause()
                    else:
                        yield_thread()
                    now = atomic_load(barrier + 128)
                stop = now & 3
            if stop != 0:
                running = 0
        elif opcode == 5:  # LOOP
            store(b, frame + a)
            if b == 0:
                pc = load_i64(at + 24)
        elif opcode == 6:  # END
            left = load_i64(frame + a) - 1
            store(left, frame + a)
            if left > 0:
                pc = b
        elif opcode == 7:  # ADD
            store(load_i64(frame + a) + b, frame + a)
        elif opcode == 8:  # MOVE
            store(load_i64(frame + b) + load_i64(at + 24), frame + a)
        elif opcode == 9:  # LOAD
            store(load_i64(externals + b) + load_i64(at + 24), frame + a)
        elif opcode == 10:  # BRANCH
            if i64(load_u8(load_i64(frame + a))) == 0:
                pc = b
        elif opcode == 11:  # JUMP
            pc = a
        else:  # HALT
            running = 0
    if stop == 1:
        store(pc, frame)
    else:
        store(0, frame)
    if thread == 0:
        store(stop, args + 64)
"""

LAUNCH = """
def graphc_launch(args, thread, unused):
    # All it is told stands in the block, for Python takes twice as long to pass three numbers as to pass one.
    walk = word(args, 9)
    pool = word(args, 10)
    budget = word(args, 6)
    threads = word(args, 12)
    if budget > 0:
        store(nanoseconds() + budget, args + 56)
    running = 1
    owner = 0
    if threads > 1:
        if compare_exchange(pool, 0, 1) == 0:
            owner = 1
    if owner == 1:
        i = 1
        while i < threads:
            worker = pool + 128 * i
            if compare_exchange(worker, 0, 3) == 0:
                store(running, worker + 8)
                store(args, worker + 24)
                running += 1
            i += 1
        i = 1
        while i < threads:
            worker = pool + 128 * i
            if atomic_load(worker) == 3:
                store(running, worker + 16)
                atomic_store(worker, 2)
            i += 1
    store(running, args + 88)
    call_kernel(walk, args, 0, running)
    if owner == 1:
        i = 1
        while i < threads:
            worker = pool + 128 * i
            spins = 0
            while atomic_load(worker) == 2:
                spins += 1
                if spins < 64:
                    pause()
                else:
                    yield_thread()
            i += 1
        atomic_store(pool, 0)
    if atomic_load(word(args, 0)) != 0:
        store(2, args + 64)
"""

SERVE = """
def graphc_serve(args, thread, threads):
    # `thread` is how many nanoseconds a worker stays awake without work.
    deadline = nanoseconds() + thread
    spins = 0
    running = 1
    while running == 1:
        state = atomic_load(args)
        if state == 2:
            block = word(args, 3)
            call_kernel(word(block, 9), block, word(args, 1), word(args, 2))
            atomic_store(args, 0)
            deadline = nanoseconds() + thread
            spins = 0
        elif state == 1:
            running = 0
        else:
            spins += 1
            if spins < 64:
                pause()
            else:
                yield_thread()
            if nanoseconds() > deadline:
                if compare_exchange(args, 0, 1) == 0:
                    running = 0
"""

SOURCES = {"graphc_walk": WALK, "graphc_launch": LAUNCH, "graphc_serve": SERVE}
_Launch = Callable[[ctypes.c_int64], None]
_Serve = Callable[[int, int, int], None]


@record
class Walk:
    """The machine code of the walk: its address, and the two functions that Python calls (they release the GIL)."""

    address: int
    launch: _Launch
    serve: _Serve


def native() -> Walk:
    """Return the walk for this machine, compiled or read from the cache at the first call."""
    with LOADING:
        return _loaded()


@cache
def _loaded() -> Walk:
    loader = Loader(build.objects(SOURCES, host_level(), dict))
    keep(loader)
    walk, launch, serve = (loader.address(name) for name in SOURCES)
    word = ctypes.c_int64
    return Walk(walk, ctypes.CFUNCTYPE(None)(launch), ctypes.CFUNCTYPE(None, word, word, word)(serve))


def keep(thing: object) -> None:
    """Have a thing never freed, not when the interpreter takes its modules apart either: workers may be in it until the end."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
