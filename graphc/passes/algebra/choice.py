"""Comparison, logic, choice and extremes. All rules are exact; a comparison with NaN is false, an extreme of NaN is NaN."""

from __future__ import annotations

import math

from graphc.dtypes import bool_
from graphc.graph.node import Node, call
from graphc.graph.op import Op
from graphc.ops.arithmetic import Maximum, Minimum
from graphc.ops.comparison import (
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    LogicalXor,
    NotEqual,
    Where,
)
from graphc.passes.algebra.matching import Rule, filled, is_integer, orders, uniform


def compare_itself(node: Node) -> Node | None:
    """`x < x` is false for every x; `x == x` is true, and `x != x` false, for all but floats (NaN differs from itself)."""
    x, y = node.inputs
    if x is not y:
        return None
    if isinstance(node.op, Less | Greater):
        return filled(False, node)
    return None if x.dtype.is_float else filled(isinstance(node.op, Equal | LessEqual | GreaterEqual), node)


def compare_unsigned(node: Node) -> Node | None:
    """`x < 0` is false and `x >= 0` is true: for unsigned integers."""
    x, y = node.inputs
    if x.dtype.kind != "u" or uniform(y) != 0 or not isinstance(node.op, Less | GreaterEqual):
        return None
    return filled(isinstance(node.op, GreaterEqual), node)


def not_not(node: Node) -> Node | None:
    """`not (not x)` is `x`."""
    (x,) = node.inputs
    return x.inputs[0] if isinstance(x.op, LogicalNot) else None


def not_comparison(node: Node) -> Node | None:
    """`not (x == y)` is `x != y`; `not (x < y)` is `x >= y` for all but floats (with NaN both are false)."""
    (x,) = node.inputs
    opposite = _OPPOSITES.get(type(x.op))
    if opposite is None or (x.inputs[0].dtype.is_float and not isinstance(x.op, Equal | NotEqual)):
        return None
    return call(opposite, *x.inputs)


_OPPOSITES: dict[type[Op], str] = {
    Equal: "not_equal",
    NotEqual: "equal",
    Less: "greater_equal",
    LessEqual: "greater",
    Greater: "less_equal",
    GreaterEqual: "less",
}


def and_or_itself(node: Node) -> Node | None:
    """`x and x` is `x`; `x or x` is `x`."""
    return node.inputs[0] if node.inputs[0] is node.inputs[1] else None


def and_or_known(node: Node) -> Node | None:
    """`x and true` is `x`, `x and false` is false; `x or true` is true, `x or false` is `x`."""
    for this, other in orders(node):
        value = uniform(other)
        if value is not None:
            return other if bool(value) is isinstance(node.op, LogicalOr) else this
    return None


def and_or_opposite(node: Node) -> Node | None:
    """`x and not x` is false; `x or not x` is true."""
    for this, other in orders(node):
        if isinstance(other.op, LogicalNot) and other.inputs[0] is this:
            return filled(isinstance(node.op, LogicalOr), node)
    return None


def and_or_absorbed(node: Node) -> Node | None:
    """`x and (x or y)` is `x`, `x or (x and y)` is `x`; `x and (x and y)` is `x and y`, `x or (x or y)` is `x or y`."""
    for this, other in orders(node):
        if isinstance(other.op, LogicalAnd | LogicalOr) and any(this is part for part in other.inputs):
            return other if type(other.op) is type(node.op) else this
    return None


def xor_known(node: Node) -> Node | None:
    """`x xor x` is false, `x xor false` is `x`, `x xor true` is `not x`."""
    x, y = node.inputs
    if x is y:
        return filled(False, node)
    for this, other in orders(node):
        value = uniform(other)
        if value is not None:
            return call("logical_not", this) if value else this
    return None


def where_same(node: Node) -> Node | None:
    """`where(c, x, x)` is `x`."""
    return node.inputs[1] if node.inputs[1] is node.inputs[2] else None


def where_known(node: Node) -> Node | None:
    """`where(true, x, y)` is `x`; `where(false, x, y)` is `y`."""
    chosen = uniform(node.inputs[0])
    return None if chosen is None else node.inputs[1 if chosen else 2]


def where_not(node: Node) -> Node | None:
    """`where(not c, x, y)` is `where(c, y, x)`."""
    condition, yes, no = node.inputs
    return call("where", condition.inputs[0], no, yes) if isinstance(condition.op, LogicalNot) else None


def where_again(node: Node) -> Node | None:
    """`where(c, where(c, x, y), z)` and `where(c, x, where(c, y, z))` are `where(c, x, z)`."""
    condition, yes, no = node.inputs
    if isinstance(yes.op, Where) and yes.inputs[0] is condition:
        return call("where", condition, yes.inputs[1], no)
    if isinstance(no.op, Where) and no.inputs[0] is condition:
        return call("where", condition, yes, no.inputs[2])
    return None


def where_truth(node: Node) -> Node | None:
    """`where(c, true, false)` is `c`; `where(c, false, true)` is `not c`; of two equal ones it is that."""
    condition, yes, no = node.inputs
    if node.dtype is not bool_ or uniform(yes) is None or uniform(no) is None:
        return None
    if uniform(yes) == uniform(no):
        return yes
    return condition if uniform(yes) else call("logical_not", condition)


def extreme_itself(node: Node) -> Node | None:
    """`maximum(x, x)` and `minimum(x, x)` are `x`."""
    return node.inputs[0] if node.inputs[0] is node.inputs[1] else None


def extreme_twice(node: Node) -> Node | None:
    """`maximum(maximum(x, a), b)` is `maximum(x, maximum(a, b))` for numbers; the same for minimum. So clips join."""
    for this, other in orders(node):
        b = uniform(other)
        if b is None or math.isnan(b) or type(this.op) is not type(node.op):
            continue
        for x, limit in orders(this):
            a = uniform(limit)
            if a is not None and not math.isnan(a):
                further = max(a, b) if isinstance(node.op, Maximum) else min(a, b)
                return call(node.op.name, x, filled(further, node))
    return None


def extreme_ordered(node: Node) -> Node | None:
    """`maximum(minimum(x, b), a)` is `minimum(maximum(x, a), b)` for numbers a <= b: so clips of clips join."""
    for this, other in orders(node):
        low = uniform(other)
        if low is None or not isinstance(this.op, Minimum):
            continue
        for x, limit in orders(this):
            high = uniform(limit)
            if high is not None and low <= high:
                return call("minimum", call("maximum", x, other), limit)
    return None


def extreme_absorbed(node: Node) -> Node | None:
    """`maximum(x, maximum(x, y))` is `maximum(x, y)`, the same for minimum; `maximum(x, minimum(x, y))` is `x` for integers."""
    for this, other in orders(node):
        if not isinstance(other.op, Maximum | Minimum) or not any(this is part for part in other.inputs):
            continue
        if type(other.op) is type(node.op):
            return other
        if is_integer(node):
            return this
    return None


RULES: dict[type[Op], tuple[Rule, ...]] = {
    Equal: (compare_itself,),
    NotEqual: (compare_itself,),
    Less: (compare_itself, compare_unsigned),
    LessEqual: (compare_itself,),
    Greater: (compare_itself,),
    GreaterEqual: (compare_itself, compare_unsigned),
    LogicalNot: (not_not, not_comparison),
    LogicalAnd: (and_or_itself, and_or_known, and_or_opposite, and_or_absorbed),
    LogicalOr: (and_or_itself, and_or_known, and_or_opposite, and_or_absorbed),
    LogicalXor: (xor_known,),
    Where: (where_same, where_known, where_not, where_again, where_truth),
    Maximum: (extreme_itself, extreme_twice, extreme_ordered, extreme_absorbed),
    Minimum: (extreme_itself, extreme_twice, extreme_absorbed),
}
