"""Dense factorisations of a batch of matrices, by LAPACK as SciPy brings it along.

Each function here fills its outputs, uses its scratch arrays, and reads its inputs, in this order: first of the inputs are
the addresses of the routines that it calls, then come the matrices (batch, rows, columns). LAPACK stores columns side by
side, so matrices are transposed on their way in and out, and scalars go by address: `numbers` holds them, the routine's
verdict last. A matrix that is not finite, or that LAPACK gives up on, has NaN for its results.

Results do not depend on how many threads graphc runs; for large matrices the library has threads of its own. Each
function stands alone because it is compiled alone. Anderson et al., LAPACK Users' Guide, third edition, SIAM 1999.
"""

# The functions are compiled from arrays of any dtype.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import MissingPackageError
from graphc.graph.node import State, state
from graphc.simd.foreign import call_address, pointer


@functools.cache
def routines(*names: str) -> State:
    """Return the addresses of LAPACK routines in this process: a state, so that they stand in no code and no cache."""
    try:
        from scipy.linalg import cython_lapack  # pyright: ignore
    except ImportError:
        raise MissingPackageError("graphc.linalg needs SciPy; run: pip install graphc[linalg]") from None
    name_of, address_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.argtypes, name_of.restype = [ctypes.py_object], ctypes.c_char_p
    address_of.argtypes, address_of.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    capsules: list[Any] = [cython_lapack.__pyx_capi__[name] for name in names]
    return state(np.array([address_of(one, name_of(one)) for one in capsules], np.int64), "+".join(names))


def solve(x: Any, factor: Any, right: Any, pivots: Any, numbers: Any, gesv: Any, a: Any, b: Any) -> None:
    """Solve a @ x = b by elimination with partial pivoting."""
    count, n, k = x.shape
    numbers[0] = n
    numbers[1] = k
    for each in range(count):
        is_finite = n > 0
        for i in range(n):
            for j in range(n):
                is_finite = is_finite and -math.inf < a[each, i, j] < math.inf
                factor[j, i] = a[each, i, j]
            for j in range(k):
                right[j, i] = b[each, i, j]
        numbers[2] = 1
        if is_finite:
            call_address(
                gesv[0],
                pointer(numbers, 0),
                pointer(numbers, 1),
                pointer(factor, 0),
                pointer(numbers, 0),
                pointer(pivots, 0),
                pointer(right, 0),
                pointer(numbers, 0),
                pointer(numbers, 2),
            )
        for i in range(n):
            for j in range(k):
                x[each, i, j] = right[j, i] if numbers[2] == 0 else math.nan


@functools.cache
def triangular_solve(*, upper: bool, unit: bool) -> Callable[..., None]:
    """Return the function that solves a @ x = b where only one triangle of a is read."""
    side = ord("U" if upper else "L")
    diagonal = ord("U" if unit else "N")
    trans = ord("N")

    def triangular(x: Any, factor: Any, right: Any, numbers: Any, trtrs: Any, a: Any, b: Any) -> None:
        count, n, k = x.shape
        numbers[0] = n
        numbers[1] = k
        numbers[2] = side
        numbers[3] = trans
        numbers[4] = diagonal
        for each in range(count):
            is_finite = n > 0
            for i in range(n):
                for j in range(i if upper else 0, n if upper else i + 1):
                    is_finite = is_finite and ((unit and i == j) or -math.inf < a[each, i, j] < math.inf)
                    factor[j, i] = a[each, i, j]
                for j in range(k):
                    right[j, i] = b[each, i, j]
            numbers[5] = 1
            if is_finite:
                call_address(
                    trtrs[0],
                    pointer(numbers, 2),
                    pointer(numbers, 3),
                    pointer(numbers, 4),
                    pointer(numbers, 0),
                    pointer(numbers, 1),
                    pointer(factor, 0),
                    pointer(numbers, 0),
                    pointer(right, 0),
                    pointer(numbers, 0),
                    pointer(numbers, 5),
                )
            for i in range(n):
                for j in range(k):
                    x[each, i, j] = right[j, i] if numbers[5] == 0 else math.nan

    return triangular


def cholesky(lower: Any, factor: Any, numbers: Any, potrf: Any, a: Any) -> None:
    """Factor a = lower @ lower.T; the lower triangle of a is read."""
    count, n, _ = lower.shape
    numbers[0] = n
    numbers[1] = ord("L")
    for each in range(count):
        is_finite = n > 0
        for i in range(n):
            for j in range(i + 1):
                is_finite = is_finite and -math.inf < a[each, i, j] < math.inf
                factor[j, i] = a[each, i, j]
        numbers[2] = 1
        if is_finite:
            call_address(
                potrf[0],
                pointer(numbers, 1),
                pointer(numbers, 0),
                pointer(factor, 0),
                pointer(numbers, 0),
                pointer(numbers, 2),
            )
        for i in range(n):
            for j in range(n):
                value = factor[j, i] if j <= i else 0.0
                lower[each, i, j] = value if numbers[2] == 0 else math.nan


def qr(q: Any, r: Any, factor: Any, scales: Any, work: Any, numbers: Any, geqrf: Any, a: Any) -> None:
    """Factor a = q @ r by reflections, for matrices at least as high as wide; geqrf, orgqr."""
    count, m, n = q.shape
    numbers[0] = m
    numbers[1] = n
    numbers[2] = work.shape[0]
    for each in range(count):
        is_finite = m > 0 and n > 0
        for i in range(m):
            for j in range(n):
                is_finite = is_finite and -math.inf < a[each, i, j] < math.inf
                factor[j, i] = a[each, i, j]
        numbers[3] = 1
        if is_finite:
            call_address(
                geqrf[0],
                pointer(numbers, 0),
                pointer(numbers, 1),
                pointer(factor, 0),
                pointer(numbers, 0),
                pointer(scales, 0),
                pointer(work, 0),
                pointer(numbers, 2),
                pointer(numbers, 3),
            )
        for i in range(n):
            for j in range(n):
                value = factor[j, i] if j >= i else 0.0
                r[each, i, j] = value if numbers[3] == 0 else math.nan
        if is_finite:
            call_address(
                geqrf[1],
                pointer(numbers, 0),
                pointer(numbers, 1),
                pointer(numbers, 1),
                pointer(factor, 0),
                pointer(numbers, 0),
                pointer(scales, 0),
                pointer(work, 0),
                pointer(numbers, 2),
                pointer(numbers, 3),
            )
        for i in range(m):
            for j in range(n):
                q[each, i, j] = factor[j, i] if numbers[3] == 0 else math.nan


def slogdet(sign: Any, logarithm: Any, factor: Any, pivots: Any, numbers: Any, getrf: Any, a: Any) -> None:
    """Give the sign and the logarithm of the absolute value of the determinant, by elimination."""
    count, n, _ = a.shape
    numbers[0] = n
    for each in range(count):
        is_finite = True
        for i in range(n):
            for j in range(n):
                is_finite = is_finite and -math.inf < a[each, i, j] < math.inf
                factor[j, i] = a[each, i, j]
        if is_finite and n > 0:
            call_address(
                getrf[0],
                pointer(numbers, 0),
                pointer(numbers, 0),
                pointer(factor, 0),
                pointer(numbers, 0),
                pointer(pivots, 0),
                pointer(numbers, 1),
            )
        parity = 1.0
        total = 0.0
        for i in range(n if is_finite else 0):
            value = factor[i, i]
            if pivots[i] != i + 1:
                parity = -parity
            if value < 0:
                parity = -parity
            if value == 0:
                parity = 0.0
                total = -math.inf
            else:
                total += math.log(abs(value))
        sign[each] = parity if is_finite else math.nan
        logarithm[each] = total if is_finite else math.nan


def eigh(values: Any, vectors: Any, factor: Any, work: Any, integers: Any, numbers: Any, syevd: Any, a: Any) -> None:
    """Factor a symmetric a = vectors @ diag(values) @ vectors.T, values rising; its lower triangle is read."""
    count, n, _ = vectors.shape
    numbers[0] = n
    numbers[1] = ord("V")
    numbers[2] = ord("L")
    numbers[3] = work.shape[0]
    numbers[4] = integers.shape[0]
    for each in range(count):
        is_finite = n > 0
        for i in range(n):
            for j in range(i + 1):
                is_finite = is_finite and -math.inf < a[each, i, j] < math.inf
                factor[j, i] = a[each, i, j]
        numbers[5] = 1
        if is_finite:
            call_address(
                syevd[0],
                pointer(numbers, 1),
                pointer(numbers, 2),
                pointer(numbers, 0),
                pointer(factor, 0),
                pointer(numbers, 0),
                pointer(values, each * n),
                pointer(work, 0),
                pointer(numbers, 3),
                pointer(integers, 0),
                pointer(numbers, 4),
                pointer(numbers, 5),
            )
        for i in range(n):
            if numbers[5] != 0:
                values[each, i] = math.nan
            for j in range(n):
                vectors[each, i, j] = factor[j, i] if numbers[5] == 0 else math.nan


def svd(
    u: Any,
    s: Any,
    vh: Any,
    factor: Any,
    left: Any,
    right: Any,
    work: Any,
    integers: Any,
    numbers: Any,
    gesdd: Any,
    a: Any,
) -> None:
    """Factor a = u @ diag(s) @ vh, singular values falling."""
    count, m, n = a.shape
    k = s.shape[1]
    numbers[0] = m
    numbers[1] = n
    numbers[2] = k
    numbers[3] = work.shape[0]
    numbers[4] = ord("S")
    for each in range(count):
        is_finite = k > 0
        for i in range(m):
            for j in range(n):
                is_finite = is_finite and -math.inf < a[each, i, j] < math.inf
                factor[j, i] = a[each, i, j]
        numbers[5] = 1
        if is_finite:
            call_address(
                gesdd[0],
                pointer(numbers, 4),
                pointer(numbers, 0),
                pointer(numbers, 1),
                pointer(factor, 0),
                pointer(numbers, 0),
                pointer(s, each * k),
                pointer(left, 0),
                pointer(numbers, 0),
                pointer(right, 0),
                pointer(numbers, 2),
                pointer(work, 0),
                pointer(numbers, 3),
                pointer(integers, 0),
                pointer(numbers, 5),
            )
        for i in range(k):
            if numbers[5] != 0:
                s[each, i] = math.nan
            for j in range(m):
                u[each, j, i] = left[i, j] if numbers[5] == 0 else math.nan
            for j in range(n):
                vh[each, i, j] = right[j, i] if numbers[5] == 0 else math.nan
