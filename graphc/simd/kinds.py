"""The types of the SIMD dialect: a kind of number and how many of them stand side by side.

Vectors are logical: `f32x16` exists on every machine, and LLVM spreads it over the registers that the CPU has. So a
reduction tree, and with it every bit of a result, does not depend on the CPU.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from graphc.records import record

DTYPES: dict[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "u32": np.dtype(np.uint32),
    "u8": np.dtype(np.uint8),
    "b": np.dtype(np.bool_),
}
KINDS = tuple(DTYPES)
LANES = (2, 4, 8, 16)
SIGNED = ("i32", "i64")
UNSIGNED = ("u32", "u8")
INTEGERS = SIGNED + UNSIGNED
FLOATS = ("f32", "f64")
NUMBERS = FLOATS + INTEGERS

_KIND_OF_DTYPE = {dtype: kind for kind, dtype in DTYPES.items()}


@record
class SimdType:
    """A scalar (one lane) or a vector of `lanes` numbers of one kind."""

    kind: str
    lanes: int = 1

    def __str__(self) -> str:
        return self.kind if self.lanes == 1 else f"{self.kind}x{self.lanes}"

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[self.kind]

    @functools.cached_property
    def itemsize(self) -> int:
        """Bytes of one lane in memory; a boolean is one byte."""
        return DTYPES[self.kind].itemsize

    @property
    def nbytes(self) -> int:
        return self.itemsize * self.lanes

    @functools.cached_property
    def bits(self) -> int:
        return 1 if self.kind == "b" else 8 * self.itemsize

    @functools.cached_property
    def is_float(self) -> bool:
        return self.kind in FLOATS

    @functools.cached_property
    def is_integer(self) -> bool:
        return self.kind in INTEGERS

    @functools.cached_property
    def is_signed(self) -> bool:
        return self.kind in SIGNED

    def of(self, kind: str) -> SimdType:
        """Return the type with as many lanes of another kind."""
        return _made(kind, self.lanes)

    def wide(self, lanes: int) -> SimdType:
        """Return the type with another number of lanes of this kind."""
        return _made(self.kind, lanes)

    @functools.cached_property
    def stored(self) -> SimdType:
        """The type in memory, where a boolean is a byte."""
        return self.of("u8") if self.kind == "b" else self

    @functools.cached_property
    def llvm(self) -> str:
        """What LLVM calls the type of a value, where a boolean is one bit."""
        element = {"f32": "float", "f64": "double"}.get(self.kind) or f"i{self.bits}"
        return element if self.lanes == 1 else f"<{self.lanes} x {element}>"


@functools.cache
def _made(kind: str, lanes: int) -> SimdType:
    return SimdType(kind, lanes)


@record
class ArrayType:
    """A C-contiguous array over memory, which only the user's own functions take."""

    kind: str
    rank: int

    def __str__(self) -> str:
        return f"{self.kind} array of rank {self.rank}"


I64 = _made("i64", 1)
B = _made("b", 1)
SCALARS = tuple(SimdType(kind) for kind in KINDS)
VECTORS = tuple(SimdType(kind, lanes) for kind in KINDS for lanes in LANES)


def type_of(value: Any) -> SimdType:
    """Return the dialect's type of a NumPy scalar or one-dimensional array."""
    return _type(value.dtype, value.size)


@functools.cache
def _type(dtype: np.dtype[Any], lanes: int) -> SimdType:
    return SimdType(_KIND_OF_DTYPE[dtype], lanes)
