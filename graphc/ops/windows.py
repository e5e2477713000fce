"""Windows over axes of space, and their adjoint: what pooling, resampling and unfold read, and how its gradient returns.

Along one axis, element k of window i is element (i * step + offset) // divisor + k * dilation of the operand; elements
outside of it are 0. Steps need not be whole: windows of one element whose step is 1 / 2 repeat each element twice.

Source: `torch.nn.functional.{name}`, channels last, the axes of a window kept apart.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.dtypes import bool_
from graphc.errors import ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, make, require
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.movement import Movement
from graphc.ops.operands import as_node, demand
from graphc.ops.spatial import Margins, each, image, margins, places, reaches
from graphc.records import record


class Window(NamedTuple):
    """The windows along one axis: how many, of how many elements, and where they lie."""

    places: Dim
    size: Dim
    step: Dim = 1
    offset: Dim = 0
    divisor: Dim = 1
    dilation: int = 1

    def at(self, place: Dim, element: Dim) -> Dim:
        """Return where an element of a window lies."""
        return dims.floordiv(place * self.step + self.offset, self.divisor) + element * self.dilation

    def indices(self, extent: int) -> tuple[Any, Any]:
        """Return the indices (count, size) into an axis of this extent when all is known, and which of them exist."""
        numbers: Any = self
        count, size, step, offset, divisor, dilation = numbers
        rows: Any = np.arange(count)[:, None] * step + offset
        columns: Any = np.arange(size)[None, :] * dilation
        found = rows // divisor + columns
        return found, (found >= 0) & (found < extent)

    def covering(self, position: DimExpr, name: str) -> tuple[list[Axis], Dim, Dim, Expr | None]:
        """Return how to walk the windows that cover a position: axes to sum over, the place, the element, and a guard."""
        count, size, step, offset, divisor, dilation = self
        distance = position - offset
        if divisor != 1:
            # Windows that start at one element follow one another: at most ceil(divisor / step) of them.
            element, axes = _walked(name + "e", size)
            later, more = _walked(name + "p", _ceildiv(divisor, step))
            start = _ceildiv(divisor * (position - dilation * element) - offset, step)
            place = start + later
            guard = _equal(self.at(place, element), position)
            return axes + more, place, element, expr.both(guard, expr.within(place, 0, count))
        # Of a window's elements only every apart-th can lie here: fewer windows than elements are read.
        apart, inverse, shared = step, 1, 1
        if dilation != 1:
            if not isinstance(step, int):
                raise ShapeError(f"windows: expected a known stride beside a dilation of {dilation}, got {step}")
            shared = math.gcd(dilation, step)
            apart = step // shared
            inverse = pow(dilation // shared, -1, apart)
        past = dims.remainder(distance, step)
        turn, axes = _walked(name + "e", _ceildiv(size, apart))
        element = dims.remainder(dims.floordiv(past, shared) * inverse, apart) + apart * turn
        place = dims.floordiv(distance, step) + dims.floordiv(past - element * dilation, step)
        guard = _equal(dims.remainder(past, shared), 0)
        guard = expr.both(guard, expr.within(element, 0, size))
        return axes, place, element, expr.both(guard, expr.within(place, 0, count))


@record
class _Windowed(Movement):
    """What both directions share: the windows along the axes from `first` on."""

    first: int
    windows: tuple[Window, ...]

    @property
    def extents(self) -> tuple[Dim, ...]:
        """The dimensions that the axes become: places, then elements."""
        return (*(w.places for w in self.windows), *(w.size for w in self.windows))

    def demand_windows(self, x: TensorType) -> None:
        """Raise, or require, that there are windows and that they have elements."""
        demand(x, "fiub" if isinstance(self, Unfold) else "fiu", self.name)
        for number in (*self.extents, *(w.step for w in self.windows)):
            require(number, ">=", 1, f"windows over {x}")


@record
class Unfold(_Windowed):
    """Windows over axes `first`, ...: x (*before, *space, *after) -> (*before, *places, *elements, *after)."""

    name = "unfold"

    def infer(self, x: TensorType) -> TensorType:
        self.demand_windows(x)
        last = self.first + len(self.windows)
        return TensorType((*x.shape[: self.first], *self.extents, *x.shape[last:]), x.dtype)

    def numpy(self, x: Any) -> Any:
        rank = len(self.windows)
        for k, window in enumerate(self.windows):
            axis = self.first + 2 * k
            found, exist = window.indices(x.shape[axis])
            after = (1,) * (x.ndim - axis - 1)
            padded = x if x.shape[axis] else np.zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
            read = np.take(padded, np.where(exist, found, 0), axis)
            x = np.where(exist.reshape(*exist.shape, *after), read, np.zeros((), x.dtype))
        order = [self.first + 2 * k + part for part in (0, 1) for k in range(rank)]
        return np.transpose(x, (*range(self.first), *order, *range(self.first + 2 * rank, x.ndim)))

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        x = node.inputs[0]
        return (make(Fold(self.first, self.windows, x.shape[self.first :][: len(self.windows)]), cotangent),)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        return make(Unfold(self.first + 1, self.windows), batched[0])

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        before, at, elements, after = _split(bodies.output_axes(out), self.first, len(self.windows))
        guard: Expr | None = None
        index: list[Dim] = []
        for k, window in enumerate(self.windows):
            # There is one place only where a pool is global: without the axis it is seen to read everything in order.
            found = window.at(0 if window.places == 1 else at[k], elements[k])
            guard = expr.both(guard, expr.within(found, 0, x.shape[self.first + k]))
            index.append(found)
        return bodies.compute(out, expr.load(0, (*before, *index, *after), x.dtype, guard))


@record
class Fold(_Windowed):
    """Windows added up where they lie, in axes of these `space` sizes: the adjoint of `Unfold`."""

    space: tuple[Dim, ...]

    name = "fold"

    def infer(self, x: TensorType) -> TensorType:
        self.demand_windows(x)
        for given, extent in zip(x.shape[self.first :], self.extents, strict=False):
            require(given, "==", extent, f"fold of {x}")
        return TensorType((*x.shape[: self.first], *self.space, *x.shape[self.first + len(self.extents) :]), x.dtype)

    def numpy(self, x: Any) -> Any:
        space: Any = self.space
        rank = len(space)
        result = np.zeros((*x.shape[: self.first], *space, *x.shape[self.first + 2 * rank :]), x.dtype)
        found = [window.indices(size) for window, size in zip(self.windows, space, strict=True)]
        sizes: Any = [window.size for window in self.windows]
        lead = (slice(None),) * self.first
        for element in np.ndindex(*sizes):
            used = [np.nonzero(exist[:, e])[0] for (_, exist), e in zip(found, element, strict=True)]
            to = [index[rows, e] for (index, _), rows, e in zip(found, used, element, strict=True)]
            where: Any = (*lead, *np.ix_(*to))
            part = x[(*lead, *np.ix_(*used))][(*lead, *(slice(None),) * rank, *element)]
            np.add.at(result, where, part)
        return result

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        return (make(Unfold(self.first, self.windows), cotangent),)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        return make(Fold(self.first + 1, self.windows, self.space), batched[0])

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        rank = len(self.windows)
        axes: list[Axis] = []
        found: list[Dim] = []
        elements: list[Dim] = []
        guard: Expr | None = None
        for k, window in enumerate(self.windows):
            walked, place, element, covers = window.covering(at[self.first + k], f"k{k}")
            axes += walked
            found.append(place)
            elements.append(element)
            guard = expr.both(guard, covers)
        index = (*at[: self.first], *found, *elements, *at[self.first + rank :])
        value = expr.load(0, index, x.dtype, guard)
        return bodies.compute(out, expr.reduce("add", tuple(axes), value) if axes else value)


def _split(at: Sequence[DimExpr], first: int, rank: int) -> Iterator[Sequence[DimExpr]]:
    ends = (0, first, first + rank, first + 2 * rank, len(at))
    return (at[a:b] for a, b in pairwise(ends))


def _walked(name: str, extent: Dim) -> tuple[Dim, list[Axis]]:
    """Return an index over an extent and the axis that it needs: none where there is one element."""
    if extent == 1:
        return 0, []
    axis = Axis(name, extent)
    return DimExpr.of(axis), [axis]


def _ceildiv(left: Dim, right: Dim) -> Dim:
    return 1 if left == right else dims.floordiv(left + right - 1, right)


def _equal(left: Dim, right: Dim) -> Expr | None:
    if left == right:
        return None
    return expr.apply("eq", expr.index(left), expr.index(right), dtype=bool_)


@builder("unfold")
def unfold(x: Any, kernel_size: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Node:
    """Return the windows of images (N, H, W, C), or of sequences (N, L, C): shape (N, H', W', KH, KW, C).

    kernel_size, stride, dilation: a number, or one for each axis of space. padding: as `conv2d`; what is beyond x is 0.
    A convolution is a matrix product of these windows, reshaped to (N * H' * W', KH * KW * C), with its kernel.

    Shape: `(n, h, w, c) -> (n, h', w', kh, kw, c)`, of images.
    Formula: out[:, i, j] = x[:, i * stride : ..., j * stride : ...], steps of `dilation`, kernel_size of them.
    Gradient: by x `fold(g, x.shape[1:-1], stride=stride, padding=padding, dilation=dilation)`.
    """
    rank = max(as_node(x).ndim - 2, 1)
    node = image(x, rank, "unfold")
    windows, _ = windows_of(node.tensor, kernel_size, stride, padding, dilation, "unfold")
    return make(Unfold(1, windows), node)


@builder("fold")
def fold(x: Any, output_size: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Node:
    """Return images (N, H, W, C) of which windows (N, H', W', KH, KW, C) are added up: the adjoint of `unfold`.

    output_size: H and W; the other arguments as `unfold`, whose places they must give.

    Shape: `(n, h', w', kh, kw, c) -> (n, h, w, c)`, of images.
    Formula: the sum of all windows, each at its place.
    Gradient: by x `unfold(g, x.shape[3:5], stride=stride, padding=padding, dilation=dilation)`, of images.
    """
    node = as_node(x)
    rank = (node.ndim - 2) // 2
    if node.ndim not in (4, 6):
        raise ShapeError(f"fold: expected windows (N, H', W', KH, KW, C) or (N, L', K, C), got {node.type}")
    space = each(output_size, rank, "fold's output_size")
    whole = TensorType((node.shape[0], *space, node.shape[-1]), node.dtype)
    windows, _ = windows_of(whole, node.shape[1 + rank : -1], stride, padding, dilation, "fold")
    for k, window in enumerate(windows):
        if isinstance(node.shape[1 + k] - window.places, int) and node.shape[1 + k] != window.places:
            raise ShapeError(
                f"fold: expected {window.places} windows along axis {1 + k} to cover {space[k]} elements, got {node.type}"
            )
    return make(Fold(1, windows, space), node)


def windows_of(
    type: TensorType, kernel_size: Any, stride: Any, padding: Any, dilation: Any, name: str, ceil_mode: bool = False
) -> tuple[tuple[Window, ...], Margins]:
    """Return the windows over the axes of space of (N, *space, C) that a user's arguments ask for, and the padding."""
    rank = type.rank - 2
    known = isinstance(kernel_size, tuple) and any(isinstance(size, DimExpr) for size in kernel_size)
    sizes: Any = kernel_size if known else each(kernel_size, rank, f"{name}'s kernel_size")
    strides = each(sizes if stride is None else stride, rank, f"{name}'s stride")
    dilations = each(dilation, rank, f"{name}'s dilation")
    around = margins(padding, type.shape[1:-1], reaches(sizes, dilations), strides, name)
    counts = places(type, around, sizes, dilations, strides, name, ceil_mode)
    parts = zip(counts, sizes, strides, around, dilations, strict=True)
    return tuple(Window(n, size, step, 0 - before, 1, apart) for n, size, step, (before, _), apart in parts), around
