# pyright: reportUnknownVariableType=false
"""The dialect's arithmetic on NumPy scalars and arrays: the twin of `graphc.simd.arithmetic`.

Its methods are the emitter's, and NumPy supplies the operators. A fused multiply-add is computed exactly, because an
emitted one is.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.simd.kinds import DTYPES, SimdType, type_of

Array = Any  # a NumPy scalar or a one-dimensional array


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the rounded sum and its error (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def _round_to_odd(a: Array, b: Array) -> Array:
    """Return the sum in float64, an inexact one with its last bit set: rounding it again is then harmless."""
    total, error = _two_sum(a, b)
    bits = np.asarray(total).view(np.int64)
    even = (error != 0) & (bits & 1 == 0) & np.isfinite(total)
    away = (error > 0) == (total > 0)
    return np.where(even, bits + np.where(away, 1, -1), bits).view(np.float64)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the rounded product and its error (Dekker, Veltkamp)."""
    product = a * b
    scaled = 134217729.0 * a
    a_high = scaled - (scaled - a)
    scaled = 134217729.0 * b
    b_high = scaled - (scaled - b)
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def fused(a: Array, b: Array, c: Array) -> Array:
    """Compute a * b + c with one rounding.

    In float64 by the algorithm of Boldo and Melquiond (Emulation of FMA and correctly rounded sums, 2008), which is
    exact while the product and its error neither overflow nor underflow; outside of that, with two roundings.
    """
    dtype = a.dtype
    if dtype == np.float32:
        product = a.astype(np.float64) * b.astype(np.float64)  # exact: 48 bits
        total = product + c
        halfway = np.asarray(total).view(np.int64) & 0x1FFFFFFF == 0x10000000
        if (halfway | (np.abs(total) < 2.0**-126)).any():  # only there can rounding twice show
            total = _round_to_odd(product, c.astype(np.float64))[()]
        return total.astype(dtype)
    plain = a * b + c
    high, low = _two_product(a, b)
    middle, rest = _two_sum(c, low)
    total, error = _two_sum(high, middle)
    exact = total + _round_to_odd(rest, error)
    size = np.abs(high)
    safe = np.isfinite(exact) & (size > 1e-270) & (np.abs(a) < 1e290) & (np.abs(b) < 1e290)
    return np.where(safe, exact, plain)[()]


class Arrays:
    """Arithmetic on NumPy values; see `graphc.simd.arithmetic.Arithmetic` for what each method means."""

    def __init__(self, has_fma: bool = True):
        self.has_fma = has_fma

    def type_of(self, x: Array) -> SimdType:
        return type_of(x)

    def constant(self, kind: SimdType, number: float | list[int]) -> Array:
        if kind.lanes == 1:
            return kind.dtype.type(number)
        if isinstance(number, list):
            return np.array(number, kind.dtype)
        return np.full(kind.lanes, number, kind.dtype)

    def known(self, x: Array) -> int | None:
        return int(x) if x.ndim == 0 and x.dtype.kind in "iu" else None

    def with_run(self, mask: Array, count: Array) -> Array:
        return mask

    def splat(self, x: Array, lanes: int) -> Array:
        return np.full(lanes, x, x.dtype)

    def lanes(self, x: Array, indexes: list[int]) -> Array:
        return x[indexes[0]] if len(indexes) == 1 else x[indexes]

    def lane(self, x: Array, index: Array) -> Array:
        return x[int(index)]

    def convert(self, x: Array, kind: str) -> Array:
        dtype = DTYPES[kind]
        if kind == "b":
            return x != 0
        if x.dtype.kind == "f" and dtype.kind in "iu":
            limits = np.iinfo(dtype)
            # The largest integer of a wide kind is not a float; the first float past it is where saturation starts.
            inside = (x > float(limits.min) - 1.0) & (x < float(limits.max)) & ~np.isnan(x)
            past = np.where(np.isnan(x), 0, np.where(x > 0, limits.max, limits.min)).astype(dtype)
            return np.where(inside, np.where(inside, x, 0).astype(dtype), past)[()]
        return x.astype(dtype)

    def bits(self, x: Array, kind: str) -> Array:
        return x.view(DTYPES[kind])

    def any_lane(self, mask: Array) -> Array:
        return mask.any()

    def first_lane(self, x: Array, mask: Array) -> Array:
        return x[int(np.argmax(mask))]

    def corrected(
        self,
        mask: Array,
        values: tuple[Array, ...],
        compute: Callable[["Arrays", Array], tuple[Array, ...]],
        argument: Array,
    ) -> tuple[Array, ...]:
        if not mask.any():
            return values
        pairs: list[tuple[Array, Array]] = list(zip(compute(self, argument), values, strict=True))
        return tuple(self.select(mask, new, old) for new, old in pairs)

    def lookup(self, table: tuple[int, ...], index: Array) -> Array:
        return np.array(table, np.int64)[index]

    def fma(self, a: Array, b: Array, c: Array) -> Array:
        return fused(a, b, c) if self.has_fma else a * b + c

    def sqrt(self, x: Array) -> Array:
        return np.sqrt(x)

    def absolute(self, x: Array) -> Array:
        return np.abs(x)

    def floor(self, x: Array) -> Array:
        return np.floor(x)

    def ceil(self, x: Array) -> Array:
        return np.ceil(x)

    def trunc(self, x: Array) -> Array:
        return np.trunc(x)

    def round(self, x: Array) -> Array:
        return np.rint(x)

    def instruction(self, name: str, *operands: Array | int) -> None:
        return None

    def copysign(self, x: Array, sign: Array) -> Array:
        return np.copysign(x, sign)

    def select(self, mask: Array, a: Array, b: Array) -> Array:
        return np.where(mask, a, b)[()]

    def quotient(self, a: Array, b: Array) -> Array:
        floor = a // b
        return (floor + ((floor < 0) & (floor * b != a)).astype(a.dtype))[()]

    def fmod(self, a: Array, b: Array) -> Array:
        return np.fmod(a, b)

    def shift_left(self, x: Array, count: Array) -> Array:
        return x << count

    def shift_right(self, x: Array, count: Array) -> Array:
        return x >> count
