"""Nodes: one use of an op, and the leaves a graph starts from.

node ::= Op(node, ...) : type           leaf ::= Input | Parameter | State | constant
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import count
from operator import is_
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from graphc.dims import Dim, DimExpr
from graphc.dtypes import DType, as_dtype, default_dtype
from graphc.errors import AssignmentError, CallError, DTypeError, GraphcError, NodeUseError, ShapeError
from graphc.graph import bodies
from graphc.graph.op import Op, infer, require
from graphc.graph.operators import BUILDERS, Operators, builder, call, located
from graphc.graph.types import NodeType, TensorType, TupleType, as_shape
from graphc.loops import expr
from graphc.origin import Origin, here, locate, made_at
from graphc.records import record
from graphc.requirements import Requirement

__all__ = [
    "BUILDERS",
    "Constant",
    "Input",
    "Leaf",
    "Node",
    "Origin",
    "Parameter",
    "State",
    "aligned_copy",
    "builder",
    "call",
    "constant",
    "here",
    "input",
    "located",
    "made_at",
    "make",
    "parameter",
    "placeholder",
    "require",
    "state",
    "trace_start",
]


_serials = count().__next__
_set = object.__setattr__


class Node(Operators):
    """One use of an op: its value, once the graph runs; compared by identity. `serial` counts nodes as made."""

    __slots__ = ("__weakref__", "inputs", "op", "origin", "requirements", "serial", "type")
    op: Op
    inputs: tuple[Node, ...]
    type: NodeType
    origin: Origin
    requirements: tuple[Requirement, ...]
    serial: int

    def __init__(
        self,
        op: Op,
        inputs: tuple[Node, ...],
        type: NodeType,
        origin: Origin,
        requirements: tuple[Requirement, ...] = (),
    ) -> None:
        # What assigns is refused below.
        _set(self, "op", op)
        _set(self, "inputs", inputs)
        _set(self, "type", type)
        _set(self, "origin", origin)
        _set(self, "requirements", requirements)
        _set(self, "serial", _serials())

    @property
    def tensor(self) -> TensorType:
        """The type of a node with one result."""
        if isinstance(self.type, TupleType):
            raise NodeUseError(f"this node has {len(self.type.items)} results; take one with graphc.item(node, k)")
        return self.type

    @property
    def shape(self) -> tuple[Dim, ...]:
        """The dimensions."""
        type = self.type
        return type.shape if type.__class__ is TensorType else self.tensor.shape  # pyright: ignore

    @property
    def dtype(self) -> DType:
        """The element type."""
        type = self.type
        return type.dtype if type.__class__ is TensorType else self.tensor.dtype  # pyright: ignore

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.tensor.shape)

    @property
    def is_leaf(self) -> bool:
        """Whether it is an input, a parameter, a state or a placeholder."""
        return isinstance(self.op, Leaf)

    def on(self, inputs: tuple[Node, ...], op: Op | None = None) -> Node:
        """Return this node on other inputs (and with another op), at the same origin; itself if nothing changes."""
        if op is None or op == self.op:
            if len(inputs) == len(self.inputs) and all(map(is_, inputs, self.inputs)):
                return self
            if all(a.type is b.type or a.type == b.type for a, b in zip(inputs, self.inputs, strict=True)):
                return Node(self.op, inputs, self.type, self.origin, self.requirements)
        with made_at(self.origin):
            return make(op or self.op, *inputs)

    @located("eval")
    def eval(self, feeds: Mapping[Node, Any] | None = None) -> Any:
        """Return the value by the reference run, without compiling: for the prompt and for tests.

        `feeds` gives arrays for inputs. A node with several results gives a tuple.
        """
        return call("evaluate", self, feeds)

    def describe(self) -> str:
        made = (
            self.op.kind + (f" {self.op.label!r}" if self.op.label else "")
            if isinstance(self.op, Leaf)
            else self.op.name
        )
        return f"{self.type} made by {made} at {self.origin}"

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

    def __copy__(self) -> Self:
        # A node is a value, compared by identity: a copy would be another one.
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __setstate__(self, state: tuple[None, Mapping[str, Any]]) -> None:
        # Python's own would assign what stands in slots.
        for name, value in state[1].items():
            _set(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        _refuse_assignment(self, name, value)

    def __delattr__(self, name: str) -> None:
        _refuse_assignment(self, name)


@record
class Leaf(Op):
    """Something that a graph starts from: kind is "input", "parameter", "state", "placeholder" or "training"."""

    name: ClassVar[str] = "leaf"
    kind: str
    label: str = ""

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        return node


class Input(Node):
    """A value given at each call (or, as a placeholder, by the loop that a step belongs to)."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The name that a call gives it by."""
        assert isinstance(self.op, Leaf)
        return self.op.label


class Stored(Node):
    """A leaf with storage of its own, allocated once, 64-byte aligned, never moved."""

    __slots__ = ("array",)
    array: Any

    def __init__(
        self,
        op: Op,
        inputs: tuple[Node, ...],
        type: NodeType,
        origin: Origin,
        requirements: tuple[Requirement, ...] = (),
        array: Any = None,
    ) -> None:
        super().__init__(op, inputs, type, origin, requirements)
        _set(self, "array", array)

    @property
    def name(self) -> str:
        """The name given to it, or ""."""
        assert isinstance(self.op, Leaf)
        return self.op.label

    @property
    def value(self) -> Any:
        """The storage: a C-contiguous array, changed in place by `set` and by runs."""
        return self.array

    @located("set")
    def set(self, array: Any) -> None:
        """Copy an array of the same shape into the storage."""
        new = np.asarray(array)
        if new.shape != self.array.shape:
            raise CallError(f"expected shape {self.array.shape}, got {new.shape}")
        if not np.can_cast(new.dtype, self.array.dtype, "same_kind") and new.dtype.kind not in "iub":
            raise CallError(f"expected {self.array.dtype}, got {new.dtype}")
        self.array[...] = new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a leaf of the same name, type and value with storage of its own."""
        copy = memo[id(self)] = type(self)(self.op, (), self.type, self.origin, (), aligned_copy(self.array))
        return copy


class Parameter(Stored):
    """A leaf with storage that is trained.

    Set `trainable` to false to freeze it: from then on `Optimizer.minimize` leaves it out. Gradients to it exist still.
    """

    __slots__ = ("_frozen",)

    @property
    def trainable(self) -> bool:
        """Whether optimizers train it; true unless set otherwise."""
        return not getattr(self, "_frozen", False)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        object.__setattr__(self, "_frozen", not value)

    def __setattr__(self, name: str, value: object) -> None:
        # Whether it is trained is no part of its value, like what stands in its storage; all else of a node is fixed.
        if name != "trainable":
            _refuse_assignment(self, name, value)
        object.__setattr__(self, name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy = super().__deepcopy__(memo)
        copy.trainable = self.trainable
        return copy


class State(Stored):
    """A leaf with storage that is not trained: statistics, slots, counts, carries."""

    __slots__ = ()


def _refuse_assignment(node: Node, name: str, value: object = None) -> NoReturn:
    if isinstance(node, Stored):
        kind = node.op.kind if isinstance(node.op, Leaf) else "leaf"
        why = "its storage is shared with what is compiled"
        advice = f"{node.name or 'leaf'}.set(array) copies an array into it"
    else:
        kind, why = "node", "nodes never change"
        advice = "build a new node of it; what belongs to it can stand in a dict by node, or in a graphc.state"
    raise AssignmentError(
        f"cannot assign to {name!r} of a {kind}, for {why}; {advice}\n  at {here()}: {node.describe()}",
        name=name,
        obj=node,
    )


@record
class Constant(Op):
    """A fixed array; equal bytes make equal constants."""

    name: ClassVar[str] = "constant"
    value: Any

    @property
    def key(self) -> tuple[str, tuple[int, ...], bytes]:
        """What identifies it."""
        return self.value.dtype.name, self.value.shape, self.value.tobytes()

    @property
    def digest(self) -> str:
        """A short hash of its bytes."""
        return hashlib.sha256(self.value.tobytes()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Constant) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def infer(self) -> TensorType:
        return TensorType(self.value.shape, as_dtype(self.value.dtype))

    def numpy(self) -> Any:
        return self.value

    def lower(self, out: TensorType) -> bodies.Body:
        if self.value.size != 1:
            return super().lower(out)
        return bodies.compute(out, expr.const(self.value.reshape(()).item(), out.dtype))


def make(op: Op, *inputs: Node) -> Node:
    """Return a node of this op on these inputs, at the user's line; type errors name the operands."""
    try:
        result, requirements = infer(op, tuple(node.type for node in inputs))
    except GraphcError as error:
        locate(error, op.name, tuple(node.describe() for node in inputs))
        raise
    return Node(op, inputs, result, here(), requirements)


@located("input")
def input(name: str, shape: object, dtype: object = None) -> Input:
    """Return a value that each call gives: `shape` holds integers and names of symbolic dimensions.

    dtype: float32 unless said otherwise (see `set_default_dtype`).
    """
    kind = default_dtype() if dtype is None else as_dtype(dtype)
    return Input(Leaf("input", name), (), TensorType(as_shape(shape), kind), here())


def placeholder(type: NodeType, name: str = "") -> Input:
    """Return an input of a step graph."""
    return Input(Leaf("placeholder", name), (), type, here())


def trace_start() -> int:
    """Return a serial number between those of the nodes made before and those made after."""
    return _serials()


@located("parameter")
def parameter(value: Any, name: str | None = None, dtype: object = None) -> Parameter:
    """Return a trained leaf that starts with this value."""
    array = aligned_copy(as_array(value, dtype))
    return Parameter(
        Leaf("parameter", name or ""), (), TensorType(array.shape, as_dtype(array.dtype)), here(), (), array
    )


@located("state")
def state(value: Any, name: str | None = None, dtype: object = None) -> State:
    """Return a leaf with storage that updates may change but training does not differentiate."""
    array = aligned_copy(as_array(value, dtype))
    return State(Leaf("state", name or ""), (), TensorType(array.shape, as_dtype(array.dtype)), here(), (), array)


@located("constant")
def constant(value: Any, dtype: object = None) -> Node:
    """Return a node with a fixed value.

    Arrays keep their dtype; Python floats (and lists of them) take the default dtype.
    """
    array = np.array(as_array(value, dtype), order="C")
    array.flags.writeable = False
    return make(Constant(array))


def as_array(value: Any, dtype: object = None) -> Any:
    """Return an array of a dtype that graphs know; Python numbers take default dtypes."""
    if isinstance(value, Node):
        raise NodeUseError(f"expected a number or an array, got a node: {value.describe()}")
    if isinstance(value, DimExpr):
        raise DTypeError(f"expected a number or an array, got the dimension {value}; graphc.size makes a number of it")
    try:
        array = np.asarray(value)
    except GraphcError:  # a node inside it
        raise
    except ValueError:
        raise ShapeError(f"expected rows of equal lengths, got {value!r:.60}") from None
    except (TypeError, RuntimeError) as error:  # PyTorch refuses what has a gradient, or a dtype that NumPy has not
        raise DTypeError(f"expected a number or an array, got a {type(value).__name__}: {error}") from error
    if dtype is None and array.dtype.kind == "f" and not hasattr(value, "dtype"):
        dtype = default_dtype()
    if array.dtype.kind not in "fiub":
        raise DTypeError(
            f"expected a node, a number or an array of numbers, got a {type(value).__name__}: {value!r:.60}"
        )
    kind = as_dtype(array.dtype) if dtype is None else as_dtype(dtype)
    if kind.kind in "iu" and array.size and not hasattr(value, "dtype"):
        limits = np.iinfo(kind.numpy)
        if array.min() < limits.min or array.max() > limits.max:
            raise DTypeError(f"{value!r:.60} does not fit {kind}")
    return array.astype(kind.numpy, copy=False)


def aligned_copy(array: Any) -> Any:
    """Return a C-contiguous copy whose first byte lies on a 64-byte boundary."""
    raw = np.empty(array.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
