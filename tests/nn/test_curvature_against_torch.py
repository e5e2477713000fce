"""Second derivatives of losses and norms against PyTorch, where it is installed."""

import numpy as np
import pytest

import graphc
from graphc import nn

torch = pytest.importorskip("torch")
F = torch.nn.functional

RNG = np.random.default_rng(12)
N, C = 6, 4
LABELS, WEIGHTS = RNG.integers(0, C, N), RNG.uniform(0.5, 2, C)


def curvature(build, arrays, along):
    """The product of the Hessian of a graphc scalar with directions, for all operands together."""
    nodes = [graphc.input(f"x{k}", array.shape, array.dtype) for k, array in enumerate(arrays)]
    products = graphc.hvp(build(*nodes), nodes, [graphc.constant(direction) for direction in along])
    return graphc.evaluate(products, dict(zip(nodes, arrays, strict=True)))


@pytest.mark.parametrize(
    ("ours", "theirs", "count"),
    [
        (lambda x: nn.cross_entropy(x, LABELS), lambda x: F.cross_entropy(x, torch.tensor(LABELS)), 1),
        (
            lambda x: nn.cross_entropy(x, LABELS, weight=WEIGHTS, label_smoothing=0.2),
            lambda x: F.cross_entropy(x, torch.tensor(LABELS), weight=torch.tensor(WEIGHTS), label_smoothing=0.2),
            1,
        ),
        (
            lambda x, y: nn.binary_cross_entropy_with_logits(x, nn.sigmoid(y)),
            lambda x, y: F.binary_cross_entropy_with_logits(x, torch.sigmoid(y)),
            2,
        ),
        (
            lambda x, y: nn.binary_cross_entropy(nn.sigmoid(x), nn.sigmoid(y)),
            lambda x, y: F.binary_cross_entropy(torch.sigmoid(x), torch.sigmoid(y)),
            2,
        ),
        (
            lambda x, y: nn.gaussian_nll_loss(x, y, nn.softplus(x)),
            lambda x, y: F.gaussian_nll_loss(x, y, F.softplus(x)),
            2,
        ),
        (lambda x, y: nn.huber_loss(x, y), lambda x, y: F.huber_loss(x, y), 2),
        (
            lambda x, y: nn.kl_div(nn.log_softmax(x), nn.softmax(y), reduction="batchmean"),
            lambda x, y: F.kl_div(F.log_softmax(x, -1), F.softmax(y, -1), reduction="batchmean"),
            2,
        ),
        (
            lambda x, w: nn.tanh(nn.layer_norm(x, C, w[0])).sum(),
            lambda x, w: torch.tanh(F.layer_norm(x, (C,), w[0])).sum(),
            2,
        ),
        (lambda x, y: nn.pairwise_distance(x, y).sum(), lambda x, y: F.pairwise_distance(x, y).sum(), 2),
    ],
)
def test_second_derivatives(ours, theirs, count):
    arrays = [RNG.normal(size=(N, C)) for _ in range(count)]
    along = [RNG.normal(size=(N, C)) for _ in range(count)]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    first = torch.autograd.grad(theirs(*tensors), tensors, create_graph=True)
    slope = sum((one * torch.tensor(direction)).sum() for one, direction in zip(first, along, strict=True))
    for got, reference in zip(curvature(ours, arrays, along), torch.autograd.grad(slope, tensors), strict=True):
        np.testing.assert_allclose(got, reference.numpy(), rtol=1e-6, atol=1e-9)
