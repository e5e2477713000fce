"""The loss of a sequence of labels where nobody says which time each label belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dtypes import int32
from graphc.errors import DTypeError, ShapeError
from graphc.graph.node import Node, builder
from graphc.nn.arguments import differ, whole
from graphc.nn.reduction import reduced
from graphc.ops.arithmetic import maximum, minimum
from graphc.ops.comparison import where
from graphc.ops.creation import full
from graphc.ops.cumulative import cumulative_sum
from graphc.ops.exponential import exp, log
from graphc.ops.gradient_control import stop_gradient
from graphc.ops.indexing import take, take_along_axis
from graphc.ops.iteration import scan
from graphc.ops.joining import concat, stack
from graphc.ops.movement import reshape
from graphc.ops.operands import as_node, cast, expand
from graphc.ops.positions import arange, size
from graphc.ops.slicing import pad


@builder("nn.ctc_loss")
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Node:
    """Return -log of the probability that the classes of all times, less repeats and then blanks, are the target.

    log_probs: (time, batch, classes), as of `log_softmax`, or (time, classes). targets: (batch, labels), padded with
    anything, or one after another (all labels,), which takes more memory; integers from 0 to classes - 1, without the blank.
    input_lengths, target_lengths: (batch,), integers, or () without a batch: how many times and labels there are.
    blank: the class that stands for no label. reduction: "mean" divides each loss by its number of labels (1 for none)
    and averages over the batch, "sum", or "none". A target that no alignment fits costs infinity, and has no gradient;
    zero_infinity: it costs nothing.
    The probabilities of all prefixes are carried along time as logarithms; the derivative carries those of the suffixes
    backwards.

    Shape: (); with reduction="none", that of the losses.
    Formula: -log of the sum, over all paths that become the target, of the product of exp(log_probs[t, path[t]]).
    Gradient: by log_probs, -g times the probability that the path is at this class at this time, given the target.
    Source: `torch.nn.functional.ctc_loss`; Graves et al., Connectionist Temporal Classification, 2006.
    """
    logs, labels, times, counts = (as_node(one) for one in (log_probs, targets, input_lengths, target_lengths))
    if not logs.dtype.is_float:
        raise DTypeError(f"expected floating log probabilities, got {logs.describe()}")
    for node, what in ((labels, "targets"), (times, "input_lengths"), (counts, "target_lengths")):
        if node.dtype.kind not in "iu":
            raise DTypeError(f"expected integer {what}, got {node.describe()}")
    labels, times, counts = (cast(node, int32) for node in (labels, times, counts))
    is_single = logs.ndim == 2
    if is_single:
        logs = logs[:, None]
        labels, times, counts = reshape(labels, (1, labels.tensor.size)), reshape(times, (1,)), reshape(counts, (1,))
    if logs.ndim != 3:
        raise ShapeError(f"expected log probabilities (time, batch, classes) or (time, classes), got {logs.describe()}")
    _, batch, classes = logs.shape
    for node, what in ((times, "input_lengths"), (counts, "target_lengths")):
        if node.ndim != 1 or differ(node.shape[0], batch):
            raise ShapeError(f"expected {what} of shape ({batch},), one for each sequence, got {node.describe()}")
    if isinstance(classes, int) and not 0 <= whole(blank, "ctc_loss's blank") < classes:
        raise ShapeError(f"expected a blank from 0 to {classes - 1}, got {blank}")
    times, counts = expand(times, (batch,)), expand(counts, (batch,))
    losses = -_log_probability(logs, _spread(_padded(labels, counts, blank), blank), times, counts)
    if zero_infinity:
        losses = where(losses == np.inf, 0.0, losses)
    if reduction == "mean":
        losses = losses / cast(maximum(counts, 1), losses.dtype)
    return losses[0] if is_single and reduction == "none" else reduced(losses, reduction)


def _padded(labels: Node, counts: Node, blank: int) -> Node:
    """Return the labels as (batch, labels), with blanks behind each target's end."""
    batch = counts.shape[0]
    if labels.ndim not in (1, 2) or (labels.ndim == 2 and differ(labels.shape[0], batch)):
        raise ShapeError(f"expected targets ({batch}, labels), or one after another (labels,), got {labels.describe()}")
    width = labels.shape[-1]
    places = arange(width, dtype=int32)
    if labels.ndim == 1:
        starts = cumulative_sum(counts) - counts
        # Behind a target's end stands the next one, and behind the last nothing.
        labels = take(labels, minimum(starts[:, None] + places, size(width, int32) - 1))
    return where(places < counts[:, None], expand(labels, (batch, width)), blank)


def _spread(labels: Node, blank: int) -> Node:
    """Return the labels with a blank before, between and behind them, (batch, 2 * labels + 1)."""
    batch, width = labels.shape
    pairs = stack((full(labels.shape, blank, dtype=int32), labels), -1)
    return concat((reshape(pairs, (batch, 2 * width)), full((batch, 1), blank, dtype=int32)), -1)


def _log_probability(logs: Node, states: Node, times: Node, counts: Node) -> Node:
    """Return the logarithm of each target's probability.

    states: (batch, states), what each alignment walks through: from state to state, or past a blank between unequal labels.
    """
    batch, width = states.shape
    scores = take_along_axis(logs, expand(states, (logs.shape[0], batch, width)), -1)
    place = arange(width, dtype=int32)
    is_label = place % 2 == 1
    # What stands two states before; before the first there is nothing that could be equal.
    earlier = pad(states, ((0, 0), (2, 0)), constant_values=-1)[:, :width]
    may_pass = is_label & (states != earlier)
    exists = arange(logs.shape[0], dtype=int32)[:, None] < times

    def step(prefixes: Node, xs: tuple[Node, Node]) -> tuple[Node, None]:
        score, is_time = xs
        one, two = (pad(prefixes, ((0, 0), (by, 0)), constant_values=-np.inf)[:, :width] for by in (1, 2))
        arrived = _log_sum(_log_sum(prefixes, one), where(may_pass, two, -np.inf)) + score
        return where(is_time[:, None], arrived, prefixes), None

    # Before the first time, it is as if the first blank had been seen.
    nothing = where(expand(place == 0, (batch, width)), full((batch, width), 0.0, logs.dtype), -np.inf)
    prefixes, _ = scan(step, nothing, (scores, exists))
    last = 2 * counts[:, None]
    ends = take_along_axis(prefixes, last, -1), take_along_axis(prefixes, maximum(last - 1, 0), -1)
    return _log_sum(ends[0], where(last == 0, -np.inf, ends[1]))[:, 0]


def _log_sum(x: Node, y: Node) -> Node:
    """Return log(exp(x) + exp(y)); where both are -inf it is, too, and its derivatives are 0 rather than NaN."""
    largest = stop_gradient(maximum(x, y))
    is_nothing = largest == -np.inf
    base = where(is_nothing, 0.0, largest)
    total = exp(x - base) + exp(y - base)
    return where(is_nothing, -np.inf, base + log(where(is_nothing, 1.0, total)))
