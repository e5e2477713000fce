"""Arrays of one number.

Shape: the one given.
Gradient: none: a constant.
Source: `numpy.{name}`.
"""

from __future__ import annotations

from typing import Any

from graphc.dtypes import as_dtype
from graphc.graph.node import Node, builder, constant
from graphc.ops.movement import broadcast_to
from graphc.ops.operands import as_node, as_optional_dtype, cast


@builder("zeros")
def zeros(shape: object, dtype: object = None) -> Node:
    """Return zeros of a shape.

    Formula: `full(shape, 0)`.
    """
    return full(shape, 0, as_optional_dtype(dtype))


@builder("ones")
def ones(shape: object, dtype: object = None) -> Node:
    """Return ones of a shape.

    Formula: `full(shape, 1)`.
    """
    return full(shape, 1, as_optional_dtype(dtype))


@builder("full")
def full(shape: object, fill_value: Any, dtype: object = None) -> Node:
    """Return a shape filled with one number, or with a node of no dimensions.

    Formula: `fill_value + zeros(shape)`.
    Gradient: by fill_value `sum(g)`.
    """
    node = fill_value if isinstance(fill_value, Node) else constant(fill_value, dtype)
    return broadcast_to(node if dtype is None else cast(node, as_dtype(dtype)), shape)


@builder("zeros_like")
def zeros_like(x: Any, dtype: object = None) -> Node:
    """Return zeros of x's shape, and of its dtype unless one is given.

    Shape: `(...) -> (...)`.
    Formula: `full(x.shape, 0)`.
    Gradient: none: x's shape alone counts.
    """
    return full_like(x, 0, dtype)


@builder("ones_like")
def ones_like(x: Any, dtype: object = None) -> Node:
    """Return ones of x's shape, and of its dtype unless one is given.

    Shape: `(...) -> (...)`.
    Formula: `full(x.shape, 1)`.
    Gradient: none: x's shape alone counts.
    """
    return full_like(x, 1, dtype)


@builder("full_like")
def full_like(x: Any, fill_value: Any, dtype: object = None) -> Node:
    """Return x's shape filled with one number, or with a node of no dimensions; of x's dtype unless one is given.

    Shape: `(...), () -> (...)`.
    Formula: `fill_value + 0 * x`.
    Gradient: by x `0`, by fill_value `sum(g)`.
    """
    node = as_node(x)
    return full(node.shape, fill_value, node.dtype if dtype is None else dtype)
