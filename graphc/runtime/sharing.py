"""Which calls threads share: what each would take alone and shared, and what moves between the caches of cores for it.

A call that is made alone leaves its results in one core's cache, and finds there what it reads only if it was made alone, too.
Shared ones read what their own thread has made, but for operands that each thread reads `whole`. So a small copy between two
large products is shared although it is done in a microsecond: half of it would be fetched, and later given back, line by line.
Times are estimates, in nanoseconds of one core; results do not depend on what is decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from graphc import dims
from graphc.records import record, replace, structure

if TYPE_CHECKING:
    from graphc.runtime.memory import Call


@record
class Rule:
    """What decides.

    Scalar operations in a nanosecond, of contractions and of anything else; nanoseconds of a barrier, and of a launch on several
    threads beside one on one; those that a byte takes from one core's cache to another's and back.
    """

    contracted: float = 150.0
    plain: float = 50.0
    barrier: float = 300.0
    launch: float = 2000.0
    exchanged: float = 0.12


RULE = Rule()
# Under which whatever can be shared is: tests of barriers take small arrays.
FREE = replace(RULE, barrier=0.0, launch=0.0, exchanged=0.0)
# Bytes of an array that may lie in a core's cache: a larger one comes from beyond it, whoever has made it.
KEPT = 1 << 20
# How often all decisions are looked at again.
_SWEEPS = 4


@structure
class Site:
    """A call where it is made `count` times; `is_owned` if that is in a loop in which each thread has rows of its own.

    `alone` is what it takes one thread, each time. `reads` are who made what it reads, how many bytes these are, and whether
    all threads read all of them.
    """

    call: Call
    count: int
    is_owned: bool
    reads: list[tuple[Site, int, bool]]
    readers: list[Site]
    alone: float = 0.0
    is_fixed: bool = False


def share(sites: Sequence[Site], nbytes: Sequence[int], sizes: Mapping[str, int], threads: int) -> float:
    """Decide which calls of a plan, in order, are shared by several threads; return the nanoseconds that a run saves by it."""
    for site in sites:
        step = site.call.step
        work, dense = (dims.evaluate(dim, sizes) for dim in (step.work, step.dense))
        has_pieces = dims.evaluate(step.units, sizes) > 1
        site.alone = dense / RULE.contracted + (work - dense) / RULE.plain
        site.is_fixed = site.is_owned or not has_pieces
        site.call.split = site.is_owned and has_pieces
    _link(sites, nbytes)
    alone = sum(site.count * site.alone for site in sites)
    least, best = float("inf"), list[bool]()
    # From both ends: what is worth it for a chain of calls is not seen by looking at one.
    for start in (True, False):
        for site in sites:
            site.call.split = site.call.split if site.is_fixed else start
        for _ in range(_SWEEPS):
            if not any([_settle(site, threads) for site in sites if not site.is_fixed]):
                break
        total = sum(_cost(site, threads) for site in sites)
        if total < least:
            least, best = total, [site.call.split for site in sites]
    for site, split in zip(sites, best, strict=True):
        site.call.split = split
    return alone - least - RULE.launch


def _link(sites: Sequence[Site], nbytes: Sequence[int]) -> None:
    """Find who made what each call reads: the last one before it, or else, in a loop or a run before, the last of all."""
    last: dict[int, Site] = {}
    for site in sites:
        last.update({a.storage: site for a in site.call.accesses if a.write})
    made: dict[int, Site] = {}
    for site in sites:
        for access in site.call.accesses:
            maker = made.get(access.storage, last.get(access.storage))
            if not access.write and maker is not None and maker is not site and not (site.is_owned and maker.is_owned):
                is_whole = access.buffer in site.call.step.whole
                size = nbytes[access.buffer]
                site.reads.append((maker, size if size <= KEPT else 0, is_whole))
                maker.readers.append(site)
        made.update({a.storage: site for a in site.call.accesses if a.write})


def _settle(site: Site, threads: int) -> bool:
    """Share a call, or do not, as it is better for it and for those that read its results; return whether that is new."""
    before, costs = site.call.split, list[float]()
    for split in (False, True):
        site.call.split = split
        costs.append(_cost(site, threads) + sum(_cost(reader, threads) for reader in site.readers))
    site.call.split = costs[1] <= costs[0]
    return site.call.split != before


def _cost(site: Site, threads: int) -> float:
    """Return what a call takes in a run, with what it waits for and fetches: once for a loop what was made before it."""
    split = site.call.split
    moved, waits = 0.0, 0
    for maker, size, whole in site.reads:
        other, times = maker.call.split, min(site.count, maker.count)
        if split and not other:
            moved += times * (size if whole else size / threads)
        elif other and (whole or not split):
            moved += times * size * (1 - 1 / threads)
        if split or other:
            waits = max(waits, times)
    return site.count * site.alone / (threads if split else 1) + moved * RULE.exchanged + waits * RULE.barrier
