"""What rules of algebra look for, and what they make: numbers repeated over a shape, operands in either order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from graphc.graph.node import Constant, Node, call, constant
from graphc.ops.movement import BroadcastTo, PermuteDims, Reshape

Rule = Callable[[Node], "Node | None"]


def uniform(node: Node) -> Any:
    """Return the number that every element is, None if they differ or are not known."""
    while isinstance(node.op, BroadcastTo | Reshape | PermuteDims):
        (node,) = node.inputs
    if not isinstance(node.op, Constant) or node.op.value.size != 1:
        return None
    return node.op.value.reshape(()).item()


def number(value: Any, like: Node, shape: tuple[Any, ...]) -> Node:
    """Return a number repeated over a shape, of a node's dtype."""
    single = constant(np.asarray(value, like.dtype.numpy))
    return call("broadcast_to", single, shape) if shape else single


def filled(value: Any, like: Node) -> Node:
    """Return a number repeated over a node's shape, of its dtype."""
    return number(value, like, like.shape)


def orders(node: Node) -> Iterator[tuple[Node, Node]]:
    """Yield the operands of a commutative op in both orders."""
    x, y = node.inputs
    yield x, y
    yield y, x


def is_negative_zero(value: Any) -> bool:
    """Whether a number is -0.0."""
    return isinstance(value, float) and value == 0.0 and bool(np.signbit(value))


def is_integer(node: Node) -> bool:
    """Whether a node holds integers: their arithmetic wraps around, so its algebra is exact."""
    return node.dtype.kind in "iu"


def reciprocal(node: Node) -> Any:
    """Return 1 / c for a node that is a power of two c everywhere, where c and 1 / c are normal numbers; else None."""
    value = uniform(node)
    if not isinstance(value, float) or not np.isfinite(value) or abs(np.frexp(value)[0]) != 0.5:
        return None
    least = float(np.finfo(node.dtype.numpy).tiny)
    return 1 / value if least <= abs(value) <= 1 / least else None


def scales_joined(first: Any, second: Any, like: Node) -> Any:
    """Return first * second where scaling by both at once overflows and underflows as scaling by one after the other.

    So both sizes are at least 1, or both at most 1, and the product is a normal number.
    """
    sizes = sorted((abs(first), abs(second)))
    if not (sizes[0] >= 1 or sizes[1] <= 1):
        return None
    with np.errstate(all="ignore"):
        product = np.multiply(first, second, dtype=like.dtype.numpy)
    limits = np.finfo(like.dtype.numpy)
    return product.item() if limits.tiny <= abs(product) <= limits.max else None
