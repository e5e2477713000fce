"""What a user sums of a loop's results, and gradients of it, have the bits of storing everything: many programs, all lengths."""

import numpy as np
import pytest

import graphc
from graphc.runtime import memory, sharing

LENGTHS = range(1, 18)


def states_of(kind, checkpoint, dtype):
    """The last and all states of two carries, the input and the weights: of `kind` (columns of both, or one total)."""
    hidden, is_total = {"two columns": (2, False), "totals": (2, True), "wide": (20, True)}[kind]
    generator = np.random.default_rng(5)
    w = graphc.parameter((generator.normal(size=(hidden, hidden)) / hidden**0.5).astype(dtype))
    u = graphc.parameter(generator.normal(size=(3, hidden)).astype(dtype))
    x = graphc.input("x", ("time", "batch", 3), dtype)

    def step(carry, v):
        h, s = carry
        h = graphc.tanh(h @ w + graphc.sin(v) @ u)
        s = s * 0.9 + (h.sum(-1, keepdims=True) if is_total else h)
        return (h, s), (h, s)

    first = (graphc.zeros(("batch", hidden), dtype), graphc.zeros(("batch", 1 if is_total else hidden), dtype))
    last, rows = graphc.scan(step, first, x, checkpoint=checkpoint)
    return x, (w, u), last, rows


def program(kind, checkpoint, dtype):
    x, weights, last, (rows, sums) = states_of(kind, checkpoint, dtype)
    columns = (rows.reshape((-1, rows.shape[2])), sums.reshape((-1, sums.shape[2])))
    losses = [
        graphc.sin(rows.sum(0)).sum() + graphc.cos(sums.sum(0)).sum(),
        graphc.sin(rows.sum(1)).sum(),
        graphc.sin(sums.sum(2)).sum(),
        (rows * rows).sum() + (sums * sums).sum(),
        graphc.cos(rows.sum((0, 1))).sum(),
        sums.sum(),
        graphc.sin(columns[0].T @ columns[1]).sum(),
    ]
    wanted = [y for loss in losses for y in (loss, *graphc.grad(loss, [*weights, x]))]
    wanted += [y for state in (rows, sums) for y in (state.sum(0), state.sum((0, 1)), state.sum((0, 2)))]
    return x, [*wanted, *last, rows.mean(0), graphc.max(rows, 0)]


def program_of_what_is_made_on_the_way(kind, checkpoint, dtype):
    """Sums whose operand one loop walks as an array, or has made for all times, and pieces of it do not."""
    x, weights, _, (rows, sums) = states_of(kind, checkpoint, dtype)
    turned = graphc.permute_dims(graphc.sin(x) @ weights[1], (1, 0, 2))
    losses = [
        (rows * sums).sum(),
        (rows * sums * sums).sum(1).sum(),
        graphc.exp(rows).sum() + graphc.exp(rows).sum(0).sum(),
        (rows * rows).sum() + (rows * rows * rows).sum(2).sum() / 3.0,
        (graphc.permute_dims(turned, (1, 0, 2)) * rows).sum((0, 2)).sum() + (turned * turned).sum(),
        graphc.sin(x).sum() + (graphc.sin(x).sum(-1, keepdims=True) * rows).sum(),
        (graphc.concat([rows, rows], 0)[1:] * 2.0).sum(),
    ]
    return x, [y for loss in losses for y in (loss, *graphc.grad(loss, [*weights, x]))]


@pytest.mark.parametrize(
    ("kind", "dtype", "make"),
    [
        ("totals", "float64", program),
        ("wide", "float32", program),
        ("two columns", "float64", program_of_what_is_made_on_the_way),
    ],
)
def test_sums_have_the_bits_of_storing_everything(kind, dtype, make, monkeypatch):
    monkeypatch.setattr("graphc.forms.LARGE", 0)
    monkeypatch.setattr(memory, "OWNED_WORK", 0)
    monkeypatch.setattr(sharing, "RULE", sharing.FREE)
    steps = {}
    for checkpoint, counts in {None: (1,), 3: (1, 2), "auto": (2,)}.items():
        x, wanted = make(kind, checkpoint, dtype)
        for threads in counts:
            steps[checkpoint, threads] = graphc.compile([x], wanted, threads=threads)
    for length in LENGTHS:
        batch = (1, 5, 17)[length % 3]
        fed = np.random.default_rng(length).normal(size=(length, batch, 3)).astype(dtype)
        expected = steps[None, 1](fed)
        for (checkpoint, threads), step in steps.items():
            for number, (found, one) in enumerate(zip(step(fed), expected, strict=True)):
                message = f"result {number}, checkpoint={checkpoint}, {threads} threads, time {length}, batch {batch}"
                np.testing.assert_array_equal(found, one, message)
