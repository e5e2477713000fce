"""A large array is reduced to one number in two steps: its rows first, then what they give.

Legal because only the order of additions and products changes, which rounds otherwise (as a rule less: the error of a sum
grows with its length). One number is one piece of work, which threads cannot share; rows they can. The rows are those
of the array, so that the result is the same for any number of threads.
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
# How long the rows are made of an array that has none.
ROWS_OF_VECTORS = range(4096, 511, -1)


def reduce_by_rows(graph: Graph) -> Graph:
    """Return the graph with reductions of all elements of large arrays made by rows."""
    return rewrite(graph, _by_rows)


def _by_rows(node: Node) -> Node:
    if type(node.op) not in (Sum, Prod, Max, Min) or not isinstance(node.op, Reduction):
        return node
    (x,) = node.inputs
    if len(node.op.axes) < x.ndim or _about(x.shape) < LARGE:
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
