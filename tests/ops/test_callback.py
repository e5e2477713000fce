"""Python called from inside a run: values, loops, threads, training, exceptions, storage that lives long enough."""

import gc
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import graphc
from graphc import optim
from graphc.errors import CallError, GraphError

A = np.arange(12, dtype="float32").reshape(3, 4)


def sorted_rows(x):
    return np.sort(x, axis=-1)[..., ::-1]


def reduced(x, k):
    return x.sum(axis=0), np.int64(k * 2)


@pytest.fixture
def x():
    return graphc.input("x", ("n", 4))


def test_values_of_symbolic_shapes_and_several_results(x):
    k = graphc.input("k", (), "int64")
    total, twice = graphc.py_callback(
        reduced, (graphc.TensorType((4,), graphc.float32), graphc.TensorType((), graphc.int64)), x * 2.0, k
    )
    outputs = [graphc.py_callback(sorted_rows, x.type, x) + 1.0, total, twice]
    executable = graphc.compile([x, k], outputs)
    for rows in (3, 1, 0):
        for got in (executable(A[:rows], 5), graphc.evaluate(outputs, {x: A[:rows], k: np.int64(5)})):
            np.testing.assert_array_equal(got[0], np.sort(A[:rows], -1)[:, ::-1] + 1)
            np.testing.assert_array_equal(got[1], 2 * A[:rows].sum(0))
            assert got[2] == 10


def test_what_it_gets_is_its_own(x):
    kept = []

    def keep(array):
        kept.append(array)
        array += 100.0
        return array * 0

    y = graphc.py_callback(keep, x.type, x)
    executable = graphc.compile([x], [y, x * 1.0])
    assert executable(A)[1].tolist() == A.tolist()
    executable(A * 0)
    np.testing.assert_array_equal(kept[0], A + 100)


def test_in_scans_branches_and_batches(x):
    def running(carry, row):
        carry = graphc.py_callback(lambda c, r: np.maximum(c, r) + 1, carry.type, carry, row)
        return carry, carry

    final, rows = graphc.scan(running, graphc.zeros((4,)), x)
    chosen = graphc.cond(
        x.sum() > 0.0, lambda: graphc.py_callback(sorted_rows, x.type, x), lambda: graphc.zeros_like(x)
    )
    batched = graphc.vmap(lambda row: graphc.py_callback(lambda r: r[::-1], row.type, row))(x)
    got = graphc.compile([x], [final, rows, chosen, batched])(A)
    carry, wanted = np.zeros(4, "f"), []
    for row in A:
        carry = np.maximum(carry, row) + 1
        wanted.append(carry)
    for value, right in zip(got, [carry, np.stack(wanted), A[:, ::-1], A[:, ::-1]], strict=True):
        np.testing.assert_array_equal(value, right)


def test_derivative_by_a_rule(x):
    def square(value):
        return value * value

    y = graphc.py_callback(square, x.type, x, vjp=lambda inputs, output, cotangent: 2.0 * cotangent * inputs[0])
    gradient = graphc.compile([x], graphc.grad(y.sum(), x))
    np.testing.assert_array_equal(gradient(A), 2 * A)
    with pytest.raises(GraphError, match="square is called by py_callback and has no derivative"):
        graphc.grad(graphc.py_callback(square, x.type, x).sum(), x)


class Trouble(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 2])
def test_what_it_raises_comes_as_it_is_and_nothing_changes(x, threads):
    trouble = Trouble("mine")
    calls = []

    def sometimes(value):
        calls.append(len(value))
        if value[0, 0] > 0:
            raise trouble
        return value

    w, count = graphc.parameter(np.ones((4,), "f"), "w"), graphc.state(np.int64(0), "count")
    y = graphc.py_callback(sometimes, x.type, x)
    updates = optim.SGD(0.1).minimize((y * w).sum()) | {count: count + 1}
    step = graphc.compile([x], (y * w).sum(), updates=updates, threads=threads)
    step(A * 0)
    before = w.value.copy()
    with pytest.raises(Trouble) as caught:
        step(A + 1)
    assert caught.value is trouble
    np.testing.assert_array_equal(w.value, before)
    assert count.value == 1
    assert step(A * 0) == 0
    assert count.value == 2
    # In a loop it is not called again once it has raised.
    calls.clear()
    looped = graphc.map(lambda row: graphc.py_callback(sometimes, graphc.TensorType((1, 4), "float32"), row[None]), x)
    with pytest.raises(Trouble):
        graphc.compile([x], looped)(A + 1)
    assert calls == [1]


def test_wrong_results_are_named(x):
    for function, message in (
        (lambda v: v[0], r"to return float32\[3, 4\], got float32\[4\]"),
        (lambda v: v + 1j, "got complex64"),
        (lambda v: (v, v), "expected"),
        (lambda v: None, "expected"),
    ):
        executable = graphc.compile([x], graphc.py_callback(function, x.type, x))
        with pytest.raises((CallError, ValueError), match=message):
            executable(A)
    two = graphc.py_callback(lambda v: v, (x.type, x.type), x)
    with pytest.raises(CallError, match="to return 2 arrays"):
        graphc.compile([x], two[0])(A)


def test_running_an_executable_inside_is_refused_instead_of_waiting_for_ever(x):
    inner = graphc.compile([x], x * 2.0)
    w = graphc.state(np.float32(0))
    y = graphc.py_callback(lambda v: inner(v), x.type, x)
    for updates in (None, {w: y.sum()}):
        with pytest.raises(CallError, match="must not run an executable"):
            graphc.compile([x], y, updates)(A)
    np.testing.assert_array_equal(inner(A), 2 * A)


def test_the_c_function_lives_as_long_as_anything_that_calls_it(x):
    bound = graphc.compile([x], graphc.py_callback(lambda v: v + 1, x.type, x)).bind(A.copy())
    program = graphc.compile([x], graphc.py_callback(lambda v: v + 2, x.type, x)).repeat(2, [np.stack([A, A])], [0])
    gc.collect()
    np.testing.assert_array_equal(bound(), A + 1)
    np.testing.assert_array_equal(program.run(), np.stack([A, A]) + 2)


def test_training_with_fit_and_the_calling_thread():
    x, y = graphc.input("x", ("batch", 2)), graphc.input("y", ("batch",))
    w = graphc.parameter(np.zeros(2, "float32"), "w")
    seen = set()

    def doubled(value):
        seen.add(threading.get_ident())
        return value * 2

    features = graphc.py_callback(doubled, x.type, x)
    loss = graphc.mean(graphc.square(features @ w - y))
    step = graphc.compile([x, y], {"loss": loss}, updates=optim.SGD(0.05).minimize(loss))
    data = np.random.default_rng(0).normal(size=(64, 2)).astype("f")
    history = graphc.fit(step, {x: data, y: data @ np.array([1.0, -3.0], "f")}, epochs=30, batch_size=16, verbose=False)
    np.testing.assert_allclose(w.value, [0.5, -1.5], atol=1e-3)
    assert history is not None
    assert seen == {threading.get_ident()}


def test_many_threads_at_once(x):
    executable = graphc.compile([x], graphc.py_callback(lambda v: v * v[0, 0], x.type, x))
    wrong = []

    def run(factor):
        for _ in range(50):
            if not np.array_equal(executable(A + factor), (A + factor) * factor):
                wrong.append(factor)

    workers = [threading.Thread(target=run, args=(np.float32(k),)) for k in range(1, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_it_is_not_called_while_compiling():
    calls = []
    y = graphc.py_callback(lambda v: calls.append(1) or v, graphc.TensorType((2,), "float32"), np.ones(2, "f"))
    executable = graphc.compile([], y)
    assert not calls
    executable()
    executable()
    assert len(calls) == 2


def test_a_warm_start_calls_another_function_through_the_same_code(tmp_path):
    (tmp_path / "program.py").write_text(
        textwrap.dedent("""
        import sys
        if sys.argv[1] == "warm":
            sys.modules["numba"] = None
        import numpy as np
        import graphc

        factor = 2.0 if sys.argv[1] == "warm" else 3.0
        x = graphc.input("x", ("n",))
        got = graphc.compile([x], graphc.py_callback(lambda v: v * factor, x.type, x))(np.ones(3, "f"))
        assert got.tolist() == [factor] * 3
        """)
    )
    environment = {**os.environ, "GRAPHC_CACHE": str(tmp_path / "cache")}
    for start in ("cold", "warm"):
        subprocess.run([sys.executable, "program.py", start], check=True, cwd=tmp_path, env=environment)
