"""Decompositions of matrices, with their derivatives: Cholesky, QR, determinants, eigenvalues, singular values.

Giles, An extended collection of matrix derivative results for forward and reverse mode, 2008, where no other source stands.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import dims
from graphc.dtypes import DType
from graphc.graph.node import Node, builder, require
from graphc.graph.types import TensorType
from graphc.ops import lapack
from graphc.ops.einsum import einsum
from graphc.ops.factorization import (
    Factorization,
    Shape,
    Tangents,
    factored,
    integers,
    matrix_of,
    parts,
    plus,
    square,
    square_matrix,
)
from graphc.ops.joining import concat
from graphc.ops.movement import expand_dims, matrix_transpose
from graphc.ops.positions import eye, tril
from graphc.ops.solving import inv, solve, triangular_solve
from graphc.records import record


@record
class Cholesky(Factorization):
    """The lower triangular root of a positive definite matrix.

    Murray, Differentiation of the Cholesky decomposition, 2016, equations 8 and 10.
    """

    name = "cholesky"
    routines = ("potrf",)

    def shapes(self, *matrices: Shape) -> tuple[Shape, ...]:
        square(matrices[0], self.name)
        return matrices

    def scratch(self, dtype: DType, *matrices: Shape) -> tuple[TensorType, ...]:
        return TensorType(matrices[0], dtype), *integers(3)

    def function(self) -> Callable[..., None]:
        return lapack.cholesky

    def definition(self, *matrices: Any) -> tuple[Any, ...]:
        return (np.linalg.cholesky(*matrices),)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        inner = _lower_half(matrix_transpose(node) @ cotangent)
        upper = matrix_transpose(node)
        left = triangular_solve(upper, inner, upper=True)
        return None, _symmetric(matrix_transpose(triangular_solve(upper, matrix_transpose(left), upper=True)))

    def jvp(self, node: Node, tangents: Tangents) -> Node:
        assert tangents[1] is not None
        left = triangular_solve(node, _symmetric(tangents[1]), upper=False)
        return node @ _lower_half(triangular_solve(node, matrix_transpose(left), upper=False))


@record
class QR(Factorization):
    """q with orthonormal columns and an upper triangular r, of matrices at least as high as wide.

    Walter and Lehmann, Algorithmic differentiation of linear algebra functions, 2010.
    """

    name = "qr"
    routines = ("geqrf", "orgqr")

    def shapes(self, *matrices: Shape) -> tuple[Shape, ...]:
        ((m, n),) = matrices
        require(m, ">=", n, "qr: expected at least as many rows as columns where one of them is a symbol")
        return (m, n), (n, n)

    def scratch(self, dtype: DType, *matrices: Shape) -> tuple[TensorType, ...]:
        ((m, n),) = matrices
        # The routines take a block of 32 columns at a time if they have the room.
        return *(TensorType(s, dtype) for s in ((n, m), (n,), (32 * n,))), *integers(4)

    def function(self) -> Callable[..., None]:
        return lapack.qr

    def definition(self, *matrices: Any) -> tuple[Any, ...]:
        return tuple(np.linalg.qr(*matrices))

    def vjp(self, node: Node, cotangent: Any) -> tuple[Node | None, ...]:
        q, r = parts(node)
        dq, dr = cotangent
        inner = plus(
            None if dr is None else r @ matrix_transpose(dr), None if dq is None else -(matrix_transpose(dq) @ q)
        )
        change = q @ (tril(inner) + matrix_transpose(tril(inner, -1)))
        change = change if dq is None else change + dq
        return None, matrix_transpose(triangular_solve(r, matrix_transpose(change), upper=True))

    def jvp(self, node: Node, tangents: Tangents) -> tuple[Node, Node]:
        q, r = parts(node)
        assert tangents[1] is not None
        lower = matrix_transpose(r)
        change = matrix_transpose(triangular_solve(lower, matrix_transpose(tangents[1]), upper=False))
        inner = matrix_transpose(q) @ change
        below = tril(inner, -1)
        turn = below - matrix_transpose(below)
        return change - q @ (inner - turn), (inner - turn) @ r


@record
class SLogDet(Factorization):
    """The sign of the determinant, and the logarithm of its absolute value. Giles 2008, section 2.2.4."""

    name = "slogdet"
    routines = ("getrf",)

    def shapes(self, *matrices: Shape) -> tuple[Shape, ...]:
        square(matrices[0], self.name)
        return (), ()

    def scratch(self, dtype: DType, *matrices: Shape) -> tuple[TensorType, ...]:
        return TensorType(matrices[0], dtype), *integers(matrices[0][0], 2)

    def function(self) -> Callable[..., None]:
        return lapack.slogdet

    def definition(self, *matrices: Any) -> tuple[Any, ...]:
        return tuple(np.linalg.slogdet(*matrices))

    def vjp(self, node: Node, cotangent: Any) -> tuple[Node | None, ...]:
        if cotangent[1] is None:
            return None, None
        return None, matrix_transpose(inv(node.inputs[1])) * expand_dims(cotangent[1], (-2, -1))

    def jvp(self, node: Node, tangents: Tangents) -> tuple[Node | None, Node]:
        assert tangents[1] is not None
        return None, einsum("...ii->...", solve(node.inputs[1], tangents[1]))


@record
class EigH(Factorization):
    """Eigenvalues, rising, and orthonormal eigenvectors of a symmetric matrix. Giles 2008, section 3.1."""

    name = "eigh"
    routines = ("syevd",)

    def shapes(self, *matrices: Shape) -> tuple[Shape, ...]:
        n = square(matrices[0], self.name)
        return (n,), (n, n)

    def scratch(self, dtype: DType, *matrices: Shape) -> tuple[TensorType, ...]:
        n = matrices[0][0]
        work = TensorType((1 + 6 * n + 2 * n * n,), dtype)
        return TensorType(matrices[0], dtype), work, *integers(3 + 5 * n, 6)

    def function(self) -> Callable[..., None]:
        return lapack.eigh

    def definition(self, *matrices: Any) -> tuple[Any, ...]:
        return tuple(np.linalg.eigh(*matrices))

    def vjp(self, node: Node, cotangent: Any) -> tuple[Node | None, ...]:
        values, vectors = parts(node)
        transposed = matrix_transpose(vectors)
        dvalues, dvectors = cotangent
        inner = plus(
            None if dvalues is None else _diagonal(dvalues),
            None if dvectors is None else (transposed @ dvectors) * _inverse_gaps(values),
        )
        return None, vectors @ inner @ transposed

    def jvp(self, node: Node, tangents: Tangents) -> tuple[Node, Node]:
        values, vectors = parts(node)
        assert tangents[1] is not None
        inner = matrix_transpose(vectors) @ tangents[1] @ vectors
        return einsum("...ii->...i", inner), vectors @ (inner * _inverse_gaps(values))


@record
class SVD(Factorization):
    """Left singular vectors, singular values, falling, and right singular vectors as rows.

    Townsend, Differentiating the singular value decomposition, 2016.
    """

    name = "svd"
    routines = ("gesdd",)

    def shapes(self, *matrices: Shape) -> tuple[Shape, ...]:
        ((m, n),) = matrices
        k = dims.minimum(m, n)
        return (m, k), (k,), (k, n)

    def scratch(self, dtype: DType, *matrices: Shape) -> tuple[TensorType, ...]:
        ((m, n),) = matrices
        k = dims.minimum(m, n)
        work = 4 * k * k + 7 * k + m + n
        return *(TensorType(s, dtype) for s in ((n, m), (k, m), (n, k), (work,))), *integers(8 * k, 6)

    def function(self) -> Callable[..., None]:
        return lapack.svd

    def definition(self, *matrices: Any) -> tuple[Any, ...]:
        return tuple(np.linalg.svd(*matrices, full_matrices=False))

    def vjp(self, node: Node, cotangent: Any) -> tuple[Node | None, ...]:
        u, s, vh = parts(node)
        du, ds, dvh = cotangent
        gaps, columns, rows = _inverse_gaps(s * s), expand_dims(s, -2), expand_dims(s, -1)
        inner = None if ds is None else _diagonal(ds)
        outside: Node | None = None
        if du is not None:
            turn = matrix_transpose(u) @ du
            inner = plus(inner, (turn - matrix_transpose(turn)) * gaps * columns)
            if u.shape[-2] != u.shape[-1]:
                outside = ((du - u @ turn) / columns) @ vh
        if dvh is not None:
            turn = vh @ matrix_transpose(dvh)
            inner = plus(inner, (turn - matrix_transpose(turn)) * gaps * rows)
            if vh.shape[-2] != vh.shape[-1]:
                outside = plus(outside, u @ ((dvh - matrix_transpose(turn) @ vh) / rows))
        return None, plus(u @ plus(inner, None) @ vh, outside)

    def jvp(self, node: Node, tangents: Tangents) -> tuple[Node, Node, Node]:
        u, s, vh = parts(node)
        change = tangents[1]
        assert change is not None
        gaps, columns, rows = _inverse_gaps(s * s), expand_dims(s, -2), expand_dims(s, -1)
        inner = matrix_transpose(u) @ change @ matrix_transpose(vh)
        turned = matrix_transpose(inner)
        du = u @ (gaps * (inner * columns + rows * turned))
        # The antisymmetric turn of the right vectors, transposed.
        dvh = -(gaps * (rows * inner + turned * columns)) @ vh
        if u.shape[-2] != u.shape[-1]:
            part = change @ matrix_transpose(vh)
            du = du + (part - u @ inner) / columns
        if vh.shape[-2] != vh.shape[-1]:
            part = matrix_transpose(u) @ change
            dvh = dvh + (part - inner @ vh) / rows
        return du, einsum("...ii->...i", inner), dvh


def _symmetric(x: Node) -> Node:
    return (x + matrix_transpose(x)) * 0.5


def _diagonal(x: Node) -> Node:
    """Return matrices with these diagonals."""
    return expand_dims(x, -1) * eye(x.shape[-1], dtype=x.dtype)


def _lower_half(x: Node) -> Node:
    """Return the lower triangle, its diagonal halved."""
    return tril(x) - _diagonal(einsum("...ii->...i", x)) * 0.5


def _inverse_gaps(values: Node) -> Node:
    """Return 1 / (value j - value i) at (i, j), 0 on the diagonal; infinite where two are equal."""
    unit = eye(values.shape[-1], dtype=values.dtype)
    return (1 - unit) / (expand_dims(values, -2) - expand_dims(values, -1) + unit)


@builder("cholesky")
def cholesky(a: Any) -> Node:
    """Return the lower triangular L with L @ L.T = (a + a.T) / 2; NaN where that is not positive definite or not finite.

    Shape: `(..., n, n) -> (..., n, n)`.
    Formula: `cholesky((a + a.mT) / 2)`: out @ out.T = (a + a.T) / 2.
    Gradient: by a `(s + s.mT) / 2`, with `s = inv(out.mT) @ ((tril(t) + tril(t, -1)) / 2) @ inv(out)` and `t = out.mT
    @ g`.
    Source: `numpy.linalg.cholesky`, LAPACK potrf; Murray, Differentiation of the Cholesky decomposition, 2016.
    """
    return factored(Cholesky(), _symmetric(square_matrix(a, "cholesky")))


@builder("qr")
def qr(a: Any) -> tuple[Node, Node]:
    """Return q (..., m, k) with orthonormal columns and the upper triangular r (..., k, n), k = min(m, n): q @ r = a.

    The signs are LAPACK's; NaN where a is not finite. Derivatives need the first k columns of a to be independent.

    Shape: `(..., m, n) -> (..., m, k), (..., k, n)`, k = min(m, n).
    Formula: `qr(a)`: q @ r = a, q.T @ q = 1.
    Gradient: by a `(g[0] + q @ (tril(t) + tril(t, -1).mT)) @ inv(r).mT`, with `t = r @ g[1].mT - g[0].mT @ q`, `q =
    out[0]` and `r = out[1]`, where m >= n.
    Source: `numpy.linalg.qr`, LAPACK geqrf and orgqr; Walter and Lehmann, Algorithmic differentiation of linear
    algebra functions, 2010.
    """
    node = matrix_of(a, "qr")
    m, n = node.shape[-2:]
    if not (isinstance(m, int) and isinstance(n, int) and m < n):
        return factored(QR(), node)
    q, r = factored(QR(), node[..., :m])
    return q, concat([r, matrix_transpose(q) @ node[..., m:]], -1)


@builder("slogdet")
def slogdet(a: Any) -> tuple[Node, Node]:
    """Return the sign of the determinant and the logarithm of its absolute value: 0 and -inf for singular matrices.

    NaN for matrices that are not finite.

    Shape: `(..., n, n) -> (...), (...)`.
    Formula: `slogdet(a)`: out[0] * exp(out[1]) = det(a).
    Gradient: by a `g[1] * inv(a).mT`; the sign's is 0.
    Source: `numpy.linalg.slogdet`, LAPACK getrf; Giles, An extended collection of matrix derivative results for
    forward and reverse mode, 2008, 2.2.4.
    """
    return factored(SLogDet(), square_matrix(a, "slogdet"))


@builder("eigh")
def eigh(a: Any) -> tuple[Node, Node]:
    """Return the eigenvalues (..., n) of (a + a.T) / 2, rising, and its eigenvectors as columns (..., n, n).

    The signs of eigenvectors are LAPACK's; NaN where a is not finite. The derivatives of vectors are not finite where two
    eigenvalues are equal.

    Shape: `(..., n, n) -> (..., n), (..., n, n)`.
    Formula: `eigh((a + a.mT) / 2)`: w and v with (a + a.T) / 2 @ v = v * w.
    Gradient: by a `(s + s.mT) / 2`, with `s = v @ (diag(g[0]) + (v.mT @ g[1]) / (d + eye(len(d))) * (d != 0)) @ v.mT`,
    `d = w - w[:, None]`, `w = out[0]` and `v = out[1]`.
    Source: `numpy.linalg.eigh`, LAPACK syevd; Giles, An extended collection of matrix derivative results for forward
    and reverse mode, 2008, 3.1.
    """
    return factored(EigH(), _symmetric(square_matrix(a, "eigh")))


@builder("svd")
def svd(a: Any) -> tuple[Node, Node, Node]:
    """Return u (..., m, k), s (..., k) falling, vh (..., k, n), k = min(m, n): u @ diag(s) @ vh = a.

    The signs of singular vectors are LAPACK's; NaN where a is not finite. The derivatives of vectors are not finite where
    two singular values are equal, or one is 0 and a is not square.

    Shape: `(..., m, n) -> (..., m, k), (..., k), (..., k, n)`, k = min(m, n).
    Formula: `svd(a, full_matrices=False)`: u @ diag(s) @ vh = a.
    Gradient: by a `u @ ((f * (t - t.mT)) * s + s[:, None] * (f * (w - w.mT)) + diag(g[1])) @ vh`, with `t = u.mT @
    g[0]`, `w = vh @ g[2].mT`, `f = (d != 0) / (d + eye(len(s)))`, `d = s**2 - s[:, None]**2`, `u = out[0]`, `s =
    out[1]` and `vh = out[2]`, of square matrices.
    Source: `numpy.linalg.svd`, LAPACK gesdd; Giles, An extended collection of matrix derivative results for forward
    and reverse mode, 2008, 3.2; Townsend, Differentiating the Singular Value Decomposition, 2016.
    """
    return factored(SVD(), matrix_of(a, "svd"))
