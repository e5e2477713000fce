"""Blocks of kernel source, and the small texts that lines are made of: names, numbers, element functions."""

from __future__ import annotations

import builtins
import keyword
from dataclasses import dataclass, field

from graphc.dims import Axis
from graphc.dtypes import DType
from graphc.simd.dialect import NAMES

INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "eq": "==", "ne": "!=", "and": "&", "or": "|", "xor": "^",
}  # fmt: skip
# Names without a digit that a kernel's text gives a meaning.
_LOCAL = (
    *(
        "args",
        "thread",
        "threads",
        "a",
        "i",
        "j",
        "row",
        "width",
        "segment",
        "table",
        "blocks",
        "piece",
        "pieces",
        "position",
    ),
    *("panel", "strip", "vector", "band", "first", "last", "part", "begin", "end", "slice", "slices"),
)
_TAKEN = frozenset((*NAMES, *dir(builtins), *keyword.kwlist, *_LOCAL))


@dataclass
class Block:
    """The body of a loop: its lines, what it binds, and the names of values that were written in it."""

    parent: Block | None
    bound: frozenset[Axis]
    depth: int
    vector: Axis | None = None
    mask: str | None = None
    lines: list[str] = field(default_factory=list[str])
    names: dict[object, str] = field(default_factory=dict[object, str])
    axis_names: dict[Axis, str] = field(default_factory=dict[Axis, str])

    def add(self, text: str) -> None:
        """Add a line."""
        self.lines.append("    " * self.depth + text)

    def inner(
        self, *axes: Axis, depth: int = 1, vector: Axis | None = None, mask: str | None = None, **names: str
    ) -> Block:
        """Return a block inside this one that binds these axes too; `close` adds its lines to this one.

        The head of its loop is written then, too: while the block is filled, what it needs is still written before it.
        """
        block = Block(self, self.bound | set(axes), self.depth + depth, vector or self.vector, mask or self.mask)
        block.axis_names = {a: names.get(a.name, a.name) for a in axes}
        return block

    def close(self, block: Block, head: str | None = None) -> None:
        """Take over the lines of an inner block, under the head of its loop or condition; nothing if there are none."""
        if not block.lines:
            return
        if head is not None:
            self.add(head)
        self.lines += block.lines

    def axis(self, axis: Axis) -> str:
        """Return the name of a bound axis."""
        block: Block | None = self
        while block is not None:
            if axis in block.axis_names:
                return block.axis_names[axis]
            block = block.parent
        return axis.name


def symbol_name(symbol: str) -> str:
    """Return what a symbol is called in a kernel: its own name, unless the kernel's text may use that for something else.

    All other names there hold a digit or are in `_TAKEN`, and none ends in an underscore.
    """
    is_free = symbol not in _TAKEN and not symbol.endswith("_") and not any(c.isdigit() for c in symbol)
    return symbol if is_free else f"{symbol}_"


def factor(text: str) -> str:
    """Return the text as a factor of a product."""
    return text if text.isidentifier() or text.isdigit() else f"({text})"


def apply(function: str, args: list[str], dtype: DType) -> str:
    """Return the text of an element function."""
    if function in INFIX:
        return f"{args[0]} {INFIX[function]} {args[1]}"
    match function:
        case "cast":
            return f"{dtype.short}({args[0]})"
        case "negative":
            return f"-{args[0]}"
        case "not":
            return f"logical_not({args[0]})"
        case "isnan":
            return f"{args[0]} != {args[0]}"
        case _:
            return f"{function}({', '.join(args)})"


def identity(combiner: str, dtype: DType) -> bool | int | float:
    """Return what a reduction starts from."""
    match combiner:
        case "add" | "dot" | "multiply":
            number = int(combiner == "multiply")
            return float(number) if dtype.is_float else number
        case "and" | "or":
            return (combiner == "and") if dtype.kind == "b" else (-1 if combiner == "and" else 0)
        case _:
            largest = combiner == "minimum"
            if dtype.is_float:
                return float("inf") if largest else float("-inf")
            if dtype.kind == "b":
                return largest
            bits = dtype.itemsize * 8
            if dtype.kind == "u":
                return (1 << bits) - 1 if largest else 0
            return (1 << (bits - 1)) - 1 if largest else -(1 << (bits - 1))


def literal(value: bool | int | float) -> str:
    """Return a number as source text; the dialect has no names for infinity and NaN."""
    if value != value:
        return "1e999 - 1e999"
    if value in (float("inf"), float("-inf")):
        return "1e999" if value > 0 else "-1e999"
    return repr(value)
