"""Tilings by measurement: `compile(..., tune=True)` runs the best few of every contraction once, and remembers the winner.

A contraction is tried by itself: in a plan of its own with the copies that a tiling wants, on arrays of its sizes that
nothing else touches meanwhile. Only tilings that make each sum in the order of the cost model's own pick take part, so
results keep their bits, whatever wins and on however many threads it was measured.

What is remembered is found by the plan of the cost model's pick (kernels, shapes, dtypes), sizes, threads, and CPU.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from graphc import dims
from graphc.emit import cache
from graphc.emit.loader import Loader
from graphc.emit.parallel import compile_kernels
from graphc.forms import Bench
from graphc.planning import written
from graphc.records import replace
from graphc.runtime import binding, threads
from graphc.runtime.activation import Activation, Arena
from graphc.runtime.arguments import address_of
from graphc.runtime.locks import LOADING
from graphc.schedule.plan import Buffer, Plan
from graphc.schedule.tilings import Tiling, candidates
from graphc.schedule.trial import Trial
from graphc.simd.levels import Level

# Candidates of a contraction that are measured, and seconds after which no other one is, and none again.
MOST, SECONDS = 12, 0.8
# Seconds of the first runs, in which pages and the processor's clock settle; runs of each in turn, the least seconds of one,
# and how much slower than the best so far one may be to be run again.
SETTLING, ROUNDS, BLOCK, HOPELESS = 0.01, 8, 0.001, 1.5
# What a candidate must gain on the cost model's pick: less may be noise.
GAIN = 1.03
# Bytes between the places where arrays begin here, and how far behind one a large array of NumPy's does.
LINE, NUMPYS = 128, 16


class Tuner:
    """Picks the tilings of contractions by measurement, or by what was measured before."""

    def __init__(self, level: Level, bench: Bench) -> None:
        self.level, self.bench = level, bench
        self._known: dict[str, int] = {}

    def __call__(self, trial: Trial) -> int:
        """Return the position of the winner among the candidates of a nest."""
        tilings = list(enumerate(candidates(trial.nest, self.level, trial.size_of)))
        order = tilings[0][1].order
        tilings = [(position, tiling) for position, tiling in tilings if tiling.order == order][:MOST]
        if len(tilings) == 1:
            return 0
        key = self._key(written(trial.draft(tilings[0][1], self.level)))
        if key not in self._known:
            names = [str(tiling) for _, tiling in tilings]
            best = _remembered(key, names)
            self._known[key] = self._measured(key, trial, names, [t for _, t in tilings]) if best is None else best
        return tilings[self._known[key]][0]

    def _key(self, plan: Plan) -> str:
        # A kernel's name is made from its text, without the user's lines that stand beside it.
        return cache.key_of(self.level.name, "tiling", repr(self.bench), replace(plan, kernels={}).to_json())

    def _measured(self, key: str, trial: Trial, names: Sequence[str], tilings: Sequence[Tiling]) -> int:
        plans = [written(trial.draft(tiling, self.level)) for tiling in tilings]
        loose = {trial.nest.right.source} if trial.nest.is_loose else set[int]()
        seconds = measure(plans, trial.buffers, loose, self.level, self.bench)
        best = min(range(len(plans)), key=seconds.__getitem__)
        if seconds[best] * GAIN > seconds[0]:
            best = 0
        times = [[name, round(1e6 * s, 3) if s < math.inf else None] for name, s in zip(names, seconds, strict=True)]
        cache.write("tiling", key, json.dumps({"best": best, "microseconds": times}).encode())
        return best


def _remembered(key: str, names: Sequence[str]) -> int | None:
    """Return which of the candidates won before; None where that is not known, or was known of others."""
    found = cache.read("tiling", key)
    if found is None:
        return None
    match json.loads(found):
        case {"best": int(best), "microseconds": [*times]} if [name for name, _ in times] == list(names):
            return best if 0 <= best < len(names) else None
        case _:
            return None


def measure(
    plans: Sequence[Plan], buffers: Sequence[Buffer], loose: Set[int], level: Level, bench: Bench
) -> list[float]:
    """Return the seconds of a run of each plan on the same arrays, the least of several; infinity where time was up.

    `buffers` are the inputs of all plans, in order; those that are `loose` may begin in the middle of a cache line.
    """
    sizes = dict(bench.sizes)
    kernels = {name: text for plan in plans for name, text in plan.kernels.items()}
    with LOADING:
        code = Loader(compile_kernels(kernels, level, {}))
    bound = [binding.bind(plan, sizes, bench.threads, code.address) for plan in plans]
    arrays = _arrays(buffers, loose, sizes)
    arena = Arena(max(one.arena for one in bound))
    runs: list[Callable[[], Any]] = []
    for one in bound:
        activation = Activation(one, (), code)
        activation.place(arena.address)
        activation.set_addresses(*[address_of(array) for array in arrays])
        runs.append(lambda activation=activation: activation.run(writes=False))
    return _least(runs, max(one.threads for one in bound))


def _least(runs: Sequence[Callable[[], Any]], count: int) -> list[float]:
    # Time of the processor is not that of other programs; but threads are waited for.
    clock = time.thread_time if count == 1 else time.perf_counter
    begun, least = time.perf_counter(), [math.inf] * len(runs)

    def seconds(run: Callable[[], Any], times: int) -> float:
        if count > 1:
            threads.pool().grow(count - 1)
            threads.pool().wake(count - 1)
        start = clock()
        for _ in range(times):
            run()
        return (clock() - start) / times

    settled = begun + SETTLING
    while time.perf_counter() < settled:
        runs[0]()
    for position, run in enumerate(runs):
        if position and time.perf_counter() - begun > SECONDS:
            return least
        run()
        least[position] = max(seconds(run, 1), 1e-7)
    for turn in range(ROUNDS):
        # Whatever the time, the cost model's pick and the best of the others meet once more.
        worst = HOPELESS * min(least) if turn else min(least)
        for position in [n for n, found in enumerate(least) if n == 0 or found <= worst]:
            if turn and time.perf_counter() - begun > SECONDS:
                return least
            times = max(1, int(BLOCK / least[position]))
            least[position] = min(least[position], seconds(runs[position], times))
    return least


def _arrays(buffers: Sequence[Buffer], loose: Set[int], sizes: Mapping[str, int]) -> list[np.ndarray[Any, Any]]:
    """Return an array for each buffer, on lines of their own: halves, and zeros, which are indices into anything.

    Loose ones begin where NumPy's mostly do.
    """
    found: list[np.ndarray[Any, Any]] = []
    for buffer in buffers:
        shape = [dims.evaluate(dim, sizes) for dim in buffer.shape]
        nbytes = math.prod(shape) * buffer.dtype.itemsize
        memory = np.zeros(nbytes + LINE, np.uint8)
        skip = -address_of(memory) % LINE + (NUMPYS if buffer.number in loose else 0)
        found.append(memory[skip : skip + nbytes].view(buffer.dtype.numpy).reshape(shape))
        if buffer.dtype.is_float:
            found[-1].fill(0.5)
    return found
