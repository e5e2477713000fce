"""What a call costs besides its kernels: memory, copies, and the checks that let it do without."""

import gc
import tracemalloc

import numpy as np
import pytest

from graphc.errors import CallError
from tests.runtime.handmade import Maker, N

SIZE = 50_000
# Python's own objects: lists of addresses, tuples of shapes.
SMALL = 4096


def stepper():
    """y = 2 * (x + 1), z = x + 1, and w -= x: a step with a temporary, two results and a parameter."""
    m = Maker()
    m.buffer("x", "input"), m.buffer("t", "temporary"), m.buffer("y", "output"), m.buffer("z", "output")
    m.buffer("w", "leaf", (SIZE,))
    weight = np.zeros(SIZE + 8, np.float32)[8:]
    steps = [
        m.call("add_one", "x", "t"),
        m.call("double", "t", "y"),
        m.call("add_one", "x", "z"),
        m.call("subtract_from", "x", "w", SIZE, commit=True),
    ]
    return m.executable(*steps, leaves=[weight], outputs=(0, 1)), weight


def peak_of(run):
    """Return the most bytes that Python and NumPy hold during one of many runs, and what is left of them after all.

    Tuples that Python keeps for later ones are given back by a collection.
    """
    for _ in range(3):
        run()
    most = 0
    tracemalloc.start()
    try:
        gc.collect()
        first, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            run()
            most = max(most, tracemalloc.get_traced_memory()[1] - before)
        gc.collect()
        last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return most, last - first


def test_a_call_allocates_only_the_arrays_that_it_returns():
    run, _ = stepper()
    x = np.ones(SIZE, np.float32)
    peak, left = peak_of(lambda: run(x) and None)
    assert 2 * x.nbytes <= peak < 2 * x.nbytes + SMALL
    assert left < SMALL
    out = np.empty_like(x), np.empty_like(x)
    for quiet in (lambda: run(x, out=out) and None, run.bind(x, out=out)):
        peak, left = peak_of(quiet)
        assert peak < SMALL
        assert left < SMALL
    np.testing.assert_array_equal(out[0], 4 * x)
    np.testing.assert_array_equal(out[1], 2 * x)


def test_inputs_that_are_views_of_anything_but_the_parameters_are_read_in_place():
    run, weight = stepper()
    data = np.arange(3 * SIZE, dtype=np.float32).reshape(3, SIZE)
    out = np.empty(SIZE, np.float32), np.empty(SIZE, np.float32)
    assert peak_of(lambda: run(data[1], out=out) and None)[0] < SMALL
    np.testing.assert_array_equal(out[1], data[1] + 1)
    assert weight[-1] == -103 * data[1, -1]


@pytest.mark.parametrize("start", [0, 4, 8])
def test_an_input_that_overlaps_a_parameter_is_read_as_it_was(start):
    run, weight = stepper()
    whole = weight.base
    whole[:] = np.arange(len(whole))
    given = whole[start : start + SIZE]
    before = given.copy()
    y, z = run(given)
    np.testing.assert_array_equal(z, before + 1)
    np.testing.assert_array_equal(y, 2 * before + 2)
    np.testing.assert_array_equal(weight, np.arange(8, len(whole)) - before)
    with pytest.raises(CallError, match="shares memory with a parameter or state"):
        run(before, out=(given, None))


def test_a_parameter_with_memory_of_its_own_may_be_an_input_too():
    run, _ = stepper()
    own = np.arange(SIZE, dtype=np.float32)
    run.rebind([own])(own)
    np.testing.assert_array_equal(own, np.zeros(SIZE))


def test_results_may_be_given_in_part():
    run, _ = stepper()
    x, out = np.ones(SIZE, np.float32), np.zeros(2 * SIZE, np.float32)
    y, z = run(x, out=(None, out[:SIZE]))
    assert np.shares_memory(z, out)
    assert (y == 4).all()
    assert (out[:SIZE] == 2).all()
    with pytest.raises(CallError, match="the array for output 1 shares memory with the array for another output"):
        run(x, out=(out[:SIZE], out[SIZE // 2 : -(SIZE // 2)]))


@pytest.mark.parametrize("count", [5000, 5001, SIZE])
def test_large_results_begin_at_a_line_of_the_cache(count):
    m = Maker()
    m.buffer("x", "input"), m.buffer("y", "output"), m.buffer("z", "output")
    run = m.executable(m.call("double", "x", "y", N), m.call("add_one", "x", "z", N), outputs=(0, 1))
    x, given = np.ones(count, np.float32), np.zeros(count, np.float32)
    kept = [*run(x), *run(x), run(x, out=(None, given))[0], *run.bind(x)()]
    assert [one.ctypes.data % 64 for one in kept] == [0] * 7
    assert [one.tolist() for one in kept] == [[value] * count for value in (2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)]
    assert all(one.flags.c_contiguous and one.flags.writeable for one in kept)


def test_empty_arrays_share_nothing():
    m = Maker()
    m.buffer("x", "input"), m.buffer("y", "output")
    run = m.executable(m.call("double", "x", "y", N))
    both = np.zeros(4, np.float32)
    assert run(both[:0], out=both[:0]).shape == (0,)


def test_a_lone_result_is_refused_wherever_it_shares_memory():
    m = Maker()
    m.buffer("x", "input"), m.buffer("w", "leaf", (SIZE,)), m.buffer("y", "output")
    own = np.ones(SIZE, np.float32)
    run = m.executable(m.call("double", "x", "y", SIZE), m.call("double", "x", "w", SIZE, commit=True), leaves=[own])
    x, memory = np.arange(SIZE, dtype=np.float32), np.zeros(SIZE + 8, np.float32)
    y = np.empty_like(x)
    assert run(x, out=y) is y
    np.testing.assert_array_equal(y, 2 * x)
    for given, out in ((x, x), (x, x[:]), (memory[:SIZE], memory[4 : SIZE + 4]), (y[:], y)):
        with pytest.raises(CallError, match="shares memory with input 'x'"):
            run(given, out=out)
    for out in (own, own[:]):
        with pytest.raises(CallError, match="shares memory with a parameter or state"):
            run(x, out=out)
    np.testing.assert_array_equal(own, 2 * x)
    for wrong in (y[:-1], y.astype("float64"), np.empty(2 * SIZE, np.float32)[::2], y.tolist()):
        with pytest.raises(CallError, match="out: "):
            run(x, out=wrong)
    y.flags.writeable = False
    with pytest.raises(CallError, match="writeable"):
        run(x, out=y)
