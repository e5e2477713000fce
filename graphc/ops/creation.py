"""Arrays of one number."""

from __future__ import annotations

from typing import Any

from graphc.dtypes import as_dtype, default_dtype
from graphc.graph.node import Node, builder, constant
from graphc.ops.movement import broadcast_to
from graphc.ops.operands import cast


@builder("zeros")
def zeros(shape: object, dtype: object = None) -> Node:
    """Return zeros of a shape."""
    return full(shape, 0, default_dtype() if dtype is None else dtype)


@builder("ones")
def ones(shape: object, dtype: object = None) -> Node:
    """Return ones of a shape."""
    return full(shape, 1, default_dtype() if dtype is None else dtype)


@builder("full")
def full(shape: object, value: Any, dtype: object = None) -> Node:
    """Return a shape filled with one number, or with a node of no dimensions."""
    node = value if isinstance(value, Node) else constant(value, dtype)
    return broadcast_to(node if dtype is None else cast(node, as_dtype(dtype)), shape)


@builder("zeros_like")
def zeros_like(x: Node) -> Node:
    """Return zeros of x's shape and dtype."""
    return zeros(x.shape, x.dtype)


@builder("ones_like")
def ones_like(x: Node) -> Node:
    """Return ones of x's shape and dtype."""
    return ones(x.shape, x.dtype)
