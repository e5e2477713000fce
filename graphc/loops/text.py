"""The printed form of kernels, Python-like: `for` lines for the axes, then what is stored where.

    for i0 < batch; lanes i1 < 10:
        a = max(k < 10: x[10 * i0 + k])
        y[10 * i0 + i1] = exp(x[10 * i0 + i1] - a)

A value that is used more than once has a name; everything else stands where it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from graphc import dims
from graphc.dims import Atom, Axis, Dim, Symbol
from graphc.loops.expr import Apply, Check, Const, Expr, Index, Load, Loaded, Reduce, walk
from graphc.loops.kernels import (
    ACCUMULATOR,
    Beside,
    Call,
    Kernel,
    Map,
    Rows,
    Scatter,
    Segments,
    Store,
    Tile,
    expressions,
)

_INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "eq": "==", "ne": "!=", "and": "&", "or": "|", "xor": "^",
}  # fmt: skip


class _Printer:
    def __init__(self, kernel: Kernel, name_of: Callable[[int], str]) -> None:
        self.name_of = name_of
        self.names: dict[Expr, str] = {}
        self.lines: list[str] = []
        roots = expressions(kernel) if isinstance(kernel, Map | Rows | Tile) else []
        self.uses = Counter(child for e in walk(*roots) for child in set(e.operands))

    def value(self, expr: Expr) -> str:
        if expr in self.names:
            return self.names[expr]
        text = self._text(expr)
        if self.uses[expr] > 1 and isinstance(expr, Apply | Reduce | Check):
            self.names[expr] = f"v{len(self.names)}"
            self.lines.append(f"{self.names[expr]} = {text}")
            return self.names[expr]
        return text

    def stores(self, stores: Sequence[Store]) -> None:
        for store in stores:
            value = self.value(store.value)
            self.lines.append(f"{self.name_of(store.buffer)}[{self.dim(store.offset)}] = {value}")

    def _text(self, expr: Expr) -> str:
        match expr:
            case Const(_, value):
                return repr(value)
            case Index(_, dim):
                return self.dim(dim)
            case Load(_, source, at, guard):
                name = source if source == ACCUMULATOR else self.name_of(source)
                place = f"[{', '.join(self.dim(d) for d in at)}]" if at else ""
                return f"{name}{place}" + (f" if {self.value(guard)} else 0" if guard is not None else "")
            case Apply(_, function, args) if function in _INFIX:
                return f"({self.value(args[0])} {_INFIX[function]} {self.value(args[1])})"
            case Apply(dtype, function, args):
                named = dtype.name if function == "cast" else function
                return f"{named}({', '.join(self.value(a) for a in args)})"
            case Check(_, value, size, site, wraps, _):
                low = "" if wraps else "0 <= "
                return f"check({low}{self.value(value)} < {self.dim(size)}, site {site})"
            case Reduce(_, combiner, axes, value):
                return f"{combiner}({', '.join(_range(a) for a in axes)}: {self.value(value)})"
            case _:
                raise AssertionError(expr)

    def dim(self, dim: Dim) -> str:
        return dims.render(dim, self._atom)

    def _atom(self, atom: Atom) -> str:
        match atom:
            case Axis() | Symbol():
                return atom.name
            case Loaded(expr):
                return self.value(expr)
            case _:
                raise AssertionError(atom)


def text(kernel: Kernel, name_of: Callable[[int], str]) -> str:
    """Return the printed form of a kernel; `name_of` names its buffers."""
    printer = _Printer(kernel, name_of)
    match kernel:
        case Map(rows, lane, stores, ordered):
            heads = [f"for {', '.join(_range(a) for a in rows)}"] if rows else []
            heads += [f"lanes {_range(lane)}"] if lane else []
            heads += (
                [f"running {ordered[0]} over {_range(ordered[1])}{' reversed' if ordered[2] else ''}"]
                if ordered
                else []
            )
            head = "; ".join(heads) or "once"
        case Rows(maps):
            for stage in maps[:-1]:
                printer.stores(stage.stores)
                printer.lines.append("then")
            stores = maps[-1].stores
            head = f"for {', '.join(_range(a) for a in kernel.rows)}"
        case Tile(outer, row, lane, reduced, left, right, stores, shape, pack=pack):
            heads = [f"for {', '.join(_range(a) for a in outer)}"] if outer else []
            stack = f"{kernel.stacked[1]} {kernel.stacked[0].name} x " if kernel.stacked is not None else ""
            heads.append(f"tiles of {stack}{shape[0]} rows {_range(row)} x {shape[1]} vectors {_range(lane)}")
            head = "; ".join(heads)
            if pack is not None:
                printer.stores([pack.copy])
            product = f"{printer.value(left)} * {printer.value(right)}"
            counted = " and ".join(f"0 <= {printer.dim(at)} < {printer.dim(extent)}" for at, extent in kernel.inside)
            product += f" if {counted}" if counted else ""
            printer.lines.append(f"{ACCUMULATOR} = add({', '.join(_range(a) for a in reduced)}: {product})")
        case Scatter():
            out, index, updates = (name_of(n) for n in (kernel.out, kernel.index, kernel.updates))
            add = f"{out}[{index}[j], :{kernel.width}] += {updates}[j, :{kernel.width}]"
            return f"scatter into {kernel.size} rows:\n    for j < {kernel.count}: {add}"
        case Segments(form, arrays, lengths):
            sets = [f"{', '.join(name_of(b) for b in one)} of {n}" for one, n in zip(arrays, lengths, strict=True)]
            inner = text(form, lambda b: f"array{-b}" if b < 0 else name_of(b))
            return "\n".join([f"segments {'; '.join(sets)}:", *(f"    {line}" for line in inner.splitlines())])
        case Beside():
            return "\nbeside\n".join(text(part, name_of) for part in kernel.parts)
        case Call(function, arrays):
            return f"call {function}({', '.join(name_of(buffer) for buffer, _, _ in arrays)})"
    printer.stores(stores)
    return "\n".join([f"{head}:", *(f"    {line}" for line in printer.lines)])


def _range(axis: Axis) -> str:
    return f"{axis.name} < {axis.extent}"
