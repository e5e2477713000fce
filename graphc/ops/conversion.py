"""Rounding, and conversion from one dtype to another.

Rounding leaves integers as they are, and its derivative is 0. Conversion of floats to integers truncates and saturates
(NumPy's depends on the machine): what is too large gives the largest integer, NaN gives 0. Integers wrap into narrower
ones, floats round to the nearest even, and everything but 0 is true, NaN too. A conversion between floats passes the
gradient on.

Shape: `(...) -> (...)`.
Source: `numpy.{name}`.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dtypes import DType, as_dtype, default_dtype
from graphc.errors import DTypeError
from graphc.graph.node import Node, builder, make
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.elementwise import Elementwise
from graphc.ops.operands import as_node, cast, common_dtype, whole
from graphc.records import record


class Floor(Elementwise):
    """The largest integer that is not above x, as a float."""

    name = "floor"
    accepts = "f"
    meaning = np.floor


class Ceil(Elementwise):
    """The smallest integer that is not below x, as a float."""

    name = "ceil"
    accepts = "f"
    meaning = np.ceil


class Trunc(Elementwise):
    """x without its fraction."""

    name = "trunc"
    accepts = "f"
    meaning = np.trunc


class Round(Elementwise):
    """The integer nearest to x, the even one of two, as a float."""

    name = "round"
    accepts = "f"
    meaning = np.rint


@record
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
        return cast(flow, node.inputs[0].dtype)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None if tangents[0] is None else cast(tangents[0], self.dtype)

    def scalar(self, *values: Expr) -> Expr:
        return expr.cast(values[0], self.dtype)


@builder("floor")
def floor(x: Any) -> Node:
    """Return the largest integers not above x, `x // 1`, in x's dtype; integers as they are."""
    return _rounded(Floor(), x)


@builder("ceil")
def ceil(x: Any) -> Node:
    """Return the smallest integers not below x, `-floor(-x)`, in x's dtype; integers as they are."""
    return _rounded(Ceil(), x)


@builder("trunc")
def trunc(x: Any) -> Node:
    """Return x without its fraction, `sign(x) * floor(abs(x))`, in x's dtype; integers as they are."""
    return _rounded(Trunc(), x)


@builder("round")
def round(x: Any, decimals: int = 0) -> Node:
    """Return the numbers of so many decimals nearest to x, of two the even one, in x's dtype; integers as they are.

    As NumPy: x is multiplied by a power of 10, rounded, and divided by it. Raises DTypeError for integers with negative
    decimals.

    Formula: `rint(x * 10.0**decimals) / 10.0**decimals`.
    Gradient: by x `0`.
    """
    node, places = as_node(x), whole(decimals, "a number of decimals")
    if not places or (places > 0 and not node.dtype.is_float):
        return _rounded(Round(), node)
    if not node.dtype.is_float:
        raise DTypeError(f"round: expected floats for decimals={places}, got {node.type}; use astype")
    power = 10.0 ** abs(places)
    return round(node * power) / power if places > 0 else round(node / power) * power


def _rounded(op: Elementwise, x: Any) -> Node:
    node = as_node(x)
    return node if node.dtype.kind in "iu" else make(op, node)


@builder("astype")
def astype(x: Any, dtype: object) -> Node:
    """Convert to a dtype: floats to integers truncate and saturate (NaN gives 0), integers wrap, all but 0 is true.

    Formula: `x.astype(dtype)`, where the dtype holds the number.
    Gradient: by x `g`; none to or from integers and booleans, which have no derivative.
    """
    node, wanted = as_node(x), as_dtype(dtype)
    return node if node.dtype is wanted else make(Astype(wanted), node)


def result_type(*values: Any) -> DType:
    """Return the dtype that an op gives nodes, arrays, dtypes and Python numbers together; the default for none."""
    return common_dtype(*values) if values else default_dtype()
