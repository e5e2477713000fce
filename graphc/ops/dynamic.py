"""Slices whose starts are read from data: reading one, and replacing one. Each is part of the other's derivative.

Source: `jax.lax.{name}`.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.errors import DTypeError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make, require
from graphc.graph.types import TensorType, as_shape, shape_text
from graphc.loops import expr
from graphc.ops.gathering import Indexing
from graphc.ops.indexing import as_indices
from graphc.ops.operands import as_node, demand, expand, promoted
from graphc.records import keyword, record, replace


@record
class Dynamic(Indexing):
    """The family: the last operands are integer starts, one for each axis; the part must lie within the array.

    Of all operands the first `batch` dimensions are shared; each of their positions has starts of its own.
    """

    batch: int = 0
    wraps: bool = keyword(default=False)

    @property
    def label(self) -> str:
        return f"{self.name} (the size counts the places where the part fits)"

    def demand_part(self, whole: TensorType, part: tuple[Dim, ...], starts: tuple[TensorType, ...]) -> None:
        """Check the starts, and that a part of this shape fits into the whole."""
        rank = whole.rank - self.batch
        if not len(starts) == len(part) == rank:
            raise ShapeError(f"{self.name}: expected {rank} starts and sizes for {whole}")
        for start in starts:
            demand(start, "iu", f"{self.name}'s starts")
            if start.rank != self.batch:
                raise ShapeError(f"{self.name}: expected starts without dimensions, got {start}")
            for a, b in zip(start.shape, whole.shape, strict=False):
                require(a, "==", b, f"{self.name} of {whole}")
        for size, extent in zip(part, whole.shape[self.batch :], strict=True):
            require(extent, ">=", size, f"{self.name} of {whole}")

    def regions(self, whole: Any, part: Any, starts: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        """Yield, for each shared position, where the part stands in the whole."""
        for at in np.ndindex(whole.shape[: self.batch]):
            region: list[Any] = list(at)
            for start, extent, size in zip(starts, whole.shape[self.batch :], part[self.batch :], strict=True):
                first = int(self.checked(np.asarray(start[at]), extent - size + 1))
                region.append(slice(first, first + size))
            yield tuple(region)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        size = next(operand.shape[0] for operand in batched if operand is not None)
        pairs = zip(batched, node.inputs, strict=True)
        operands = (expand(x, (size, *x.shape)) if b is None else b for b, x in pairs)
        return make(replace(self, batch=self.batch + 1), *operands)

    def firsts(self, out: TensorType, starts: tuple[TensorType, ...], room: tuple[Dim, ...], operand: int) -> list[Dim]:
        """Return the starts as a kernel reads them: `room` is how many places each may take."""
        at = bodies.output_axes(out)[: self.batch]
        loads = (expr.load(operand + k, at, start.dtype) for k, start in enumerate(starts))
        return [self.position(load, places) for load, places in zip(loads, room, strict=True)]


@record
class DynamicSlice(Dynamic):
    """`sizes` elements from starts that are read from data: operands x, starts."""

    sizes: tuple[Dim, ...] = ()

    name = "dynamic_slice"

    def infer(self, x: TensorType, *starts: TensorType) -> TensorType:
        self.demand_part(x, self.sizes, starts)
        return TensorType((*x.shape[: self.batch], *self.sizes), x.dtype)

    def numpy(self, x: Any, *starts: Any) -> Any:
        sizes: Any = self.sizes
        result = np.empty((*x.shape[: self.batch], *sizes), x.dtype)
        for region in self.regions(x, result.shape, starts):
            result[region[: self.batch]] = x[region]
        return result

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        x, *starts = node.inputs
        share = make(DynamicUpdateSlice(self.batch), call("zeros_like", x), cotangent, *starts)
        return share, *(None for _ in starts)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[0] is None else make(self, tangents[0], *node.inputs[1:])

    def lower(self, out: TensorType, x: TensorType, *starts: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        room = tuple(extent - size + 1 for extent, size in zip(x.shape[self.batch :], self.sizes, strict=True))
        firsts = self.firsts(out, starts, room, 1)
        moved = (first + i for first, i in zip(firsts, at[self.batch :], strict=True))
        return bodies.compute(out, expr.load(0, (*at[: self.batch], *moved), x.dtype))


@record
class DynamicUpdateSlice(Dynamic):
    """x with a part replaced, from starts that are read from data: operands x, the part, starts."""

    name = "dynamic_update_slice"

    def infer(self, x: TensorType, update: TensorType, *starts: TensorType) -> TensorType:
        if update.dtype is not x.dtype:
            raise DTypeError(f"{self.name}: expected equal dtypes, got {x} and {update}")
        if update.rank != x.rank:
            raise ShapeError(f"{self.name}: expected equal ranks, got {x} and {update}")
        for a, b in zip(x.shape[: self.batch], update.shape, strict=False):
            require(a, "==", b, f"{self.name} of {x}")
        self.demand_part(x, update.shape[self.batch :], starts)
        return x

    def numpy(self, x: Any, update: Any, *starts: Any) -> Any:
        result = np.array(x)
        for region in self.regions(x, update.shape, starts):
            result[region] = update[region[: self.batch]]
        return result

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        _, update, *starts = node.inputs
        rest = make(self, cotangent, call("zeros_like", update), *starts)
        part = make(DynamicSlice(self.batch, update.shape[self.batch :]), cotangent, *starts)
        return rest, part, *(None for _ in starts)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        pairs = zip(tangents[:2], node.inputs[:2], strict=True)
        moved = [call("zeros_like", x) if t is None else t for t, x in pairs]
        return make(self, *moved, *node.inputs[2:])

    def lower(self, out: TensorType, x: TensorType, update: TensorType, *starts: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        sizes = update.shape[self.batch :]
        room = tuple(extent - size + 1 for extent, size in zip(x.shape[self.batch :], sizes, strict=True))
        inside: expr.Expr | None = None
        index: list[Dim] = [*at[: self.batch]]
        for first, i, size in zip(self.firsts(out, starts, room, 2), at[self.batch :], sizes, strict=True):
            inside = expr.both(inside, expr.within(i - first, 0, size))
            index.append(i - first)
        value = expr.load(1, tuple(index), update.dtype, inside)
        if inside is not None:
            value = expr.select(inside, value, expr.load(0, at, x.dtype))
        return bodies.compute(out, value)


def _starts(op: Dynamic, starts: Any, shape: tuple[Dim, ...], sizes: tuple[Dim, ...]) -> list[Node]:
    given = list(starts) if isinstance(starts, Sequence | np.ndarray) else [starts]
    if len(given) != len(shape) or len(sizes) != len(shape):
        raise ShapeError(
            f"{op.name}: expected a start and a size for each of {len(shape)} axes, got {len(given)} and {len(sizes)}"
        )
    room = [extent - size + 1 for extent, size in zip(shape, sizes, strict=True)]
    if any(isinstance(places, int) and places < 1 for places in room):
        raise ShapeError(f"{op.name}: a part of shape {shape_text(sizes)} does not fit into {shape_text(shape)}")
    return [as_indices(op, start, places) for start, places in zip(given, room, strict=True)]


@builder("dynamic_slice")
def dynamic_slice(x: Any, starts: Any, sizes: object) -> Node:
    """Return `sizes` elements of x along each axis from `starts`: integers or nodes of integers without dimensions.

    A part that does not lie within x is an IndexError; starts are neither clamped nor counted from the end. With a
    size of x itself only 0 will do as the start.

    Shape: sizes.
    Formula: `x[tuple(slice(at, at + n) for at, n in zip(starts, sizes))]`.
    Gradient: by x `dynamic_update_slice(zeros(x.shape), g, starts)`; the starts are integers.
    """
    node, op = as_node(x), DynamicSlice(sizes=as_shape(sizes))
    return make(op, node, *_starts(op, starts, node.shape, op.sizes))


@builder("dynamic_update_slice")
def dynamic_update_slice(x: Any, update: Any, starts: Any) -> Node:
    """Return x with the elements from `starts` on replaced by `update`, which has as many axes.

    starts: integers or nodes of integers without dimensions. A part that does not lie within x is an IndexError;
    starts are neither clamped nor counted from the end.

    Shape: that of x.
    Formula: x, with x[starts[0] + i, ...] = update[i, ...].
    Gradient: by x `dynamic_update_slice(g, zeros(update.shape), starts)`, by update `dynamic_slice(g, starts,
    update.shape)`.
    """
    node, part = promoted(x, update)
    op = DynamicUpdateSlice()
    return make(op, node, part, *_starts(op, starts, node.shape, part.shape))
