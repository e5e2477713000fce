"""Losses of pairs and triples: what belongs together should lie close.

Shape: (); with reduction="none", that of the losses.
Gradient: the chain rule's, through the formula.
Source: `torch.nn.{name}`.
"""

from __future__ import annotations

import math
from typing import Any

from graphc.graph.node import Node, builder
from graphc.nn.arguments import number
from graphc.nn.reduction import above_zero, demand_same_shape, matched, reduced
from graphc.ops.arithmetic import abs, minimum
from graphc.ops.comparison import where
from graphc.ops.exponential import sqrt
from graphc.ops.operands import as_node
from graphc.ops.reduction import max as max_
from graphc.ops.reduction import sum as sum_


@builder("nn.hinge_embedding_loss")
def hinge_embedding_loss(input: Any, target: Any, *, margin: float = 1.0, reduction: str = "mean") -> Node:
    """Return the distance `input` where target is 1, and max(0, margin - input) where it is -1.

    input, target: of one shape, which is demanded. reduction: "mean" (over all elements), "sum" or "none".

    Formula: `mean(where(target == 1, input, maximum(0, margin - input)))`.
    """
    distance, kind = matched(input, target)
    number(margin, "hinge_embedding_loss's margin")
    apart = where(kind == 1, 0.0, above_zero(margin - distance))
    return reduced(where(kind == -1, 0.0, distance) + apart, reduction)


@builder("nn.cosine_embedding_loss")
def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, *, margin: float = 0.0, reduction: str = "mean"
) -> Node:
    """Return 1 - c where target is 1, and max(0, c - margin) where it is -1; c is the cosine of the angle between both.

    input1, input2: (..., features), of one shape, which is demanded; target: (...). margin: from -1 to 1.
    reduction: "mean" (over all pairs), "sum" or "none".

    Formula: `mean(where(target == 1, 1 - c, maximum(0, c - margin)))`, with `c = vecdot(input1, input2) /
    sqrt(vecdot(input1, input1) * vecdot(input2, input2))`.
    """
    number(margin, "cosine_embedding_loss's margin", -1.0, 1.0)
    left, right = matched(input1, input2)
    kind = as_node(target)
    demand_same_shape(left[..., 0], kind)
    # What PyTorch adds, so that vectors of zeros have a cosine.
    tiny = 1e-12
    squares = (sum_(left * left, -1) + tiny) * (sum_(right * right, -1) + tiny)
    cosine = sum_(left * right, -1) / sqrt(squares)
    apart = where(kind == -1, above_zero(cosine - margin), 0.0)
    return reduced(where(kind == 1, 1.0 - cosine, apart), reduction)


@builder("nn.pairwise_distance")
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Node:
    """Return the p-norm of x1 - x2 + eps over the last axis.

    x1, x2: (..., features), of one shape, which is demanded. p: above 0, or infinity for the largest distance.
    The gradient of the 2-norm at 0 is 0.

    Shape: `(..., f), (..., f) -> (...)`; with keepdim, 1 behind.
    Formula: `sum(abs(x1 - x2 + eps) ** p, -1) ** (1 / p)`.
    """
    number(p, "pairwise_distance's p", 0.0, open=True)
    left, right = matched(x1, x2)
    distance = left - right + eps
    if p == 1 or p == math.inf:
        return (sum_ if p == 1 else max_)(abs(distance), -1, keepdim)
    powers = distance * distance if p == 2 else abs(distance) ** p
    total = sum_(powers, -1, keepdim)
    # A root has an infinite slope at 0, and 0 * infinity would be NaN.
    positive = where(total == 0, 1.0, total)
    return where(total == 0, 0.0, sqrt(positive) if p == 2 else positive ** (1.0 / p))


@builder("nn.triplet_margin_loss")
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Node:
    """Return max(0, d(anchor, positive) - d(anchor, negative) + margin), with d as in `pairwise_distance`.

    anchor, positive, negative: (..., features), of one shape, which is demanded. swap: takes d(positive, negative) in
    the place of d(anchor, negative) where it is smaller. reduction: "mean" (over all triples), "sum" or "none".

    Formula: `mean(maximum(0, sqrt(sum((anchor - positive + eps) ** 2, -1)) - sqrt(sum((anchor - negative + eps) ** 2,
    -1)) + margin))`, for p = 2.
    Source: `torch.nn.functional.triplet_margin_loss`; Balntas et al., Learning local feature descriptors with triplets
    and shallow convolutional neural networks, 2016.
    """
    number(margin, "triplet_margin_loss's margin", 0.0, open=True)
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(above_zero(margin + near - far), reduction)
