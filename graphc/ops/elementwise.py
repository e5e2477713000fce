"""The family of elementwise ops: the value at an index depends on the operands at that index alone.

So the Jacobian is diagonal, and one rule, `derivative`, serves both modes: it scales a cotangent or a tangent alike.

Builders broadcast their operands as NumPy does and promote their dtypes as PyTorch does: any float wins over any
integer (int32 with float32 is float32), the wider over the narrower, uint32 with a signed integer becomes int64. A
Python number is weak: it takes the dtype of the node beside it, or the default float if it is a float beside integers.
Functions whose results are no integers take integers as floats of the default dtype. Ties and derivatives at corners
stand in the modules of the ops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from graphc.dtypes import DType
from graphc.graph import bodies
from graphc.graph.node import Node, make
from graphc.graph.op import Op
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.operands import demand, expand, same
from graphc.records import record


@record
class Elementwise(Op):
    """The family: operands of one shape and dtype, of the kinds in `accepts`; the result's dtype is theirs."""

    accepts: ClassVar[str] = "fiu"
    function: ClassVar[str] = ""
    meaning: ClassVar[Callable[..., Any]]

    def infer(self, *inputs: TensorType, **_: Any) -> TensorType:
        type = same(*inputs, what=self.name)
        demand(type, self.accepts, self.name)
        return TensorType(type.shape, self.result_dtype(type.dtype))

    def result_dtype(self, dtype: DType) -> DType:
        """Return the result's dtype."""
        return dtype

    def numpy(self, *inputs: Any, **_: Any) -> Any:
        return type(self).meaning(*inputs)

    def derivative(self, node: Node, position: int, flow: Node) -> Node | None:
        """Return flow * d result / d input at `position`; None where that is zero."""
        return None

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return tuple(
            self.derivative(node, k, cotangent) if operand.dtype.is_float else None
            for k, operand in enumerate(node.inputs)
        )

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        total: Node | None = None
        for k, tangent in enumerate(tangents):
            part = None if tangent is None else self.derivative(node, k, tangent)
            if part is not None:
                total = part if total is None else total + part
        return total

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        size = next(operand.shape[0] for operand in batched if operand is not None)
        shape = (size, *node.shape)
        pairs = zip(node.inputs, batched, strict=True)
        return make(self, *(expand(operand, shape) if each is None else each for operand, each in pairs))

    def scalar(self, *values: Expr) -> Expr:
        """Return the result's expression over the operands' elements."""
        return expr.apply(self.function or self.name, *values)

    def lower(self, out: TensorType, *inputs: TensorType) -> bodies.Body:
        at = bodies.output_axes(out)
        return bodies.compute(out, self.scalar(*(expr.load(k, at, type.dtype) for k, type in enumerate(inputs))))
