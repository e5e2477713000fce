"""Arrays made of index expressions: positions, sizes, ranges.

Source: `numpy.{name}`.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr, FloorDiv, Maximum, Minimum, Remainder
from graphc.dtypes import as_dtype, float64, int64
from graphc.errors import ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make
from graphc.graph.op import Op
from graphc.graph.types import TensorType, as_dim
from graphc.loops import expr
from graphc.ops.operands import as_node, as_optional_dtype, cast, whole
from graphc.records import record


@record
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
    """Return a dimension's size as a number (int64 unless said otherwise).

    Shape: ().
    Formula: the number that dim stands for.
    Gradient: none: an integer that no derivative passes.
    Source: `torch.Tensor.size`.
    """
    node = make(Positions((), as_dim(dim)))
    return node if dtype is None else cast(node, as_dtype(dtype))


@builder("arange")
def arange(start: object, stop: object = None, step: int | float = 1, dtype: object = None) -> Node:
    """Return start, start + step, ... below stop (from 0, with one argument).

    dtype: int64; with Python floats, whose values are computed in float64 and then rounded, the default floating one.

    Shape: (max(ceil((stop - start) / step), 0),).
    Formula: `start + step * indices(out.shape)[0]`.
    Gradient: none: a constant.
    """
    if step == 0:
        raise ShapeError("arange: expected a step other than 0")
    if any(isinstance(value, float) for value in (start, stop, step)):
        return _floats(*((0.0, start) if stop is None else (start, stop)), step, dtype)
    step = whole(step, "a step")
    first, last = (0, as_dim(start)) if stop is None else (_bound(start), _bound(stop))
    distance = last - first if step > 0 else first - last
    length = dims.maximum(dims.floordiv(distance + _magnitude(step) - 1, _magnitude(step)), 0)
    value = first + step * DimExpr.of(Axis("i0", length))
    node = make(Positions((length,), value))
    return node if dtype is None else cast(node, as_dtype(dtype))


def _floats(start: Any, stop: Any, step: float, dtype: object) -> Node:
    if not all(isinstance(value, int | float) for value in (start, stop, step)):
        raise ShapeError(
            f"arange: expected numbers with a step of {step}, got {start} and {stop}; use arange(n) * step"
        )
    length = max(math.ceil((stop - start) / step), 0)
    positions = cast(make(Positions((length,), DimExpr.of(Axis("i0", length)))), float64)
    return cast(positions * float(step) + float(start), as_optional_dtype(dtype))


@builder("linspace")
def linspace(start: Any, stop: Any, num: object, endpoint: bool = True, dtype: object = None) -> Node:
    """Return `num` numbers from start to stop at equal distances, with stop itself unless `endpoint` is false.

    start, stop: numbers, or nodes without dimensions. dtype: the default floating one unless given. Values are computed
    in float64 and then rounded: for integers down, as in NumPy.

    Shape: (num,).
    Formula: `start + (stop - start) * arange(num) / (num - 1)`, or / num without the endpoint.
    Gradient: by start `sum(g * (1 - arange(num) / (num - 1)))`, by stop `sum(g * arange(num) / (num - 1))`.
    """
    first, last = (cast(as_node(value, float64), float64) for value in (start, stop))
    if first.ndim or last.ndim:
        raise ShapeError(f"linspace: expected numbers, got {first.type} and {last.type}")
    count = as_dim(num)
    places = arange(count, dtype=float64)
    gaps = call("maximum", size(count - 1 if endpoint else count, float64), 1.0)
    values = places / gaps * (last - first) + first
    if endpoint:  # the last is stop itself, whatever rounding does
        values = call("where", places == gaps, last, values)
    wanted = as_optional_dtype(dtype)
    return cast(values if wanted.is_float else call("floor", values), wanted)


def _bound(value: object) -> Dim:
    return value if isinstance(value, int) else as_dim(value)


def _magnitude(step: int) -> int:
    return step if step > 0 else -step


@builder("eye")
def eye(n_rows: object, n_cols: object = None, k: int = 0, dtype: object = None) -> Node:
    """Return ones on diagonal k, counted upwards from the main one, and zeros elsewhere.

    Shape: (n_rows, n_cols).
    Formula: `arange(n_cols) == arange(n_rows)[:, None] + k`.
    Gradient: none: a constant.
    """
    height = as_dim(n_rows)
    width = height if n_cols is None else as_dim(n_cols)
    return cast(_compare("equal", height, width, k), as_optional_dtype(dtype))


@builder("diagonal")
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Node:
    """Return the diagonal of two axes as a new last axis: x[i, i + offset], as numpy.diagonal.

    Shape: x's other axes, then one of min(rows - max(-offset, 0), columns - max(offset, 0)).
    Formula: `x[tuple(indices((len(out),))) * 2]` of a matrix with offset 0.
    Gradient: by x, g on that diagonal and 0 elsewhere.
    """
    node = as_node(x)
    if node.ndim < 2:
        raise ShapeError(f"diagonal: expected 2 or more dimensions, got {node.type}")
    offset = whole(offset, "an offset")
    matrices = call("moveaxis", node, (axis1, axis2), (-2, -1))
    *batch, height, width = matrices.shape
    if not isinstance(width, int) or not isinstance(height, int):
        down, right = (0, offset) if offset >= 0 else (-offset, 0)
        places = arange(dims.maximum(dims.minimum(height - down, width - right), 0))
        return matrices[..., places + down, places + right]
    length = max(min(height, width - offset) if offset >= 0 else min(height + offset, width), 0)
    first = (offset if offset >= 0 else -offset * width) if length else 0
    # Row-major, the diagonal is one slice: its adjoint is a padding between elements.
    flat = call("reshape", matrices, (*batch, height * width))
    start, step = (*(0 for _ in batch), first), (*(1 for _ in batch), width + 1)
    return call("slice", flat, start, (*batch, length), step)


@builder("tril")
def tril(x: Any, k: int = 0) -> Node:
    """Return x with zeros above diagonal k of its last two axes.

    Shape: `(..., n, m) -> (..., n, m)`.
    Formula: `where(arange(x.shape[-1]) <= arange(x.shape[-2])[:, None] + k, x, 0)`.
    Gradient: by x `tril(g, k)`.
    """
    return _masked("less_equal", x, k)


@builder("triu")
def triu(x: Any, k: int = 0) -> Node:
    """Return x with zeros below diagonal k of its last two axes.

    Shape: `(..., n, m) -> (..., n, m)`.
    Formula: `where(arange(x.shape[-1]) >= arange(x.shape[-2])[:, None] + k, x, 0)`.
    Gradient: by x `triu(g, k)`.
    """
    return _masked("greater_equal", x, k)


def _masked(relation: str, x: Any, k: int) -> Node:
    x = as_node(x)
    if x.ndim < 2:
        raise ShapeError(f"a triangle: expected 2 or more dimensions, got {x.type}")
    return call("where", _compare(relation, x.shape[-2], x.shape[-1], k), x, 0)


def _compare(relation: str, height: Dim, width: Dim, k: int) -> Node:
    """Return column RELATION row + k, for a matrix of this height and width."""
    rows, columns = call("reshape", arange(height), (height, 1)), call("reshape", arange(width), (1, width))
    return call(relation, columns, rows + whole(k, "a diagonal's number"))
