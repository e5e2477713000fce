"""Normalisation of channels: values, running statistics, phases."""

import numpy as np
import pytest

import graphc
from graphc import nn
from tests.nn.checks import check

RNG = np.random.default_rng(5)
IMAGES = RNG.normal(size=(3, 2, 4, 6)) * 2 + 1
W, B = RNG.normal(size=6), RNG.normal(size=6)


def scaled(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def grouped(x, w, b):
    parts = x.reshape(*x.shape[:-1], 3, 2)
    return scaled(parts, (*range(1, x.ndim - 1), x.ndim)).reshape(x.shape) * w + b


@pytest.mark.parametrize(
    ("build", "define", "arrays"),
    [
        (nn.batch_norm, lambda x: scaled(x, (0, 1, 2)), [IMAGES]),
        (
            lambda x, w, b: nn.batch_norm(x, None, None, w, b),
            lambda x, w, b: scaled(x, 0) * w + b,
            [IMAGES[:, 0, 0], W, B],
        ),
        (lambda x: nn.instance_norm(x, eps=0.1), lambda x: scaled(x, (1, 2), 0.1), [IMAGES]),
        (lambda x, w, b: nn.group_norm(x, 3, w, b), grouped, [IMAGES, W, B]),
        (lambda x, w, b: nn.group_norm(x, 3, w, b), grouped, [IMAGES[:, 0, 0], W, B]),
    ],
)
def test_norms_of_channels(build, define, arrays):
    # A channel of a small batch: differences lose some digits.
    check(build, define, *arrays, rtol=1e-8)


@pytest.mark.parametrize("phase", [None, True, False])
@pytest.mark.parametrize("shape", [(4, 6), (3, 2, 4, 6)])
def test_the_rule_of_batch_norm_is_that_of_its_definition_to_second_order(shape, phase):
    draw = np.random.default_rng(1)
    arrays = [draw.normal(size=shape) * 2 + 1, *(draw.normal(size=6) for _ in range(3)), draw.uniform(0.5, 2, 6)]
    x, w, b, mean, variance = nodes = [graphc.input(f"x{k}", a.shape, "float64") for k, a in enumerate(arrays)]
    axes = tuple(range(len(shape) - 1))
    chosen = graphc.input("phase", (), "bool")
    centre, spread = graphc.mean(x, axes), graphc.var(x, axes)
    kept = ()
    if phase is not None:
        kept = (mean, variance)
        centre, spread = graphc.where(chosen, centre, mean), graphc.where(chosen, spread, variance)
    plain = (x - centre) * graphc.rsqrt(spread + 1e-5) * w + b
    ours = nn.batch_norm(x, *(kept or (None, None)), w, b, training=chosen if kept else None)
    weights = draw.normal(size=shape)
    wrt = nodes[: 5 if kept else 3]
    found = []
    for y in (ours, plain):
        first = graphc.grad(graphc.sum(graphc.tanh(y) * weights), wrt)
        second = graphc.grad(sum(graphc.sum(graphc.sin(one)) for one in first), wrt)
        (along,) = graphc.jvp([y], [x], [graphc.constant(weights)])
        given = dict(zip(nodes, arrays, strict=True)) | {chosen: np.bool_(phase)}
        found.append(graphc.evaluate([y, along, *first, *second], given))
    for got, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-10)


def test_running_statistics_follow_training_and_stand_in_for_the_batch_afterwards():
    layer = nn.BatchNorm2d(6, dtype="float64")
    x = graphc.input("x", ("n", 2, 4, 6), "float64")
    y = layer(x)
    step, predict = graphc.compile([x], y, training=True), graphc.compile([x], y)
    mean, variance = np.zeros(6), np.ones(6)
    for seed in range(2):
        batch = np.random.default_rng(seed).normal(size=(3, 2, 4, 6)) * 2 + 1
        np.testing.assert_allclose(step(batch), scaled(batch, (0, 1, 2)), rtol=1e-9, atol=1e-9)
        mean = 0.9 * mean + 0.1 * batch.mean((0, 1, 2))
        variance = 0.9 * variance + 0.1 * batch.var((0, 1, 2), ddof=1)
    assert layer.num_batches_tracked.value == 2
    np.testing.assert_allclose(layer.running_mean.value, mean, rtol=1e-9)
    np.testing.assert_allclose(layer.running_var.value, variance, rtol=1e-9)
    np.testing.assert_allclose(predict(IMAGES), (IMAGES - mean) / np.sqrt(variance + 1e-5), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(layer(x, training=False).eval({x: IMAGES}), predict(IMAGES), rtol=1e-9, atol=1e-9)
    assert layer.num_batches_tracked.value == 2


def test_without_momentum_all_batches_count_alike():
    layer = nn.BatchNorm1d(4, momentum=None, dtype="float64")
    x = graphc.input("x", ("n", 4), "float64")
    step = graphc.compile([x], layer(x), training=True)
    batches = RNG.normal(size=(3, 5, 4))
    for batch in batches:
        step(batch)
    np.testing.assert_allclose(layer.running_mean.value, batches.mean((0, 1)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(layer.running_var.value, batches.var(1, ddof=1).mean(0), rtol=1e-9)


def test_a_phase_that_is_data_chooses_the_update_too():
    layer = nn.BatchNorm1d(2, dtype="float64")
    x, phase = graphc.input("x", (4, 2), "float64"), graphc.input("phase", (), "bool")
    step = graphc.compile([x, phase], layer(x, training=phase), training=True)
    batch = RNG.normal(size=(4, 2)) + 3
    np.testing.assert_allclose(step(batch, False), batch / np.sqrt(1 + 1e-5), rtol=1e-9)
    np.testing.assert_array_equal(layer.running_mean.value, np.zeros(2))
    assert layer.num_batches_tracked.value == 0
    np.testing.assert_allclose(step(batch, True), scaled(batch, 0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(layer.running_mean.value, 0.1 * batch.mean(0), rtol=1e-9)
    assert layer.num_batches_tracked.value == 1


def test_the_gradient_goes_through_the_statistics_of_the_batch_alone():
    layer = nn.BatchNorm1d(2, dtype="float64")
    x = graphc.input("x", (4, 2), "float64")
    batch, weights = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2))
    slope = graphc.grad((layer(x) * weights).sum(), x)
    trained, frozen = (graphc.compile([x], slope, training=phase)(batch) for phase in (True, False))
    np.testing.assert_allclose(trained.sum(0), 0, atol=1e-12)  # a shift of the whole batch changes nothing
    np.testing.assert_allclose(frozen, weights / np.sqrt(layer.running_var.value + 1e-5), rtol=1e-9)


def test_instance_norm_tracks_the_mean_of_its_examples():
    layer = nn.InstanceNorm2d(6, affine=True, track_running_stats=True, dtype="float64")
    x = graphc.input("x", IMAGES.shape, "float64")
    step, predict = graphc.compile([x], layer(x), training=True), graphc.compile([x], layer(x))
    np.testing.assert_allclose(step(IMAGES), scaled(IMAGES, (1, 2)), rtol=1e-9, atol=1e-9)
    mean = 0.1 * IMAGES.mean((1, 2)).mean(0)
    variance = 0.9 + 0.1 * IMAGES.var((1, 2), ddof=1).mean(0)
    np.testing.assert_allclose(layer.running_var.value, variance, rtol=1e-9)
    np.testing.assert_allclose(predict(IMAGES), (IMAGES - mean) / np.sqrt(variance + 1e-5), rtol=1e-9, atol=1e-9)


def test_what_does_not_fit_is_told():
    x = graphc.input("x", ("n", 4, 6))
    for build, message in (
        (
            lambda: nn.BatchNorm2d(6)(x),
            r"BatchNorm2d: expected \(N, H, W, C\), got float32\[n, 4, 6\](.|\n)*in BatchNorm2d",
        ),
        (lambda: nn.BatchNorm1d(5)(x), "BatchNorm1d: expected a last axis of 5"),
        (lambda: nn.batch_norm(x, weight=np.ones(5, "f")), "weight: expected one number for each of 6 channels"),
        (lambda: nn.batch_norm(x, np.ones(6, "f")), "expected running_mean and running_var, or neither"),
        (lambda: nn.instance_norm(x[:, 0]), r"instance_norm: expected \(N, ..., C\) with an axis of space"),
        (lambda: nn.group_norm(x, 4), r"channels that 4 groups divide evenly, got float32\[n, 4, 6\]"),
        (lambda: nn.GroupNorm(4, 6), "num_channels that num_groups divides evenly, got 6 and 4"),
    ):
        with pytest.raises(graphc.ShapeError, match=message):
            build()
    with pytest.raises(graphc.GraphError, match=r"momentum: expected a number from 0\.0 to 1\.0, got 2"):
        nn.BatchNorm1d(6, momentum=2)
