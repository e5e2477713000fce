"""Sums, differences, products and quotients.

Floats keep NaN, infinities and the sign of zeros, so x - x, x * 0 and x + 0.0 stay (-0.0 + 0.0 is 0.0). Products of two
factors may differ in the last bit. Integers wrap around, so their algebra is exact.
"""

from __future__ import annotations

from typing import Any

from graphc.graph.node import Node, call
from graphc.graph.op import Op
from graphc.ops.activation import Relu, Sigmoid
from graphc.ops.arithmetic import Abs, Add, Divide, FloorDivide, Multiply, Negative, Remainder, Subtract
from graphc.ops.exponential import Exp
from graphc.passes.algebra.matching import (
    Rule,
    filled,
    is_integer,
    is_negative_zero,
    orders,
    reciprocal,
    scales_joined,
    uniform,
)


def add_zero(node: Node) -> Node | None:
    """`x + 0` is `x`: for integers, for -0.0, and for 0.0 where x is never -0.0 (an exponential, a size, a square)."""
    for x, other in orders(node):
        value = uniform(other)
        if value == 0 and (is_integer(node) or is_negative_zero(value) or is_unsigned(x)):
            return x
    return None


def add_negative(node: Node) -> Node | None:
    """`x + (-y)` is `x - y`: exact."""
    for x, other in orders(node):
        if isinstance(other.op, Negative):
            return x - other.inputs[0]
    return None


def subtract_zero(node: Node) -> Node | None:
    """`x - 0` is `x`: for integers and for 0.0."""
    x, y = node.inputs
    value = uniform(y)
    return x if value == 0 and not is_negative_zero(value) else None


def subtract_from_zero(node: Node) -> Node | None:
    """`0 - x` is `-x`: for integers and for -0.0; 0.0 - 0.0 is 0.0, which -0.0 is not."""
    x, y = node.inputs
    value = uniform(x)
    exact = node.dtype.kind == "i" or is_negative_zero(value)
    return -y if value == 0 and exact else None


def subtract_negative(node: Node) -> Node | None:
    """`x - (-y)` is `x + y`: exact."""
    x, y = node.inputs
    return x + y.inputs[0] if isinstance(y.op, Negative) else None


def subtract_itself(node: Node) -> Node | None:
    """`x - x` is `0`: for integers only; of NaN and infinities it is NaN."""
    x, y = node.inputs
    return filled(0, node) if x is y and is_integer(node) else None


def negative_negative(node: Node) -> Node | None:
    """`-(-x)` is `x`: exact."""
    (x,) = node.inputs
    return x.inputs[0] if isinstance(x.op, Negative) else None


def negative_difference(node: Node) -> Node | None:
    """`-(x - y)` is `y - x`: for integers only; floats that are equal would give 0.0 for -0.0."""
    (x,) = node.inputs
    return x.inputs[1] - x.inputs[0] if isinstance(x.op, Subtract) and is_integer(node) else None


def negative_scaled(node: Node) -> Node | None:
    """`-(x * c)` is `x * -c`, and `-(x / c)` is `x / -c`, for a number c: exact."""
    (x,) = node.inputs
    if not isinstance(x.op, Multiply | Divide) or not node.dtype.is_float:
        return None
    left, right = x.inputs
    if (c := uniform(right)) is not None:
        return call(x.op.name, left, filled(-c, node))
    return filled(-c, node) * right if isinstance(x.op, Multiply) and (c := uniform(left)) is not None else None


def multiply_one(node: Node) -> Node | None:
    """`x * 1` is `x`, and `x * -1` is `-x`: exact."""
    for x, other in orders(node):
        factor = uniform(other)
        if factor == 1:
            return x
        if factor == -1 and node.dtype.kind in "fi":
            return -x
    return None


def multiply_zero(node: Node) -> Node | None:
    """`x * 0` is `0`: for integers only; for NaN and infinities it is NaN."""
    return filled(0, node) if is_integer(node) and any(uniform(x) == 0 for x in node.inputs) else None


def multiply_negatives(node: Node) -> Node | None:
    """`(-x) * (-y)` is `x * y`, and `(-x) * c` is `x * -c` for a number c: exact."""
    x, y = node.inputs
    if isinstance(x.op, Negative) and isinstance(y.op, Negative):
        return x.inputs[0] * y.inputs[0]
    for this, other in orders(node):
        if isinstance(other.op, Negative) and (factor := uniform(this)) is not None and node.dtype.is_float:
            return other.inputs[0] * filled(-factor, node)
    return None


def multiply_twice(node: Node) -> Node | None:
    """`(x * a) * b` is `x * (a * b)` for numbers: where no product in between over- or underflows; for integers always."""
    for this, other in orders(node):
        b = uniform(other)
        if b is None or not isinstance(this.op, Multiply):
            continue
        for x, factor in orders(this):
            a = uniform(factor)
            if a is None:
                continue
            if is_integer(node):
                return x * (factor * other)
            product = scales_joined(a, b, node)
            return None if product is None else x * filled(product, node)
    return None


def add_twice(node: Node) -> Node | None:
    """`(x + a) + b` is `x + (a + b)` for numbers: for integers only; in floats a large a would swallow x."""
    if not is_integer(node):
        return None
    for this, b in orders(node):
        if uniform(b) is not None and isinstance(this.op, Add):
            for x, a in orders(this):
                if uniform(a) is not None:
                    return x + (a + b)
    return None


def divide_one(node: Node) -> Node | None:
    """`x / 1` is `x`, and `x / -1` is `-x`: exact."""
    x, y = node.inputs
    divisor = uniform(y)
    return x if divisor == 1 else -x if divisor == -1 else None


def divide_power_of_two(node: Node) -> Node | None:
    """`x / c` is `x * (1 / c)`: where c is a power of two; any other reciprocal is rounded."""
    x, y = node.inputs
    inverse = reciprocal(y)
    return None if inverse is None else x * filled(inverse, node)


def divide_twice(node: Node) -> Node | None:
    """`(x / a) / b` is `x / (a * b)` for numbers: where no quotient in between over- or underflows."""
    x, y = node.inputs
    if not isinstance(x.op, Divide) or (b := uniform(y)) is None or (a := uniform(x.inputs[1])) is None:
        return None
    product = scales_joined(a, b, node)
    return None if product is None else x.inputs[0] / filled(product, node)


def divide_negatives(node: Node) -> Node | None:
    """`(-x) / (-y)` is `x / y`, and `(-x) / c` is `x / -c` for a number c: exact."""
    x, y = node.inputs
    if not isinstance(x.op, Negative):
        return None
    if isinstance(y.op, Negative):
        return x.inputs[0] / y.inputs[0]
    divisor = uniform(y)
    return None if divisor is None else x.inputs[0] / filled(-divisor, node)


def whole_division(node: Node) -> Node | None:
    """`x // 1` is `x`, and `x % 1` is `0`: for integers."""
    x, y = node.inputs
    if not is_integer(node) or uniform(y) != 1:
        return None
    return x if isinstance(node.op, FloorDivide) else filled(0, node)


def abs_again(node: Node) -> Node | None:
    """`|x|` is `x` where x is a size, a square or an exponential; `|-x|` is `|x|`: exact."""
    (x,) = node.inputs
    if isinstance(x.op, Abs) or node.dtype.kind == "u" or (node.dtype.is_float and is_unsigned(x)):
        return x
    return call("abs", x.inputs[0]) if isinstance(x.op, Negative) else None


def relu_again(node: Node) -> Node | None:
    """`relu(x)` is `x` where x is a relu, a size, a square or an exponential: exact."""
    (x,) = node.inputs
    if isinstance(x.op, Relu) or node.dtype.kind == "u":
        return x
    return x if node.dtype.is_float and is_unsigned(x) else None


def square_of_size(node: Node) -> Node | None:
    """`|x| * |x|` is `x * x`: exact."""
    x, y = node.inputs
    return x.inputs[0] * x.inputs[0] if x is y and isinstance(x.op, Abs) else None


def is_unsigned(x: Node) -> bool:
    """Whether a float's sign bit is never set, but for NaN."""
    if isinstance(x.op, Multiply):
        return x.inputs[0] is x.inputs[1]
    value: Any = uniform(x)
    return isinstance(x.op, Abs | Exp | Sigmoid) or (value is not None and value >= 0 and not is_negative_zero(value))


RULES: dict[type[Op], tuple[Rule, ...]] = {
    Add: (add_zero, add_negative, add_twice),
    Subtract: (subtract_zero, subtract_from_zero, subtract_negative, subtract_itself),
    Negative: (negative_negative, negative_difference, negative_scaled),
    Multiply: (multiply_one, multiply_zero, multiply_negatives, multiply_twice, square_of_size),
    Divide: (divide_one, divide_power_of_two, divide_twice, divide_negatives),
    FloorDivide: (whole_division,),
    Remainder: (whole_division,),
    Abs: (abs_again,),
    Relu: (relu_again,),
}
