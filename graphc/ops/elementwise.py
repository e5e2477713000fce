"""Elementwise ops: the value at an index depends on the operands at that index alone.

So the Jacobian is diagonal, and one rule, `derivative`, serves both modes: it scales a cotangent or a tangent alike.
Ties: maximum and minimum give each operand half, as torch.maximum; relu'(0) = abs'(0) = 0.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphc.dtypes import DType, as_dtype, default_dtype, promote
from graphc.errors import DTypeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, call, make
from graphc.graph.op import Op
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.operands import aligned, as_node, broadcasted, cast, demand, expand, floating, promoted, same


@dataclass(frozen=True)
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


class Add(Elementwise):
    """x + y."""

    name = "add"
    meaning = np.add

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow


class Subtract(Elementwise):
    """x - y."""

    name = "subtract"
    meaning = np.subtract

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return -flow if position else flow


class Multiply(Elementwise):
    """x * y."""

    name = "multiply"
    meaning = np.multiply

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * node.inputs[1 - position]


class Divide(Elementwise):
    """x / y, of floats."""

    name = "divide"
    accepts = "f"
    meaning = np.divide

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        share = flow / node.inputs[1]
        return -share * node if position else share


class Negative(Elementwise):
    """-x."""

    name = "negative"
    meaning = np.negative

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return -flow


class Exp(Elementwise):
    """e to the power of x."""

    name = "exp"
    accepts = "f"
    meaning = np.exp

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * node


class Log(Elementwise):
    """Natural logarithm."""

    name = "log"
    accepts = "f"
    meaning = np.log

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow / node.inputs[0]


class Tanh(Elementwise):
    """Hyperbolic tangent."""

    name = "tanh"
    accepts = "f"
    meaning = np.tanh

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (1.0 - node * node)


def _sigmoid(x: Any) -> Any:
    decayed = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, decayed) / (1 + decayed)


class Sigmoid(Elementwise):
    """1 / (1 + e^-x)."""

    name = "sigmoid"
    accepts = "f"
    meaning = _sigmoid

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (node * (1.0 - node))


class Sqrt(Elementwise):
    """Square root."""

    name = "sqrt"
    accepts = "f"
    meaning = np.sqrt

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * 0.5 / node


class Abs(Elementwise):
    """Absolute value; the derivative at 0 is 0."""

    name = "abs"
    meaning = np.abs

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * sign(node.inputs[0])


class Relu(Elementwise):
    """max(x, 0); the derivative at 0 is 0."""

    name = "relu"

    def numpy(self, x: Any) -> Any:
        return np.maximum(x, np.zeros((), x.dtype))

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        # The result is positive where the operand is, so the operand need not be kept for the backward pass.
        return call("where", node > 0, flow, 0)

    def scalar(self, *values: Expr) -> Expr:
        return expr.apply("maximum", values[0], expr.const(0, values[0].dtype))


class _Extremum(Elementwise):
    wins: ClassVar[str]

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        mine, other = node.inputs[position], node.inputs[1 - position]
        won = call("where", call(self.wins, mine, other), flow, 0)
        return call("where", mine == other, flow * 0.5, won)


class Maximum(_Extremum):
    """The larger of two; NaN if one is. A tie sends half the gradient to each."""

    name = "maximum"
    wins = "greater"
    meaning = np.maximum


class Minimum(_Extremum):
    """The smaller of two; NaN if one is. A tie sends half the gradient to each."""

    name = "minimum"
    wins = "less"
    meaning = np.minimum


@dataclass(frozen=True)
class Power(Elementwise):
    """x to a constant power that is no integer: exp(exponent * log(x)), so NaN for negative x."""

    exponent: float

    name = "power"
    accepts = "f"

    def numpy(self, x: Any) -> Any:
        return np.power(x, np.asarray(self.exponent, x.dtype))

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (self.exponent * power(node.inputs[0], self.exponent - 1))

    def scalar(self, *values: Expr) -> Expr:
        scaled = expr.apply("multiply", expr.const(self.exponent, values[0].dtype), expr.apply("log", values[0]))
        return expr.apply("exp", scaled)


class FloorDivide(Elementwise):
    """x / y rounded down; an integer divided by 0 is 0."""

    name = "floor_divide"
    function = "floordiv"
    meaning = np.floor_divide


class Remainder(Elementwise):
    """x - floor(x / y) * y, with the sign of y; an integer's remainder by 0 is 0."""

    name = "remainder"
    meaning = np.remainder

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return -flow * floor_divide(*node.inputs) if position else flow


class Floor(Elementwise):
    """The largest integer that is not above x, as a float."""

    name = "floor"
    accepts = "f"
    meaning = np.floor


class ShiftRight(Elementwise):
    """Unsigned bits shifted right."""

    name = "bitwise_right_shift"
    function = "shift_right"
    accepts = "u"
    meaning = np.right_shift


@dataclass(frozen=True)
class Astype(Elementwise):
    """Conversion: floats to integers truncate and saturate (NaN gives 0), integers wrap, anything but 0 is true."""

    dtype: DType

    name = "astype"
    accepts = "fiub"

    def result_dtype(self, dtype: DType) -> DType:
        return self.dtype

    def numpy(self, x: Any) -> Any:
        if x.dtype.kind == "f" and self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype.numpy)
            low, high = float(limits.min), float(limits.max)
            inside = np.where((x > low) & (x < high), x, 0).astype(self.dtype.numpy)
            return np.where(x >= high, limits.max, np.where(x <= low, limits.min, inside)).astype(self.dtype.numpy)
        return x.astype(self.dtype.numpy)

    def derivative(self, node: Node, position: int, flow: Node) -> Node | None:
        # Backward, the cotangent returns to the operand's dtype; `jvp` below carries tangents forward.
        return cast(flow, node.inputs[0].dtype) if self.dtype.is_float else None

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return cast(tangents[0], self.dtype) if tangents[0] is not None and self.dtype.is_float else None

    def scalar(self, *values: Expr) -> Expr:
        return expr.cast(values[0], self.dtype)


@builder("add")
def add(x: Any, y: Any) -> Node:
    """Return x + y, elementwise."""
    return make(Add(), *aligned(x, y))


@builder("subtract")
def subtract(x: Any, y: Any) -> Node:
    """Return x - y, elementwise."""
    return make(Subtract(), *aligned(x, y))


@builder("multiply")
def multiply(x: Any, y: Any) -> Node:
    """Return x * y, elementwise."""
    return make(Multiply(), *aligned(x, y))


@builder("divide")
def divide(x: Any, y: Any) -> Node:
    """Return x / y, elementwise; integers give floats."""
    left, right = promoted(x, y)
    return make(Divide(), *broadcasted(floating(left), floating(right)))


@builder("floor_divide")
def floor_divide(x: Any, y: Any) -> Node:
    """Return x / y rounded down; an integer divided by 0 is 0."""
    return make(FloorDivide(), *aligned(x, y))


@builder("remainder")
def remainder(x: Any, y: Any) -> Node:
    """Return x - floor(x / y) * y."""
    return make(Remainder(), *aligned(x, y))


@builder("maximum")
def maximum(x: Any, y: Any) -> Node:
    """Return the larger of x and y, elementwise; NaN if one is."""
    return make(Maximum(), *aligned(x, y))


@builder("minimum")
def minimum(x: Any, y: Any) -> Node:
    """Return the smaller of x and y, elementwise; NaN if one is."""
    return make(Minimum(), *aligned(x, y))


@builder("negative")
def negative(x: Any) -> Node:
    """Return -x."""
    return make(Negative(), as_node(x))


@builder("exp")
def exp(x: Any) -> Node:
    """Return e to the power of x."""
    return make(Exp(), floating(x))


@builder("log")
def log(x: Any) -> Node:
    """Return the natural logarithm."""
    return make(Log(), floating(x))


@builder("tanh")
def tanh(x: Any) -> Node:
    """Return the hyperbolic tangent."""
    return make(Tanh(), floating(x))


@builder("sigmoid")
def sigmoid(x: Any) -> Node:
    """Return 1 / (1 + e^-x)."""
    return make(Sigmoid(), floating(x))


@builder("sqrt")
def sqrt(x: Any) -> Node:
    """Return the square root; NaN for negative numbers."""
    return make(Sqrt(), floating(x))


@builder("abs")
def abs(x: Any) -> Node:
    """Return the absolute value."""
    return make(Abs(), as_node(x))


@builder("relu")
def relu(x: Any) -> Node:
    """Return max(x, 0)."""
    return make(Relu(), as_node(x))


@builder("floor")
def floor(x: Any) -> Node:
    """Return the largest integers not above x, as floats."""
    return make(Floor(), floating(x))


@builder("square")
def square(x: Any) -> Node:
    """Return x * x."""
    node = as_node(x)
    return node * node


@builder("sign")
def sign(x: Any) -> Node:
    """Return -1, 0 or 1."""
    node = as_node(x)
    return cast(node > 0, node.dtype) - cast(node < 0, node.dtype)


@builder("clip")
def clip(x: Any, low: Any = None, high: Any = None) -> Node:
    """Return x limited to the range from low to high (None: no limit on that side)."""
    node = as_node(x)
    node = node if low is None else maximum(node, low)
    return node if high is None else minimum(node, high)


@builder("power")
def power(x: Any, exponent: Any) -> Node:
    """Return x to a constant power: products for integers (x**2 is exactly x*x), exp(exponent * log(x)) otherwise."""
    if isinstance(exponent, Node) or not isinstance(exponent, int | float | np.integer | np.floating):
        raise DTypeError(
            "power takes a number as its exponent; for a node write graphc.exp(exponent * graphc.log(base))"
        )
    node = as_node(x)
    if isinstance(exponent, int | np.integer) or float(exponent).is_integer():
        if isinstance(exponent, float | np.floating):
            node = floating(node)
        return _integer_power(node, int(exponent))
    node = floating(node)
    return sqrt(node) if exponent == 0.5 else make(Power(float(exponent)), node)


def _integer_power(node: Node, exponent: int) -> Node:
    if exponent < 0:
        return 1.0 / _integer_power(floating(node), -exponent)
    result: Node | None = None
    while exponent:
        if exponent & 1:
            result = node if result is None else result * node
        exponent >>= 1
        node = node * node if exponent else node
    return expand(as_node(1, node.dtype), node.shape) if result is None else result


@builder("astype")
def astype(x: Any, dtype: object) -> Node:
    """Convert to a dtype: floats to integers truncate and saturate (NaN gives 0), integers wrap, all but 0 is true."""
    node, wanted = as_node(x), as_dtype(dtype)
    return node if node.dtype is wanted else make(Astype(wanted), node)


def result_type(*values: Any) -> DType:
    """Return the dtype that the operands' promotion gives."""
    return promote(*(as_node(value).dtype for value in values)) if values else default_dtype()
