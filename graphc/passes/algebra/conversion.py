"""Conversions between dtypes."""

from __future__ import annotations

import numpy as np

from graphc.dtypes import DType
from graphc.graph.node import Node, call
from graphc.graph.op import Op
from graphc.ops.conversion import Astype
from graphc.passes.algebra.matching import Rule


def astype_same(node: Node) -> Node | None:
    """`astype(x, A)` is `x` where x has the dtype A."""
    (x,) = node.inputs
    return x if x.dtype is node.dtype else None


def astype_chain(node: Node) -> Node | None:
    """`astype(astype(x, A), B)` is `astype(x, B)`: where A holds every value of x, and B treats both alike."""
    (x,) = node.inputs
    if not isinstance(x.op, Astype):
        return None
    source = x.inputs[0]
    if not _holds(x.dtype, source.dtype):
        return None
    alike = node.dtype.is_float or x.dtype.is_float == source.dtype.is_float or _holds(node.dtype, source.dtype)
    return call("astype", source, node.dtype) if alike else None


def _holds(wide: DType, narrow: DType) -> bool:
    # NumPy calls int64 -> float64 safe, which it is not.
    exact = not wide.is_float or np.dtype(narrow.numpy).itemsize < np.dtype(wide.numpy).itemsize or narrow is wide
    return exact and bool(np.can_cast(narrow.numpy, wide.numpy, "safe"))


RULES: dict[type[Op], tuple[Rule, ...]] = {Astype: (astype_same, astype_chain)}
