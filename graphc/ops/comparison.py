"""Elementwise ops that decide: comparisons, logic on booleans, and the choice between two values.

Comparisons are made in the operands' promoted dtype; with NaN all but `not_equal` are false. Logic and conditions take
booleans alone: compare first. Nothing here has a gradient but the two values of `where`, and there what is not chosen
gets 0: 0 times the slope of how it was made, which is NaN where that slope is infinite or NaN, as in PyTorch. So the
gradient of where(x > 0, log(x), 0) at 0 is NaN; where(x > 0, log(where(x > 0, x, 1)), 0) keeps it 0.

Shape: `(...), (...) -> (...)`, by broadcasting.
Source: `numpy.{name}`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.dtypes import DType, bool_
from graphc.errors import DTypeError
from graphc.graph.node import Node, builder, make
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.arithmetic import abs
from graphc.ops.elementwise import Elementwise
from graphc.ops.operands import aligned, as_node, broadcasted, demand, floating, promoted, same


class _Comparison(Elementwise):
    accepts = "fiub"

    def result_dtype(self, dtype: DType) -> DType:
        return bool_

    def scalar(self, *values: Expr) -> Expr:
        return expr.apply(self.function, *values, dtype=bool_)


class Equal(_Comparison):
    """x == y."""

    name = "equal"
    function = "eq"
    meaning = np.equal


class NotEqual(_Comparison):
    """x != y."""

    name = "not_equal"
    function = "ne"
    meaning = np.not_equal


class Less(_Comparison):
    """x < y."""

    name = "less"
    function = "lt"
    meaning = np.less


class LessEqual(_Comparison):
    """x <= y."""

    name = "less_equal"
    function = "le"
    meaning = np.less_equal


class Greater(_Comparison):
    """x > y."""

    name = "greater"
    function = "gt"
    meaning = np.greater


class GreaterEqual(_Comparison):
    """x >= y."""

    name = "greater_equal"
    function = "ge"
    meaning = np.greater_equal


class IsNan(_Comparison):
    """Whether x is no number."""

    name = "isnan"
    accepts = "f"
    meaning = np.isnan

    def scalar(self, *values: Expr) -> Expr:
        return expr.apply("ne", values[0], values[0], dtype=bool_)


class LogicalAnd(Elementwise):
    """Both are true."""

    name = "logical_and"
    function = "and"
    accepts = "b"
    meaning = np.logical_and


class LogicalOr(Elementwise):
    """At least one is true."""

    name = "logical_or"
    function = "or"
    accepts = "b"
    meaning = np.logical_or


class LogicalXor(Elementwise):
    """Exactly one is true."""

    name = "logical_xor"
    function = "xor"
    accepts = "b"
    meaning = np.logical_xor


class LogicalNot(Elementwise):
    """It is false."""

    name = "logical_not"
    function = "not"
    accepts = "b"
    meaning = np.logical_not


class Where(Elementwise):
    """The second operand where the first is true, else the third."""

    name = "where"
    function = "select"
    meaning = np.where

    def infer(self, *inputs: TensorType, **_: Any) -> TensorType:
        condition, *branches = inputs
        demand(condition, "b", "where's condition")
        type = same(*branches, what=self.name)
        same(condition, TensorType(type.shape, bool_), what=self.name)
        return type

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return where(node.inputs[0], flow, 0) if position == 1 else where(node.inputs[0], 0, flow)


@builder("isnan")
def isnan(x: Any) -> Node:
    """Return whether x is no number, `x != x`.

    Shape: `(...) -> (...)`.
    """
    return make(IsNan(), floating(x))


@builder("isinf")
def isinf(x: Any) -> Node:
    """Return whether x is infinite, `abs(x) == inf`.

    Shape: `(...) -> (...)`.
    """
    return equal(abs(floating(x)), math.inf)


@builder("isfinite")
def isfinite(x: Any) -> Node:
    """Return whether x is neither infinite nor NaN, `abs(x) < inf`.

    Shape: `(...) -> (...)`.
    """
    return less(abs(floating(x)), math.inf)


@builder("equal")
def equal(x: Any, y: Any) -> Node:
    """Return `x == y`, elementwise."""
    return make(Equal(), *aligned(x, y))


@builder("not_equal")
def not_equal(x: Any, y: Any) -> Node:
    """Return `x != y`, elementwise."""
    return make(NotEqual(), *aligned(x, y))


@builder("less")
def less(x: Any, y: Any) -> Node:
    """Return `x < y`, elementwise."""
    return make(Less(), *aligned(x, y))


@builder("less_equal")
def less_equal(x: Any, y: Any) -> Node:
    """Return `x <= y`, elementwise."""
    return make(LessEqual(), *aligned(x, y))


@builder("greater")
def greater(x: Any, y: Any) -> Node:
    """Return `x > y`, elementwise."""
    return make(Greater(), *aligned(x, y))


@builder("greater_equal")
def greater_equal(x: Any, y: Any) -> Node:
    """Return `x >= y`, elementwise."""
    return make(GreaterEqual(), *aligned(x, y))


@builder("logical_and")
def logical_and(x: Any, y: Any) -> Node:
    """Return whether both are true, `x & y`."""
    return make(LogicalAnd(), *broadcasted(_truth(x), _truth(y)))


@builder("logical_or")
def logical_or(x: Any, y: Any) -> Node:
    """Return whether at least one is true, `x | y`."""
    return make(LogicalOr(), *broadcasted(_truth(x), _truth(y)))


@builder("logical_xor")
def logical_xor(x: Any, y: Any) -> Node:
    """Return whether exactly one is true, `x ^ y`."""
    return make(LogicalXor(), *broadcasted(_truth(x), _truth(y)))


@builder("logical_not")
def logical_not(x: Any) -> Node:
    """Return whether it is false, `~x`.

    Shape: `(...) -> (...)`.
    """
    return make(LogicalNot(), _truth(x))


def _truth(x: Any) -> Node:
    node = as_node(x)
    if node.dtype is not bool_:
        raise DTypeError(f"expected booleans, got {node.type}; compare first, as in x != 0")
    return node


@builder("where")
def where(condition: Any, x: Any, y: Any) -> Node:
    """Return x where the condition is true, else y, elementwise.

    Shape: `(...), (...), (...) -> (...)`, by broadcasting.
    Formula: `condition * x + (1 - condition) * y` of finite numbers.
    """
    return make(Where(), *broadcasted(_truth(condition), *promoted(x, y)))
