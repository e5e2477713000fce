"""The CTC loss against PyTorch's, where it is installed."""

import numpy as np
import pytest

import graphc
from graphc import nn

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(42)
LOGITS = RNG.normal(size=(9, 4, 5)) * 2
TARGETS = np.array([[1, 2, 2, 4], [3, 3, 3, 0], [1, 0, 0, 0], [4, 4, 4, 4]])
COUNTS, TIMES = (
    np.array([4, 3, 0, 4]),
    np.array([9, 7, 4, 6]),
)  # the last is impossible: four equal labels take seven times


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_values_and_gradients_by_logits(reduction, joined):
    targets = np.concatenate([row[:n] for row, n in zip(TARGETS, COUNTS, strict=True)]) if joined else TARGETS
    options = {"reduction": reduction, "zero_infinity": True}
    x, logits = graphc.input("x", LOGITS.shape, "float64"), torch.tensor(LOGITS, requires_grad=True)
    loss = nn.ctc_loss(nn.log_softmax(x), targets, TIMES, COUNTS, **options)
    numbers = [torch.tensor(one) for one in (targets, TIMES, COUNTS)]
    expected = torch.nn.functional.ctc_loss(torch.log_softmax(logits, -1), *numbers, **options)
    (slope,) = torch.autograd.grad(expected.sum(), logits)
    got = graphc.evaluate([loss, graphc.grad(loss.sum(), x)], {x: LOGITS})
    np.testing.assert_allclose(got[0], expected.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(got[1], slope.numpy(), rtol=1e-8, atol=1e-12)
    infinite = nn.ctc_loss(nn.log_softmax(x), targets, TIMES, COUNTS, reduction="none").eval({x: LOGITS})
    reference = torch.nn.functional.ctc_loss(torch.log_softmax(logits, -1), *numbers, reduction="none")
    np.testing.assert_allclose(infinite, reference.detach().numpy(), rtol=1e-10)
    assert np.isinf(infinite).tolist() == [False, False, False, True]


def test_a_single_sequence_and_another_blank():
    x, logits = graphc.input("x", (9, 5), "float64"), torch.tensor(LOGITS[:, 0])
    target = np.array([0, 0, 1])
    for reduction in ("mean", "none"):
        got = nn.ctc_loss(nn.log_softmax(x), target, 8, 3, blank=4, reduction=reduction).eval({x: LOGITS[:, 0]})
        numbers = [torch.tensor(one) for one in (target, 8, 3)]
        expected = torch.nn.functional.ctc_loss(torch.log_softmax(logits, -1), *numbers, blank=4, reduction=reduction)
        np.testing.assert_allclose(got, expected.numpy(), rtol=1e-10)
        assert got.shape == tuple(expected.shape)
