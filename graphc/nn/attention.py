"""Attention: averages of values, weighted by how well queries fit keys.

The scores of all queries with all keys are never stored together. Keys and values are walked in blocks; a running maximum and
a running sum keep the softmax exact (Milakov and Gimelshein, Online normalizer calculation for softmax, 2018), and the
derivative makes the scores of each block anew from the logarithm of that sum (Dao et al., FlashAttention, 2022). So
memory grows with the number of queries plus that of keys, not with their product, forward and backward.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from graphc import dims
from graphc.derivatives import vjp
from graphc.dims import Dim
from graphc.errors import DTypeError, ShapeError
from graphc.graph.node import Node, builder
from graphc.graph.types import shape_text
from graphc.nn.arguments import differ, number
from graphc.nn.stochastic import thinned
from graphc.ops.arithmetic import maximum
from graphc.ops.comparison import where
from graphc.ops.contraction import matmul
from graphc.ops.creation import ones, zeros
from graphc.ops.custom_vjp import custom_vjp
from graphc.ops.exponential import exp, log, rsqrt
from graphc.ops.gradient_control import training as training_phase
from graphc.ops.iteration import scan
from graphc.ops.joining import repeat
from graphc.ops.movement import moveaxis, reshape, swapaxes
from graphc.ops.operands import as_node, broadcast_shapes, cast, expand, floating, promoted
from graphc.ops.positions import arange, size
from graphc.ops.random import next_site
from graphc.ops.reduction import max as max_
from graphc.ops.reduction import softmax
from graphc.ops.reduction import sum as sum_
from graphc.ops.slicing import pad

BLOCK = 128
"""Keys of one block. Up to as many, if their number is known when the graph is built, all scores are stored."""


class Rules(NamedTuple):
    """How scores become weights: in causal order or not, and with what dropout."""

    causal: bool
    probability: float
    phase: Node | bool
    site: int


@builder("nn.scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    training: bool | Node | None = None,
) -> Node:
    """Return softmax(query @ key.T * scale + mask) @ value.

    query: (..., targets, features), key: (..., sources, features), value: (..., sources, out), whose leading dimensions
    broadcast; the result: (..., targets, out). attn_mask: broadcasts to (..., targets, sources); booleans that say which
    sources take part, or floats that are added to the scores. is_causal: target i takes sources 0 to i only. A target
    that no source is left for gets zeros. scale: 1 / sqrt(features) unless given. enable_gqa: the heads of key and
    value (axis -3) are repeated to as many as those of query.
    dropout_p, training: weights are zeroed while training, as in `nn.dropout`.
    Up to 128 sources, if their number is known, the scores are stored. Beyond, memory is linear in targets and sources,
    that of the derivatives too.

    Shape: `(..., t, f), (..., s, f), (..., s, o) -> (..., t, o)`.
    Formula: `softmax(query @ key.mT / sqrt(query.shape[-1])) @ value`, with the scale and the mask left out.
    Gradient: by query `d @ key / r`, by key `d.mT @ query / r`, by value `w.mT @ g`, with `d = w * (g @ value.mT -
    sum(g * out, -1, keepdims=True))`, `w = softmax(query @ key.mT / r)` and `r = sqrt(query.shape[-1])`.
    Source: `torch.nn.functional.scaled_dot_product_attention`; Vaswani et al., Attention Is All You Need, 2017; Dao et
    al., FlashAttention, 2022.
    """
    q, k, v = (floating(node) for node in promoted(query, key, value))
    _check(q, k, v)
    if enable_gqa:
        k, v = (_repeated(node, q) for node in (k, v))
    features, sources = k.shape[-1], k.shape[-2]
    factor: Any = scale
    if scale is None:
        factor = features**-0.5 if isinstance(features, int) else rsqrt(size(features, q.dtype))
    mask = None if attn_mask is None else _mask(attn_mask, q, sources)
    probability = number(dropout_p, "scaled_dot_product_attention's dropout_p", 0.0, 1.0)
    phase = training_phase() if training is None else training
    rules = Rules(is_causal, probability, phase, next_site() if probability else 0)
    if isinstance(sources, int) and 0 < sources <= BLOCK:
        return matmul(_dropped(rules, _weights(rules, q, k, mask, factor)), v)
    if mask is None and not (isinstance(sources, int) and sources % BLOCK == 0):
        mask = ones((1, sources), "bool")  # The last block has keys that do not exist, which False stands for.
    blocks = [_blocks(k, -2, 0), _blocks(v, -2, 0)]
    if mask is not None:
        blocks.append(_blocks(mask, -1, -np.inf if mask.dtype.is_float else 0))
    return custom_vjp(partial(_forward, rules), partial(_backward, rules))(q * factor, *blocks)[0]


def attention_weights(query: Node, key: Node, mask: Node | None, is_causal: bool) -> Node:
    """Return the weights of all sources for all targets, which `scaled_dot_product_attention` does not store."""
    features = key.shape[-1]
    assert isinstance(features, int)
    rules = Rules(is_causal, 0.0, False, 0)
    mask = None if mask is None else _mask(mask, query, key.shape[-2])
    return _weights(rules, query, key, mask, features**-0.5)


def _weights(rules: Rules, q: Node, k: Node, mask: Node | None, scale: Any) -> Node:
    # It is the scores that are scaled, in registers: queries and keys are then read where a projection left them.
    scores = _masked(rules, matmul(q, swapaxes(k, -1, -2)) * scale, mask, 0)
    return custom_vjp(softmax if mask is None else _softmax, _of_scores)(scores)


def _softmax(scores: Node) -> Node:
    """Return the softmax, zeros where all scores are -inf: its derivative, made of these, is 0 there, too."""
    return where(max_(scores, -1, keepdims=True) == -np.inf, 0.0, softmax(scores))


def _of_scores(inputs: tuple[Node, ...], weights: Node, cotangent: Node) -> Node:
    """Return the cotangent of scores, of their softmax alone: exponentials and sums need not be kept."""
    return weights * (cotangent - sum_(weights * cotangent, -1, keepdims=True))


def _forward(rules: Rules, q: Node, k: Node, v: Node, *mask: Node) -> tuple[Node, Node]:
    """Return attention over blocks, and the logarithm of each target's sum of exponentials (0 for none)."""
    leading = broadcast_shapes(q.shape[:-2], *(blocks.shape[1:-2] for blocks in (k, v, *mask)))
    rows = (*leading, q.shape[-2])

    def step(carry: tuple[Node, Node, Node], xs: tuple[Node, ...]) -> tuple[tuple[Node, Node, Node], None]:
        largest, total, sums = carry
        k, v, start, *mask = xs
        scores = expand(_scores(rules, q, k, mask[0] if mask else None, start), (*rows, BLOCK))
        new = maximum(largest, max_(scores, -1, keepdims=True))
        # As long as all scores are -inf, any finite number will do.
        base = where(new == -np.inf, 0.0, new)
        weights, shrunk = exp(scores - base), exp(largest - base)
        total = total * shrunk + sum_(weights, -1, keepdims=True)
        return (new, total, sums * shrunk + matmul(_dropped(rules, weights), v)), None

    none = zeros((*rows, 1), q.dtype)
    first = (none - np.inf, none, zeros((*rows, v.shape[-1]), q.dtype))
    (largest, total, sums), _ = scan(step, first, (k, v, _starts(k), *mask), checkpoint=1)
    total = where(total == 0, 1.0, total)
    return sums / total, where(largest == -np.inf, 0.0, largest) + log(total)


def _backward(
    rules: Rules, inputs: tuple[Node, ...], outputs: tuple[Node, Node], cotangents: tuple[Node, Node]
) -> tuple[Node | None, ...]:
    """Return the cotangents of queries, blocks of keys and values, and mask; the weights of each block are made anew."""
    q, k, v, *mask = inputs
    (result, logarithm), (of_result, of_logarithm) = outputs, cotangents
    # What is subtracted from each weight's cotangent: the average of all cotangents of its row.
    average = sum_(of_result * result, -1, keepdims=True) - of_logarithm

    def step(of_q: Node, xs: tuple[Node, ...]) -> tuple[Node, tuple[Node, ...]]:
        k, v, start, *mask = xs
        scores = expand(_scores(rules, q, k, mask[0] if mask else None, start), (*result.shape[:-1], BLOCK))
        weights = exp(scores - logarithm)
        of_weights, of_v = vjp(matmul(_dropped(rules, weights), v), (weights, v), of_result)
        floats = [one for one in mask if one.dtype.is_float]
        share, of_k, *of_mask = vjp(scores, (q, k, *floats), weights * (of_weights - average))
        return of_q + share, (of_k, of_v, *of_mask)

    of_q, of_blocks = scan(step, zeros(q.shape, q.dtype), (k, v, _starts(k), *mask), checkpoint=1)
    return (of_q, *of_blocks, *(None for one in mask if not one.dtype.is_float))


def _scores(rules: Rules, q: Node, k: Node, mask: Node | None, start: Node | int) -> Node:
    """Return the scores of all queries with keys whose first is number `start`; -inf for those that do not count."""
    return _masked(rules, matmul(q, swapaxes(k, -1, -2)), mask, start)


def _masked(rules: Rules, scores: Node, mask: Node | None, start: Node | int) -> Node:
    if rules.causal:
        targets, sources = scores.shape[-2:]
        before = arange(sources, dtype="int32") + start <= arange(targets, dtype="int32")[:, None]
        scores = where(before, scores, -np.inf)
    if mask is None:
        return scores
    return scores + mask if mask.dtype.is_float else where(mask, scores, -np.inf)


def _dropped(rules: Rules, weights: Node) -> Node:
    return thinned(weights, rules.probability, rules.phase, rules.site) if rules.probability else weights


def _blocks(x: Node, axis: int, fill: float) -> Node:
    """Return an array with the blocks of keys as its first axis, the last of them filled up."""
    sources = x.shape[axis]
    count = dims.floordiv(sources + BLOCK - 1, BLOCK)
    widths: list[tuple[Dim, Dim]] = [(0, 0)] * x.ndim
    widths[axis] = (0, count * BLOCK - sources)
    x = x if count * BLOCK == sources else pad(x, widths, constant_values=fill)
    place = x.ndim + axis
    return moveaxis(reshape(x, (*x.shape[:place], count, BLOCK, *x.shape[place + 1 :])), place, 0)


def _starts(k: Node) -> Node:
    return arange(k.shape[0], dtype="int32") * BLOCK


def _mask(attn_mask: Any, q: Node, sources: Dim) -> Node:
    mask = as_node(attn_mask)
    if not mask.dtype.is_float and mask.dtype.kind != "b":
        raise DTypeError(f"expected a mask of booleans or floats, got {mask.describe()}")
    if mask.ndim < 1 or any(
        a != 1 and differ(a, b) for a, b in zip(mask.shape[-2:], (q.shape[-2], sources)[-mask.ndim :], strict=True)
    ):
        raise ShapeError(
            f"expected a mask that broadcasts to {shape_text((*q.shape[:-1], sources))}, got {mask.describe()}"
        )
    mask = expand(mask, (*((1,) if mask.ndim == 1 else mask.shape[:-1]), sources))
    return cast(mask, q.dtype) if mask.dtype.is_float else mask


def _repeated(x: Node, q: Node) -> Node:
    """Return keys or values with as many heads as the queries have."""
    heads, wanted = (node.shape[-3] if node.ndim > 2 else None for node in (x, q))
    if not isinstance(heads, int) or not isinstance(wanted, int) or not heads or wanted % heads:
        raise ShapeError(
            f"enable_gqa: expected heads (axis -3) that divide those of {q.describe()}, got {x.describe()}"
        )
    return repeat(x, wanted // heads, axis=-3)


def _check(q: Node, k: Node, v: Node) -> None:
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ShapeError(
            f"expected (..., targets, features) and (..., sources, features), got {q.type}, {k.type}, {v.type}"
        )
    if differ(q.shape[-1], k.shape[-1]):
        raise ShapeError(f"expected queries and keys of as many features, got {q.type} and {k.type}")
    if differ(k.shape[-2], v.shape[-2]):
        raise ShapeError(f"expected as many values as keys, got {v.type} and {k.type}")
