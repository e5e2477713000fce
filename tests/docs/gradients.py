"""Formulas of gradients, read from the graphs that the derivative rules build."""

import inspect

import graphc
from graphc.graph.node import Constant, Leaf

_SIGNS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}
# Sign and how tightly it binds.
_INFIX = {name: (sign, 0) for name, sign in _SIGNS.items()}
_INFIX |= {"add": ("+", 1), "subtract": ("-", 1), "multiply": ("*", 2), "divide": ("/", 2)}
_TIGHT = 3
# What is longer says less than the words of the docstring.
LONGEST = 90


def gradient(function):
    """Return what the gradient by each operand of an elementwise function is, in words with g; "" if it is too long.

    g is the gradient by the function's result.
    """
    operands = [
        _operand(one)
        for one in inspect.signature(function).parameters.values()
        if one.name not in ("dtype", "decimals")
    ]
    try:
        result = function(*operands)
    except graphc.DTypeError:
        return "none: it takes no floats."
    if not result.dtype.is_float:
        return "none: the result is true or false."
    wrt = [operand for operand in operands if operand.dtype.is_float]
    found = graphc.grad(result, wrt, cotangent=graphc.input("g", (), "float64"), disconnected="zeros")
    formulas = [formula(one) for one in found]
    if max(map(len, formulas)) > LONGEST:
        return ""
    return f"{', '.join(f'by {x.name} `{text}`' for x, text in zip(wrt, formulas, strict=True))}."


def _operand(parameter):
    return graphc.input(parameter.name, (), "bool" if parameter.name == "condition" else "float64")


def formula(node, around=0):
    """Write a graph of scalars as one expression; `around` is how tightly what stands around it binds."""
    if isinstance(node.op, Leaf):
        return node.op.label
    if isinstance(node.op, Constant):
        value = node.op.value.item()
        return f"{value:g}" if float(f"{value:g}") == value else f"{value:.6f}"
    name, operands = node.op.name, node.inputs
    if name in _INFIX:
        sign, own = _INFIX[name]
        text = f"{formula(operands[0], own)} {sign} {formula(operands[1], own + 1)}"
    elif name == "negative":
        own, text = 1, f"-{formula(operands[0], _TIGHT)}"
    else:
        own, text = _TIGHT, f"{name}({', '.join(formula(one) for one in operands)})"
    return f"({text})" if own < around else text
