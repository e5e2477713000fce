"""Losses of classes against loops in NumPy."""

import math

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import DTypeError, GraphError, ShapeError
from tests.nn.checks import check, value_and_slopes

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(7, 5)) * 3
LABELS = RNG.integers(0, 5, 7).astype("int32")
WEIGHTS = RNG.uniform(0.5, 2, 5)
PROBABILITIES = RNG.dirichlet(np.ones(5), 7)


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def reduce(losses, reduction, total=None):
    """Only here: the mean over `total`, the count unless given."""
    losses = np.asarray(losses)
    return losses if reduction == "none" else losses.sum() / (1 if reduction == "sum" else total or losses.size)


def cross_entropy(logits, labels, reduction="mean", weight=None, ignore=-100, smoothing=0.0):
    """Example by example, from the definition in the documentation of torch.nn.CrossEntropyLoss."""
    weight = np.ones(logits.shape[-1]) if weight is None else weight
    losses, total = np.zeros(labels.shape), 0.0
    for at in np.ndindex(labels.shape):
        if labels[at] == ignore:
            continue
        logs = log_softmax(logits[at])
        wanted = np.full(len(weight), smoothing / len(weight))
        wanted[labels[at]] += 1 - smoothing
        losses[at] = -(wanted * weight * logs).sum()
        total += weight[labels[at]]
    return reduce(losses, reduction, total)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_labels(reduction, smoothing, weighted):
    weight = WEIGHTS if weighted else None
    labels = LABELS.copy()
    labels[2] = ignored = 3
    for ignore, target in ((-100, np.where(LABELS == 1, -100, LABELS)), (ignored, labels)):
        check(
            lambda x, y, i=ignore: nn.cross_entropy(
                x, y, weight=weight, ignore_index=i, reduction=reduction, label_smoothing=smoothing
            ),
            lambda x, y, i=ignore: cross_entropy(x, y, reduction, weight, i, smoothing),
            LOGITS,
            target,
        )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_of_probabilities(reduction, smoothing, weighted):
    weight = WEIGHTS if weighted else None

    def define(x, p):
        p = p * (1 - smoothing) + smoothing / 5
        losses = -(p * log_softmax(x) * (WEIGHTS if weighted else 1.0)).sum(-1)
        return reduce(losses, reduction)

    check(
        lambda x, p: nn.cross_entropy(x, p, weight=weight, reduction=reduction, label_smoothing=smoothing),
        define,
        LOGITS,
        PROBABILITIES,
    )


def test_cross_entropy_of_more_axes_and_of_one_example():
    logits, labels = RNG.normal(size=(2, 3, 4, 5)), RNG.integers(0, 5, (2, 3, 4))
    check(nn.cross_entropy, cross_entropy, logits, labels)
    check(nn.cross_entropy, cross_entropy, logits[0, 0, 0], np.int64(3))
    np.testing.assert_allclose(
        value_and_slopes(nn.cross_entropy, [LOGITS, LABELS.astype("uint8")])[0], cross_entropy(LOGITS, LABELS)
    )


def test_the_gradient_of_cross_entropy_is_probability_minus_target():
    x, y = graphc.input("x", ("n", 5), "float64"), graphc.input("y", ("n",), "int32")
    gradient = graphc.grad(nn.cross_entropy(x, y), x).eval({x: LOGITS, y: LABELS})
    np.testing.assert_allclose(gradient, (np.exp(log_softmax(LOGITS)) - np.eye(5)[LABELS]) / 7)


def test_cross_entropy_is_stable():
    x, y = graphc.input("x", ("n", 3)), graphc.input("y", ("n",), "int64")
    loss = nn.cross_entropy(x, y, reduction="none")
    data = np.array([[1e4, 0, -1e4], [1e4, 0, -1e4], [-np.inf, 0, 0]], "f")
    got = graphc.evaluate([loss, graphc.grad(loss.sum(), x)], {x: data, y: [0, 2, 1]})
    np.testing.assert_allclose(got[0], [0, 2e4, np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(got[1], [[0, 0, 0], [1, 0, -1], [0, -0.5, 0.5]], atol=1e-6)


def test_an_impossible_class_that_no_target_has_costs_nothing():
    x, p = graphc.input("x", ("n", 3)), graphc.input("p", ("n", 3))
    loss = nn.cross_entropy(x, p, reduction="none")
    feeds = {x: np.array([[-np.inf, 0, 0]], "f"), p: np.array([[0, 1, 0]], "f")}
    value, slope = graphc.evaluate([loss, graphc.grad(loss.sum(), x)], feeds)
    np.testing.assert_allclose(value, [np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(slope, [[0, -0.5, 0.5]], atol=1e-6)


def test_where_all_labels_are_ignored_the_mean_is_nan_and_the_sum_is_zero():
    x, y = graphc.input("x", ("n", 3)), graphc.input("y", ("n",), "int64")
    feeds = {x: np.zeros((2, 3), "f"), y: [-100, -100]}
    assert np.isnan(nn.cross_entropy(x, y).eval(feeds))
    assert nn.cross_entropy(x, y, reduction="sum").eval(feeds) == 0
    slope = graphc.grad(nn.cross_entropy(x, y, reduction="sum"), x).eval(feeds)
    np.testing.assert_array_equal(slope, np.zeros((2, 3)))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_nll_loss(reduction, weighted):
    weight = WEIGHTS if weighted else np.ones(5)
    labels = np.where(LABELS == 1, -100, LABELS)

    def define(logs, y):
        kept = y != -100
        each = np.array(
            [-weight[label] * row[label] if label >= 0 else 0.0 for row, label in zip(logs, y, strict=True)]
        )
        return reduce(each, reduction, weight[y[kept]].sum())

    given = weight if weighted else None
    check(lambda x, y: nn.nll_loss(x, y, weight=given, reduction=reduction), define, log_softmax(LOGITS), labels)


def test_labels_out_of_range_raise_and_the_message_names_the_label():
    x, y = graphc.input("x", ("n", 3)), graphc.input("y", ("n",), "int32")
    for loss in (nn.cross_entropy(x, y), nn.nll_loss(x, y)):
        step = graphc.compile([x, y], loss)
        for wrong in (3, -1):
            with pytest.raises(graphc.IndexOutOfRangeError):
                loss.eval({x: np.zeros((2, 3), "f"), y: [0, wrong]})
            with pytest.raises(graphc.IndexOutOfRangeError):
                step(np.zeros((2, 3), "f"), [0, wrong])


def test_cross_entropy_says_what_is_wrong_with_its_operands():
    x, y = graphc.input("x", ("n", 3)), graphc.input("y", ("n",), "int32")
    with pytest.raises(DTypeError, match=r"integer labels of shape(.|\n)*'int64'(.|\n)*at test_losses.py:"):
        nn.cross_entropy(x, y.astype("float32"))
    with pytest.raises(DTypeError, match="integer labels"):
        nn.cross_entropy(x, y == 1)
    with pytest.raises(ShapeError, match=r"without a last axis of 1(.|\n)*squeeze\(labels, -1\)"):
        nn.cross_entropy(x, graphc.input("z", ("n", 1), "int32"))
    with pytest.raises(ShapeError, match=r"one label (.|\n)*got as many(.|\n)*argmax\(labels, axis=-1\)"):
        nn.cross_entropy(x, graphc.input("z", ("n", 3), "int32"))
    with pytest.raises(ShapeError, match=r"expected scores \(\.\.\., classes\) and labels(.|\n)*moveaxis"):
        nn.cross_entropy(x, graphc.input("z", ("n", 4), "int32"))
    with pytest.raises(ShapeError, match=r"moveaxis\(x, 1, -1\)"):
        nn.cross_entropy(graphc.input("i", (2, 10, 8, 8)), graphc.input("l", (2, 8, 8), "int64"))
    with pytest.raises(ShapeError, match=r"one shape, got float32\[n, 3\] and float32\[n, 4\]"):
        nn.cross_entropy(x, graphc.input("z", ("n", 4)))
    with pytest.raises(DTypeError, match="floating logits"):
        nn.cross_entropy(y, y)
    with pytest.raises(ShapeError, match=r"logits of shape \(\.\.\., classes\)"):
        nn.cross_entropy(graphc.input("s", ()), y)
    with pytest.raises(ShapeError, match=r"weights of shape \(3,\), one for each class, got float64\[4\]"):
        nn.cross_entropy(x, y, weight=np.ones(4))
    with pytest.raises(GraphError, match="'mean', 'sum' or 'none', got 'average'"):
        nn.cross_entropy(x, y, reduction="average")
    with pytest.raises(GraphError, match=r"label_smoothing: expected a number from 0.0 to 1.0, got 2"):
        nn.cross_entropy(x, y, label_smoothing=2)
    with pytest.raises(GraphError, match="integer labels with ignore_index"):
        nn.cross_entropy(x, x, ignore_index=0)


def test_binary_cross_entropy():
    p, t, w = RNG.uniform(0.05, 0.95, (4, 3)), RNG.uniform(0, 1, (4, 3)), RNG.uniform(0.5, 2, 3)

    def define(p, t, reduction="mean", w=1.0):
        return reduce(-w * (t * np.log(p) + (1 - t) * np.log(1 - p)), reduction)

    check(nn.binary_cross_entropy, define, p, t)
    for reduction in ("mean", "sum", "none"):
        check(
            lambda p, t, r=reduction: nn.binary_cross_entropy(p, t, weight=w, reduction=r),
            lambda p, t, r=reduction: define(p, t, r, w),
            p,
            t,
        )


def test_binary_cross_entropy_at_the_ends_is_limited():
    ends = np.array([0.0, 0.0, 1.0, 1.0, 1e-20], "f")
    targets = np.array([0.0, 1.0, 0.0, 1.0, 1.0], "f")
    x, t = graphc.input("x", ("n",)), graphc.input("t", ("n",))
    loss = nn.binary_cross_entropy(x, t, reduction="none")
    value, slope = graphc.evaluate([loss, graphc.grad(loss.sum(), x)], {x: ends, t: targets})
    np.testing.assert_allclose(value, [0, 100, 100, 0, 20 * np.log(10)], rtol=1e-6)
    # As torch: (input - target) / max(input * (1 - input), 1e-12)
    np.testing.assert_allclose(slope, [0, -1e12, 1e12, 0, -1e12], rtol=1e-6, atol=2)
    outside = nn.binary_cross_entropy(x, t, reduction="none").eval({x: np.float32([-1, 2]), t: np.float32([1, 0])})
    assert np.isnan(outside).all()


def test_binary_cross_entropy_with_logits():
    x, t = RNG.normal(size=(4, 3)) * 4, RNG.uniform(0, 1, (4, 3))
    w, positive = RNG.uniform(0.5, 2, (4, 1)), RNG.uniform(0.5, 2, 3)

    def define(x, t, reduction="mean", w=1.0, positive=1.0):
        p = 1 / (1 + np.exp(-x))
        return reduce(-w * (positive * t * np.log(p) + (1 - t) * np.log(1 - p)), reduction)

    check(nn.binary_cross_entropy_with_logits, define, x, t)
    for reduction in ("mean", "sum", "none"):
        check(
            lambda x, t, r=reduction: nn.binary_cross_entropy_with_logits(
                x, t, weight=w, pos_weight=positive, reduction=r
            ),
            lambda x, t, r=reduction: define(x, t, r, w, positive),
            x,
            t,
        )


def test_binary_cross_entropy_with_logits_keeps_digits_far_out():
    x, t = graphc.input("x", ("n",)), graphc.input("t", ("n",))
    loss = nn.binary_cross_entropy_with_logits(x, t, reduction="none")
    data, wanted = np.array([-1e4, -30, 30, 1e4, 1e4, 0], "f"), np.array([0, 0, 1, 1, 0, 1], "f")
    value, slope = graphc.evaluate([loss, graphc.grad(loss.sum(), x)], {x: data, t: wanted})
    np.testing.assert_allclose(value, [0, math.exp(-30), math.exp(-30), 0, 1e4, math.log(2)], rtol=1e-6)
    np.testing.assert_allclose(slope, [0, math.exp(-30), -math.exp(-30), 0, 1, -0.5], rtol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum", "none"])
def test_kl_div(reduction):
    logs, other = log_softmax(LOGITS), np.log(PROBABILITIES)

    def of(terms):
        return terms.sum() / len(terms) if reduction == "batchmean" else reduce(terms, reduction)

    check(
        lambda x, p: nn.kl_div(x, p, reduction=reduction),
        lambda x, p: of(p * (np.log(p) - x)),
        logs,
        PROBABILITIES,
    )
    check(
        lambda x, q: nn.kl_div(x, q, reduction=reduction, log_target=True),
        lambda x, q: of(np.exp(q) * (q - x)),
        logs,
        other,
    )


def test_kl_div_of_a_target_of_zero_is_zero():
    x, t = graphc.input("x", ("n",)), graphc.input("t", ("n",))
    loss = nn.kl_div(x, t, reduction="sum")
    feeds = {x: np.array([-2.0, -1.0], "f"), t: np.array([0.0, 1.0], "f")}
    value, slope, of_target = graphc.evaluate([loss, *graphc.grad(loss, [x, t])], feeds)
    assert value == 1.0
    np.testing.assert_array_equal(slope, [0, -1])
    # The slope of t * log(t) at 0, -infinity, is left out; that of -t * x is not.
    np.testing.assert_array_equal(of_target, [2, 2])
    with pytest.raises(GraphError, match="'batchmean', 'sum' or 'none', got 'batch'"):
        nn.kl_div(x, t, reduction="batch")
    with pytest.raises(ShapeError, match="expected a first axis"):
        nn.kl_div(graphc.constant(0.0), graphc.constant(1.0), reduction="batchmean")


def test_hinge_loss():
    scores, sides = RNG.normal(size=9) * 2, RNG.choice([-1, 1], 9)
    check(
        lambda x: nn.hinge_loss(x, sides, margin=0.7, reduction="sum"),
        lambda x: np.maximum(0, 0.7 - sides * x).sum(),
        scores,
    )
    assert np.isnan(nn.hinge_loss(graphc.constant(np.float32(np.nan)), 1.0).eval())


def test_weights_must_broadcast_to_the_losses():
    x = graphc.input("x", ("n", 3))
    for weight in (np.ones(4, "f"), np.ones((2, 1, 3), "f")):
        with pytest.raises(
            ShapeError, match=r"expected pos_weight of a shape that broadcasts to that of float32\[n, 3\]"
        ):
            nn.binary_cross_entropy_with_logits(x, x, pos_weight=weight)
        with pytest.raises(ShapeError, match="expected weight of a shape that broadcasts"):
            nn.binary_cross_entropy(x, x, weight=weight)


def test_no_label_is_ignored_where_none_is_named():
    x, y = graphc.input("x", ("n", 5), "float64"), graphc.input("y", ("n",), "int32")
    loss = nn.cross_entropy(x, y, ignore_index=None)
    np.testing.assert_allclose(loss.eval({x: LOGITS, y: LABELS}), cross_entropy(LOGITS, LABELS))
    with pytest.raises(graphc.IndexOutOfRangeError):
        loss.eval({x: LOGITS, y: np.where(LABELS == 1, -100, LABELS)})
    with pytest.raises(ShapeError, match=r"ignore_index: expected a whole number, got 1\.5"):
        nn.cross_entropy(x, y, ignore_index=1.5)


def test_losses_as_modules_keep_their_options():
    x, y = graphc.input("x", ("n", 5), "float64"), graphc.input("y", ("n",), "int32")
    criterion = nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1, reduction="sum")
    np.testing.assert_allclose(
        criterion(x, y).eval({x: LOGITS, y: LABELS}), cross_entropy(LOGITS, LABELS, "sum", WEIGHTS, smoothing=0.1)
    )
    assert repr(nn.CrossEntropyLoss(reduction="sum")) == "CrossEntropyLoss(reduction='sum')"
    with pytest.raises(GraphError, match=r"BCELoss: expected options weight, reduction; got size_average"):
        nn.BCELoss(size_average=True)
    with pytest.raises(
        GraphError, match=r"MSELoss: expected options by name, as in MSELoss\(reduction=\.\.\.\), got 'sum'"
    ):
        nn.MSELoss("sum")
    modules = [one for name in nn.__all__ if name.endswith("Loss") for one in [getattr(nn, name)]]
    assert len(modules) == 16
    assert all(repr(one()) == f"{one.__name__}()" for one in modules)


def test_the_mean_over_no_example_is_nan_as_in_pytorch():
    x, labels = graphc.input("x", ("n", 3), "float64"), graphc.input("y", ("n",), "int64")
    weight = np.array([1.0, 2.0, 0.5])
    losses = [
        nn.cross_entropy(x, labels),
        nn.cross_entropy(x, labels, weight=weight, label_smoothing=0.1),
        nn.nll_loss(x, labels),
        nn.cross_entropy(x, graphc.one_hot(labels, 3, "float64")),
        nn.mse_loss(x, x * 2.0),
    ]
    run = graphc.compile([x, labels], [losses, graphc.grad(losses[0], x)])
    none = (np.zeros((0, 3)), np.zeros(0, "int64"))
    for values in (run(*none)[0], graphc.evaluate(losses, {x: none[0], labels: none[1]})):
        assert np.isnan(values).tolist() == [True] * len(losses)
    assert run(*none)[1].shape == (0, 3)
    assert np.isfinite(run(np.ones((2, 3)), [0, 2])[0]).all()
