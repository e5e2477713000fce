"""Layers of both libraries with the same weights, held against one another; only for tests that need PyTorch."""

import numpy as np

import graphc
from graphc import nn

RNG = np.random.default_rng(20)


def pair(kind, *args, **options):
    """A layer of each library, float64, with the same weights."""
    import torch

    theirs = getattr(torch.nn, kind)(*args, **options).double()
    ours = getattr(nn, kind)(*args, **options, dtype="float64")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return ours, theirs


def flat(results):
    return [leaf for one in results for leaf in (flat(one) if isinstance(one, tuple) else [one])]


def compare(ours, theirs, arrays, call_ours, call_theirs, second=False):
    """Hold all results, and the derivatives of a weighted sum of them by inputs and weights, against torch's."""
    import torch

    nodes = [graphc.input(f"x{k}", array.shape, "float64") for k, array in enumerate(arrays)]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    values = flat((call_ours(ours, *nodes),))
    expected = flat((call_theirs(theirs, *tensors),))
    weights = [RNG.normal(size=tuple(one.shape)) for one in expected]
    wrt, inner = [*nodes, *ours.parameters()], [*tensors, *theirs.parameters()]
    total = sum((value * weight).sum() for value, weight in zip(values, weights, strict=True))
    reference = sum((one * torch.tensor(weight)).sum() for one, weight in zip(expected, weights, strict=True))
    wanted, known = [*values, *graphc.grad(total, wrt)], torch.autograd.grad(reference, inner, create_graph=True)
    references = [*expected, *known]
    if second:
        along = [RNG.normal(size=tuple(one.shape)) for one in inner]
        wanted += graphc.hvp(total, wrt, [graphc.constant(one) for one in along])
        slope = sum((one * torch.tensor(direction)).sum() for one, direction in zip(known, along, strict=True))
        references += torch.autograd.grad(slope, inner)
    got = graphc.evaluate(wanted, dict(zip(nodes, arrays, strict=True)))
    for one, other in zip(got, references, strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-9, atol=1e-11)
