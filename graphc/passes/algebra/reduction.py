"""Sums and other reductions over axes. Sums may be added in another order; all else is exact."""

from __future__ import annotations

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.graph.node import Node, call, constant, make
from graphc.graph.op import Op
from graphc.ops.arithmetic import Negative
from graphc.ops.movement import BroadcastTo, PermuteDims, Reshape
from graphc.ops.reduction import All, Any_, Max, Min, Reduction, Sum
from graphc.passes.algebra.matching import Rule, filled


def reduce_nothing(node: Node) -> Node | None:
    """A reduction over no axes, or over axes of size 1, is its operand without those axes."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Reduction)
    if not op.axes:
        return x
    single = [axis for axis in op.axes if x.shape[axis] == 1]
    if not single or (not node.shape and len(single) < len(op.axes)):  # a full one is left to `reduce_moved`
        return None
    rest = tuple(axis - sum(s < axis for s in single) for axis in op.axes if axis not in single)
    less = call("reshape", x, tuple(size for k, size in enumerate(x.shape) if k not in single))
    return make(type(op)(rest), less) if rest else less


def reduce_twice(node: Node) -> Node | None:
    """A sum of a sum is one sum; the same for max, min, all and any."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Reduction)
    if type(x.op) is not type(op):
        return None
    assert isinstance(x.op, Reduction)
    inner = x.op.axes
    left = [k for k in range(x.inputs[0].ndim) if k not in inner]
    return make(type(op)(tuple(sorted((*inner, *(left[axis] for axis in op.axes))))), x.inputs[0])


def reduce_moved(node: Node) -> Node | None:
    """A reduction over all elements does not care where they stand: a transpose or reshape before it goes."""
    (x,), op = node.inputs, node.op
    if node.shape or not isinstance(x.op, PermuteDims | Reshape) or not x.inputs[0].shape:
        return None
    return make(type(op)(tuple(range(x.inputs[0].ndim))), x.inputs[0])  # pyright: ignore[reportCallIssue]


def sum_broadcast(node: Node) -> Node | None:
    """A sum of n repeated elements is n times the element: where n is a known number, and not 0."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Sum)
    stretched = _stretched(node)
    count = dims.product(x.shape[k] for k in stretched)
    # A symbol may be 0, and then 0 * infinity would be NaN where the empty sum is 0.
    if not stretched or not isinstance(count, int) or count == 0 or (node.dtype.kind != "f" and count >= 2**31):
        return None
    return _once(node, stretched) * constant(np.asarray(count, node.dtype.numpy))


def extreme_broadcast(node: Node) -> Node | None:
    """The max, min, all or any of repeated elements is that of the elements: where there is one at least."""
    stretched = _stretched(node)
    count = dims.product(node.inputs[0].shape[k] for k in stretched)
    return _once(node, stretched) if stretched and dims.is_nonnegative(count - 1) else None


def sum_negative(node: Node) -> Node | None:
    """`sum(-x)` is `0 - sum(x)`: exact (-sum(x) would turn the empty sum into -0.0)."""
    (x,), op = node.inputs, node.op
    if not isinstance(x.op, Negative) or not node.dtype.is_float:
        return None
    return filled(0, node) - make(op, x.inputs[0])


def _stretched(node: Node) -> list[int]:
    """Return the axes that a reduction combines and a broadcast before it made."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Reduction)
    if not isinstance(x.op, BroadcastTo):
        return []
    source = x.inputs[0]
    extra = x.ndim - source.ndim
    return [k for k in op.axes if k < extra or (source.shape[k - extra] == 1 and x.shape[k] != 1)]


def _once(node: Node, stretched: list[int]) -> Node:
    """Return the reduction of each repeated element once: without the stretched axes, which are no longer there."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Reduction)
    source = x.inputs[0]
    extra = x.ndim - source.ndim
    kept = tuple(size for k, size in enumerate(source.shape) if k + extra not in stretched)
    shape: tuple[Dim, ...] = tuple(size for k, size in enumerate(x.shape) if k not in stretched)
    rest = tuple(k - sum(s < k for s in stretched) for k in op.axes if k not in stretched)
    repeated = call("broadcast_to", call("reshape", source, kept), shape)
    return make(type(op)(rest), repeated) if rest else repeated


_ALL = (reduce_nothing, reduce_twice, reduce_moved)

RULES: dict[type[Op], tuple[Rule, ...]] = {
    Sum: (*_ALL, sum_negative, sum_broadcast),
    **dict.fromkeys((Max, Min, All, Any_), (*_ALL, extreme_broadcast)),
}
