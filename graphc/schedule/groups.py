"""Rows that a map walks in groups: where indices divide a row by 2, say, the two rows of a pair are made together.

The gradient of a max pool asks every element for its window. What the elements of a window have in common, which one is the
largest above all, is then made once for all of them, and nothing is divided: each element of a group is a store of its own.
"""

from __future__ import annotations

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr, FloorDiv, Remainder
from graphc.dtypes import int64
from graphc.loops.expr import Apply, Const, Expr, Index, Load, Reduce, Rewriter, apply, const, walk
from graphc.loops.kernels import Map, Store, index_dims_of
from graphc.records import replace

# Stores of a kernel up to which groups pay: each adds to the lines that must be compiled.
MOST = 8
# Elements of a row up to which two rows are made at a time, and parts of what is made of one.
SHORT, PARTS = 512, 96


def in_groups(kernel: Map) -> Map:
    """Return the map with rows that are walked in groups as groups, and their elements as stores."""
    if kernel.ordered is not None:
        return kernel
    for row in kernel.rows:
        size = _group(kernel, row)
        if size is not None and size * len(kernel.stores) <= MOST:
            kernel = _grouped(kernel, row, size)
    return kernel


def _group(kernel: Map, row: Axis) -> int | None:
    """Return by how much all indices divide a row that they divide; None where none does, or it does not come out even."""
    if row == kernel.owner or not isinstance(row.extent, int):
        return None
    divisors: set[Dim] = set()
    for found in (*index_dims_of([s.value for s in kernel.stores]), *(s.offset for s in kernel.stores)):
        for atom in dims.atoms(found):
            if isinstance(atom, FloorDiv | Remainder) and row in dims.axes(atom.left):
                divisors.add(atom.right if atom.left == DimExpr.of(row) else 0)
    size = divisors.pop() if len(divisors) == 1 else 0
    return size if isinstance(size, int) and size > 1 and row.extent % size == 0 else None


def _grouped(kernel: Map, row: Axis, size: int) -> Map:
    group = Axis(row.name, dims.floordiv(row.extent, size))
    stores: list[Store] = []
    for number in range(size):
        at: dict[Atom, Dim] = {row: size * DimExpr.of(group) + number}
        rewriter = Rewriter(at, then=decided)
        for store in kernel.stores:
            stores.append(Store(store.buffer, dims.substitute(store.offset, at), rewriter(store.value)))
    return replace(kernel, rows=tuple(group if a == row else a for a in kernel.rows), stores=tuple(stores))


def in_pairs(maps: tuple[Map, ...]) -> tuple[Map, ...]:
    """Return maps over the same rows, in which something is summed along rows of a known length, two rows at a time.

    Numbers of a vector are put together in steps that wait for each other, and so does what follows in the same row: meanwhile
    the other row goes on. Each row is made as it was.
    """
    rows = maps[0].rows
    summed = [e for one in maps for e in walk(*(s.value for s in one.stores)) if isinstance(e, Reduce)]
    lengths = [dims.product(a.extent for a in e.axes) for e in summed if e.free <= {*rows}]
    is_short = bool(lengths) and all(isinstance(n, int) and n <= SHORT for n in lengths)
    is_fit = all(one.owner is None and one.ordered is None and 2 * len(one.stores) <= MOST for one in maps)
    size = sum(1 for _ in walk(*(s.value for one in maps for s in one.stores)))
    if not is_short or not is_fit or size > PARTS or dims.remainder(rows[-1].extent, 2) != 0:
        return maps
    return tuple(_grouped(one, rows[-1], 2) for one in maps)


def decided(found: Expr) -> Expr:
    """Return an expression without a guard that holds everywhere, and with one choice where two ask the same."""
    match found:
        case Apply(dtype, "ge" | "lt" as function, (Index() | Const() as left, Index() | Const() as right)):
            if left.dtype is not int64:
                return found
            distance = _dim(left) - _dim(right) if function == "ge" else _dim(right) - _dim(left) - 1
            return const(True, dtype) if dims.is_nonnegative(distance) else found
        case Apply(_, "and", (Const(_, True), other) | (other, Const(_, True))):
            return other
        case Apply(_, "select", (Const(_, True), yes, _)):
            return yes
        case Apply(dtype, "select", (guard, Apply(_, "select", (again, yes, _)), no)) if guard is again:
            return apply("select", guard, yes, no, dtype=dtype)
        case Load(dtype, source, index, Const(_, True)):
            return Load.of(dtype, source, index, None)
        case _:
            return found


def _dim(value: Index | Const) -> Dim:
    return value.dim if isinstance(value, Index) else int(value.value)
