"""What builders do to operands: numbers and arrays become nodes, dtypes are promoted, shapes broadcast.

Ops demand equal shapes and dtypes; the `astype` and `broadcast_to` nodes inserted here fuse away.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.dtypes import DType, as_dtype, default_dtype, float32, float64, promote, weak
from graphc.errors import DTypeError, GraphcWarning, ShapeError
from graphc.graph.node import Constant, Node, call, constant, here
from graphc.graph.types import TensorType, shape_text

_warned: set[tuple[str, int]] = set()


def as_node(value: Any, like: DType | None = None) -> Node:
    """Return a node as it is, and a number or an array as a constant; a Python number follows the dtype `like`."""
    if isinstance(value, Node):
        value.tensor  # noqa: B018 - a node with several results is refused here
        return value
    if is_weak(value):
        dtype = weak(value, like) if like is not None else None
        if dtype is not None and dtype.kind != "b" and not _fits(value, dtype):
            raise DTypeError(f"{value} does not fit {dtype}")
        # NumPy makes objects of integers beyond 64 bits, where a float may well be meant.
        return constant(float(value) if dtype is not None and dtype.is_float else value, dtype)
    return constant(value)


def number_of(node: Node) -> float | None:
    """Return the number that a node is known to be, or to repeat; None if there is none."""
    while node.op.name == "broadcast_to":
        (node,) = node.inputs
    return node.op.value.item() if isinstance(node.op, Constant) and node.op.value.size == 1 else None


def is_weak(value: Any) -> bool:
    """Whether a value is a Python number, which never widens an array's dtype within its kind.

    numpy.float64 is a Python float too, so that x / np.sqrt(n) keeps float32, as in PyTorch.
    """
    return isinstance(value, bool | int | float)


def _fits(value: int | float, dtype: DType) -> bool:
    if dtype.is_float:
        return isinstance(value, float) or -sys.float_info.max <= value <= sys.float_info.max
    limits = np.iinfo(dtype.numpy)
    return bool(limits.min <= value <= limits.max)


def common_dtype(*values: Any) -> DType:
    """Return the dtype that nodes, arrays, dtypes and Python numbers have together."""
    numbers = [value for value in values if is_weak(value)]
    strong = [v if isinstance(v, DType) else as_node(v).dtype for v in values if not is_weak(v)]
    if not strong:
        return promote(*(constant(number).dtype for number in numbers))
    result = promote(*strong)
    for number in numbers:
        result = weak(number, result)
    return result


def promoted(*values: Any) -> tuple[Node, ...]:
    """Return the operands as nodes of one dtype."""
    operands = [value if is_weak(value) else as_node(value) for value in values]
    result = common_dtype(*operands)
    if result is float64 and any(isinstance(v, Node) and v.dtype is float32 for v in values):
        _warn_of_upcast(values)
    return tuple(cast(as_node(operand, result), result) for operand in operands)


def aligned(*values: Any) -> tuple[Node, ...]:
    """Return the operands as nodes of one dtype and one shape."""
    first = values[0]
    if isinstance(first, Node) and all(isinstance(v, Node) and v.type == first.tensor for v in values):
        return values
    return broadcasted(*promoted(*values))


def broadcasted(*nodes: Node) -> tuple[Node, ...]:
    """Return nodes broadcast to their common shape."""
    shape = broadcast_shapes(*(node.shape for node in nodes))
    return tuple(expand(node, shape) for node in nodes)


def broadcast_shapes(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """Return the shape that NumPy's broadcasting gives; a symbol never broadcasts as 1.

    Two dims that may differ give the first, integers before symbols; `broadcast_to` then requires them to be equal.
    """
    if shapes and shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    result: list[Dim] = []
    for back in range(1, max(map(len, shapes), default=0) + 1):
        sizes = [shape[-back] for shape in shapes if len(shape) >= back and shape[-back] != 1]
        known = [size for size in sizes if isinstance(size, int)]
        if len(set(known)) > 1:
            raise ShapeError(f"shapes do not broadcast: {' and '.join(shape_text(shape) for shape in shapes)}")
        result.append((known or sizes or [1])[0])
    return tuple(reversed(result))


def cast(node: Node, dtype: DType) -> Node:
    """Return the node converted to a dtype; itself if it has it."""
    return node if node.dtype is dtype else call("astype", node, dtype)


def expand(node: Node, shape: tuple[Dim, ...]) -> Node:
    """Return the node broadcast to a shape; itself if it has it."""
    return node if node.shape == shape else call("broadcast_to", node, shape)


def floating(value: Any) -> Node:
    """Return the operand as a node with a floating dtype: integers take the default one."""
    node = as_node(value)
    return node if node.dtype.is_float else cast(node, default_dtype())


def whole(value: Any, what: str) -> int:
    """Return an integer known when the graph is built; ShapeError if it is anything else."""
    try:
        return value.__index__()
    except (AttributeError, TypeError):
        raise ShapeError(f"expected {what} (an integer), got {value!r}") from None


def normalize_axis(axis: Any, rank: int) -> int:
    """Return a non-negative axis; ShapeError if there is no such axis."""
    number = whole(axis, "an axis")
    if not -rank <= number < rank:
        raise ShapeError(f"axis {number} does not exist: the operand has {rank} dimensions")
    return number % rank


def normalize_axes(axes: Any, rank: int) -> tuple[int, ...]:
    """Return sorted, distinct, non-negative axes; all of them for None."""
    if axes is None:
        return tuple(range(rank))
    given: Any = axes if isinstance(axes, tuple | list) else (axes,)
    result = tuple(sorted(normalize_axis(axis, rank) for axis in given))
    if len(set(result)) != len(result):
        raise ShapeError(f"an axis is given twice: {axes}")
    return result


def same(*inputs: TensorType, what: str) -> TensorType:
    """Return the one type that all inputs share in shape and dtype; errors name the first that differs."""
    first = inputs[0]
    for other in inputs[1:]:
        if other.dtype is not first.dtype:
            raise DTypeError(f"{what}: expected equal dtypes, got {first} and {other}")
        if other.shape != first.shape:
            raise ShapeError(f"{what}: expected equal shapes, got {first} and {other}")
    return first


def demand(type: TensorType, kinds: str, what: str) -> None:
    """Raise DTypeError unless the dtype's kind (f, i, u, b) is among those given."""
    if type.dtype.kind not in kinds:
        words = {"f": "floats", "i": "integers", "u": "unsigned integers", "b": "booleans"}
        raise DTypeError(f"{what}: expected {' or '.join(words[kind] for kind in kinds)}, got {type}; use astype")


def as_optional_dtype(dtype: object) -> DType:
    """Return a dtype; the default floating one for None."""
    return default_dtype() if dtype is None else as_dtype(dtype)


def _warn_of_upcast(values: tuple[Any, ...]) -> None:
    arrays = [v for v in values if not isinstance(v, Node) and getattr(v, "dtype", None) == np.float64]
    origin = here()
    if arrays and (origin.file, origin.line) not in _warned:
        _warned.add((origin.file, origin.line))
        message = "a float64 array turns a float32 node into float64; give array.astype('float32') to keep float32"
        warnings.warn_explicit(message, GraphcWarning, origin.file, origin.line)
