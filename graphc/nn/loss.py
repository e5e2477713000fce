"""Losses."""

from __future__ import annotations

from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph.node import Node
from graphc.ops.comparison import where
from graphc.ops.indexing import one_hot
from graphc.ops.positions import size
from graphc.ops.reduction import logsumexp, mean
from graphc.ops.reduction import sum as sum_


def cross_entropy(logits: Node, labels: Node, reduction: str = "mean") -> Node:
    """Return -log softmax(logits)[label], averaged over all examples.

    logits: (..., classes), floating. labels: (...), integers from 0 to classes - 1; others raise when the graph runs.
    reduction: "mean", "sum" or "none". Stable: the largest logit is subtracted before exponentials are taken.
    """
    if not logits.dtype.is_float:
        raise DTypeError(f"cross_entropy: expected floating logits, got {logits.describe()}")
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"cross_entropy: expected integer labels, got {labels.describe()}")
    if logits.ndim != labels.ndim + 1:
        raise ShapeError(
            "cross_entropy: expected logits of one dimension more than labels, "
            f"got {logits.describe()}\n  and {labels.describe()}"
        )
    if reduction not in ("mean", "sum", "none"):
        raise GraphError(f'cross_entropy: expected reduction "mean", "sum" or "none", got {reduction!r}')
    if labels.dtype.kind == "i":
        # Indices count from the end if negative, once: here that would train on the last class for a label of -1.
        labels = where(labels < 0, labels - size(logits.shape[-1]), labels)
    chosen = one_hot(labels, logits.shape[-1], "bool")
    # where, not a product: an infinite logit of another class must not become 0 * infinity.
    picked = sum_(where(chosen, logits, 0.0), axis=-1)
    losses = logsumexp(logits, axis=-1) - picked
    return losses if reduction == "none" else mean(losses) if reduction == "mean" else sum_(losses)
