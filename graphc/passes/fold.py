"""Constant folding: a node whose operands are constants becomes one.

Legal for every pure op: its `numpy` is its meaning. Only what does not grow is folded; a broadcast scalar costs nothing
as it is, while a folded one would be an array to store and to read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import DimExpr
from graphc.graph.graph import Graph
from graphc.graph.node import Constant, Leaf, Node, constant
from graphc.graph.types import TensorType
from graphc.passes.algebra.matching import uniform
from graphc.passes.rewriting import rewrite
from graphc.records import names_of


def fold(graph: Graph) -> Graph:
    """Return the graph with constant parts computed."""
    return rewrite(graph, _fold)


def _fold(node: Node) -> Node:
    op, type = node.op, node.type
    if isinstance(op, Leaf | Constant) or not op.pure or not isinstance(type, TensorType) or node.requirements:
        return node
    if not all(_is_known(getattr(op, name)) for name in names_of(op)):
        return node
    known = [x.op.value for x in node.inputs if isinstance(x.op, Constant)]
    if (node.inputs and not known) or not isinstance(type.size, int):
        return node
    if type.size > max(1, sum(value.size for value in known)):
        return node
    values = [_value(x) for x in node.inputs]
    if any(value is None for value in values):
        return node
    with np.errstate(all="ignore"):
        try:
            return constant(op.numpy(*values))
        except (IndexError, ValueError):  # an index out of range: the run reports it, at the user's line
            return node


def _is_known(attribute: Any) -> bool:
    """Whether an attribute of an op holds no symbol."""
    match attribute:
        case DimExpr():
            return not dims.symbols(attribute)
        case dims.Axis(_, extent):
            return isinstance(extent, int)
        case tuple():
            return all(map(_is_known, attribute))  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return True


def _value(node: Node) -> Any:
    """Return the array that a node is known to be: a constant, or a repeated number beside one."""
    if isinstance(node.op, Constant):
        return node.op.value
    number = uniform(node)
    if number is None or not isinstance(node.tensor.size, int):
        return None
    shape: Any = node.shape
    return np.broadcast_to(np.asarray(number, node.dtype.numpy), shape)
