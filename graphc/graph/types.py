"""Types of nodes.

type ::= TensorType(shape, dtype) | TupleType(items)        `float32[batch, 784]`, `(int32[4], float32[])`
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from graphc import dims
from graphc.dims import Atom, Dim, DimExpr
from graphc.dtypes import DType
from graphc.errors import ShapeError
from graphc.records import record


@record
class TensorType:
    """The shape and dtype of an array."""

    shape: tuple[Dim, ...]
    dtype: DType

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return dims.product(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}{shape_text(self.shape)}"


@record
class TupleType:
    """The types of a node with several results."""

    items: tuple[TensorType, ...]

    def __str__(self) -> str:
        return f"({', '.join(str(item) for item in self.items)})"


NodeType: TypeAlias = TensorType | TupleType


def shape_text(shape: Iterable[Dim]) -> str:
    """Return the printed form of a shape."""
    return f"[{', '.join(str(dim) for dim in shape)}]"


def as_shape(shape: object) -> tuple[Dim, ...]:
    """Return the shape that an integer, a string, or a sequence of integers, strings (symbols) and dims stands for."""
    items: Any = shape if isinstance(shape, tuple | list) else (shape,)  # pyright: ignore[reportUnknownVariableType]
    return tuple(as_dim(item) for item in items)


def as_dim(value: object) -> Dim:
    """Return the dim that an integer, a string (a symbol) or a dim stands for."""
    if isinstance(value, DimExpr):
        return value
    if isinstance(value, str):
        if not value.isidentifier():
            raise ShapeError(f"expected a dimension's name to be an identifier, got {value!r}")
        return dims.symbol(value)
    try:
        number = int(value.__index__())  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        raise ShapeError(f"expected a dimension: an integer, a name or a dim; got {value!r}") from None
    if isinstance(value, bool) or number < 0:
        raise ShapeError(f"expected a dimension of 0 or more, got {value!r}")
    return number


def resize(value: Any, sizes: dict[Atom, Dim]) -> Any:
    """Replace symbols in whatever holds dims: a dim, an axis, a type, or a tuple of them; keep other values."""
    match value:
        case DimExpr():
            return dims.substitute(value, sizes)
        case dims.Axis(name, extent):
            return dims.Axis(name, dims.substitute(extent, sizes))
        case TensorType(shape, dtype):
            return TensorType(tuple(dims.substitute(dim, sizes) for dim in shape), dtype)
        case TupleType(items):
            return TupleType(
                tuple(TensorType(tuple(dims.substitute(d, sizes) for d in t.shape), t.dtype) for t in items)
            )
        case tuple():
            items: tuple[Any, ...] = value  # pyright: ignore[reportUnknownVariableType]
            new = [resize(item, sizes) for item in items]
            if all(a is b for a, b in zip(new, items, strict=True)):
                return items
            # A named tuple stays one.
            return type(items)(*new) if hasattr(items, "_fields") else tuple(new)
        case _:
            return value
