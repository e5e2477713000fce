"""Losses of classes: how improbable a prediction makes the right one. Classes are the last axis.

PyTorch has the classes of images and sequences as axis 1; `graphc.moveaxis(logits, 1, -1)` brings them to the end.

Shape: (); with reduction="none", that of the losses.
Gradient: the chain rule's, through the formula.
Source: `torch.nn.{name}`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph.node import Node, builder, make
from graphc.nn.arguments import choice, differ, number, whole
from graphc.nn.reduction import above_zero, demand_same_shape, matched, reduced, weights_of
from graphc.ops.activation import softplus
from graphc.ops.arithmetic import maximum
from graphc.ops.comparison import where
from graphc.ops.exponential import exp, log, log1p
from graphc.ops.gathering import OneHot
from graphc.ops.gradient_control import stop_gradient
from graphc.ops.indexing import take
from graphc.ops.operands import as_node, cast
from graphc.ops.positions import size
from graphc.ops.reduction import log_softmax, logsumexp
from graphc.ops.reduction import sum as sum_


@builder("nn.cross_entropy")
def cross_entropy(
    input: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int | None = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Node:
    """Return -log softmax(input)[target], averaged over all examples.

    input: (..., classes), logits, floating. target: (...), integers from 0 to classes - 1, of which others raise
    IndexError when the graph runs; or (..., classes), floating, a probability for each class.
    weight: (classes,), a factor for each class. ignore_index: an integer label that costs nothing, or None.
    label_smoothing: the part of each target, from 0 to 1, that is spread over all classes.
    reduction: "mean", "sum" or "none". The mean over labels divides by the sum of the weights of those that are not
    ignored, the mean over probabilities by the number of examples, as in PyTorch.
    Stable: the largest logit is subtracted before exponentials are taken.

    Formula: `-log_softmax(input)[arange(len(target)), target].mean()` of labels and (n, classes).
    Gradient: by input `(softmax(input) - one_hot(target, input.shape[-1])) * g / len(target)`.
    Source: `torch.nn.functional.cross_entropy`; Szegedy et al., Rethinking the Inception Architecture for Computer
    Vision, 2016 (smoothing).
    """
    logits, labels = _scores(input, "logits"), as_node(target)
    smoothing = number(label_smoothing, "cross_entropy's label_smoothing", 0.0, 1.0)
    weights = None if weight is None else _class_weights(weight, logits)
    classes = size(logits.shape[-1], logits.dtype)
    if labels.dtype.is_float and labels.ndim == logits.ndim:
        if ignore_index is not None and ignore_index >= 0:
            raise GraphError(f"expected integer labels with ignore_index, got probabilities {labels.describe()}")
        demand_same_shape(logits, labels)
        probabilities = cast(labels, logits.dtype)
        if smoothing:
            probabilities = probabilities * (1.0 - smoothing) + smoothing / classes
        logs = log_softmax(logits)
        # An impossible class that the target does not have costs nothing: 0 * log(0) is 0 here.
        logs = where((probabilities == 0) & (logs == -np.inf), 0.0, logs)
        costs = -probabilities * logs
        return reduced(sum_(costs if weights is None else costs * weights, -1), reduction)
    picked, labels, kept = _picked(logits, labels, ignore_index, "cross_entropy")
    largest = logsumexp(logits, axis=-1)
    losses = largest - picked
    of_label = None if weights is None else take(weights, labels)
    losses = losses if of_label is None else losses * of_label
    if smoothing:
        everywhere = largest[..., None] - logits
        spread = sum_(everywhere if weights is None else everywhere * weights, -1)
        losses = (1.0 - smoothing) * losses + smoothing / classes * spread
    return _of_labels(losses, of_label, kept, reduction)


@builder("nn.nll_loss")
def nll_loss(
    input: Any, target: Any, *, weight: Any = None, ignore_index: int | None = -100, reduction: str = "mean"
) -> Node:
    """Return -input[target], averaged over all examples.

    input: (..., classes), logarithms of probabilities, as of `log_softmax`. target: (...), integers from 0 to
    classes - 1, of which others raise IndexError when the graph runs. weight, ignore_index, reduction: see
    `cross_entropy`.

    Formula: `-input[arange(len(target)), target].mean()` of (n, classes).
    """
    logs = _scores(input, "log probabilities")
    weights = None if weight is None else _class_weights(weight, logs)
    picked, labels, kept = _picked(logs, as_node(target), ignore_index, "nll_loss")
    of_label = None if weights is None else take(weights, labels)
    return _of_labels(-picked if of_label is None else -picked * of_label, of_label, kept, reduction)


def _scores(input: Any, what: str) -> Node:
    node = as_node(input)
    if not node.dtype.is_float:
        raise DTypeError(f"expected floating {what}, got {node.describe()}")
    if not node.ndim:
        raise ShapeError(f"expected {what} of shape (..., classes), got {node.describe()}")
    return node


def _class_weights(weight: Any, scores: Node) -> Node:
    node = as_node(weight)
    if node.ndim != 1 or differ(node.shape[0], scores.shape[-1]):
        raise ShapeError(f"expected weights of shape ({scores.shape[-1]},), one for each class, got {node.type}")
    return cast(node, scores.dtype)


def _picked(scores: Node, labels: Node, ignore_index: int | None, what: str) -> tuple[Node, Node, Node | None]:
    """Return the score of each label, the labels with 0 for ignored ones, and which are kept (None: all)."""
    if labels.dtype.kind not in "iu":
        raise DTypeError(
            f"expected integer labels of shape (...), or probabilities of the shape of the logits, "
            f"got {labels.describe()}; graphc.astype(labels, 'int64') makes integers of floats"
        )
    if labels.ndim == scores.ndim and labels.shape[-1] == 1:
        raise ShapeError(
            f"expected labels without a last axis of 1, got {labels.describe()}; write graphc.squeeze(labels, -1)"
        )
    if labels.ndim == scores.ndim and not any(map(differ, labels.shape, scores.shape)):
        raise ShapeError(
            f"expected one label (...) for all scores (..., classes), got as many labels, {labels.describe()}; where they "
            "mark the class by a 1, write graphc.argmax(labels, axis=-1)"
        )
    if labels.ndim != scores.ndim - 1 or any(differ(a, b) for a, b in zip(labels.shape, scores.shape, strict=False)):
        raise ShapeError(
            f"expected scores (..., classes) and labels (...), got {scores.describe()}\n  and {labels.describe()}; "
            "classes are the last axis: graphc.moveaxis(x, 1, -1) brings them there from axis 1"
        )
    limits = np.iinfo(labels.dtype.numpy)
    kept: Node | None = None
    if ignore_index is not None and limits.min <= whole(ignore_index, f"{what}'s ignore_index", None) <= limits.max:
        kept = labels != ignore_index
    labels = labels if kept is None else where(kept, labels, 0)
    chosen = make(OneHot(scores.shape[-1], site=f"{what}'s target", wraps=False), labels)
    # where, not a product: an infinite score of another class must not become 0 * infinity.
    return sum_(where(chosen, scores, 0.0), axis=-1), labels, kept


def _of_labels(losses: Node, of_label: Node | None, kept: Node | None, reduction: str) -> Node:
    """Return the losses reduced; their mean is over the weights of the labels that are kept."""
    if kept is None:
        return reduced(losses, reduction, None if of_label is None else sum_(of_label))
    counted = sum_(kept) if of_label is None else sum_(where(kept, of_label, 0.0))
    return reduced(where(kept, losses, 0.0), reduction, cast(counted, losses.dtype))


@builder("nn.binary_cross_entropy")
def binary_cross_entropy(input: Any, target: Any, *, weight: Any = None, reduction: str = "mean") -> Node:
    """Return -(target * log(input) + (1 - target) * log(1 - input)), with logarithms of at least -100.

    input: probabilities. target: from 0 to 1, of the same shape, which is demanded. weight: a factor for each element,
    broadcast to that shape. reduction: "mean" (over all elements), "sum" or "none".
    Where a probability is closer than 1e-12 to the wrong end, the gradient is limited to 1e12, as in PyTorch.
    Prefer `binary_cross_entropy_with_logits`, which loses no precision.

    Formula: `-mean(target * log(input) + (1 - target) * log(1 - input))`.
    """
    probability, wanted = matched(input, target)
    yes = _limited_log(log, probability, probability)
    no = _limited_log(log1p, -probability, 1.0 - probability)
    losses = -(wanted * yes + (1.0 - wanted) * no)
    return reduced(losses if weight is None else losses * weights_of(weight, losses, "weight"), reduction)


def _limited_log(function: Any, x: Node, distance: Node) -> Node:
    """Return function(x), at least -100; its slope by the distance from where it is -infinity is at most 1e12."""
    near = distance < 1e-12
    level = stop_gradient(maximum(function(x), -100.0))
    line = level + (distance - stop_gradient(distance)) * 1e12
    # Any number inside the domain will do for the branch that is not taken, so that its derivative is finite.
    return where(near, line, function(where(near, 0.5, x)))


@builder("nn.binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    input: Any, target: Any, *, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Node:
    """Return the binary cross entropy of sigmoid(input), computed from the logits without overflow or cancellation.

    input: logits. target: from 0 to 1, of the same shape, which is demanded. weight: a factor for each element;
    pos_weight: a factor for `target`; both are broadcast to that shape. reduction: "mean" (over all elements), "sum"
    or "none".

    Formula: `mean(log(1 + exp(input)) - target * input)`.
    Gradient: by input `g * (1 / (1 + exp(-input)) - target) / input.size`, by target `-g * input / input.size`.
    """
    logits, wanted = matched(input, target)
    yes = wanted if pos_weight is None else wanted * weights_of(pos_weight, logits, "pos_weight")
    losses = yes * softplus(-logits) + (1.0 - wanted) * softplus(logits)
    return reduced(losses if weight is None else losses * weights_of(weight, losses, "weight"), reduction)


@builder("nn.kl_div")
def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Node:
    """Return target * (log(target) - input), the terms of the divergence of `input` from `target`.

    input: logarithms of probabilities. target: probabilities, or their logarithms if `log_target`; of the same shape,
    which is demanded. reduction: "batchmean" (the sum over the size of the first axis: the divergence as it is
    defined), "mean" (over all elements, PyTorch's default), "sum" or "none".

    Formula: `mean(target * (log(target) - input))`.
    Source: `torch.nn.functional.kl_div`; Kullback and Leibler, On Information and Sufficiency, 1951.
    """
    choice(reduction, "reduction", "mean", "batchmean", "sum", "none")
    predicted, wanted = matched(input, target)
    if log_target:
        terms = exp(wanted) * (wanted - predicted)
    else:
        # 0 * log(0) is 0.
        own = where(wanted == 0, 0.0, wanted * log(where(wanted == 0, 1.0, wanted)))
        terms = own - wanted * predicted
    if reduction != "batchmean":
        return reduced(terms, reduction)
    if not terms.ndim:
        raise ShapeError("kl_div: expected a first axis to average over, got scalars")
    return sum_(terms) / size(terms.shape[0], terms.dtype)


@builder("nn.hinge_loss")
def hinge_loss(input: Any, target: Any, *, margin: float = 1.0, reduction: str = "mean") -> Node:
    """Return max(0, margin - target * input).

    input: scores. target: -1 or 1, of the same shape, which is demanded. reduction: "mean" (over all elements), "sum"
    or "none".

    Formula: `mean(maximum(0, margin - target * input))`.
    Source: Cortes and Vapnik, Support-Vector Networks, 1995.
    """
    number(margin, "hinge_loss's margin")
    scores, side = matched(input, target)
    return reduced(above_zero(margin - side * scores), reduction)
