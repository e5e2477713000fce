"""Arrays joined along an axis."""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.errors import DTypeError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make, require
from graphc.graph.op import Op
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.ops.movement import expand_dims
from graphc.ops.operands import expand, normalize_axis, promoted
from graphc.ops.slicing import Slice


@dataclass(frozen=True)
class Concat(Op):
    """The operands one after another along an axis."""

    axis: int

    name = "concat"

    def infer(self, *inputs: TensorType) -> TensorType:
        first = inputs[0]
        for other in inputs[1:]:
            if other.dtype is not first.dtype:
                raise DTypeError(f"concat: expected equal dtypes, got {first} and {other}")
            if other.rank != first.rank:
                raise ShapeError(f"concat: expected equal ranks, got {first} and {other}")
            for k, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)):
                if k != self.axis:
                    require(a, "==", b, f"concat of {first} and {other} along axis {self.axis}")
        total = sum((type.shape[self.axis] for type in inputs), start=0)
        return TensorType((*first.shape[: self.axis], total, *first.shape[self.axis + 1 :]), first.dtype)

    def numpy(self, *inputs: Any) -> Any:
        return np.concatenate(inputs, self.axis)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node, ...]:
        shares: list[Node] = []
        offset: Dim = 0
        for operand in node.inputs:
            at = tuple(offset if k == self.axis else 0 for k in range(node.ndim))
            shares.append(make(Slice(at, operand.shape, (1,) * node.ndim), cotangent))
            offset = offset + operand.shape[self.axis]
        return tuple(shares)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node:
        pairs = zip(tangents, node.inputs, strict=True)
        return make(self, *(call("zeros_like", x) if t is None else t for t, x in pairs))

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        size = next(operand.shape[0] for operand in batched if operand is not None)
        pairs = zip(batched, node.inputs, strict=True)
        return make(Concat(self.axis + 1), *(expand(x, (size, *x.shape)) if b is None else b for b, x in pairs))

    def lower(self, out: TensorType, *inputs: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        position = at[self.axis]
        offset: Dim = 0
        parts: list[tuple[Dim, expr.Expr]] = []
        for k, type in enumerate(inputs):
            end = offset + type.shape[self.axis]
            index = (*at[: self.axis], position - offset, *at[self.axis + 1 :])
            parts.append((end, expr.load(k, index, type.dtype, expr.within(position, offset, end))))
            offset = end

        def chosen(first: int, last: int) -> expr.Expr:
            # By halves: a chain of selects as long as the operands are many would be too deep to walk.
            if first == last:
                return parts[first][1]
            middle = (first + last) // 2
            guard = expr.within(position, 0, parts[middle][0])
            left = chosen(first, middle)
            return left if guard is None else expr.select(guard, left, chosen(middle + 1, last))

        return bodies.compute(out, chosen(0, len(parts) - 1))


@builder("concat")
def concat(arrays: Sequence[Any], axis: int = 0) -> Node:
    """Join arrays along an axis that they have."""
    if isinstance(arrays, Node):
        raise ShapeError("concat: expected a list of arrays, as in concat([a, b])")
    if not arrays:
        raise ShapeError("concat: expected at least one array")
    nodes = promoted(*arrays)
    if nodes[0].ndim == 0:
        raise ShapeError("concat: expected arrays of 1 or more dimensions; use graphc.stack")
    return nodes[0] if len(nodes) == 1 else make(Concat(normalize_axis(axis, nodes[0].ndim)), *nodes)


@builder("stack")
def stack(arrays: Sequence[Any], axis: int = 0) -> Node:
    """Join arrays along a new axis."""
    if isinstance(arrays, Node):
        raise ShapeError("stack: expected a list of arrays, as in stack([a, b])")
    if not arrays:
        raise ShapeError("stack: expected at least one array")
    nodes = promoted(*arrays)
    at = normalize_axis(axis, nodes[0].ndim + 1)
    return concat([expand_dims(node, at) for node in nodes], at)
