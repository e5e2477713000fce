"""Activations, layers and losses compiled: what the fused kernels give against the reference run."""

import numpy as np
import pytest

import graphc
from graphc import nn
from tests.nn.test_activations import ROWS as ACTIVATIONS
from tests.nn.test_regression import ROWS as REGRESSION

RNG = np.random.default_rng(4)
CLASSES = 11
DATA = (RNG.normal(size=(37, CLASSES)) * 3).astype("f")
OTHER = RNG.normal(size=(37, CLASSES)).astype("f")
LABELS = np.where(RNG.uniform(size=37) < 0.2, -100, RNG.integers(0, CLASSES, 37)).astype("int32")
WEIGHTS = RNG.uniform(0.5, 2, CLASSES).astype("f")

PAIRS = {
    "kl": lambda x, y: nn.kl_div(nn.log_softmax(x), nn.softmax(y), reduction="batchmean"),
    "bce": lambda x, y: nn.binary_cross_entropy(nn.sigmoid(x), nn.sigmoid(y)),
    "bce logits": lambda x, y: nn.binary_cross_entropy_with_logits(x, nn.sigmoid(y), pos_weight=WEIGHTS),
    "soft targets": lambda x, y: nn.cross_entropy(x, nn.softmax(y), weight=WEIGHTS, label_smoothing=0.1),
    "gaussian": lambda x, y: nn.gaussian_nll_loss(x, y, nn.softplus(x), full=True),
    "quantiles": lambda x, y: nn.quantile_loss(x, y[:, 0], list(np.linspace(0.05, 0.95, CLASSES))),
    "triplet": lambda x, y: nn.triplet_margin_loss(x, y, x[::-1], swap=True),
    "cosine": lambda x, y: nn.cosine_embedding_loss(x, y, np.where(LABELS[:37] > 4, 1, -1)),
    "layer norm": lambda x, y: nn.layer_norm(x, CLASSES, WEIGHTS, WEIGHTS) * y,
    "rms norm": lambda x, y: nn.rms_norm(x, CLASSES, WEIGHTS) * y,
}
LABELLED = {
    "cross entropy": lambda x, y: nn.cross_entropy(x, y),
    "weighted": lambda x, y: nn.cross_entropy(x, y, weight=WEIGHTS, label_smoothing=0.1),
    "none": lambda x, y: nn.cross_entropy(x, y, reduction="none"),
    "nll": lambda x, y: nn.nll_loss(nn.log_softmax(x), y, weight=WEIGHTS),
    "embedding": lambda x, y: nn.embedding(graphc.where(y < 0, 3, y), x, padding_idx=3),
}


def hold(inputs, outputs, arrays):
    """Compile all outputs with their slopes by the first input at once, and compare."""
    slopes = [graphc.grad(output.sum(), inputs[0]) for output in outputs.values()]
    wanted = [*outputs.values(), *slopes]
    expected = graphc.evaluate(wanted, dict(zip(inputs, arrays, strict=True)))
    results = graphc.compile(inputs, wanted)(*arrays)
    names = [*outputs, *(f"slope of {name}" for name in outputs)]
    for name, got, value in zip(names, results, expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=2e-5, atol=2e-6, err_msg=name)


def test_activations():
    x = graphc.input("x", ("n", CLASSES))
    hold([x], {name: module(x) for name, (module, _, _) in ACTIVATIONS.items()}, [DATA])


def test_losses_and_norms_of_two_operands():
    x, y = graphc.input("x", ("n", CLASSES)), graphc.input("y", ("n", CLASSES))
    losses = {name: function(x, y, **options) for name, (function, options, _) in REGRESSION.items()}
    x0, y0 = graphc.input("x", DATA.shape), graphc.input("y", DATA.shape)
    hold([x, y], losses, [DATA, OTHER])
    hold([x0, y0], {name: build(x0, y0) for name, build in PAIRS.items()}, [DATA, OTHER])


def test_losses_of_labels():
    x, y = graphc.input("x", ("n", CLASSES)), graphc.input("y", ("n",), "int32")
    hold([x, y], {name: build(x, y) for name, build in LABELLED.items()}, [DATA, LABELS])


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if "softmax" not in name])
def test_an_activation_is_one_kernel(name):
    x = graphc.input("x", ("n", CLASSES))
    value = ACTIVATIONS[name][0](x)
    step = graphc.compile([x], {"value": value, "slope": graphc.grad(value.sum(), x)})
    assert len(step.plan.kernels) == 1


def test_cross_entropy_and_its_gradient_read_the_logits_once():
    x, y = graphc.input("x", ("n", CLASSES)), graphc.input("y", ("n",), "int32")
    loss = nn.cross_entropy(x, y)
    step = graphc.compile([x, y], {"loss": loss, "gradient": graphc.grad(loss, x)})
    # The count of labels, losses with gradients by rows, the sum of the losses.
    assert len(step.plan.kernels) == 3


def test_dropout_in_training_and_evaluation():
    x = graphc.input("x", (1000,))
    y = nn.Dropout(0.25)(x)
    ones = np.ones(1000, "f")
    trained = graphc.compile([x], y, training=True)(ones)
    assert set(np.unique(trained)) == {np.float32(0), np.float32(1 / 0.75)}
    np.testing.assert_array_equal(graphc.compile([x], y)(ones), ones)
