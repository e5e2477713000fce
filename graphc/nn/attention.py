"""Attention: averages of values, weighted by how well queries fit keys.

The scores of all queries with all keys are never stored together. For each block of queries, keys and values are walked in
blocks; a running maximum and a running sum keep the softmax exact (Milakov and Gimelshein, Online normalizer calculation for
softmax, 2018), and the derivative makes the scores of each pair of blocks anew from the logarithm of that sum (Dao et al.,
FlashAttention, 2022). So memory grows with the number of queries plus that of keys, not with their product, forward and
backward. In causal order, keys that come after all queries of a block are skipped, which is nearly half of all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from graphc.ops.control import cond
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
    """How scores become weights: in causal order or not, with what dropout, and by a mask of pairs of blocks or of keys."""

    causal: bool
    probability: float
    phase: Node | bool
    site: int
    is_paired: bool = False


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
    targets = q.shape[-2]
    rows = _rows_of(targets)
    blocks = [_blocks(q * factor, -2, rows), _blocks(k, -2, BLOCK), _blocks(v, -2, BLOCK)]
    if mask is not None:
        fill = -np.inf if mask.dtype.is_float else 0
        rules = rules._replace(is_paired=mask.shape[-2] != 1)
        mask = _blocks(mask, -1, BLOCK, fill)
        blocks.append(_blocks(mask, -2, rows, fill) if rules.is_paired else mask)
    made = custom_vjp(partial(_forward, rules), partial(_backward, rules))(*blocks)[0]
    return _joined(made, targets)


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
    of_pairs, of_keys = _by_walk(rules, mask)
    leading = broadcast_shapes(
        q.shape[1:-2], *(blocks.shape[1:-2] for blocks in (k, v, *of_keys)), *(m.shape[2:-2] for m in of_pairs)
    )
    rows = (*leading, q.shape[-2])
    # A tile reads keys along its lanes: they are turned once, and not for each block of queries.
    turned = swapaxes(k, -1, -2)

    def of_queries(_: None, xs: tuple[Node, ...]) -> tuple[None, tuple[Node, Node]]:
        q, first, *of_pairs = xs

        def step(carry: tuple[Node, Node, Node], xs: tuple[Node, ...]) -> tuple[tuple[Node, Node, Node], None]:
            k, v, start, *mask = xs

            def attended() -> tuple[Node, Node, Node]:
                largest, total, sums = carry
                scores = expand(_scores(rules, q, k, mask, start - first), (*rows, BLOCK))
                new = maximum(largest, max_(scores, -1, keepdims=True))
                # As long as all scores are -inf, any finite number will do.
                base = where(new == -np.inf, 0.0, new)
                weights, shrunk = exp(scores - base), exp(largest - base)
                total = total * shrunk + sum_(weights, -1, keepdims=True)
                return new, total, sums * shrunk + matmul(_dropped(rules, weights), v)

            return _unless_later(rules, q, start - first, attended, lambda: carry), None

        none = zeros((*rows, 1), q.dtype)
        before = (none - np.inf, none, zeros((*rows, v.shape[-1]), q.dtype))
        walked = (turned, v, _starts(k), *of_keys, *of_pairs)
        (largest, total, sums), _ = scan(step, before, walked, checkpoint=1)
        total = where(total == 0, 1.0, total)
        return None, (sums / total, where(largest == -np.inf, 0.0, largest) + log(total))

    return scan(of_queries, None, (q, _starts(q), *of_pairs), checkpoint=1)[1]


def _backward(
    rules: Rules, inputs: tuple[Node, ...], outputs: tuple[Node, Node], cotangents: tuple[Node, Node]
) -> tuple[Node | None, ...]:
    """Return the cotangents of blocks of queries, keys and values, and of the mask; all weights are made anew."""
    q, k, v, *mask = inputs
    (result, logarithm), (of_result, of_logarithm) = outputs, cotangents
    of_pairs, of_keys = _by_walk(rules, mask)
    # What is subtracted from each weight's cotangent: the average of all cotangents of its row.
    average = sum_(of_result * result, -1, keepdims=True) - of_logarithm
    is_float = any(one.dtype.is_float for one in mask)
    # What every block of queries adds to: the cotangents of keys and values, and of a mask that is one for all queries.
    summed = (k, v, *of_keys) if is_float else (k, v)

    def of_queries(totals: tuple[Node, ...], xs: tuple[Node, ...]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
        (q, logarithm, average, of_result, first), of_pairs = xs[:5], xs[5:]

        def step(of_q: Node, xs: tuple[Any, ...]) -> tuple[Node, tuple[Node, ...]]:
            k, v, start, totals, *mask = xs
            shapes = [one.shape for one in mask if rules.is_paired and is_float]
            none = tuple(zeros(shape, q.dtype) for shape in shapes)

            def attended() -> tuple[Node, ...]:
                scores = expand(
                    _scores(rules, q, swapaxes(k, -1, -2), mask, start - first), (*result.shape[1:-1], BLOCK)
                )
                weights = exp(scores - logarithm)
                of_weights, of_v = vjp(matmul(_dropped(rules, weights), v), (weights, v), of_result)
                wrt = (q, k, *mask) if is_float else (q, k)
                share, of_k, *of_mask = vjp(scores, wrt, weights * (of_weights - average))
                terms = (of_k, of_v, *of_mask)
                added = tuple(total + term for total, term in zip(totals, terms, strict=False))
                return of_q + share, *added, *terms[len(added) :]

            of_all, *others = _unless_later(rules, q, start - first, attended, lambda: (of_q, *totals, *none))
            return of_all, tuple(others)

        walked = (k, v, _starts(k), totals, *of_keys, *of_pairs)
        of_q, of_blocks = scan(step, zeros(q.shape, q.dtype), walked, checkpoint=1)
        return of_blocks[: len(totals)], (of_q, *of_blocks[len(totals) :])

    walked = (q, logarithm, average, of_result, _starts(q), *of_pairs)
    nothing = tuple(zeros(one.shape, q.dtype) for one in summed)
    totals, (of_q, *of_mask) = scan(of_queries, nothing, walked, checkpoint=1)
    of_inputs = (of_q, *totals, *of_mask)
    return (*of_inputs, *(None for _ in inputs[len(of_inputs) :]))


def _by_walk(rules: Rules, mask: Sequence[Node]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Return the mask, if there is one, among what is walked with pairs of blocks, or what is with those of keys."""
    return (tuple(mask), ()) if rules.is_paired else ((), tuple(mask))


def _unless_later(
    rules: Rules, q: Node, start: Node, attended: Callable[[], Any], kept: Callable[[], Any]
) -> tuple[Any, ...]:
    """Return what attending makes, or what there was before if causal queries all come before a block of keys.

    start: the number of the first key, counted from the first query.
    """
    return cond(start < size(q.shape[-2], start.dtype), attended, kept) if rules.causal else attended()


def _scores(rules: Rules, q: Node, k: Node, mask: Sequence[Node], start: Node) -> Node:
    """Return the scores of queries with keys, a column each, whose first is number `start`; -inf for those that do not count."""
    return _masked(rules, matmul(q, k), mask[0] if mask else None, start)


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


def _rows_of(targets: Dim) -> Dim:
    """Return how many queries a block has: as many as any other if their number is known, so that few do not exist."""
    if not isinstance(targets, int):
        return dims.minimum(dims.maximum(targets, 1), BLOCK)
    return max(1, -(-targets // max(1, -(-targets // BLOCK))))


def _blocks(x: Node, axis: int, width: Dim, fill: float = 0) -> Node:
    """Return an array with blocks along an axis as its first axis, the last of them filled up."""
    extent = x.shape[axis]
    count = dims.floordiv(extent + width - 1, width)
    widths: list[tuple[Dim, Dim]] = [(0, 0)] * x.ndim
    widths[axis] = (0, count * width - extent)
    x = x if count * width == extent else pad(x, widths, constant_values=fill)
    place = x.ndim + axis
    return moveaxis(reshape(x, (*x.shape[:place], count, width, *x.shape[place + 1 :])), place, 0)


def _joined(blocks: Node, targets: Dim) -> Node:
    """Return the blocks of queries one after another, without what the last one was filled up with."""
    x = moveaxis(blocks, 0, -3)
    x = reshape(x, (*x.shape[:-3], x.shape[-3] * x.shape[-2], x.shape[-1]))
    return x if x.shape[-2] == targets else x[..., :targets, :]


def _starts(blocks: Node) -> Node:
    """Return the number of each block's first row."""
    count, width = blocks.shape[0], blocks.shape[-2]
    return arange(count, dtype="int32") * size(width, "int32")


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
