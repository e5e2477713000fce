"""Losses of numbers: how far a prediction lies from its target.

Shape: (); with reduction="none", that of the losses.
Gradient: the chain rule's, through the formula.
Source: `torch.nn.{name}`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.graph.node import Node, builder
from graphc.nn.arguments import number
from graphc.nn.reduction import demand_same_shape, matched, reduced
from graphc.ops.arithmetic import abs, maximum, minimum
from graphc.ops.comparison import where
from graphc.ops.exponential import log
from graphc.ops.gradient_control import stop_gradient
from graphc.ops.operands import as_node, broadcasted, cast, expand, floating, promoted


@builder("nn.mse_loss")
def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Node:
    """Return (input - target)^2.

    input, target: of one shape, which is demanded. reduction: "mean" (over all elements), "sum" or "none".

    Formula: `mean((input - target) ** 2)`.
    Gradient: by input `2 * g * (input - target) / input.size`, by target `2 * g * (target - input) / input.size`.
    """
    prediction, wanted = matched(input, target)
    distance = prediction - wanted
    return reduced(distance * distance, reduction)


@builder("nn.l1_loss")
def l1_loss(input: Any, target: Any, *, reduction: str = "mean") -> Node:
    """Return |input - target|; the derivative at 0 is 0.

    input, target: of one shape, which is demanded. reduction: "mean" (over all elements), "sum" or "none".

    Formula: `mean(abs(input - target))`.
    Gradient: by input `g * sign(input - target) / input.size`, by target `g * sign(target - input) / input.size`.
    """
    prediction, wanted = matched(input, target)
    return reduced(abs(prediction - wanted), reduction)


@builder("nn.smooth_l1_loss")
def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Node:
    """Return d^2 / (2 * beta) where d = |input - target| is below beta, and d - beta / 2 elsewhere.

    beta: 0 or more; 0 gives the L1 loss. input, target: of one shape, which is demanded. reduction: "mean" (over all
    elements), "sum" or "none".

    Formula: `mean(where(d < beta, d**2 / (2 * beta), d - beta / 2))`, with `d = abs(input - target)`.
    Source: `torch.nn.functional.smooth_l1_loss`; Girshick, Fast R-CNN, 2015.
    """
    if number(beta, "smooth_l1_loss's beta", 0.0) == 0.0:
        return l1_loss(input, target, reduction=reduction)
    prediction, wanted = matched(input, target)
    return reduced(_huber(prediction - wanted, beta) / beta, reduction)


@builder("nn.huber_loss")
def huber_loss(input: Any, target: Any, *, reduction: str = "mean", delta: float = 1.0) -> Node:
    """Return d^2 / 2 where d = |input - target| is at most delta, and delta * (d - delta / 2) elsewhere.

    delta: above 0. input, target: of one shape, which is demanded. reduction: "mean" (over all elements), "sum" or
    "none".

    Formula: `mean(where(d <= delta, d**2 / 2, delta * (d - delta / 2)))`, with `d = abs(input - target)`.
    Source: `torch.nn.functional.huber_loss`; Huber, Robust Estimation of a Location Parameter, 1964.
    """
    number(delta, "huber_loss's delta", 0.0, open=True)
    prediction, wanted = matched(input, target)
    return reduced(_huber(prediction - wanted, delta), reduction)


def _huber(difference: Node, delta: float) -> Node:
    # Both branches at once, without a square that could overflow in the one that is not taken.
    distance = abs(difference)
    near = minimum(distance, delta)
    return near * (distance - 0.5 * near)


@builder("nn.gaussian_nll_loss")
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Node:
    """Return (log(var) + (input - target)^2 / var) / 2: the target's -log density around `input`.

    input, target: of one shape, which is demanded. var: the variance: of that shape, or without its last axis, or with
    a last axis of 1, or a number; at least `eps`, a limit that its gradient does not see. full: adds log(2 pi) / 2.
    reduction: "mean" (over all elements), "sum" or "none".

    Formula: `mean(log(v) + (input - target) ** 2 / v) / 2`, with `v = maximum(var, eps)`.
    Source: `torch.nn.functional.gaussian_nll_loss`; Nix and Weigend, Estimating the mean and variance of the target
    probability distribution, 1994.
    """
    number(eps, "gaussian_nll_loss's eps", 0.0, open=True)
    prediction, wanted = matched(input, target)
    variance = _variance(var, prediction)
    limited = stop_gradient(maximum(variance, eps)) + (variance - stop_gradient(variance))
    distance = prediction - wanted
    losses = 0.5 * (log(limited) + distance * distance / limited)
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def _variance(var: Any, like: Node) -> Node:
    node = cast(as_node(var), like.dtype)
    if node.ndim and node.ndim == like.ndim - 1:
        node = node[..., None]
    if node.ndim not in (0, like.ndim):
        raise ShapeError(
            f"gaussian_nll_loss: expected variances of the shape of {like.type}, or without its last axis, "
            f"or with a last axis of 1, got {node.type}"
        )
    if node.ndim:
        # Only the last axis may be repeated.
        demand_same_shape(node[..., 0], like[..., 0])
    return expand(node, like.shape)


@builder("nn.quantile_loss")
def quantile_loss(input: Any, target: Any, quantile: Any = 0.5, *, reduction: str = "mean") -> Node:
    """Return q * d where d = target - input is 0 or more, and (q - 1) * d elsewhere: the pinball loss.

    quantile: q, a number between 0 and 1, for an input of the target's shape; or a sequence of Q such numbers, for an
    input (..., Q) and a target (...). The least expected loss is at the q-quantile of the target.
    reduction: "mean" (over all elements), "sum" or "none".

    Formula: `mean(maximum(quantile * (target - input), (quantile - 1) * (target - input)))`.
    Source: Koenker and Bassett, Regression Quantiles, 1978.
    """
    several = isinstance(quantile, tuple | list | np.ndarray)
    levels: Any = np.asarray(quantile, np.float64) if several else quantile
    for level in levels.reshape(-1) if several else (levels,):
        number(level, "quantile_loss's quantile", 0.0, 1.0, open=True)
    if not several:
        prediction, wanted = matched(input, target)
    else:
        prediction, wanted = (floating(node) for node in promoted(input, target))
        if levels.ndim != 1 or not prediction.ndim or prediction.shape[-1] != len(levels):
            raise ShapeError(
                f"quantile_loss: expected an input with a last axis of {levels.size}, one for each quantile, "
                f"got {prediction.type}"
            )
        demand_same_shape(prediction[..., 0], wanted)
        prediction, wanted = broadcasted(prediction, wanted[..., None])
        levels = levels.astype(prediction.dtype.numpy)
    distance = wanted - prediction
    return reduced(where(distance >= 0, levels * distance, (levels - 1.0) * distance), reduction)
