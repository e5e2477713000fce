"""Draws from distributions, made of Philox words by inverse distribution functions, a largest element, or sorting.

Shape: the one given.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.dims import DimExpr
from graphc.dtypes import DType, as_dtype, int64
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph.node import Node, builder, constant, make
from graphc.graph.types import as_dim, as_shape, shape_text
from graphc.ops.activation import normal_cdf
from graphc.ops.arithmetic import clip, maximum
from graphc.ops.bitwise import bitwise_and, bitwise_left_shift, bitwise_or, bitwise_right_shift
from graphc.ops.comparison import where
from graphc.ops.exponential import log
from graphc.ops.indexing import take
from graphc.ops.movement import moveaxis
from graphc.ops.operands import as_node, cast, demand, floating, normalize_axis
from graphc.ops.positions import size
from graphc.ops.quantile import NormalQuantile
from graphc.ops.random import distributed, floating_dtype, fraction, moved, random_bits
from graphc.ops.reduction import argmax
from graphc.ops.sorting import argsort

_HALF = 0xFFFFFFFF


@builder("exponential")
def exponential(shape: object, scale: Any = 1.0, dtype: object = None) -> Node:
    """Return exponentially distributed numbers of this mean, above 0 and below 17 (float32) or 23 times the mean.

    Formula: -log(u) * scale, u uniform in (0, 1).
    Gradient: by scale `sum(g * out / scale)`; the draw itself is a constant.
    Source: `numpy.random.exponential`; Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3,
    2011.
    """
    if isinstance(scale, int | float) and not 0 <= scale < math.inf:
        raise GraphError(f"exponential: expected a scale of 0 or more, got {scale}")
    drawn = -log(fraction(shape, floating_dtype(dtype), is_open=True))
    return drawn * distributed(scale, drawn, "exponential")


@builder("gumbel")
def gumbel(shape: object, loc: Any = 0.0, scale: Any = 1.0, dtype: object = None) -> Node:
    """Return Gumbel distributed numbers, -log(-log(u)) * scale + loc: the noise whose largest element is categorical.

    Formula: loc - log(-log(u)) * scale, u uniform in (0, 1).
    Gradient: by loc `sum(g)`, by scale `sum(g * (out - loc) / scale)`; the draw itself is a constant.
    Source: `numpy.random.gumbel`; Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011.
    """
    if isinstance(scale, int | float) and not 0 <= scale < math.inf:
        raise GraphError(f"gumbel: expected a scale of 0 or more, got {scale}")
    drawn = -log(-log(fraction(shape, floating_dtype(dtype), is_open=True)))
    return moved(drawn, loc, scale, "gumbel")


@builder("truncated_normal")
def truncated_normal(
    shape: object, lower: Any = -2.0, upper: Any = 2.0, mean: Any = 0.0, std: Any = 1.0, dtype: object = None
) -> Node:
    """Return normally distributed numbers given that they lie in [lower, upper], by the inverse distribution function.

    The bounds are values and no multiples of std, as in torch.nn.init.trunc_normal_. All parameters are numbers, or nodes
    that broadcast to the shape; derivatives flow into them. Bounds that lie above the mean are mirrored to below it, where
    small probabilities are exact; from 13 (float32) or 37 std on all numbers are the nearer bound.

    Formula: mean + std * q(u), u uniform between the normal distribution function at (lower - mean) / std and at
    (upper - mean) / std, q its inverse.
    Gradient: by lower `sum(g * (1 - t) * pdf(a) / pdf(z))`, by upper `sum(g * t * pdf(b) / pdf(z))`, by mean `sum(g *
    (1 - ((1 - t) * pdf(a) + t * pdf(b)) / pdf(z)))`, by std `sum(g * (z - ((1 - t) * pdf(a) * a + t * pdf(b) * b) /
    pdf(z)))`, with `t = (cdf(z) - cdf(a)) / (cdf(b) - cdf(a))`, `a = (lower - mean) / std`, `b = (upper - mean) /
    std`, `z = (out - mean) / std`, `pdf = normal_pdf` and `cdf = normal_cdf`; the draw itself is a constant.
    Source: `torch.nn.init.trunc_normal_`; Wichura, Algorithm AS 241: the percentage points of the normal distribution,
    1988; Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011.
    """
    wanted = floating_dtype(dtype)
    if isinstance(lower, int | float) and isinstance(upper, int | float) and not lower < upper:
        raise GraphError(f"truncated_normal: expected lower < upper, got {lower} and {upper}")
    if isinstance(std, int | float) and not 0 < std < math.inf:
        raise GraphError(f"truncated_normal: expected a standard deviation above 0, got {std}")
    unit = fraction(shape, wanted, is_open=True)
    low, high, centre, width = (distributed(value, unit, "truncated_normal") for value in (lower, upper, mean, std))
    first, last = (low - centre) / width, (high - centre) / width
    is_above = first + last > 0
    least = normal_cdf(where(is_above, -last, first))
    most = normal_cdf(where(is_above, -first, last))
    # A probability that rounds to 0 would have no quantile.
    chance = maximum(least + (most - least) * unit, float(np.finfo(wanted.numpy).tiny))
    drawn = make(NormalQuantile(), chance)
    return clip(where(is_above, -drawn, drawn) * width + centre, low, high)


@builder("categorical")
def categorical(logits: Any, shape: object = None, axis: int = -1) -> Node:
    """Return positions along an axis, each with probability softmax(logits), as int64; -inf is never drawn.

    shape: the result's, which ends in that of the logits without the axis; that alone unless given. The position of the
    largest of logits + Gumbel noise (Gumbel 1954), whose 2**23 (float32) or 2**32 values leave what is less probable than
    their inverse out.

    Shape: the logits' without the axis, behind what `shape` adds.
    Formula: argmax(logits + gumbel noise, axis).
    Gradient: none: positions.
    Source: `jax.random.categorical`; Gumbel, 1954; Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as
    1, 2, 3, 2011.
    """
    node = floating(logits)
    if not node.ndim:
        raise ShapeError(f"categorical: expected logits along an axis, got {node.type}")
    node = moveaxis(node, normalize_axis(axis, node.ndim), -1)
    batch = node.shape[:-1]
    wanted = batch if shape is None else as_shape(shape)
    if wanted[len(wanted) - len(batch) :] != batch:
        raise ShapeError(f"categorical: expected a shape that ends in {shape_text(batch)}, got {shape_text(wanted)}")
    return argmax(node + gumbel((*wanted, node.shape[-1]), dtype=node.dtype), -1)


@builder("randint")
def randint(low: Any, high: Any, shape: object, dtype: object = "int64") -> Node:
    """Return integers in [low, high), all equally probable: the high word of 64 random bits times the range.

    So no integer is more probable than another by more than range / 2**64 of itself (Lemire, Fast random integer
    generation in an interval, 2019, without the rejection). low, high: integers, dims, or nodes of integers that
    broadcast to the shape; of nodes, those whose range is empty give low.

    Formula: low + (word * (high - low)) // 2^64.
    Gradient: none: integers.
    Source: `numpy.random.randint`; Lemire, Fast random integer generation in an interval, 2019; Salmon, Moraes, Dror
    and Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011.
    """
    wanted = as_dtype(dtype)
    if wanted.kind not in "iu":
        raise DTypeError(f"randint: expected an integer dtype, got {wanted}")
    first, last = (_integer_bound(bound) for bound in (low, high))
    words = _wide_words(shape)
    if isinstance(first, int) and isinstance(last, int):
        _check_bounds(first, last, wanted)
        return cast(_scaled(*words, last - first) + first, wanted)
    start, stop = (distributed(_as_count(bound), words[0], "randint") for bound in (first, last))
    return cast(where(stop > start, start + _wide_product_high(*words, stop - start), start), wanted)


def _integer_bound(bound: Any) -> Any:
    if isinstance(bound, Node):
        demand(bound.tensor, "iu", "randint")
        return bound
    if isinstance(bound, str | DimExpr):
        return as_dim(bound)
    try:
        return bound.__index__()
    except (AttributeError, TypeError):
        raise DTypeError(f"randint: expected bounds that are integers, got {bound!r}") from None


def _as_count(bound: Any) -> Node:
    return size(bound) if isinstance(bound, DimExpr) else cast(as_node(bound, int64), int64)


def _check_bounds(low: int, high: int, dtype: DType) -> None:
    limits = np.iinfo(dtype.numpy)
    if low >= high:
        raise GraphError(f"randint: expected low < high, got {low} and {high}")
    if low < limits.min or high > int(limits.max) + 1:
        raise DTypeError(f"randint: {dtype} holds {limits.min} to {limits.max}, got bounds {low} and {high}")


def _wide_words(shape: object) -> tuple[Node, Node]:
    """Return the high and low halves of 64 random bits, each from 0 to 2**32 - 1 as int64."""
    words = cast(random_bits((*as_shape(shape), 2)), int64)
    return words[..., 0], words[..., 1]


def _upper(x: Node) -> Node:
    """Return the upper half of 64 bits, as a number from 0 to 2**32 - 1."""
    return bitwise_and(bitwise_right_shift(x, 32), _HALF)


def _scaled(high: Node, low: Node, span: int) -> Node:
    """Return the bits from 64 on of the 64 bits high, low times a number up to 2**64."""
    if span < 1 << 32:
        return _upper(high * span + _upper(low * span))
    if span == 1 << 64:
        return bitwise_or(bitwise_left_shift(high, 32), low)
    return _wide_product_high(high, low, constant(span - (span >> 63 << 64), int64))


def _wide_product_high(high: Node, low: Node, span: Node) -> Node:
    """Return the bits from 64 on of the 64 bits high, low times 64 bits, by products of halves (Warren, Hacker's Delight)."""
    above, below = _upper(span), bitwise_and(span, _HALF)
    first, second = high * below, low * above
    middle = _upper(low * below) + bitwise_and(first, _HALF) + bitwise_and(second, _HALF)
    return high * above + _upper(first) + _upper(second) + _upper(middle)


@builder("permutation")
def permutation(x: Any, axis: int = 0) -> Node:
    """Return the integers below a number or dim in random order, or a node's elements along an axis in random order.

    The order that sorts 64 random bits each, so that all orders are equally probable but for equal bits: of a million
    numbers, two are equal once in 40 million draws.

    Shape: `(...) -> (...)`; of a number, that many integers.
    Formula: take(x, order, axis), the order that sorts random words.
    Gradient: by x, g where its elements came from; none of a number.
    Source: `numpy.random.permutation`; Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3,
    2011.
    """
    if isinstance(x, Node):
        at = normalize_axis(axis, x.ndim)
        return take(x, permutation(x.shape[at]), at)
    high, low = _wide_words((as_dim(x),))
    return argsort(bitwise_or(bitwise_left_shift(high, 32), low))
