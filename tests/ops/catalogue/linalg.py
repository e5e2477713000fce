"""Linear algebra. What LAPACK leaves open, the signs of vectors, the rows leave open too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import graphc
from graphc import linalg
from tests.ops.catalogue.row import FINITE, Row, f, node


def _definite(x, library):
    """A positive definite matrix made of x, in either library."""
    transposed = graphc.matrix_transpose(x) if library is graphc else np.swapaxes(x, -1, -2)
    return x @ transposed + library.eye(x.shape[-1], dtype=x.dtype)


def _dominant(x, library):
    return x + 5 * library.eye(x.shape[-1], dtype=x.dtype)


def _np_transpose(x):
    return np.swapaxes(x, -1, -2)


def _exponential(x):
    """The exponential of a symmetric matrix, by its eigenvectors."""
    values, vectors = linalg.eigh(x)
    return (vectors * graphc.exp(graphc.expand_dims(values, -2))) @ graphc.matrix_transpose(vectors)


def _taylor(x):
    x = (x + _np_transpose(x)) / 2
    total = term = np.broadcast_to(np.eye(x.shape[-1], dtype=x.dtype), x.shape)
    for k in range(1, 40):
        term = term @ x / np.asarray(k, x.dtype)
        total = total + term
    return total


def _symmetric(x):
    return (x + _np_transpose(x)) / 2


def _squares_by_svd(x):
    u, s, vh = linalg.svd(x)
    return graphc.concat([graphc.matrix_transpose(u * u), vh * vh, graphc.expand_dims(s, -1)], -1)


def _squares(x):
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return np.concatenate([_np_transpose(u * u), vh * vh, s[..., None]], -1)


def _rebuilt_by_qr(x):
    q, r = linalg.qr(x)
    return graphc.concat([q, r], -2)


def _not_square(name):
    return (
        lambda: getattr(linalg, name)(node(2, 3)),
        graphc.ShapeError,
        r"expected square matrices, got float32\[2, 3\]",
    )


def _not_matrix(name):
    return (lambda: getattr(linalg, name)(node(2)), graphc.ShapeError, r"expected a matrix, .*got float32\[2\]")


_ROWS = (
    *(
        Row(
            f"solve {a} {b}",
            lambda a, b: linalg.solve(_dominant(a, graphc), b),
            (f(*a), f(*b)),
            lambda a, b: np.linalg.solve(_dominant(a, np), b),
            raises=(
                _not_matrix("inv"),
                (lambda: linalg.solve(node(2, 3), node(2, 1)), graphc.ShapeError, "expected square matrices"),
                (lambda: linalg.solve(node(2, 2), node(3, 1)), graphc.ShapeError, "as many rows on the right"),
                (lambda: linalg.solve(node(2, 2), node()), graphc.ShapeError, "right sides as columns"),
            ),
        )
        for a, b in (((2, 1, 3, 3), (2, 3, 2)), ((0, 0), (0, 2)))
    ),
    Row(
        "solve vector",
        lambda a, b: linalg.solve(_dominant(a, graphc), b),
        (f(3, 3), f(3)),
        lambda a, b: np.linalg.solve(_dominant(a, np), b),
    ),
    *(
        Row(
            f"triangular_solve {'upper' if upper else 'lower'}{' unit' * unit}",
            lambda a, b, upper=upper, unit=unit: linalg.triangular_solve(
                _dominant(a, graphc), b, upper=upper, unitriangular=unit
            ),
            (f(2, 3, 3), f(3, 2)),
            lambda a, b, upper=upper, unit=unit: np.linalg.solve(
                (np.triu if upper else np.tril)(_dominant(a, np), (1 if upper else -1) * unit)
                + (np.eye(3, dtype=a.dtype) if unit else 0),
                b,
            ),
            tolerance=256,
            raises=(
                (
                    lambda: linalg.triangular_solve(node(2, 3), node(3, 1), upper=True),
                    graphc.ShapeError,
                    "expected square matrices",
                ),
            ),
        )
        for upper, unit in ((False, True), (True, False))
    ),
    Row(
        "cholesky",
        lambda x: linalg.cholesky(_definite(x, graphc)),
        (f(2, 3, 3),),
        lambda x: np.linalg.cholesky(_definite(x, np)),
        tolerance=256,
        raises=(_not_square("cholesky"), _not_matrix("cholesky")),
    ),
    Row(
        "cholesky of any matrix",
        lambda x: linalg.cholesky(_dominant(x, graphc)),
        (f(3, 3),),
        lambda x: np.linalg.cholesky(_symmetric(_dominant(x, np))),
    ),
    *(
        Row(
            f"qr {shape}",
            lambda x: linalg.qr(x)[0] @ (2 * linalg.qr(x)[1]),
            (f(*shape),),
            lambda x: 2 * x,
            tolerance=256,
        )
        for shape in ((2, 4, 3), (3, 5))
    ),
    Row(
        "qr factors",
        _rebuilt_by_qr,
        (f(4, 3),),
        lambda x: np.concatenate(np.linalg.qr(x), -2),
        tolerance=256,
        raises=(_not_matrix("qr"),),
    ),
    Row(
        "slogdet",
        lambda x: linalg.slogdet(x)[1],
        (f(2, 3, 3),),
        lambda x: np.linalg.slogdet(x)[1],
        tolerance=512,
        raises=(_not_square("slogdet"), _not_matrix("slogdet")),
    ),
    Row("slogdet sign", lambda x: linalg.slogdet(x)[0], (f(4, 3, 3),), lambda x: np.linalg.slogdet(x)[0]),
    Row(
        "inv",
        lambda x: linalg.inv(_dominant(x, graphc)),
        (f(3, 3),),
        lambda x: np.linalg.inv(_dominant(x, np)),
        raises=(_not_square("inv"),),
    ),
    Row(
        "eigh",
        lambda x: linalg.eigh(x)[0],
        (f(2, 3, 3),),
        lambda x: np.linalg.eigvalsh(_symmetric(x)),
        tolerance=256,
        raises=(_not_square("eigh"), _not_matrix("eigh")),
    ),
    Row("eigh exponential", _exponential, (f(3, 3),), _taylor, tolerance=4096),
    Row(
        "eigh vectors",
        lambda x: linalg.eigh(x)[1] ** 2,
        (f(3, 3),),
        lambda x: np.linalg.eigh(_symmetric(x))[1] ** 2,
        tolerance=4096,
    ),
    *(
        Row(f"svd {shape}", _squares_by_svd, (f(*shape),), _squares, tolerance=16384, raises=(_not_matrix("svd"),))
        for shape in ((3, 3),)
    ),
    *(
        Row(
            f"svd values {shape}",
            lambda x: linalg.svd(x)[1],
            (f(*shape),),
            lambda x: np.linalg.svd(x, compute_uv=False),
            tolerance=256,
        )
        for shape in ((2, 4, 3), (2, 3))
    ),
    *(
        Row(
            f"svd polar {shape}",
            lambda x: (lambda u, s, vh: u @ vh)(*linalg.svd(x)),
            (f(*shape),),
            lambda x: (lambda u, s, vh: u @ vh)(*np.linalg.svd(x, full_matrices=False)),
            tolerance=4096,
        )
        for shape in ((4, 3), (2, 3))
    ),
)

# What is not finite is tried in tests/ops/test_linalg.py: NumPy raises, or gives what LAPACK makes of it.
ROWS = tuple(replace(row, spoils=FINITE) for row in _ROWS)
