"""Optimizers against the same rules written in NumPy, step by step."""

import numpy as np
import pytest

import graphc
from graphc import optim
from graphc.errors import GraphError

START = np.array([1.0, -2.0, 0.5])


def run(optimizer, steps=6, dtype="float64"):
    """Values of a parameter under updates of sum(p**4) / 4, whose gradient is p**3."""
    p = graphc.parameter(START.astype(dtype), "p")
    updates = optimizer.minimize((p * p * p * p).sum() * 0.25, [p])
    path = []
    for _ in range(steps):
        for leaf, value in zip(updates, graphc.evaluate(list(updates.values())), strict=True):
            leaf.set(value)
        path.append(p.value.copy())
    return np.array(path), updates


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ],
)
def test_sgd(options):
    got, _ = run(optim.SGD(0.1, **options))
    momentum, decay, dampening = (options.get(k, 0.0) for k in ("momentum", "weight_decay", "dampening"))
    p, buffer = START.copy(), None
    for row in got:
        g = p**3 + decay * p
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if options.get("nesterov") else buffer
        p = p - 0.1 * g
        np.testing.assert_allclose(row, p, rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"betas": (0.8, 0.99), "eps": 1e-3},
        {"weight_decay": 0.1},
        {"betas": (0.0, 0.9)},
        {"amsgrad": True, "betas": (0.5, 0.5)},
    ],
)
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(options, decoupled):
    got, _ = run((optim.AdamW if decoupled else optim.Adam)(0.05, **options))
    (b1, b2), eps = options.get("betas", (0.9, 0.999)), options.get("eps", 1e-8)
    decay = options.get("weight_decay", 0.01 if decoupled else 0.0)
    p, m, v, largest = START.copy(), 0.0, 0.0, 0.0
    for t, row in enumerate(got, 1):
        g = p**3
        if decoupled:
            p = p - 0.05 * decay * p
        else:
            g = g + decay * p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        largest = np.maximum(largest, v) if options.get("amsgrad") else v
        p = p - 0.05 / (1 - b1**t) * m / (np.sqrt(largest) / np.sqrt(1 - b2**t) + eps)
        np.testing.assert_allclose(row, p, rtol=1e-10)


@pytest.mark.parametrize(
    "options",
    [{}, {"alpha": 0.7, "eps": 1e-2, "weight_decay": 0.1}, {"momentum": 0.9}, {"centered": True, "momentum": 0.5}],
)
def test_rmsprop(options):
    got, _ = run(optim.RMSprop(0.05, **options))
    alpha, eps, momentum = options.get("alpha", 0.99), options.get("eps", 1e-8), options.get("momentum", 0.0)
    p, square, mean, buffer = START.copy(), 0.0, 0.0, 0.0
    for row in got:
        g = p**3 + options.get("weight_decay", 0.0) * p
        square = alpha * square + (1 - alpha) * g * g
        mean = alpha * mean + (1 - alpha) * g
        variance = square - mean**2 if options.get("centered") else square
        buffer = momentum * buffer + g / (np.sqrt(variance) + eps)
        p = p - 0.05 * buffer
        np.testing.assert_allclose(row, p, rtol=1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"lr_decay": 0.1, "weight_decay": 0.2}, {"initial_accumulator_value": 0.5, "eps": 1e-2}]
)
def test_adagrad(options):
    got, _ = run(optim.Adagrad(0.3, **options))
    p, total = START.copy(), options.get("initial_accumulator_value", 0.0)
    for before, row in enumerate(got):
        g = p**3 + options.get("weight_decay", 0.0) * p
        total = total + g * g
        p = p - 0.3 / (1 + before * options.get("lr_decay", 0.0)) * g / (np.sqrt(total) + options.get("eps", 1e-10))
        np.testing.assert_allclose(row, p, rtol=1e-10)


def test_defaults_are_those_of_pytorch():
    rates = {optim.SGD: 1e-3, optim.Adam: 1e-3, optim.AdamW: 1e-3, optim.RMSprop: 1e-2, optim.Adagrad: 1e-2}
    for kind, rate in rates.items():
        assert kind().learning_rate.value == rate
    assert optim.AdamW().weight_decay == 0.01
    assert (optim.RMSprop().alpha, optim.RMSprop().eps, optim.Adagrad().eps) == (0.99, 1e-8, 1e-10)


def test_float32_parameters_stay_float32_and_follow_float64_closely():
    for make in (
        lambda: optim.Adam(0.05, amsgrad=True),
        lambda: optim.SGD(0.05, momentum=0.9),
        lambda: optim.AdamW(0.05, clip_norm=0.5),
        lambda: optim.RMSprop(0.05, centered=True, alpha=0.5, eps=1e-3, clip_value=0.3),
        lambda: optim.Adagrad(0.05, lr_decay=0.1),
    ):
        single, updates = run(make(), dtype="float32")
        np.testing.assert_allclose(single, run(make())[0], rtol=2e-5)
        assert all(leaf.type == value.type for leaf, value in updates.items())


def test_rate_and_count_are_read_and_set_while_running():
    adam = optim.Adam(0.1)
    p = graphc.parameter(START)
    updates = adam.apply({p: graphc.constant(np.ones(3))})
    assert adam.step_count.value == 0
    adam.step_count.set(9)
    adam.learning_rate.set(0.0)
    values = dict(zip(updates, graphc.evaluate(list(updates.values())), strict=True))
    assert values[adam.step_count] == 10
    np.testing.assert_array_equal(values[p], START)


def test_minimize_finds_the_parameters_and_joins_with_other_updates():
    a, b, s = graphc.parameter(1.0), graphc.parameter(2.0), graphc.state(3.0)
    sgd = optim.SGD(0.1)
    updates = sgd.minimize(a * b + s) | {s: s + 1.0}
    assert set(updates) == {a, b, s, sgd.step_count}
    with pytest.raises(GraphError, match="no parameter"):
        optim.SGD(0.1).minimize(s * 2.0)
    with pytest.raises(GraphError, match=r"expected a gradient of type float32\[\], got float32\[2\]"):
        sgd.apply({a: graphc.constant(np.ones(2, "f"))})


def test_saving_and_loading():
    first, second = optim.Adam(0.1), optim.Adam(0.2)
    for optimizer in (first, second):
        p = graphc.parameter(START)
        optimizer.apply({p: p})
    first.slots_of(next(iter(first._slots)))["first"].set(np.arange(3.0))
    second.load_state_dict(first.state_dict())
    assert second.learning_rate.value == 0.1
    np.testing.assert_array_equal(second.states["0.first"].value, np.arange(3.0))
    with pytest.raises(GraphError, match="expected"):
        second.load_state_dict({})


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD(-1.0),
        lambda: optim.SGD(0.1, momentum=-1),
        lambda: optim.SGD(0.1, nesterov=True),
        lambda: optim.Adam(0.1, betas=(1.0, 0.9)),
        lambda: optim.Adam(0.1, eps=-1),
        lambda: optim.Adam(float("nan")),
        lambda: optim.Adam(float("inf")),
        lambda: optim.Adam(True),
        lambda: optim.SGD(0.1, momentum=float("nan")),
        lambda: optim.RMSprop(alpha=-0.1),
        lambda: optim.Adagrad(lr_decay=-0.1),
        lambda: optim.AdamW(weight_decay=-0.1),
        lambda: optim.Adam(clip_norm=0.0),
        lambda: optim.Adam(clip_value=-1.0),
        lambda: optim.Adam(clip_value=1.0, clip_norm=1.0),
    ],
)
def test_bad_settings(make):
    with pytest.raises(GraphError, match=r"expected|needs"):
        make()


def test_parameters_in_the_place_of_the_learning_rate():
    with pytest.raises(GraphError, match="parameters are given to minimize"):
        optim.Adam([graphc.parameter(START)])
