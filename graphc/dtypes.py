"""The dtype table and promotion.

Promotion follows PyTorch's table between arrays (int32 with float32 is float32) and treats Python scalars as weak:
a scalar never widens the array's dtype within its kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.records import record


@record
class DType:
    """An element type. `short` is its name in kernels; `kind` is f, i, u or b; `itemsize` is in bytes."""

    name: str
    short: str
    kind: str
    itemsize: int

    @property
    def numpy(self) -> np.dtype[Any]:
        """The same type in NumPy."""
        return np.dtype(self.name)

    @property
    def is_float(self) -> bool:
        """Whether gradients can flow through values of this type."""
        return self.kind == "f"

    def __repr__(self) -> str:
        return self.name


float32 = DType("float32", "f32", "f", 4)
float64 = DType("float64", "f64", "f", 8)
int32 = DType("int32", "i32", "i", 4)
int64 = DType("int64", "i64", "i", 8)
uint32 = DType("uint32", "u32", "u", 4)
uint8 = DType("uint8", "u8", "u", 1)
bool_ = DType("bool", "b", "b", 1)

DTYPES: dict[str, DType] = {t.name: t for t in (float32, float64, int32, int64, uint32, uint8, bool_)}
# The order in which a wider type absorbs a narrower one; uint32 with a signed type needs int64 to hold both.
_ORDER = (bool_, uint8, int32, uint32, int64, float32, float64)
_default = float32


def as_dtype(value: object) -> DType:
    """Return the dtype that a DType, a name, a NumPy dtype or a Python type stands for."""
    if isinstance(value, DType):
        return value
    try:
        # NumPy takes None for float64, which would make a forgotten argument a dtype.
        name = "None" if value is None else np.dtype(value).name  # type: ignore[call-overload]
    except TypeError:
        name = str(value)
    if name not in DTYPES:
        raise DTypeError(f"dtype {value!r} is not supported; expected one of {', '.join(DTYPES)}")
    return DTYPES[name]


def promote(*types: DType) -> DType:
    """Return the dtype that holds values of all these dtypes."""
    result = max(types, key=_ORDER.index)
    if result is uint32 and any(t.kind == "i" for t in types):
        return int64
    return result


def weak(value: bool | int | float, other: DType) -> DType:
    """Return the dtype of a Python scalar that meets an array of dtype `other`."""
    if isinstance(value, bool):
        return other
    if isinstance(value, int):
        return int64 if other is bool_ else other
    return other if other.is_float else _default


def default_dtype() -> DType:
    """Return the floating dtype that builders use unless told otherwise."""
    return _default


def set_default_dtype(dtype: object) -> None:
    """Make `dtype` (float32 or float64) what builders use unless told otherwise."""
    global _default
    chosen = as_dtype(dtype)
    if not chosen.is_float:
        raise DTypeError(f"the default dtype must be float32 or float64, got {chosen}")
    _default = chosen
