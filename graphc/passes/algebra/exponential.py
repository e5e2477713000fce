"""Exponentials, logarithms, roots and powers: forms that lose no digits for small and large numbers.

They give the true value where the formula as written cancels or overflows in between (so an infinity that was none may
become a number), and NaN for NaN. What involves several nodes that share exp(x), such as softmax and sigmoid written by
hand, is the work of the pass `exponentials`.
"""

from __future__ import annotations

from graphc.graph.node import Node, call
from graphc.graph.op import Op
from graphc.ops.arithmetic import Add, Multiply, Subtract
from graphc.ops.exponential import Exp, Exp2, Expm1, Log, Log1p, Log2, Pow, Sqrt
from graphc.passes.algebra.matching import Rule, filled, is_integer, orders, uniform


def log_exp(node: Node) -> Node | None:
    """`log(exp(x))` is `x`, `log2(exp2(x))` is `x`, `log1p(expm1(x))` is `x`: where exp(x) overflows, too."""
    (x,) = node.inputs
    pairs = ((Log, Exp), (Log2, Exp2), (Log1p, Expm1))
    return x.inputs[0] if (type(node.op), type(x.op)) in pairs else None


def log_one_plus(node: Node) -> Node | None:
    """`log(1 + x)` is `log1p(x)`, `log(1 - x)` is `log1p(-x)`: small x keeps its digits."""
    (x,) = node.inputs
    if isinstance(x.op, Add):
        for this, other in orders(x):
            if uniform(other) == 1:
                return call("log1p", this)
    return call("log1p", -x.inputs[1]) if isinstance(x.op, Subtract) and uniform(x.inputs[0]) == 1 else None


def exp_minus_one(node: Node) -> Node | None:
    """`exp(x) - 1` is `expm1(x)`, `1 - exp(x)` is `-expm1(x)`: small x keeps its digits."""
    x, y = node.inputs
    if isinstance(node.op, Add):
        found = next((a for a, b in orders(node) if isinstance(a.op, Exp) and uniform(b) == -1), None)
        return None if found is None else call("expm1", found.inputs[0])
    if isinstance(x.op, Exp) and uniform(y) == 1:
        return call("expm1", x.inputs[0])
    return -call("expm1", y.inputs[0]) if isinstance(y.op, Exp) and uniform(x) == 1 else None


def sqrt_square(node: Node) -> Node | None:
    """`sqrt(x * x)` is `|x|`: where x * x overflows or underflows, too."""
    (x,) = node.inputs
    return call("abs", x.inputs[0]) if isinstance(x.op, Multiply) and x.inputs[0] is x.inputs[1] else None


def pow_known(node: Node) -> Node | None:
    """`x**0` and `1**x` are 1, `x**1` is `x`, `x**2` is `x * x`, and `x**-1` is `1 / x` for floats: as pow has it, of NaN too."""
    x, y = node.inputs
    exponent = uniform(y)
    if exponent == 0 or uniform(x) == 1:
        return filled(1, node)
    if exponent == 1:
        return x
    if exponent == 2:
        return x * x
    return filled(1, node) / x if exponent == -1 and not is_integer(node) else None


RULES: dict[type[Op], tuple[Rule, ...]] = {
    Log: (log_exp, log_one_plus),
    Log1p: (log_exp,),
    Log2: (log_exp,),
    Add: (exp_minus_one,),
    Subtract: (exp_minus_one,),
    Sqrt: (sqrt_square,),
    Pow: (pow_known,),
}
