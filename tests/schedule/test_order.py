"""The order of the steps: it keeps what depends on each other apart, and lowers the most bytes alive."""

import random

import pytest

from graphc.schedule.order import ordered
from graphc.schedule.units import Unit


def unit(reads, writes, late=False):
    return Unit(set(reads), set(writes), kernel="a kernel", late=late)


def peak(units, nbytes):
    """Replay: a temporary lives from the step that first touches it to the one that touches it last."""
    most = 0
    for at in range(len(units)):
        alive = 0
        for buffer, size in nbytes.items():
            times = [n for n, u in enumerate(units) if buffer in u.reads | u.writes]
            alive += size if times and times[0] <= at <= times[-1] else 0
        most = max(most, alive)
    return most


def contents(units):
    """Replay with values: what every buffer holds at the end, and what every unit has read."""
    memory, seen = {}, {}
    for one in units:
        seen[id(one)] = tuple(sorted((b, memory.get(b, 0)) for b in one.reads))
        for buffer in one.writes:
            memory[buffer] = hash((buffer, seen[id(one)]))
    return memory, seen


def random_units(seed):
    rng = random.Random(seed)
    units, known = [], [0, 1]
    for number in range(2, rng.randint(4, 30)):
        units.append(unit(rng.sample(known, min(len(known), rng.randint(1, 3))), [number]))
        known.append(number)
        if rng.random() < 0.1:  # one that writes again what others have read
            units.append(unit([rng.choice(known)], [rng.choice(known[2:])]))
    units += [unit(rng.sample(known, 2), [leaf], late=True) for leaf in (0, 1)]
    return units, {n: rng.choice([1, 10, 100]) for n in known[2:]}


@pytest.mark.parametrize("seed", range(60))
def test_every_unit_reads_what_it_read_and_the_peak_is_no_higher(seed):
    units, nbytes = random_units(seed)
    found = ordered(units, nbytes)
    assert contents(found) == contents(units)
    assert peak(found, nbytes) <= peak(units, nbytes)
    assert found[-2:] == units[-2:]


def test_copies_of_weights_are_made_when_they_are_needed():
    # three weights 0..2 in panels 10..12, layers 20..22
    copies = [unit([n], [10 + n]) for n in range(3)]
    layers = [unit([10 + n, 19 + n], [20 + n]) for n in range(3)]
    nbytes = {10: 100, 11: 100, 12: 100, 20: 1, 21: 1, 22: 1}
    found = ordered([*copies, *layers], nbytes)
    assert found == [copies[0], layers[0], copies[1], layers[1], copies[2], layers[2]]


def test_sums_are_made_before_what_they_read_piles_up():
    steps = [unit([9 + n], [10 + n]) for n in range(4)]
    sums = [unit([10 + n], [20 + n]) for n in range(4)]
    nbytes = {10 + n: 100 for n in range(4)} | {20 + n: 1 for n in range(4)}
    found = ordered([*steps, *sums], nbytes)
    assert peak(found, nbytes) < peak([*steps, *sums], nbytes) == 404 - 3
    assert found.index(sums[0]) <= found.index(steps[1]) + 1


def test_loops_stay_where_they_are():
    loop = Unit({0}, {1}, steps=list)
    other, last = unit([0], [2]), unit([1, 2], [3])
    assert ordered([loop, other, last], {1: 1000, 2: 1, 3: 1}) == [loop, other, last]
