"""Attention against PyTorch, where it is installed."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.nn import attention

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(32)
MASKS = [None, RNG.uniform(size=(6, 7)) < 0.6, RNG.normal(size=(3, 6, 7))]


@pytest.mark.parametrize("mask", MASKS, ids=["no mask", "booleans", "floats"])
@pytest.mark.parametrize("block", [4, 100])
def test_values_and_derivatives_to_second_order(mask, block, monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", block)
    arrays = [RNG.normal(size=(2, 3, n, 5)) for n in (6, 7, 7)]
    arrays += [mask] if mask is not None and mask.dtype == float else []
    nodes = [graphc.input(f"x{k}", one.shape, "float64") for k, one in enumerate(arrays)]
    tensors = [torch.tensor(one, requires_grad=True) for one in arrays]
    for causal in (False, True) if mask is None else (False,):
        options = {"attn_mask": mask} if len(nodes) == 3 else {}
        result = nn.scaled_dot_product_attention(*nodes, **options, is_causal=causal)
        options = {"attn_mask": torch.tensor(mask)} if options and mask is not None else {}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            expected = torch.nn.functional.scaled_dot_product_attention(*tensors, **options, is_causal=causal)
        slopes = torch.autograd.grad(torch.sin(expected).sum(), tensors, create_graph=True)
        along = [RNG.normal(size=one.shape) for one in arrays]
        total = sum((one * torch.tensor(direction)).sum() for one, direction in zip(slopes, along, strict=True))
        references = [expected, *slopes, *torch.autograd.grad(total, tensors)]
        loss = graphc.sin(result).sum()
        seconds = graphc.hvp(loss, nodes, [graphc.constant(one) for one in along])
        got = graphc.evaluate([result, *graphc.grad(loss, nodes), *seconds], dict(zip(nodes, arrays, strict=True)))
        for one, reference in zip(got, references, strict=True):
            np.testing.assert_allclose(one, reference.detach().numpy(), rtol=1e-9, atol=1e-12)
