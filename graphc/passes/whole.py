"""A large array is reduced to few numbers in two steps: its rows first, or each of its examples, then what they give.

Legal because only the order of additions and products changes, which rounds otherwise (as a rule less: the error of a sum
grows with its length). Few numbers are few pieces of work, which threads cannot share; rows they can. The rows are those
of the array, so that the result is the same for any number of threads. A sum over a batch of images that keeps their
channels is made for each image first, beside whatever else is made of that image.
"""

from __future__ import annotations

from graphc import dims
from graphc.dims import Dim
from graphc.graph.graph import Graph
from graphc.graph.node import Node, make
from graphc.ops.movement import reshape
from graphc.ops.reduction import Max, Min, Prod, Reduction, Sum
from graphc.passes.rewriting import rewrite

# A row is worth a piece from so many elements on, an array two steps; a size that is a symbol counts as NOMINAL.
ROW, LARGE = 256, 65_536
NOMINAL = 64
# An example is worth a piece from so many elements on that are summed, where up to so many numbers are left.
EXAMPLE, FEW = 16, 1024
# How long the rows are made of an array that has none.
ROWS_OF_VECTORS = range(4096, 511, -1)


def reduce_by_rows(graph: Graph) -> Graph:
    """Return the graph with reductions of all elements of large arrays made by rows."""
    return rewrite(graph, _by_rows)


def _by_rows(node: Node) -> Node:
    if type(node.op) not in (Sum, Prod, Max, Min) or not isinstance(node.op, Reduction):
        return node
    (x,), axes = node.inputs, node.op.axes
    if _about(x.shape) < LARGE:
        return node
    if len(axes) < x.ndim:
        inside = dims.product(x.shape[k] for k in axes[1:])
        is_leading = len(axes) > 1 and axes == tuple(range(len(axes)))
        if is_leading and _about(node.shape) <= FEW and isinstance(inside, int) and inside >= EXAMPLE:
            return make(type(node.op)((0,)), make(type(node.op)(axes[1:]), x))
        return node
    for rank in reversed(range(1, x.ndim)):
        width = dims.product(x.shape[rank:])
        if isinstance(width, int) and width >= ROW:
            return _two_steps(node.op, x, rank)
    length = dims.product(x.shape)
    if isinstance(length, int):
        for width in ROWS_OF_VECTORS:
            if length % width == 0:
                return _two_steps(node.op, reshape(x, (length // width, width)), 1)
    return node


def _two_steps(op: Reduction, x: Node, rank: int) -> Node:
    rows = make(type(op)(tuple(range(rank, x.ndim))), x)
    return make(type(op)(tuple(range(rank))), rows)


def _about(shape: tuple[Dim, ...]) -> int:
    size = dims.product(shape)
    return dims.evaluate(size, dict.fromkeys(dims.symbols(size), NOMINAL))
