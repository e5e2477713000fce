"""Functions over whole arrays that Numba compiles as they are: a user's own."""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.dtypes import as_dtype
from graphc.errors import GraphError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make
from graphc.graph.op import Op
from graphc.graph.types import NodeType, TensorType, TupleType, as_shape
from graphc.ops.custom_vjp import Rule, custom_vjp
from graphc.ops.nested import item
from graphc.ops.operands import as_node
from graphc.records import record


@record
class Native(Op):
    """`function(*outputs, *inputs)` fills arrays of `types`."""

    function: Callable[..., None]
    types: tuple[TensorType, ...]

    name = "native"
    is_native = True

    @property
    def called(self) -> str:
        """What the user's function is called."""
        return self.function.__name__

    def infer(self, *inputs: TensorType) -> NodeType:
        return self.types[0] if len(self.types) == 1 else TupleType(self.types)

    def numpy(self, *inputs: Any) -> Any:
        shapes: Any = [type.shape for type in self.types]
        outputs = tuple(np.zeros(shape, type.dtype.numpy) for shape, type in zip(shapes, self.types, strict=True))
        self.function(*outputs, *(np.ascontiguousarray(array).reshape(array.shape) for array in inputs))
        return outputs[0] if len(outputs) == 1 else outputs

    def vjp(self, node: Node, cotangent: Any) -> tuple[Node | None, ...]:
        raise GraphError(
            f"{self.called} is called by {self.name} and has no derivative; give {self.name}(..., vjp=rule)"
        )

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Any:
        return self.vjp(node, tangents)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Any:
        # One example after the other: the function knows nothing of batches.
        places = [k for k, operand in enumerate(batched) if operand is not None]

        def one(rows: list[Node]) -> Any:
            operands = list(node.inputs)
            for place, row in zip(places, rows, strict=True):
                operands[place] = row
            return results(make(self, *operands))

        return call("map", one, [batched[place] for place in places])

    def lower(self, out: NodeType, *inputs: TensorType) -> bodies.Body:
        return bodies.Native(self.function)


def results(node: Node) -> Any:
    """Return a node, or the tuple of its results if it has several."""
    return node if isinstance(node.type, TensorType) else tuple(item(node, k) for k in range(len(node.type.items)))


@builder("native")
def native(
    function: Callable[..., None],
    types: TensorType | tuple[TensorType, ...],
    *inputs: Any,
    vjp: Rule | None = None,
) -> Any:
    """Call a function of your own on whole arrays: `function(*outputs, *inputs)` fills outputs of these types.

    It must compile under Numba without allocating, raising or printing; Python's math functions work. With several types
    the result is a tuple of nodes. `vjp(inputs, output, cotangent)` is its derivative, as in `custom_vjp`; without one,
    differentiation raises GraphError. In a batch (`vmap`) it is called for one example after another.

    Shape: that of the types.
    Formula: function(*out, *inputs).
    Gradient: what `vjp` returns; without it, none: GraphError.
    Source: `numba.njit`.
    """
    given = as_types(types, "native")
    return with_rule(lambda *nodes: results(make(Native(function, given), *nodes)), function, vjp, inputs)


def as_types(types: Any, what: str) -> tuple[TensorType, ...]:
    """Return the types of a function's outputs; GraphError if they are none."""
    listed: tuple[Any, ...] = (types,) if isinstance(types, TensorType) else ()
    if isinstance(types, tuple | list):
        listed = tuple(types)
    if not listed or not all(isinstance(type, TensorType) for type in listed):
        example = 'graphc.TensorType(("n", 3), graphc.float32)'
        raise GraphError(f"{what}: expected the outputs' types, such as x.type or {example}; got {types!r}")
    return tuple(TensorType(as_shape(type.shape), as_dtype(type.dtype)) for type in listed)


def with_rule(build: Callable[..., Any], function: Any, rule: Rule | None, inputs: tuple[Any, ...]) -> Any:
    """Build nodes from inputs, with a rule for their derivative if there is one."""
    if not callable(function):
        raise GraphError(f"expected a function to call, got {function!r}")
    if rule is not None and not callable(rule):
        raise GraphError(f"expected a function as vjp, got {rule!r}")
    if rule is None:
        return build(*(as_node(value) for value in inputs))
    build.__name__ = getattr(function, "__name__", "function")
    return custom_vjp(build, rule)(*inputs)
