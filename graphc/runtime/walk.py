"""The native walk, in the SIMD dialect: functions compiled, cached and loaded like any kernel.

`graphc_walk` runs an activation's instructions on one thread, `graphc_launch` shares an activation between its caller
and the workers that are awake, `graphc_serve` is what a worker runs, `graphc_chain` launches activations one after the
other, over and over; `graphc_populate` has the system make an arena's pages, shared by all threads that call it. What
they are given:

    launch block   int64 words: status, table, frames, frame stride, barrier, externals, time slice in ns (0: none),
                   deadline, outcome, address of the walk, pool, threads that ran, threads that may run,
                   time of the launch, whether denormals count as zeros
    chain block    int64 words: address of the launch, of the parts, how many parts, the part that runs, laps left, time
                   slice in ns, outcome
    part           int64 words: launch block, addresses that move on after a lap, by how many bytes, how many
    pages          int64 words: address, bytes, how many of them somebody has taken
    pool           lines of 128 bytes: its owner (0: none), then for each worker its state, thread, threads, launch
    block

A worker is free, asleep, given work, or claimed. Only the pool's owner claims (free to claimed to given), only the
worker itself frees itself or falls asleep (free to asleep), each by compare-and-exchange: no wake-up can be lost.
Whoever finds the pool taken, or its workers asleep, runs with fewer threads; results do not depend on how many there
are.

A wait spins for about a microsecond and then yields: a pure spin collapses when another process takes a core, and where
two threads share one, each wait costs all of the spin. But the system may take a yield for leave to run all others
first, which makes every barrier cost their time slices. A yield that takes long shows that the core is shared, and is
booked: the strain is a time, and each nanosecond lost moves it `LEVERAGE` ahead of now. For every `STRAIN` nanoseconds that it
is ahead a launch has one thread fewer. So threads that wait for cores are sent away until less than a part in
`LEVERAGE` of all time is lost so, and come back when the cores are free.
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
LAUNCH_WORDS = 15
# How a run ended; PARTED is a chain's pause between two parts.
DONE, PAUSED, FAILED, PARTED = 0, 1, 2, 3
FREE, ASLEEP, GIVEN, CLAIMED = 0, 1, 2, 3
# Nothing but another thread's time slice makes a yield take so long.
LONG_YIELD = 100_000
# One yield says no more than that cores are shared: the process may have been stopped.
LONGEST_YIELD = 100_000_000
# A second thread that waits for a quarter of the time still pays; one that waits for more seldom does.
LEVERAGE = 4
# What 8 ms lost make of the strain.
STRAIN = 1 << 25
# Bytes of a page of memory at least.
PAGE = 4096

GIVE_WAY = f"""
def graphc_give_way(args, thread, threads):
    pool = args
    before = nanoseconds()
    yield_thread()
    now = nanoseconds()
    lost = now - before
    if lost > {LONG_YIELD}:
        # Two threads that book at once may lose one of the two: this is an estimate.
        atomic_store(pool + 8, max(atomic_load(pool + 8), now) + {LEVERAGE} * min(lost, {LONGEST_YIELD}))
"""

WALK = f"""
def graphc_walk(args, thread, threads):
    # An instruction is 32 bytes: opcode a b c (instructions.py says what each does).
    status = word(args, 0)
    table = word(args, 1)
    frame = word(args, 2) + thread * word(args, 3)
    barrier = word(args, 4)
    externals = word(args, 5)
    pool = word(args, 10)
    before = 0
    if word(args, 14) != 0:
        before = flush_denormals()
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
                    if atomic_load(pool + 8) > word(args, 13):
                        # Some threads may leave here; those that stay share all that follows.
                        ahead = atomic_load(pool + 8) - nanoseconds()
                        threads = max(1, min(threads, word(args, 12) - ahead // {STRAIN}))
                    atomic_store(barrier, 0)
                    atomic_store(barrier + 128, ((generation >> 12) + 1) * 4096 + threads * 4 + stop)
            else:
                spins = 0
                now = atomic_load(barrier + 128)
                while now == generation:
                    spins += 1
                    if spins < 64:
                        pause()
                    else:
                        call_kernel(word(pool, 2), pool, 0, 0)
                    now = atomic_load(barrier + 128)
                stop = now & 3
                threads = (now >> 2) & 1023
            if stop != 0:
                running = 0
            if thread >= threads:
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
    if word(args, 14) != 0:
        restore_arithmetic(before)
    if stop == 1:
        store(pc, frame)
    else:
        store(0, frame)
    if thread == 0:
        store(stop, args + 64)
"""

LAUNCH = f"""
def graphc_launch(args, thread, unused):
    # All it is told stands in the block, for Python takes twice as long to pass three numbers as to pass one.
    walk = word(args, 9)
    pool = word(args, 10)
    budget = word(args, 6)
    threads = word(args, 12)
    running = 1
    owner = 0
    if budget > 0:
        store(nanoseconds() + budget, args + 56)
    if threads > 1:
        now = nanoseconds()
        store(now, args + 104)
        threads = min(threads, threads - (atomic_load(pool + 8) - now) // {STRAIN})
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
    i = running
    while i < word(args, 12):
        # Who was not there may stand where a pause left all; the next launch, of which it may be a part, begins anew.
        store(0, word(args, 2) + i * word(args, 3))
        i += 1
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
                    call_kernel(word(pool, 2), pool, 0, 0)
            i += 1
        atomic_store(pool, 0)
    if word(args, 12) > 1:
        atomic_store(pool + 24, nanoseconds())
    if atomic_load(word(args, 0)) != 0:
        store(2, args + 64)
"""

SERVE = """
def graphc_serve(args, thread, threads):
    # `thread` is how many nanoseconds a worker stays awake without work, `threads` the pool.
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
                call_kernel(word(threads, 2), threads, 0, 0)
            if nanoseconds() > deadline:
                if compare_exchange(args, 0, 1) == 0:
                    running = 0
"""

CHAIN = f"""
def graphc_chain(args, thread, unused):
    launch = word(args, 0)
    parts = word(args, 2)
    at = word(args, 3)
    laps = word(args, 4)
    deadline = nanoseconds() + word(args, 5)
    outcome = 0
    running = 0
    if laps > 0:
        running = 1
    while running == 1:
        part = word(args, 1) + 32 * at
        block = word(part, 0)
        store(max(1, deadline - nanoseconds()), block + 48)
        call_kernel(launch, block, 0, 0)
        outcome = word(block, 8)
        if outcome != 0:
            running = 0
        else:
            i = 0
            while i < word(part, 3):
                address = word(part, 1) + 8 * i
                store(load_i64(address) + load_i64(word(part, 2) + 8 * i), address)
                i += 1
            at += 1
            if at == parts:
                at = 0
                laps -= 1
            if laps <= 0:
                running = 0
            elif nanoseconds() >= deadline:
                outcome = {PARTED}
                running = 0
    store(at, args + 24)
    store(laps, args + 32)
    store(outcome, args + 48)
"""

POPULATE = f"""
def graphc_populate(args, thread, threads):
    address = word(args, 0)
    nbytes = word(args, 1)
    at = atomic_add(args + 16, {64 * PAGE})
    while at < nbytes:
        # Zero in the place of zero: so what a run may have written there meanwhile stays.
        for page in range(address + at, address + min(at + {64 * PAGE}, nbytes), {PAGE}):
            compare_exchange(page, 0, 0)
        at = atomic_add(args + 16, {64 * PAGE})
"""

SOURCES = {
    "graphc_walk": WALK,
    "graphc_launch": LAUNCH,
    "graphc_serve": SERVE,
    "graphc_give_way": GIVE_WAY,
    "graphc_chain": CHAIN,
    "graphc_populate": POPULATE,
}
_Launch = Callable[[ctypes.c_int64], None]
_Serve = Callable[[int, int, int], None]


@record
class Walk:
    """The machine code: addresses of what is called natively, and the functions that Python calls (they release the GIL)."""

    address: int
    give_way: int
    launch_address: int
    launch: _Launch
    serve: _Serve
    chain: _Launch
    populate: _Launch


def native() -> Walk:
    """Return the walk for this machine, compiled or read from the cache at the first call."""
    with LOADING:
        return _loaded()


@cache
def _loaded() -> Walk:
    loader = Loader(build.objects(SOURCES, host_level(), dict))
    keep(loader)
    walk, launch, serve, give_way, chain, populate = (loader.address(name) for name in SOURCES)
    word, call = ctypes.c_int64, ctypes.CFUNCTYPE(None)
    serves = ctypes.CFUNCTYPE(None, word, word, word)(serve)
    return Walk(walk, give_way, launch, call(launch), serves, call(chain), call(populate))


def keep(thing: object) -> None:
    """Have a thing never freed, not when the interpreter takes its modules apart either: workers may be in it until the end."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
