import ctypes
import threading
import time

import numpy as np
import pytest

from graphc import dims, dtypes
from graphc.errors import CallError, MissingInputError
from graphc.records import replace
from graphc.runtime.program import Program
from graphc.runtime.threads import pool
from tests.interrupts import interrupted_after
from tests.runtime.handmade import Maker, N

both = pytest.mark.parametrize("threads", [1, 2])


def stepper(threads=1, n=6):
    """One step: y = rotate(w) + 1, w -= g."""
    m = Maker()
    m.buffer("g", "input"), m.buffer("y", "output"), m.buffer("w", "leaf", (n,)), m.buffer("t", "temporary")
    weight = np.zeros(n, np.float32)
    steps = m.call("rotate", "w", "t"), m.call("add_one", "t", "y"), m.call("subtract_from", "g", "w", commit=True)
    return m.executable(*steps, leaves=[weight], outputs={"y": 0}, threads=threads), weight


@both
@pytest.mark.parametrize("count", [0, 1, 7])
def test_stacked_inputs_are_walked_and_outputs_stacked(threads, count):
    run, weight = stepper(threads)
    expected, w = [], weight.copy()
    gradients = np.random.default_rng(0).integers(0, 9, (count, 6)).astype(np.float32)
    for g in gradients:
        expected.append(np.roll(w, -3) + 2)
        w = w - g
    program = run.repeat(count, [gradients], [0])
    results = program.run()
    assert program.done == count
    np.testing.assert_array_equal(results["y"], np.array(expected, np.float32).reshape(count, 6))
    np.testing.assert_array_equal(weight, w)


@both
def test_inputs_that_are_not_stacked_are_the_same_in_every_step(threads):
    run, weight = stepper(threads)
    program = run.repeat(10, [np.ones(6)])
    program.run()
    np.testing.assert_array_equal(weight, np.full(6, -10, np.float32))


def test_arguments_may_be_a_dict_as_in_a_call():
    run, weight = stepper()
    run.repeat(3, {"g": np.ones(6)}).run()
    np.testing.assert_array_equal(weight, np.full(6, -3, np.float32))
    with pytest.raises(CallError, match=r"arguments in a list, as in repeat\(3, \[g\]\), got a ndarray"):
        run.repeat(3, np.ones((1, 6)))
    with pytest.raises(MissingInputError, match="missing input 'g'"):
        run.repeat(3)


@both
def test_a_program_pauses_between_two_steps(threads):
    run, weight = stepper(threads)
    gradients = np.ones((3000, 6), np.float32)
    program = run.repeat(3000, [gradients], [0])
    pauses = 0
    while program.done < 3000:
        before = program.done
        done = program.resume(5e-6)
        assert done > before
        np.testing.assert_array_equal(weight, np.full(6, -done, np.float32))
        assert run(np.zeros(6))["y"][0] == 2 - done  # other runs between two slices
        pauses += 1
    assert pauses > 3
    assert (program.results["y"][:, 0] == 2 - np.arange(3000)).all()


def test_a_program_goes_on_with_another_number_of_threads():
    run, weight = stepper(2)
    program = run.repeat(2000, [np.ones((2000, 6), np.float32)], [0])
    stop = threading.Event()

    def disturb():  # takes the pool now and then
        other, _ = stepper(2)
        bound = other.bind(np.ones(6, np.float32))
        while not stop.is_set():
            bound()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        while program.done < 2000:
            program.resume(5e-6)
    finally:
        stop.set()
        thread.join()
    assert (program.results["y"][:, 0] == 2 - np.arange(2000)).all()
    np.testing.assert_array_equal(weight, np.full(6, -2000, np.float32))


@both
def test_an_error_ends_the_program_at_a_whole_step(threads):
    m = Maker()
    m.buffer("i", "input", (2,), dtypes.int64), m.buffer("g", "input"), m.buffer("w", "leaf", (3,))
    m.buffer("sum", "temporary", ())
    weight = np.zeros(3, np.float32)
    steps = m.call("check", "i", "sum", 2, units=1), m.call("subtract_from", "g", "w", 3, commit=True)
    run = m.executable(*steps, leaves=[weight], outputs=(), threads=threads)
    indexes = np.zeros((5, 2), np.int64)
    indexes[3, 1] = -7
    program = run.repeat(5, [indexes, np.ones(3)], [0])
    with pytest.raises(IndexError, match="index -7 is out of range"):
        program.run()
    assert program.done == 3
    np.testing.assert_array_equal(weight, np.full(3, -3, np.float32))
    assert program.resume() == 3


@pytest.mark.alone
def test_ctrl_c_stops_between_two_steps():
    for delay in np.random.default_rng(0).uniform(0.005, 0.12, 6):
        run, weight = stepper(2)
        gradients = np.ones((400_000, 6), np.float32)
        program = run.repeat(400_000, [gradients], [0])
        with interrupted_after(delay) as sent:
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                while True:
                    program.run()
            took = time.perf_counter() - sent[-1]
        assert took < 0.15
        if program.done < 400_000:
            assert weight[0] == -program.done
        assert (weight == weight[0]).all()
        run(np.zeros(6))  # nothing is left locked


def test_counts_that_disagree():
    run, _ = stepper()
    with pytest.raises(CallError, match="the stacked inputs have 4 positions, but the count is 5"):
        run.repeat(5, [np.ones((4, 6))], [0])
    with pytest.raises(CallError, match="there is no input 1"):
        run.repeat(5, [np.ones((5, 6))], [1])


def test_a_repeat_inside_a_program():
    m = Maker()
    length = dims.symbol("t")
    m.buffer("x", "input", (length, N)), m.buffer("y", "output", (length, N))
    m.buffer("xt", "slice", position="x"), m.buffer("yt", "slice", position="y")
    run = m.executable(m.repeat(length, [m.call("rotate", "xt", "yt")], ["xt", "yt"], True), threads=2)
    x = np.random.default_rng(0).normal(size=(4, 3, 6)).astype(np.float32)
    np.testing.assert_array_equal(run.repeat(4, [x], [0]).run(), np.roll(x, -3, 2) + np.float32(1))


@both
@pytest.mark.parametrize("pause", [False, True])
def test_a_program_restarts_on_what_its_arguments_hold_then(threads, pause):
    run, weight = stepper(threads)
    gradients = np.ones((5, 6), np.float32)
    program = run.repeat(5, [gradients], [0])
    program.resume(1e-9) if pause else program.run()
    done = program.done
    assert done == 1 if pause else done == 5
    gradients[:] = 10
    program.restart()
    assert program.done == 0
    results = program.run()
    assert program.done == 5
    np.testing.assert_array_equal(weight, np.full(6, -50 - done, np.float32))
    np.testing.assert_array_equal(results["y"][:, 0], [2 - done - 10 * n for n in range(5)])


def in_laps(threads, rows=4):
    """A program of two parts, of 3 steps and 1, whose gradients and results are rows of arrays; and these."""
    run, weight = stepper(threads)
    gradients = np.random.default_rng(1).integers(0, 9, (rows, 4, 6)).astype(np.float32)
    results = [np.full((rows, count, 6), np.nan, np.float32) for count in (3, 1)]
    parts = []
    for first, found in zip((0, 3), results, strict=True):
        count = found.shape[1]
        moving = gradients[:, first : first + count]
        part = run.part(count, [moving[0]], [0], {"y": found[0]})
        parts.append(replace(part, laps=[moving, found]))
    return Program(parts), weight, gradients, results


@both
@pytest.mark.parametrize("seconds", [1, 1e-9, 2e-6])
def test_parts_run_in_turn_lap_by_lap(threads, seconds):
    program, weight, gradients, results = in_laps(threads)
    w, expected = weight.copy(), np.full((4, 4, 6), np.nan, np.float32)
    for first, laps in ((1, 2), (0, 1), (2, 2)):
        program.restart(first, laps)
        assert (program.count, program.done) == (4 * laps, 0)
        done = 0
        while program.done < program.count:
            before, done = done, program.resume(seconds)
            steps = gradients[first : first + laps].reshape(-1, 6)
            for row, g in zip(
                expected[first : first + laps].reshape(-1, 6)[before:done], steps[before:done], strict=True
            ):
                row[:] = np.roll(w, -3) + 2
                w -= g
            assert done > before
            np.testing.assert_array_equal(weight, w)
    np.testing.assert_array_equal(np.concatenate(results, 1), expected)


def test_a_thread_that_missed_the_end_of_a_part_begins_the_next_lap_with_the_others():
    """A pause leaves all threads at one place; one that is not there when the part goes on must not stay there."""
    program, weight, gradients, _ = in_laps(2)
    program.restart(0, 4)
    assert program.resume(1e-9) in (1, 2)
    taken = ctypes.c_int64.from_address(pool().address)
    taken.value = 1  # by another run: so this one goes on alone
    while program.done < 3:
        program.resume(1e-9)
    taken.value = 0
    assert all((one._frames[:, 0] == 0).all() for one in program._activations)
    while program.done < program.count:
        program.resume(1)
    np.testing.assert_array_equal(weight, -gradients.sum((0, 1)))


def test_laps_stay_within_their_rows():
    program, weight, *_ = in_laps(1)
    for first, laps in ((0, 5), (4, 1), (-1, 1)):
        with pytest.raises(ValueError, match="of 4 rows"):
            program.restart(first, laps)
    run, _ = stepper()
    part = run.part(2, [np.zeros((2, 6), np.float32)], [0])
    with pytest.raises(ValueError, match="do not begin with"):
        Program([replace(part, laps=[np.zeros((3, 2, 6), np.float32), None])])
    assert (weight == 0).all()
