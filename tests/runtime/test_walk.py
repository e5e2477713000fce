import numpy as np
import pytest

from graphc import dims, dtypes
from graphc.runtime.instructions import listing
from tests.runtime.handmade import Maker, N

X = np.arange(7, dtype=np.float32)
T = dims.symbol("t")
both = pytest.mark.parametrize("threads", [1, 2])


@both
def test_steps_run_in_order(threads):
    m = Maker()
    m.buffer("x", "input"), m.buffer("a", "temporary"), m.buffer("y", "output")
    run = m.executable(m.call("add_one", "x", "a"), m.call("double", "a", "y"), threads=threads)
    np.testing.assert_array_equal(run(X), (X + 1) * 2)


@both
@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_repeat_walks_its_slices(threads, count, reverse):
    m = Maker()
    m.buffer("x", "input", (T, N)), m.buffer("y", "output", (T, N)), m.buffer("h", "output", (N,))
    m.buffer("zero", "input", (N,))
    m.buffer("xt", "slice", position="x"), m.buffer("yt", "slice", position="y")
    start = m.call("double", "zero", "h")
    body = [m.call("add_to", "xt", "h"), m.call("double", "h", "yt")]
    run = m.executable(start, m.repeat(T, body, ["xt", "yt"], reverse), outputs=(0, 1), threads=threads)
    x = np.random.default_rng(0).integers(0, 9, (count, 7)).astype(np.float32)
    history, last = run(x, np.zeros(7, np.float32))
    sums = np.cumsum(x[::-1] if reverse else x, 0)
    np.testing.assert_array_equal(history, 2 * (sums[::-1] if reverse else sums))
    np.testing.assert_array_equal(last, x.sum(0))


@both
def test_slices_of_slices_in_nested_repeats(threads):
    m = Maker()
    u = dims.symbol("u")
    m.buffer("x", "input", (T, u, N)), m.buffer("y", "output", (T, u, N))
    m.buffer("copy", "temporary", (T, u, N))
    for name, parent, inner in (("x", "x", "x"), ("y", "y", "y"), ("c", "copy", "c")):
        m.buffer(name + "1", "slice", (u, N), position=parent)
        m.buffer(inner + "2", "slice", (N,), position=name + "1")
    first = m.repeat(T, [m.repeat(u, [m.call("add_one", "x2", "c2")], ["x2", "c2"])], ["x1", "c1"])
    second = m.repeat(T, [m.repeat(u, [m.call("rotate", "c2", "y2")], ["c2", "y2"], True)], ["c1", "y1"], True)
    run = m.executable(first, second, threads=threads)
    x = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
    np.testing.assert_array_equal(run(x), np.roll(x + np.float32(1), -3, 2) + np.float32(1))


@both
def test_a_branch_takes_one_arm(threads):
    m = Maker()
    m.buffer("x", "input"), m.buffer("y", "output"), m.buffer("p", "temporary", (), dtypes.bool_)
    steps = m.call("positive", "x", "p", 1), m.branch("p", [m.call("add_one", "x", "y")], [m.call("double", "x", "y")])
    run = m.executable(*steps, threads=threads)
    for first in (3.0, -3.0):
        x = X.copy()
        x[0] = first
        np.testing.assert_array_equal(run(x), x + 1 if first > 0 else x * 2)


@both
def test_a_branch_in_a_repeat_is_decided_anew(threads):
    m = Maker()
    m.buffer("x", "input", (T, N)), m.buffer("y", "output", (T, N)), m.buffer("p", "temporary", (), dtypes.bool_)
    m.buffer("xt", "slice", position="x"), m.buffer("yt", "slice", position="y")
    body = [
        m.call("positive", "xt", "p", 1),
        m.branch("p", [m.call("rotate", "xt", "yt")], [m.call("double", "xt", "yt")]),
    ]
    run = m.executable(m.repeat(T, body, ["xt", "yt"]), threads=threads)
    x = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)
    expected = np.where(x[:, :1] > 0, np.roll(x, -3, 1) + np.float32(1), x * 2)
    np.testing.assert_array_equal(run(x), expected)


@both
def test_an_index_error_commits_nothing(threads):
    m = Maker()
    m.buffer("i", "input", (N,), dtypes.int64), m.buffer("g", "input", (3,)), m.buffer("y", "output", ())
    m.buffer("w", "leaf", (3,)), m.buffer("v", "leaf", (3,))
    weight, second = np.ones(3, np.float32), np.ones(3, np.float32)
    run = m.executable(
        m.call("check", "i", "y", units=1),
        m.call("subtract_from", "g", "w", 3, commit=True),
        m.call("subtract_from", "g", "v", 3, commit=True),
        leaves=[weight, second],
        threads=threads,
    )
    gradient = np.full(3, 0.5, np.float32)
    with pytest.raises(IndexError, match=r"index 4 is out of range for an axis of size 4: model\.py:7"):
        run(np.array([0, 1, 4, 9]), gradient)
    assert (weight == 1).all()
    assert (second == 1).all()
    run(np.array([0, 1, 3, -1]), gradient)
    assert (weight == 0.5).all()
    assert (second == 0.5).all()


def test_the_table_reads_as_text():
    m = Maker()
    m.buffer("x", "input"), m.buffer("y", "output")
    binding = m.executable(m.repeat(3, [m.call("add_one", "x", "y")])).binding(n=2)
    text = listing(binding.table, {int(binding.table[3 * 4 + 1]): "add_one"})
    assert [line.split()[1] for line in text.splitlines()] == ["LOAD", "LOAD", "LOOP", "CALL_ONE", "END", "HALT"]
    assert "add_one" in text
