"""Functions over whole arrays that Numba compiles as they are: a user's own."""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.dtypes import as_dtype
from graphc.errors import GraphError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make
from graphc.graph.op import Op
from graphc.graph.types import NodeType, TensorType, TupleType, as_shape
from graphc.ops.operands import as_node


@dataclass(frozen=True)
class Native(Op):
    """`function(*outputs, *inputs)` fills arrays of `types`; `rule(node, cotangent)` gives the inputs' cotangents."""

    function: Callable[..., None]
    types: tuple[TensorType, ...]
    rule: Callable[[Node, Any], tuple[Node | None, ...]] | None = None

    name = "native"
    is_native = True

    def infer(self, *inputs: TensorType) -> NodeType:
        return self.types[0] if len(self.types) == 1 else TupleType(self.types)

    def numpy(self, *inputs: Any) -> Any:
        shapes: Any = [type.shape for type in self.types]
        outputs = tuple(np.zeros(shape, type.dtype.numpy) for shape, type in zip(shapes, self.types, strict=True))
        self.function(*outputs, *(np.ascontiguousarray(array).reshape(array.shape) for array in inputs))
        return outputs[0] if len(outputs) == 1 else outputs

    def vjp(self, node: Node, cotangent: Any) -> tuple[Node | None, ...]:
        if self.rule is None:
            raise GraphError(
                f"the native function {self.function.__name__} has no derivative; give native(..., vjp=rule)"
            )
        shares = self.rule(node, cotangent)
        if not isinstance(shares, tuple | list):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GraphError(
                f"the vjp of {self.function.__name__}: expected a tuple with a node or None for each input"
            )
        if len(shares) != len(node.inputs):
            raise GraphError(
                f"the vjp of {self.function.__name__}: expected {len(node.inputs)} results, got {len(shares)}"
            )
        for k, (share, operand) in enumerate(zip(shares, node.inputs, strict=True)):
            if share is not None and share.type != operand.type:
                raise GraphError(
                    f"the vjp of {self.function.__name__}: expected {operand.type} for input {k}, got {share.describe()}"
                )
        return tuple(shares)

    def lower(self, out: NodeType, *inputs: TensorType) -> bodies.Body:
        return bodies.Native(self.function)


@builder("native")
def native(
    function: Callable[..., None],
    types: TensorType | tuple[TensorType, ...],
    *inputs: Any,
    vjp: Callable[[Node, Any], tuple[Node | None, ...]] | None = None,
) -> Any:
    """Call a function of your own on whole arrays: `function(*outputs, *inputs)` fills outputs of these types.

    It must compile under Numba without allocating, raising, printing or calling a library: arithmetic, comparisons and
    square roots work, exp, sin and their like do not. `vjp(node, cotangent)` returns a tuple: a node or None for each
    input. With several types the result is a tuple of nodes.
    """
    listed = (types,) if isinstance(types, TensorType) else tuple(types)
    if not all(isinstance(type, TensorType) for type in listed):  # pyright: ignore[reportUnnecessaryIsInstance]
        example = 'graphc.TensorType(("n", 3), graphc.float32)'
        raise GraphError(f"native: expected the outputs' types, such as x.type or {example}; got {types!r}")
    given = tuple(TensorType(as_shape(type.shape), as_dtype(type.dtype)) for type in listed)
    node = make(Native(function, given, vjp), *(as_node(value) for value in inputs))
    return node if len(given) == 1 else tuple(call("item", node, k) for k in range(len(given)))
