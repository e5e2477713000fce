"""Reading dims from their printed form: what plans in the cache are made of."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable
from functools import lru_cache

from graphc.dims import Dim, floordiv, maximum, minimum, remainder, symbol

_KEYWORD = "_keyword_"  # stands before symbols called like Python's keywords, which its parser takes for no names
_OPERATORS: dict[type[ast.operator], Callable[[Dim, Dim], Dim]] = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: floordiv, ast.Mod: remainder,
}  # fmt: skip


@lru_cache(maxsize=65536)
def parse(text: str) -> Dim:
    """Return the dim that `str` wrote: symbols, integers, + - * // % min max."""

    def read(node: ast.expr) -> Dim:
        match node:
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name):
                return symbol(name.removeprefix(_KEYWORD))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return 0 - read(operand)
            case ast.Call(func=ast.Name(id="min" | "max" as which), args=[left, right]):
                return (minimum if which == "min" else maximum)(read(left), read(right))
            case ast.BinOp(left=left, op=operator, right=right):
                return _OPERATORS[type(operator)](read(left), read(right))
            case _:
                raise ValueError(f"not a dimension: {text!r}")

    text = re.sub(r"[^\W\d]\w*", lambda word: _KEYWORD * keyword.iskeyword(word[0]) + word[0], text)
    return read(ast.parse(text, mode="eval").body)
