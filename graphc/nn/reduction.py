"""What losses share: operands of one shape, and the losses of all elements as one number."""

from __future__ import annotations

from typing import Any

from graphc.errors import ShapeError
from graphc.graph.node import Node
from graphc.nn.arguments import choice, differ
from graphc.ops.comparison import where
from graphc.ops.operands import as_node, broadcasted, cast, expand, floating, promoted
from graphc.ops.reduction import mean
from graphc.ops.reduction import sum as sum_


def demand_same_shape(*nodes: Node) -> None:
    """Raise ShapeError unless nodes may have one shape; symbolic sizes are compared when the graph runs.

    Broadcasting is refused, because a prediction (n, 1) and a target (n,) would give n * n differences.
    """
    first = nodes[0]
    for node in nodes[1:]:
        pairs = zip(first.shape, node.shape, strict=False)
        # A size of 1 beside a symbol would broadcast.
        if node.ndim != first.ndim or any(differ(a, b) or (a != b and 1 in (a, b)) for a, b in pairs):
            raise ShapeError(
                f"expected operands of one shape, got {first.type} and {node.type}; {_advice(first, node)}"
            )


def _advice(left: Node, right: Node) -> str:
    for longer, shorter, which in ((left, right, "first"), (right, left, "second")):
        if longer.ndim == shorter.ndim + 1 and longer.shape[-1] == 1:
            return f"take the last axis of 1 away from the {which}: graphc.squeeze(x, -1)"
    return "reshape one of them, or repeat it with graphc.broadcast_to if that is meant"


def matched(*values: Any) -> tuple[Node, ...]:
    """Return operands as nodes of one floating dtype and one shape; ShapeError where only broadcasting makes it one."""
    nodes = tuple(floating(node) for node in promoted(*values))
    demand_same_shape(*nodes)
    return broadcasted(*nodes)


def weights_of(weight: Any, like: Node, what: str) -> Node:
    """Return weights in a node's dtype, broadcast to its shape; ShapeError if that would have to grow."""
    node = as_node(weight)
    pairs = zip(reversed(node.shape), reversed(like.shape), strict=False)
    if node.ndim > like.ndim or any(a != 1 and differ(a, b) for a, b in pairs):
        raise ShapeError(f"expected {what} of a shape that broadcasts to that of {like.type}, got {node.type}")
    return expand(cast(node, like.dtype), like.shape)


def reduced(losses: Node, reduction: str, total: Node | None = None) -> Node:
    """Return the mean of all losses (their sum over `total`, if given), their sum, or each of them for "none"."""
    choice(reduction, "reduction", "mean", "sum", "none")
    if reduction == "none":
        return losses
    if reduction == "sum":
        return sum_(losses)
    if total is None:
        return mean(losses)
    # Each is divided, not their sum: so losses and gradients need the total alike, and come from one kernel.
    # The mean of nothing is NaN, which a sum of nothing would miss.
    share = 1.0 / total
    return sum_(losses * share) + 0.0 * share


def above_zero(x: Node) -> Node:
    """Return max(x, 0), whose derivative at 0 is 1, as that of torch.clamp_min."""
    return where(x < 0, 0.0, x)
