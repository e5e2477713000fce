"""Sorting: the positions that sort each row, by a function over whole arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import dims
from graphc.dtypes import int64
from graphc.errors import ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, make
from graphc.graph.op import Op
from graphc.graph.types import TensorType
from graphc.ops.indexing import take_along_axis
from graphc.ops.movement import moveaxis, reshape
from graphc.ops.operands import as_node, cast, normalize_axis


def sort_rows(order: Any, values: Any) -> None:
    """Fill each row of `order` with the positions that sort that row of `values`: stable, NaN last.

    A heap sort on (value, position): the position makes all keys distinct, so the order is that of a stable sort, and
    nothing is allocated. Everything stands in one function because it is compiled alone.
    """
    rows, count = values.shape
    for row in range(rows):
        for k in range(count):
            order[row, k] = k
        build = count // 2
        for turn in range(build + max(count - 1, 0)):
            root = 0
            end = count
            if turn < build:
                root = build - 1 - turn
            else:
                end = count - 1 - (turn - build)
                largest = order[row, 0]
                order[row, 0] = order[row, end]
                order[row, end] = largest
            while 2 * root + 1 < end:
                child = 2 * root + 1
                i = order[row, child]
                a = values[row, i]
                if child + 1 < end:
                    j = order[row, child + 1]
                    b = values[row, j]
                    if a < b or (not b < a and ((b != b and a == a) or ((a != a) == (b != b) and i < j))):
                        child += 1
                        i = j
                        a = b
                j = order[row, root]
                b = values[row, j]
                if not (b < a or (not a < b and ((a != a and b == b) or ((a != a) == (b != b) and j < i)))):
                    break
                order[row, root] = i
                order[row, child] = j
                root = child


@dataclass(frozen=True)
class ArgSort(Op):
    """The positions that sort each row of a matrix: stable, NaN last."""

    name = "argsort"
    is_native = True

    def infer(self, x: TensorType) -> TensorType:
        if x.rank != 2:
            raise ShapeError(f"argsort: expected a matrix, got {x}")
        return TensorType(x.shape, int64)

    def numpy(self, x: Any) -> Any:
        return np.argsort(x, axis=-1, kind="stable")

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None]:
        return (None,)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        (x,) = batched
        assert x is not None
        rows = reshape(x, (x.shape[0] * x.shape[1], x.shape[2]))
        return reshape(make(self, rows), x.shape)

    def lower(self, out: TensorType, x: TensorType) -> bodies.Body:
        return bodies.Native(sort_rows)


@builder("argsort")
def argsort(x: Any, axis: int = -1, descending: bool = False) -> Node:
    """Return the positions that sort x along an axis, as int64: equals keep their order, NaN comes last."""
    node = as_node(x)
    at = normalize_axis(axis, node.ndim)
    if descending:
        node = -node if node.dtype.is_float else -1 - cast(node, int64)
    last = moveaxis(node, at, -1)
    rows = reshape(last, (dims.product(last.shape[:-1]), last.shape[-1]))
    return moveaxis(reshape(make(ArgSort(), rows), last.shape), -1, at)


@builder("sort")
def sort(x: Any, axis: int = -1, descending: bool = False) -> Node:
    """Return x sorted along an axis: NaN last. Its gradient goes where the elements came from."""
    return take_along_axis(x, argsort(x, axis, descending), axis)
