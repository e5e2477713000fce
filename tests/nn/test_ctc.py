"""Connectionist temporal classification against the sum over all alignments, one by one."""

import itertools

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import DTypeError, ShapeError
from graphc.graph.text import text

RNG = np.random.default_rng(41)
CLASSES = 3


def collapsed(path, blank):
    """The labels of a path: repeats become one, then blanks go."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def by_enumeration(logs, target, blank):
    """-log of the sum of the probabilities of all paths (time, classes) that collapse to the target."""
    times, classes = logs.shape
    paths = itertools.product(range(classes), repeat=times)
    fitting = [path for path in paths if collapsed(path, blank) == tuple(target)]
    with np.errstate(divide="ignore"):
        return -np.log(sum(np.exp(logs[range(times), path].sum()) for path in fitting) if times else not len(target))


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


TARGETS = [(), (1,), (2, 1), (1, 1), (2, 2), (1, 2, 1), (1, 1, 2), (2, 1, 1, 2)]


@pytest.mark.parametrize("blank", [0, 2])
def test_the_loss_is_the_sum_over_all_alignments(blank):
    targets = [tuple({0: 0, 1: 1, 2: 2 if blank == 0 else 0}[label] for label in target) for target in TARGETS]
    logs = log_softmax(RNG.normal(size=(5, len(targets), CLASSES)) * 2)
    padded = np.full((len(targets), 4), -7)  # what stands behind a target does not matter
    for row, target in enumerate(targets):
        padded[row, : len(target)] = target
    counts = np.array([len(target) for target in targets])
    nodes = [
        graphc.input("logs", ("time", "n", CLASSES), "float64"),
        *(graphc.input(name, shape, "int64") for name, shape in (("y", ("n", "s")), ("t", ("n",)), ("c", ("n",)))),
    ]
    losses = nn.ctc_loss(*nodes, blank=blank, reduction="none")
    for times in (np.full(len(targets), 5), np.array([0, 3, 5, 3, 2, 4, 4, 5]), np.array([2, 0, 1, 2, 3, 1, 5, 0])):
        got = losses.eval(dict(zip(nodes, (logs, padded, times, counts), strict=True)))
        expected = [by_enumeration(logs[:t, n], targets[n], blank) for n, t in enumerate(times)]
        np.testing.assert_allclose(got, expected, rtol=1e-11)
        assert np.isinf(expected).any() or times.min() == 5


def gradient_by_enumeration(logs, target):
    """How often each class stands at each time, over all paths that fit, weighed by their probabilities."""
    times, classes = logs.shape
    fitting = [p for p in itertools.product(range(classes), repeat=times) if collapsed(p, 0) == tuple(target)]
    weights = np.array([np.exp(logs[range(times), path].sum()) for path in fitting])
    slope = np.zeros_like(logs)
    for path, weight in zip(fitting, weights / weights.sum(), strict=True):
        slope[range(times), path] -= weight
    return slope


def test_derivatives():
    logs = log_softmax(RNG.normal(size=(4, 3, CLASSES)))
    targets = [(1, 1), (), (2, 1)]
    padded, times, counts = np.array([[1, 1], [0, 0], [2, 1]]), np.array([4, 3, 4]), np.array([2, 0, 2])
    x = graphc.input("logs", logs.shape, "float64")
    loss = nn.ctc_loss(x, padded, times, counts, reduction="sum")
    slope = graphc.grad(loss, x)
    expected = np.zeros_like(logs)
    for n, target in enumerate(targets):
        expected[: times[n], n] = gradient_by_enumeration(logs[: times[n], n], target)
    np.testing.assert_allclose(slope.eval({x: logs}), expected, rtol=1e-10, atol=1e-12)
    along = RNG.normal(size=logs.shape)
    second = graphc.hvp(loss, x, graphc.constant(along)).eval({x: logs})
    ends = [slope.eval({x: logs + sign * 1e-6 * along}) for sign in (1, -1)]
    np.testing.assert_allclose(second, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)


def test_reductions_and_what_is_impossible():
    logs = log_softmax(RNG.normal(size=(3, 3, CLASSES)))
    padded, times, counts = np.array([[1, 2], [1, 1], [0, 0]]), np.array([3, 2, 3]), np.array([2, 2, 0])
    x = graphc.input("logs", logs.shape, "float64")
    each = [by_enumeration(logs[:t, n], padded[n, :c], 0) for n, (t, c) in enumerate(zip(times, counts, strict=True))]
    assert each[1] == np.inf  # two equal labels need a blank between them
    finite = np.where(np.isinf(each), 0.0, each)
    for zero, losses in ((False, each), (True, finite)):
        values = {
            reduction: nn.ctc_loss(x, padded, times, counts, reduction=reduction, zero_infinity=zero)
            for reduction in ("none", "sum", "mean")
        }
        slope = graphc.grad(values["sum"], x)
        got = graphc.evaluate([*values.values(), slope], {x: logs})
        np.testing.assert_allclose(got[0], losses, rtol=1e-11)
        np.testing.assert_allclose(got[1], np.sum(losses), rtol=1e-11)
        np.testing.assert_allclose(got[2], np.mean(losses / np.maximum(counts, 1)), rtol=1e-11)
        assert not got[3][:, 1].any()
        np.testing.assert_allclose(got[3][:, 0], gradient_by_enumeration(logs[:, 0], (1, 2)), rtol=1e-10)
    impossible = np.full((3, CLASSES), -np.inf)
    impossible[range(3), [1, 0, 2]] = 0.0
    single = graphc.input("logs", (3, CLASSES), "float64")
    loss = nn.ctc_loss(single, np.array([1, 2]), 3, 2)
    value, slope = graphc.evaluate([loss, graphc.grad(loss, single)], {single: impossible})
    assert value == 0
    np.testing.assert_array_equal(slope, np.where(impossible == 0, -0.5, 0.0))


def test_targets_one_after_another():
    logs = log_softmax(RNG.normal(size=(4, 3, CLASSES)))
    times, counts = np.array([4, 4, 3]), np.array([2, 0, 1])
    padded, joined = np.array([[1, 2], [0, 0], [2, 0]]), np.array([1, 2, 2])
    losses = [nn.CTCLoss(reduction="none")(logs, targets, times, counts).eval() for targets in (padded, joined)]
    np.testing.assert_allclose(*losses, rtol=1e-12)
    assert losses[0].min() > 0


def test_long_sequences_compiled():
    times, batch, labels = 300, 3, 40
    logits = (RNG.normal(size=(times, batch, 12)) * 3).astype("f")
    targets, counts = RNG.integers(1, 12, (batch, labels)).astype("int32"), np.array([40, 1, 25], "int32")
    x, y, c = (
        graphc.input("x", logits.shape),
        graphc.input("y", targets.shape, "int32"),
        graphc.input("c", (batch,), "int32"),
    )
    loss = nn.ctc_loss(nn.log_softmax(x), y, np.full(batch, times, "int32"), c, reduction="none")
    step = graphc.compile([x, y, c], [loss, graphc.grad(loss.sum(), x)])
    got = step(logits, targets, counts)
    wide = graphc.input("x", logits.shape, "float64")
    exact = nn.ctc_loss(nn.log_softmax(wide), targets, np.full(batch, times), counts, reduction="none")
    expected = graphc.evaluate([exact, graphc.grad(exact.sum(), wide)], {wide: logits})
    assert expected[0].min() > 200  # the probabilities themselves would be zero in float32
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(got[1], expected[1], atol=2e-4)
    assert text(graphc.Graph((x, y, c), (loss,))).count("= scan") == 1


def test_what_does_not_fit():
    logs, y, n = graphc.input("x", ("t", 2, 3)), np.ones((2, 4), "int64"), np.ones(2, "int64")
    with pytest.raises(DTypeError, match="expected integer targets, got float32"):
        nn.ctc_loss(logs, graphc.input("y", (2, 4)), n, n)
    with pytest.raises(
        ShapeError, match=r"expected input_lengths of shape \(2,\), one for each sequence, got int32\[3\]"
    ):
        nn.ctc_loss(logs, y, np.ones(3, "int32"), n)
    with pytest.raises(
        ShapeError, match=r"expected targets \(2, labels\), or one after another \(labels,\), got int32\[3, 4\]"
    ):
        nn.ctc_loss(logs, np.ones((3, 4), "int32"), n, n)
    with pytest.raises(ShapeError, match="expected a blank from 0 to 2, got 3"):
        nn.ctc_loss(logs, y, n, n, blank=3)
    with pytest.raises(ShapeError, match=r"expected log probabilities \(time, batch, classes\) or"):
        nn.ctc_loss(graphc.input("x", (3,)), y, n, n)
    with pytest.raises(graphc.IndexOutOfRangeError, match="index 5 is out of range"):
        nn.ctc_loss(logs, y * 5, n, n).eval({logs: np.zeros((3, 2, 3))})
