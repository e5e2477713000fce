"""A user's function of scalars as an elementwise op: it is compiled into the kernels that need it, and fused."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from graphc.dtypes import DType, as_dtype, bool_, float64, int64
from graphc.errors import DTypeError, GraphError
from graphc.graph.node import Node, builder, make
from graphc.graph.text import function_name
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.elementwise import Elementwise
from graphc.ops.operands import aligned, as_node, cast, expand
from graphc.records import record
from graphc.simd.lanewise import Lanewise

# What the function computes in, by the kind of its operands or result: Python's own scalars.
_WIDE = {"f": float64, "i": int64, "u": int64, "b": bool_}


@record
class UserFunction(Elementwise):
    """`called` of the operands' elements as Python scalars; `partials` gives its derivatives by each operand."""

    called: Callable[..., Any]
    result: DType
    partials: Callable[..., Any] | None = None
    name: ClassVar[str] = "elementwise"
    accepts: ClassVar[str] = "fiub"

    def result_dtype(self, dtype: DType) -> DType:
        return self.result

    @property
    def lanewise(self) -> Lanewise:
        """The function as kernels call it."""
        return Lanewise(self.called, len(inspect.signature(self.called).parameters), _WIDE[self.result.kind].short)

    @property
    def kernel_name(self) -> str:
        """The name by which kernels call it."""
        return function_name(self.called, f"scalar_{_WIDE[self.result.kind].short}")

    def numpy(self, *inputs: Any, **_: Any) -> Any:
        wide = [array.astype(_WIDE[as_dtype(array.dtype).kind].numpy) for array in inputs]
        return self.lanewise(*wide).astype(self.result.numpy)

    def scalar(self, *values: Expr) -> Expr:
        wide = [expr.cast(value, _WIDE[value.dtype.kind]) for value in values]
        return expr.cast(expr.apply(self.kernel_name, *wide, dtype=_WIDE[self.result.kind]), self.result)

    def derivative(self, node: Node, position: int, flow: Node) -> Node | None:
        called = getattr(self.called, "__name__", "the function")
        if self.partials is None:
            raise GraphError(
                f"{called} is called by elementwise and has no derivative; give elementwise(..., derivative=...)"
            )
        found = self.partials(*node.inputs)
        listed: list[Any] = list(found) if isinstance(found, tuple | list) else [found]  # pyright: ignore[reportUnknownArgumentType]
        if len(listed) != len(node.inputs):
            raise GraphError(
                f"the derivative of {called}: expected a partial derivative (or None) by each of {len(node.inputs)} operands, "
                f"got {len(listed)}"
            )
        if listed[position] is None:
            return None
        partial = as_node(listed[position], flow.dtype)
        return flow * expand(cast(partial, flow.dtype), node.shape)


@builder("elementwise")
def elementwise(
    function: Callable[..., Any],
    *inputs: Any,
    dtype: object = None,
    derivative: Callable[..., Any] | None = None,
) -> Node:
    """Apply a Python function of your own to the elements of the operands, which broadcast and promote as in `add`.

    `function` gets scalars and returns one. It may have branches and loops, call `math` and functions of its own kind, and read
    numbers from around it; what it reads is fixed when it is compiled. It computes with Python's numbers, float64 and int64,
    whatever the dtypes of the operands are. It is compiled by Numba into the kernel and called element by element, so it
    fuses, but is slower than ops of graphc. Under `evaluate`, where `math` raises ValueError or OverflowError, the value is
    NaN or infinity.

    dtype: of the result; that of the promoted operands, unless given. derivative: `derivative(*nodes)` returns the partial
    derivative by each operand as a tuple of nodes (or one node for a single operand), None for zero; without it,
    differentiation raises GraphError.

    Shape: the operands', by broadcasting.
    Formula: out[i] = function(*(x[i] for x in inputs)).
    Gradient: g times what `derivative` returns; without it, none: GraphError.
    Source: `numpy.frompyfunc`.
    """
    plain = getattr(function, "py_func", function)
    if not inspect.isfunction(plain):
        raise GraphError(
            f"elementwise: expected a Python function (def or lambda), got {function!r}; put others inside one"
        )
    if not inputs:
        raise GraphError(
            "elementwise: expected operands to apply the function to, as in elementwise(function, x); got none"
        )
    kinds = [one.kind for one in inspect.signature(plain).parameters.values()]
    if len(kinds) != len(inputs) or any(kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds):
        raise GraphError(
            f"elementwise: expected {plain.__name__} to take {len(inputs)} scalars by position, got {inspect.signature(plain)}"
        )
    nodes = aligned(*inputs)
    given = nodes[0].dtype if dtype is None else as_dtype(dtype)
    if given.kind not in _WIDE:
        raise DTypeError(f"elementwise: expected a dtype of numbers, got {given}")
    # Between two float dtypes the derivative needs a node that converts.
    result = nodes[0].dtype if given.is_float and nodes[0].dtype.is_float else given
    return cast(make(UserFunction(plain, result, derivative), *nodes), given)
