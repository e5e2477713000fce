"""Arrays made of index expressions: positions, sizes, ranges."""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr, FloorDiv, Maximum, Minimum, Remainder
from graphc.dtypes import as_dtype, default_dtype, int64
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make
from graphc.graph.op import Op
from graphc.graph.types import TensorType, as_dim
from graphc.loops import expr
from graphc.ops.operands import cast


@dataclass(frozen=True)
class Positions(Op):
    """int64 values given by an index expression `value` over the axes i0, i1, ... of `shape`."""

    shape: tuple[Dim, ...]
    value: Dim

    name = "positions"

    def infer(self) -> TensorType:
        return TensorType(self.shape, int64)

    def numpy(self) -> Any:
        shape: Any = self.shape
        grids: Any = np.indices(shape, sparse=True)
        axes: dict[Axis, Any] = {
            Axis(f"i{k}", size): grid for k, (size, grid) in enumerate(zip(self.shape, grids, strict=True))
        }
        return np.broadcast_to(np.asarray(values(self.value, axes), np.int64), shape)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        return node

    def lower(self, out: TensorType) -> bodies.Body:
        return bodies.compute(out, expr.index(self.value))


def values(dim: Dim, axes: Mapping[Axis, Any]) -> Any:
    """Return an index expression's values when its axes run over arrays."""
    if isinstance(dim, int):
        return dim
    result: Any = 0
    for monomial, count in dim.terms:
        term: Any = count
        for atom, power in monomial:
            term = term * _atom(atom, axes) ** power
        result = result + term
    return result


def _atom(atom: Atom, axes: Mapping[Axis, Any]) -> Any:
    if isinstance(atom, Axis):
        return axes[atom]
    left, right = (values(part, axes) for part in atom.parts())
    match atom:
        case FloorDiv():
            return np.floor_divide(left, right)
        case Remainder():
            return np.remainder(left, right)
        case Minimum():
            return np.minimum(left, right)
        case Maximum():
            return np.maximum(left, right)
        case _:
            raise KeyError(str(atom))


@builder("size")
def size(dim: object, dtype: object = None) -> Node:
    """Return a dimension's size as a number (int64 unless said otherwise)."""
    node = make(Positions((), as_dim(dim)))
    return node if dtype is None else cast(node, as_dtype(dtype))


@builder("arange")
def arange(start: object, stop: object = None, step: int = 1, dtype: object = None) -> Node:
    """Return start, start + step, ... below stop (from 0, with one argument), as int64 unless said otherwise."""
    first, last = (0, as_dim(start)) if stop is None else (_bound(start), _bound(stop))
    distance = last - first if step > 0 else first - last
    length = dims.maximum(dims.floordiv(distance + _magnitude(step) - 1, _magnitude(step)), 0)
    value = first + step * DimExpr.of(Axis("i0", length))
    node = make(Positions((length,), value))
    return node if dtype is None else cast(node, as_dtype(dtype))


def _bound(value: object) -> Dim:
    return value if isinstance(value, int) else as_dim(value)


def _magnitude(step: int) -> int:
    return step if step > 0 else -step


@builder("eye")
def eye(rows: object, columns: object = None, dtype: object = None) -> Node:
    """Return ones on the diagonal, zeros elsewhere."""
    height = as_dim(rows)
    width = height if columns is None else as_dim(columns)
    return cast(_compare("equal", height, width, 0), default_dtype() if dtype is None else as_dtype(dtype))


@builder("tril")
def tril(x: Node, k: int = 0) -> Node:
    """Return x with zeros above diagonal k of its last two axes."""
    return _masked("less_equal", x, k)


@builder("triu")
def triu(x: Node, k: int = 0) -> Node:
    """Return x with zeros below diagonal k of its last two axes."""
    return _masked("greater_equal", x, k)


def _masked(relation: str, x: Node, k: int) -> Node:
    return call("where", _compare(relation, x.shape[-2], x.shape[-1], k), x, 0)


def _compare(relation: str, height: Dim, width: Dim, k: int) -> Node:
    """Return column RELATION row + k, for a matrix of this height and width."""
    rows, columns = call("reshape", arange(height), (height, 1)), call("reshape", arange(width), (1, width))
    return call(relation, columns, rows + k)
