"""Algebra of movement and sums: transpose of transpose, slice of pad, sum of broadcast, and so on.

Each rule takes a node and returns an equal one, or None. Sizes are compared as dims: what cannot be decided stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.graph.node import Constant, Node, call, constant, make
from graphc.graph.op import Op
from graphc.ops.joining import Concat
from graphc.ops.movement import BroadcastTo, PermuteDims, Reshape
from graphc.ops.reduction import Sum
from graphc.ops.slicing import Pad, Slice


def uniform(node: Node) -> Any:
    """Return the number that every element is, None if they differ or are not known."""
    while isinstance(node.op, BroadcastTo | Reshape | PermuteDims):
        (node,) = node.inputs
    if not isinstance(node.op, Constant) or node.op.value.size != 1:
        return None
    return node.op.value.reshape(()).item()


def _repeated_number(node: Node) -> Node | None:
    """Return the number, repeated, for a number that is moved."""
    value = uniform(node)
    source = node.inputs[0]
    if value is None or (isinstance(node.op, BroadcastTo) and not source.shape and isinstance(source.op, Constant)):
        return None
    number = constant(np.asarray(value, node.dtype.numpy))
    return call("broadcast_to", number, node.shape) if node.shape else number


def _unmoved(node: Node) -> Node | None:
    """Return the operand where nothing moves."""
    op, (x,) = node.op, node.inputs
    match op:
        case PermuteDims(axes):
            same = axes == tuple(range(len(axes)))
        case Slice(start, size, step):
            same = size == x.shape and all(s == 0 for s in start) and all(s == 1 for s in step)
        case Pad(low, high, interior):
            same = not any((*low, *high, *interior))
        case _:
            same = x.shape == node.shape
    return x if same else None


def _permute_permute(node: Node) -> Node | None:
    (x,), op = node.inputs, node.op
    assert isinstance(op, PermuteDims)
    if not isinstance(x.op, PermuteDims):
        return None
    return make(PermuteDims(tuple(x.op.axes[axis] for axis in op.axes)), x.inputs[0])


def _reshape_reshape(node: Node) -> Node | None:
    (x,) = node.inputs
    return call("reshape", x.inputs[0], node.shape) if isinstance(x.op, Reshape) else None


def _reshape_broadcast(node: Node) -> Node | None:
    """Repeat a scalar to the new shape at once."""
    (x,) = node.inputs
    if isinstance(x.op, BroadcastTo) and not x.inputs[0].shape:
        return call("broadcast_to", x.inputs[0], node.shape)
    return None


def _reshape_permute(node: Node) -> Node | None:
    """Return a reshape for a transpose that moves only axes of size 1."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, PermuteDims)
    moved = [axis for axis in op.axes if x.shape[axis] != 1]
    return call("reshape", x, node.shape) if moved == sorted(moved) and moved != list(op.axes) else None


def _broadcast_broadcast(node: Node) -> Node | None:
    (x,) = node.inputs
    if isinstance(x.op, BroadcastTo):
        return call("broadcast_to", x.inputs[0], node.shape)
    if isinstance(x.op, Reshape):
        source = x.inputs[0]
        extra = x.ndim - source.ndim
        if extra > 0 and x.shape[extra:] == source.shape and all(size == 1 for size in x.shape[:extra]):
            return call("broadcast_to", source, node.shape)
    return None


def _slice_slice(node: Node) -> Node | None:
    (x,), op = node.inputs, node.op
    assert isinstance(op, Slice)
    if not isinstance(x.op, Slice):
        return None
    inner = x.op
    start = tuple(a + b * s for a, b, s in zip(inner.start, op.start, inner.step, strict=True))
    step = tuple(a * b for a, b in zip(inner.step, op.step, strict=True))
    return make(Slice(start, op.size, step), x.inputs[0])


def _slice_pad(node: Node) -> Node | None:
    """Slice the operand of a pad where the slice keeps inside it; return fill values where it misses it."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Slice)
    if not isinstance(x.op, Pad) or any(size == 0 for size in op.size):
        return None
    source, pad = x.inputs[0], x.op
    start: list[Dim] = []
    step: list[int] = []
    for k, extent in enumerate(source.shape):
        first, last = op.start[k] - pad.low[k], op.start[k] - pad.low[k] + op.step[k] * (op.size[k] - 1)
        least, most = (first, last) if op.step[k] > 0 else (last, first)
        spread = pad.interior[k] + 1
        reach = extent if spread == 1 else (extent - 1) * spread + 1
        if dims.is_nonnegative(-1 * most - 1) or dims.is_nonnegative(least - reach):
            return call("full", node.shape, pad.value, dtype=node.dtype)
        exact = dims.remainder(first, spread) == 0 and op.step[k] % spread == 0
        if not (exact and dims.is_nonnegative(least) and dims.is_nonnegative(reach - 1 - most)):
            return None
        start.append(dims.floordiv(first, spread))
        step.append(op.step[k] // spread)
    return make(Slice(tuple(start), op.size, tuple(step)), source)


def _slice_concat(node: Node) -> Node | None:
    (x,), op = node.inputs, node.op
    assert isinstance(op, Slice)
    if not isinstance(x.op, Concat) or any(size == 0 for size in op.size):
        return None
    axis = x.op.axis
    first, last = op.start[axis], op.start[axis] + op.step[axis] * (op.size[axis] - 1)
    least, most = (first, last) if op.step[axis] > 0 else (last, first)
    offset: Dim = 0
    for part in x.inputs:
        end = offset + part.shape[axis]
        if dims.is_nonnegative(least - offset) and dims.is_nonnegative(end - 1 - most):
            start = tuple(s - offset if k == axis else s for k, s in enumerate(op.start))
            return make(Slice(start, op.size, op.step), part)
        if not dims.is_nonnegative(least - end):  # the slice may begin in this part: no later one holds it all
            return None
        offset = end
    return None


def _slice_broadcast(node: Node) -> Node | None:
    """Cut first, repeat after."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Slice)
    if not isinstance(x.op, BroadcastTo):
        return None
    source = x.inputs[0]
    extra = x.ndim - source.ndim
    cut = [k + extra for k, size in enumerate(source.shape) if size != 1]
    start = tuple(op.start[k + extra] if k + extra in cut else 0 for k in range(source.ndim))
    size = tuple(op.size[k + extra] if k + extra in cut else 1 for k in range(source.ndim))
    step = tuple(op.step[k + extra] if k + extra in cut else 1 for k in range(source.ndim))
    return call("broadcast_to", make(Slice(start, size, step), source), node.shape)


def _pad_pad(node: Node) -> Node | None:
    (x,), op = node.inputs, node.op
    assert isinstance(op, Pad)
    if not isinstance(x.op, Pad) or any((*op.interior, *x.op.interior)) or op.value != x.op.value:
        return None
    low = tuple(a + b for a, b in zip(op.low, x.op.low, strict=True))
    high = tuple(a + b for a, b in zip(op.high, x.op.high, strict=True))
    return make(Pad(low, high, op.interior, op.value), x.inputs[0])


def _sum_trivial(node: Node) -> Node | None:
    """Leave out axes of size 1."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Sum)
    if not op.axes:
        return x
    single = [axis for axis in op.axes if x.shape[axis] == 1]
    if not single or (not node.shape and len(single) < len(op.axes)):  # a full sum is left to `_sum_moved`
        return None
    rest = tuple(axis for axis in op.axes if axis not in single)
    less = call("reshape", x, tuple(size for k, size in enumerate(x.shape) if k not in single))
    return call("sum", less, axis=tuple(axis - sum(s < axis for s in single) for axis in rest)) if rest else less


def _sum_sum(node: Node) -> Node | None:
    (x,), op = node.inputs, node.op
    assert isinstance(op, Sum)
    if not isinstance(x.op, Sum):
        return None
    source = x.inputs[0]
    left = [k for k in range(source.ndim) if k not in x.op.axes]
    return make(Sum(tuple(sorted((*x.op.axes, *(left[axis] for axis in op.axes))))), source)


def _sum_moved(node: Node) -> Node | None:
    """Sum over all elements wherever they stand."""
    (x,) = node.inputs
    if node.shape or not isinstance(x.op, PermuteDims | Reshape):
        return None
    return call("sum", x.inputs[0])


def _sum_broadcast(node: Node) -> Node | None:
    """Multiply instead of summing repeated elements."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Sum)
    if not isinstance(x.op, BroadcastTo):
        return None
    source = x.inputs[0]
    extra = x.ndim - source.ndim
    stretched = [k for k in op.axes if k < extra or (source.shape[k - extra] == 1 and x.shape[k] != 1)]
    if not stretched:
        return None
    count = dims.product(x.shape[k] for k in stretched)
    # A symbol may be 0, and then 0 * infinity would be NaN where the empty sum is 0.
    if not isinstance(count, int) or count == 0 or (node.dtype.kind != "f" and count >= 2**31):
        return None
    # What is left: the operand without the stretched axes, repeated along those that are not summed.
    kept = tuple(size for k, size in enumerate(source.shape) if k + extra not in stretched)
    shape = tuple(size for k, size in enumerate(x.shape) if k not in stretched)
    rest = tuple(k - sum(s < k for s in stretched) for k in op.axes if k not in stretched)
    repeated = call("broadcast_to", call("reshape", source, kept), shape)
    total = call("sum", repeated, axis=rest) if rest else repeated
    return total * constant(np.asarray(count, node.dtype.numpy))


Rule = Callable[[Node], "Node | None"]
RULES: dict[type[Op], tuple[Rule, ...]] = {
    BroadcastTo: (_unmoved, _repeated_number, _broadcast_broadcast),
    Reshape: (_unmoved, _repeated_number, _reshape_reshape, _reshape_broadcast),
    PermuteDims: (_unmoved, _repeated_number, _permute_permute, _reshape_permute),
    Slice: (_unmoved, _slice_slice, _slice_pad, _slice_concat, _slice_broadcast),
    Pad: (_unmoved, _pad_pad),
    Sum: (_sum_trivial, _sum_sum, _sum_moved, _sum_broadcast),
}
