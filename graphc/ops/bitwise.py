"""Operations on the bits of integers; on booleans, `& | ^ ~` are the logical ones, as in NumPy.

Shifts are NumPy's too: by the width of the integer or more they leave 0, or of a negative number -1 to the right.

Shape: `(...), (...) -> (...)`, by broadcasting.
Source: `numpy.{name}`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dtypes import bool_
from graphc.graph.node import Node, builder, call, make
from graphc.ops.elementwise import Elementwise
from graphc.ops.operands import aligned, as_node, demand


class BitwiseAnd(Elementwise):
    """The bits that both have."""

    name = "bitwise_and"
    function = "and"
    accepts = "iu"
    meaning = np.bitwise_and


class BitwiseOr(Elementwise):
    """The bits that at least one has."""

    name = "bitwise_or"
    function = "or"
    accepts = "iu"
    meaning = np.bitwise_or


class BitwiseXor(Elementwise):
    """The bits that exactly one has."""

    name = "bitwise_xor"
    function = "xor"
    accepts = "iu"
    meaning = np.bitwise_xor


class ShiftLeft(Elementwise):
    """x * 2^y, modulo the width."""

    name = "bitwise_left_shift"
    function = "shift_left"
    accepts = "iu"
    meaning = np.left_shift


class ShiftRight(Elementwise):
    """x / 2^y, rounded down."""

    name = "bitwise_right_shift"
    function = "shift_right"
    accepts = "iu"
    meaning = np.right_shift


@builder("bitwise_and")
def bitwise_and(x: Any, y: Any) -> Node:
    """Return the bits that both have, `x & y`; of booleans, whether both are true."""
    return _bits(BitwiseAnd(), "logical_and", x, y)


@builder("bitwise_or")
def bitwise_or(x: Any, y: Any) -> Node:
    """Return the bits that at least one has, `x | y`; of booleans, whether at least one is true."""
    return _bits(BitwiseOr(), "logical_or", x, y)


@builder("bitwise_xor")
def bitwise_xor(x: Any, y: Any) -> Node:
    """Return the bits that exactly one has, `x ^ y`; of booleans, whether exactly one is true."""
    return _bits(BitwiseXor(), "logical_xor", x, y)


def _bits(op: Elementwise, logical: str, x: Any, y: Any) -> Node:
    left, right = aligned(x, y)
    return call(logical, left, right) if left.dtype is bool_ else make(op, left, right)


@builder("bitwise_invert")
def bitwise_invert(x: Any) -> Node:
    """Return the bits that x has not, `~x`; of booleans, the opposite.

    Shape: `(...) -> (...)`.
    """
    node = as_node(x)
    if node.dtype is bool_:
        return call("logical_not", node)
    demand(node.tensor, "iu", "bitwise_invert")
    return bitwise_xor(node, -1 if node.dtype.kind == "i" else int(np.iinfo(node.dtype.numpy).max))


@builder("bitwise_left_shift")
def bitwise_left_shift(x: Any, y: Any) -> Node:
    """Return the bits of x moved up by y places, `x << y`; 0 from the width of the integer on."""
    return make(ShiftLeft(), *aligned(x, y))


@builder("bitwise_right_shift")
def bitwise_right_shift(x: Any, y: Any) -> Node:
    """Return the bits of x moved down by y places, `x >> y`, which is x / 2^y rounded down."""
    return make(ShiftRight(), *aligned(x, y))
