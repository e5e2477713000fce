"""Attention layers and transformer layers with the weights of PyTorch, where it is installed."""

import numpy as np
import pytest

from tests.nn.torch_checks import compare, pair

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(33)
T, S, BATCH, WIDTH, HEADS = 4, 5, 3, 6, 2
CAUSAL = np.triu(np.ones((T, T), bool), 1)
LEFT_OUT = np.array([[False, False, False, True], [False, False, True, True], [False, True, False, False]])


def on(masks, convert):
    return {name: convert(mask) if isinstance(mask, np.ndarray) else mask for name, mask in masks.items()}


ATTENTION = {
    "self": ({}, (T, T, T), {}),
    "another memory": ({"bias": False}, (T, S, S), {"average_attn_weights": False}),
    "other widths": ({"kdim": 5, "vdim": 7}, (T, S, S), {}),
    "batch first": (
        {"batch_first": True},
        (T, S, S),
        {"attn_mask": (RNG.uniform(size=(T, S)) < 0.4) & (np.arange(S) > 0)},
    ),
    "floats": ({}, (T, S, S), {"attn_mask": RNG.normal(size=(T, S))}),
    "a mask for each head": ({}, (T, S, S), {"attn_mask": RNG.normal(size=(BATCH * HEADS, T, S))}),
    "padding": ({}, (T, T, T), {"key_padding_mask": LEFT_OUT, "attn_mask": CAUSAL}),
    "padding and floats": ({}, (T, T, T), {"key_padding_mask": LEFT_OUT * 0.5, "attn_mask": RNG.normal(size=(T, T))}),
}


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.filterwarnings("ignore:Support for mismatched")
def test_multihead_attention(name):
    options, lengths, masks = ATTENTION[name]
    ours, theirs = pair("MultiheadAttention", WIDTH, HEADS, **options)
    first = options.get("batch_first", False)
    widths = (WIDTH, options.get("kdim", WIDTH), options.get("vdim", WIDTH))
    shapes = [(BATCH, n, w) if first else (n, BATCH, w) for n, w in zip(lengths, widths, strict=True)]
    arrays = [RNG.normal(size=shape) for shape in shapes]
    call = lambda layer, *nodes: layer(*nodes, **masks)  # noqa: E731
    compare(ours, theirs, arrays, call, lambda layer, *nodes: layer(*nodes, **on(masks, torch.tensor)))
    if not {"key_padding_mask", "batch_first"} & (masks.keys() | options.keys()) and name != "a mask for each head":
        single = [array[:, 0] for array in arrays]
        compare(ours, theirs, single, call, lambda layer, *nodes: layer(*nodes, **on(masks, torch.tensor)))


@pytest.mark.parametrize(
    "options", [{}, {"norm_first": True, "activation": "gelu", "batch_first": True}, {"bias": False}]
)
def test_encoder_layer(options):
    ours, theirs = pair("TransformerEncoderLayer", WIDTH, HEADS, 8, 0.0, **options)
    x = RNG.normal(size=(BATCH, T, WIDTH) if options.get("batch_first") else (T, BATCH, WIDTH))
    compare(ours, theirs, [x], *[lambda layer, x: layer(x)] * 2)
    masks = {"src_key_padding_mask": LEFT_OUT}
    mask = torch.tensor(CAUSAL)
    # The mask and is_causal mean the same; here the second suffices.
    compare(
        ours,
        theirs,
        [x],
        lambda layer, x: layer(x, is_causal=True, **masks),
        lambda layer, x: layer(x, mask, is_causal=True, **on(masks, torch.tensor)),
    )


@pytest.mark.parametrize("norm_first", [False, True])
def test_decoder_layer(norm_first):
    ours, theirs = pair("TransformerDecoderLayer", WIDTH, HEADS, 8, 0.0, norm_first=norm_first)
    arrays = [RNG.normal(size=(n, BATCH, WIDTH)) for n in (T, S)]
    free = np.arange(S) > 0  # a target without any source is NaN in PyTorch, and zeros here
    masks = {
        "memory_mask": (RNG.uniform(size=(T, S)) < 0.3) & free,
        "tgt_mask": CAUSAL,
        "tgt_key_padding_mask": LEFT_OUT,
    }
    compare(
        ours,
        theirs,
        arrays,
        lambda layer, *nodes: layer(*nodes, **masks),
        lambda layer, *nodes: layer(*nodes, **on(masks, torch.tensor)),
    )
    compare(ours, theirs, arrays, *[lambda layer, *nodes: layer(*nodes)] * 2)
