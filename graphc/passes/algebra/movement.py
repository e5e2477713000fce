"""Movement: broadcasts, reshapes, transposes, slices, pads and concatenations. All rules are exact.

Sizes are compared as dims: what cannot be decided stays.
"""

from __future__ import annotations

from graphc import dims
from graphc.dims import Dim
from graphc.graph.node import Constant, Node, call, make
from graphc.graph.op import Op
from graphc.ops.elementwise import Elementwise
from graphc.ops.joining import Concat
from graphc.ops.movement import BroadcastTo, PermuteDims, Reshape
from graphc.ops.slicing import Pad, Slice
from graphc.passes.algebra.matching import Rule, filled, number, uniform


def moved_number(node: Node) -> Node | None:
    """A number that is moved is the number, repeated."""
    value = uniform(node)
    source = node.inputs[0]
    if value is None or (isinstance(node.op, BroadcastTo) and not source.shape and isinstance(source.op, Constant)):
        return None
    return filled(value, node)


def unmoved(node: Node) -> Node | None:
    """A movement that moves nothing is its operand."""
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


def permute_twice(node: Node) -> Node | None:
    """A transpose of a transpose is one transpose."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, PermuteDims)
    if not isinstance(x.op, PermuteDims):
        return None
    return make(PermuteDims(tuple(x.op.axes[axis] for axis in op.axes)), x.inputs[0])


def reshape_twice(node: Node) -> Node | None:
    """A reshape of a reshape is one reshape."""
    (x,) = node.inputs
    return call("reshape", x.inputs[0], node.shape) if isinstance(x.op, Reshape) else None


def reshape_repeated(node: Node) -> Node | None:
    """A reshape of a repeated scalar repeats it to the new shape."""
    (x,) = node.inputs
    if isinstance(x.op, BroadcastTo) and not x.inputs[0].shape:
        return call("broadcast_to", x.inputs[0], node.shape)
    return None


def permute_ones(node: Node) -> Node | None:
    """A transpose that moves only axes of size 1 is a reshape."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, PermuteDims)
    moved = [axis for axis in op.axes if x.shape[axis] != 1]
    return call("reshape", x, node.shape) if moved == sorted(moved) and moved != list(op.axes) else None


def broadcast_twice(node: Node) -> Node | None:
    """A broadcast of a broadcast, or of a reshape that adds leading axes of size 1, is one broadcast."""
    (x,) = node.inputs
    if isinstance(x.op, BroadcastTo):
        return call("broadcast_to", x.inputs[0], node.shape)
    if isinstance(x.op, Reshape):
        source = x.inputs[0]
        extra = x.ndim - source.ndim
        if extra > 0 and x.shape[extra:] == source.shape and all(size == 1 for size in x.shape[:extra]):
            return call("broadcast_to", source, node.shape)
    return None


def slice_twice(node: Node) -> Node | None:
    """A slice of a slice is one slice."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Slice)
    if not isinstance(x.op, Slice):
        return None
    inner = x.op
    start = tuple(a + b * s for a, b, s in zip(inner.start, op.start, inner.step, strict=True))
    step = tuple(a * b for a, b in zip(inner.step, op.step, strict=True))
    return make(Slice(start, op.size, step), x.inputs[0])


def slice_pad(node: Node) -> Node | None:
    """A slice of a pad is a slice of its operand where it stays inside, and the fill value where it misses it."""
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


def slice_concat(node: Node) -> Node | None:
    """A slice of a concat is a slice of the one part that holds it all."""
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


def slice_broadcast(node: Node) -> Node | None:
    """A slice of a broadcast is a broadcast of a slice: cut first, repeat after."""
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


def pad_twice(node: Node) -> Node | None:
    """A pad of a pad is one pad: with one fill value and nothing between elements."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Pad)
    if not isinstance(x.op, Pad) or any((*op.interior, *x.op.interior)) or op.value != x.op.value:
        return None
    low = tuple(a + b for a, b in zip(op.low, x.op.low, strict=True))
    high = tuple(a + b for a, b in zip(op.high, x.op.high, strict=True))
    return make(Pad(low, high, op.interior, op.value), x.inputs[0])


def repeat_last(node: Node) -> Node | None:
    """`f(broadcast(x))` is `broadcast(f(x))` for an elementwise f, numbers beside x too: compute first, repeat after."""
    if not node.inputs or not node.shape:
        return None
    sources = [x.inputs[0] for x in node.inputs if isinstance(x.op, BroadcastTo) and uniform(x) is None]
    shape = sources[0].shape if sources else ()
    if not all(uniform(x) is not None or isinstance(x.op, BroadcastTo) for x in node.inputs) or node.shape == shape:
        return None
    if any(source.shape != shape for source in sources):
        return None
    operands: list[Node] = []
    for x in node.inputs:
        value = uniform(x)
        operands.append(x.inputs[0] if value is None else number(value, x, shape))
    return call("broadcast_to", make(node.op, *operands), node.shape)


def concat_concat(node: Node) -> Node | None:
    """A concat of concats along one axis is one concat."""
    op = node.op
    assert isinstance(op, Concat)
    if not any(isinstance(x.op, Concat) and x.op.axis == op.axis for x in node.inputs):
        return None
    parts = (part for x in node.inputs for part in (x.inputs if x.op == op else (x,)))
    return make(op, *parts)


RULES: dict[type[Op], tuple[Rule, ...]] = {
    Elementwise: (repeat_last,),
    BroadcastTo: (unmoved, moved_number, broadcast_twice),
    Reshape: (unmoved, moved_number, reshape_twice, reshape_repeated),
    PermuteDims: (unmoved, moved_number, permute_twice, permute_ones),
    Slice: (unmoved, slice_twice, slice_pad, slice_concat, slice_broadcast),
    Pad: (unmoved, pad_twice),
    Concat: (concat_concat,),
}
