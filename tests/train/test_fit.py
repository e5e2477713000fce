import sys
import time

import numpy as np
import pytest

import graphc
from graphc import compiler
from graphc.errors import CallError, GraphError, MissingInputError
from graphc.train import History, fit
from graphc.train.orders import Orders
from tests.interrupts import interrupted_after


def linear(batch="batch"):
    """A step of gradient descent on a linear fit, and its leaf."""
    x = graphc.input("x", (batch, 3))
    y = graphc.input("y", (batch,))
    w = graphc.parameter(np.zeros(3, np.float32), "w")
    error = graphc.sum(x * w, axis=1) - y
    loss = graphc.mean(error * error)
    slope = graphc.mean(2 * error[:, None] * x, axis=0)
    step = compiler.compile([x, y], {"loss": loss, "error": error}, updates={w: w - 0.1 * slope})
    return step, x, y, w


def reference(xs, ys, order, size, w):
    """Train in NumPy; return the weighted mean loss."""
    total = 0.0
    for start in range(0, len(order), size):
        part = order[start : start + size]
        error = xs[part] @ w - ys[part]
        total += (error * error).mean() * len(part)
        w -= 0.1 * (2 * error[:, None] * xs[part]).mean(0)
    return total / len(order)


RNG = np.random.default_rng(0)
XS = RNG.normal(size=(50, 3)).astype(np.float32)
YS = XS @ np.array([1, -2, 3], np.float32)


def test_fit_is_minibatch_training():
    step, x, y, w = linear()
    history = fit(step, {x: XS, y: YS}, batch_size=16, epochs=3, verbose=False, seed=5, validation_data={x: XS, y: YS})
    right, losses = np.zeros(3), []
    for epoch in range(3):
        order = np.random.Generator(np.random.Philox(key=[5, epoch])).permutation(50)
        losses.append(reference(XS, YS, order, 16, right))
    np.testing.assert_allclose(w.value, right, rtol=1e-4)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-4)
    assert history.epoch == [0, 1, 2]
    assert history.steps == 12
    np.testing.assert_allclose(history.history["val_loss"][-1], np.mean((XS @ right - YS) ** 2), rtol=1e-3)
    assert set(history.history) == {"loss", "val_loss"}


def test_the_same_seed_gives_the_same_bits():
    results = []
    for _ in range(2):
        step, x, y, w = linear()
        fit(step, {x: XS, y: YS}, epochs=2, verbose=False)
        results.append(w.value.copy())
    np.testing.assert_array_equal(*results)


def test_a_run_can_be_continued():
    step, x, y, w = linear()
    fit(step, {x: XS, y: YS}, epochs=4, verbose=False)
    other, u, v, again = linear()
    history = fit(other, {"x": XS, "y": YS}, epochs=1, verbose=False)
    fit(other, {u: XS, v: YS}, epochs=3, verbose=False, initial_epoch=1, history=history)
    np.testing.assert_array_equal(w.value, again.value)
    assert history.epoch == [0, 1, 2, 3]


@pytest.mark.parametrize("samples", [1, 7, 16, 17, 50])
def test_epochs_that_run_together(samples, monkeypatch):
    """Blocks of 2, 4, 4 and 1 epochs, of whole minibatches and a rest, or of one of the two."""
    module = sys.modules["graphc.train.fit"]
    monkeypatch.setattr(module, "FIRST", samples)
    monkeypatch.setattr(module, "TOGETHER", 3 * samples)
    for shuffle in (True, False):
        step, x, y, w = linear()
        data = {x: XS[:samples], y: YS[:samples]}
        history = fit(step, data, batch_size=8, epochs=11, verbose=False, seed=3, shuffle=shuffle)
        right, losses = np.zeros(3), []
        for epoch in range(11):
            order = np.arange(samples)
            if shuffle:
                np.random.Generator(np.random.Philox(key=[3, epoch])).shuffle(order)
            losses.append(reference(XS, YS, order, 8, right))
        np.testing.assert_allclose(w.value, right, rtol=1e-4)
        np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-3, atol=1e-7)
        assert history.epoch == list(range(11))
        assert history.steps == 11 * -(-samples // 8)


def test_a_run_without_end_starts_at_once():
    step, x, y, _ = linear()
    start = time.perf_counter()
    history = fit(step, {x: XS, y: YS}, epochs=10**15, verbose=False, callbacks=[lambda epoch, measures: epoch == 1])
    assert history.epoch == [0, 1]
    assert time.perf_counter() - start < 10


def test_a_fault_in_writing_orders_is_raised(monkeypatch):
    step, x, y, _ = linear()
    monkeypatch.setattr(sys.modules["graphc.train.fit"], "FIRST", 50)
    write = Orders.write

    def broken(self, epoch, rows):
        if epoch:
            raise MemoryError("no orders")
        write(self, epoch, rows)

    monkeypatch.setattr(Orders, "write", broken)
    with pytest.raises(MemoryError, match="no orders"):
        fit(step, {x: XS, y: YS}, epochs=9, verbose=False)


def test_without_shuffling_and_the_last_smaller_batch():
    step, x, y, w = linear()
    fit(step, {x: XS, y: YS}, batch_size=16, shuffle=False, drop_last=True, verbose=False)
    right = np.zeros(3)
    reference(XS, YS, np.arange(48), 16, right)
    np.testing.assert_allclose(w.value, right, rtol=1e-4)


def test_a_fixed_batch_size():
    step, x, y, _ = linear(10)
    assert fit(step, {x: XS, y: YS}, batch_size=10, verbose=False).steps == 5
    with pytest.raises(CallError, match="compiled for batches of 10; pass batch_size=10"):
        fit(step, {x: XS, y: YS}, batch_size=16)


def test_callbacks_see_every_epoch_and_may_stop():
    step, x, y, _ = linear()
    seen = []

    class Stop:
        def on_epoch_end(self, epoch, measures):
            return epoch == 2

    history = fit(
        step,
        {x: XS, y: YS},
        epochs=9,
        verbose=False,
        callbacks=[lambda epoch, m: seen.append((epoch, m["loss"])), Stop()],
    )
    assert history.epoch == [0, 1, 2]
    assert [loss for _, loss in seen] == history.history["loss"]


def test_the_progress_line_shows_the_loss(capsys):
    step, x, y, _ = linear()
    fit(step, {x: XS, y: YS}, epochs=2)
    text = capsys.readouterr().err
    assert "epoch 2/2" in text
    assert "loss=" in text


@pytest.mark.alone
def test_ctrl_c_leaves_a_whole_number_of_steps():
    rng = np.random.default_rng(1)
    # Whole epochs longer than it takes, and many that run together.
    for samples, delay in zip([100_000, 700] * 4, rng.uniform(0.02, 0.3, 8), strict=True):
        x = graphc.input("x", ("batch",))
        w, v = (graphc.parameter(np.zeros(5, np.float32), name) for name in "wv")
        step = compiler.compile([x], graphc.sum(x), updates={w: w + 1.0, v: v - 1.0})
        fit(step, {x: XS[:, 0]}, batch_size=1, verbose=False)  # compiled before the clock runs
        history = History(steps=50)
        with interrupted_after(delay) as sent:
            with pytest.raises(KeyboardInterrupt) as caught:
                fit(
                    step,
                    {x: np.zeros(samples, np.float32)},
                    batch_size=1,
                    epochs=10_000_000 // samples,
                    verbose=False,
                    history=history,
                )
            took = time.perf_counter() - sent[-1]
        assert took < 0.1
        assert caught.value.history is history
        assert history.epoch == list(range((history.steps - 50) // samples))
        np.testing.assert_array_equal(w.value, np.full(5, history.steps, np.float32))
        np.testing.assert_array_equal(v.value, -w.value)


def test_wrong_uses():
    step, x, y, w = linear()
    data = {x: XS, y: YS}
    with pytest.raises(
        GraphError, match=r"fit trains a compiled step, got a node; compile one: step = graphc\.compile"
    ):
        fit(x, data)
    with pytest.raises(GraphError, match="this executable updates nothing"):
        fit(compiler.compile([x], graphc.sum(x)), {x: XS})
    with pytest.raises(CallError, match="batch_size must be a whole number of 1 or more, got 0"):
        fit(step, data, batch_size=0)
    with pytest.raises(CallError, match="data: x has 50 samples, but y has 49"):
        fit(step, {x: XS, y: YS[1:]})
    with pytest.raises(MissingInputError, match="data: missing y"):
        fit(step, {x: XS})
    with pytest.raises(MissingInputError, match="is not an input of the step; expected x, y"):
        fit(step, {**data, w: YS})
    with pytest.raises(CallError, match="data: there are no samples"):
        fit(step, {x: XS[:0], y: YS[:0]})
    with pytest.raises(CallError, match="input 'x': expected shape"):
        fit(step, {x: XS[:, :2], y: YS})
    with pytest.raises(CallError, match="expected a dict"):
        fit(step, [XS, YS])
    with pytest.raises(GraphError, match="needs a scalar output"):
        fit(compiler.compile([x], x, updates={w: w + 1}), {x: XS})
    assert (w.value == 0).all()


@pytest.mark.parametrize("seed", ["a", -1, 1.5, True, 2**32])
def test_seeds_that_are_none(seed):
    step, x, y, w = linear()
    with pytest.raises(CallError, match=r"seed must be a whole number of 0 or more and below 2\*\*32, got"):
        fit(step, {x: XS, y: YS}, seed=seed, verbose=False)
    assert (w.value == 0).all()


def test_a_history_that_is_none():
    step, x, y, w = linear()
    with pytest.raises(CallError, match="history: expected what an earlier fit returned, got a dict"):
        fit(step, {x: XS, y: YS}, history={"loss": []}, verbose=False)
    assert (w.value == 0).all()


@pytest.mark.parametrize("callbacks", [print, ["stop"]])
def test_callbacks_that_cannot_be_called(callbacks):
    step, x, y, _ = linear()
    with pytest.raises(CallError, match="callbacks: expected a list of functions"):
        fit(step, {x: XS, y: YS}, callbacks=callbacks, verbose=False)


def test_an_input_may_be_called_indexes():
    x = graphc.input("indexes", ("batch",))
    w = graphc.parameter(np.float32(1), "w")
    step = graphc.compile([x], graphc.mean(x * w), {w: w * 0.5})
    assert fit(step, {x: np.ones(4, "float32")}, verbose=False).history["loss"] == [1.0]
