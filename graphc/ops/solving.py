"""Systems of linear equations: any, and triangular ones.

Shape: `(..., n, n), (..., n, k) -> (..., n, k)`.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.dtypes import DType
from graphc.errors import OptionError, ShapeError
from graphc.graph.node import Node, builder, make, require
from graphc.graph.types import TensorType
from graphc.ops import lapack
from graphc.ops.factorization import (
    Factorization,
    Shape,
    Tangents,
    demand_equal,
    factored,
    integers,
    matrix_of,
    plus,
    square,
    square_matrix,
)
from graphc.ops.movement import expand_dims, matrix_transpose
from graphc.ops.operands import broadcast_shapes, expand, floating, promoted
from graphc.ops.positions import eye, tril, triu
from graphc.records import record


@record
class Solve(Factorization):
    """x with a @ x = b."""

    name = "solve"
    routines = ("gesv",)

    def shapes(self, *matrices: Shape) -> tuple[Shape, ...]:
        a, b = matrices
        require(square(a, self.name), "==", b[0], f"{self.name}: expected as many rows on the right")
        return (b,)

    def scratch(self, dtype: DType, *matrices: Shape) -> tuple[TensorType, ...]:
        a, b = matrices
        return TensorType(a, dtype), TensorType((b[1], b[0]), dtype), *integers(a[0], 3)

    def function(self) -> Callable[..., None]:
        return lapack.solve

    def definition(self, *matrices: Any) -> tuple[Any, ...]:
        return (np.linalg.solve(*matrices),)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        share = solve(matrix_transpose(node.inputs[1]), cotangent)
        return None, -(share @ matrix_transpose(node)), share

    def jvp(self, node: Node, tangents: Tangents) -> Node:
        _, da, db = tangents
        change = None if da is None else -(da @ node)
        return solve(node.inputs[1], plus(change, db))


@record
class TriangularSolve(Factorization):
    """x with a @ x = b, of which one triangle of a is read; with `unit` its diagonal counts as ones."""

    upper: bool
    unit: bool

    name = "triangular_solve"
    routines = ("trtrs",)

    def shapes(self, *matrices: Shape) -> tuple[Shape, ...]:
        a, b = matrices
        require(square(a, self.name), "==", b[0], f"{self.name}: expected as many rows on the right")
        return (b,)

    def scratch(self, dtype: DType, *matrices: Shape) -> tuple[TensorType, ...]:
        a, b = matrices
        return TensorType(a, dtype), TensorType((b[1], b[0]), dtype), *integers(6)

    def function(self) -> Callable[..., None]:
        return lapack.triangular_solve(upper=self.upper, unit=self.unit)

    def relevant(self, matrix: Any) -> Any:
        return np.triu(matrix, int(self.unit)) if self.upper else np.tril(matrix, -int(self.unit))

    def definition(self, *matrices: Any) -> tuple[Any, ...]:
        a, b = matrices
        read = np.triu(a) if self.upper else np.tril(a)
        if self.unit:
            np.fill_diagonal(read, 1)
        return (np.linalg.solve(read, b),)

    def read(self, a: Node) -> Node:
        """Return what is read of a matrix, zeros elsewhere."""
        return triu(a, int(self.unit)) if self.upper else tril(a, -int(self.unit))

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        transposed = TriangularSolve(not self.upper, self.unit)
        share = make(transposed, node.inputs[0], matrix_transpose(node.inputs[1]), cotangent)
        return None, -self.read(share @ matrix_transpose(node)), share

    def jvp(self, node: Node, tangents: Tangents) -> Node:
        _, da, db = tangents
        change = None if da is None else -(self.read(da) @ node)
        return make(self, node.inputs[0], node.inputs[1], plus(change, db))


def _equations(a: Any, b: Any, what: str) -> tuple[Node, Node]:
    left, right = promoted(matrix_of(a, what), floating(b))
    if right.ndim < 2:
        raise ShapeError(f"{what}: expected right sides as columns of a matrix, got {right.type}")
    demand_equal(left.shape[-2], left.shape[-1], f"{what}: expected square matrices, got {left.type}")
    demand_equal(
        left.shape[-1], right.shape[-2], f"{what}: expected as many rows on the right, got {left.type} and {right.type}"
    )
    batch = broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return expand(left, (*batch, *left.shape[-2:])), expand(right, (*batch, *right.shape[-2:]))


@builder("solve")
def solve(a: Any, b: Any) -> Node:
    """Return x with a @ x = b: a (..., n, n), b (..., n, k), or b (n,) for one right side.

    NaN where a is singular or not finite; b may hold anything. Batches broadcast.

    Formula: `inv(a) @ b`: a @ out = b.
    Gradient: by a `-inv(a).mT @ g @ out.mT`, by b `inv(a).mT @ g`.
    Source: `numpy.linalg.solve`, LAPACK gesv; Giles, An extended collection of matrix derivative results for forward
    and reverse mode, 2008, 2.3.1.
    """
    right = floating(b)
    if right.ndim == 1:
        return solve(a, expand_dims(right, -1))[..., 0]
    return factored(Solve(), *_equations(a, right, "solve"))


@builder("triangular_solve")
def triangular_solve(a: Any, b: Any, *, upper: bool, unitriangular: bool = False) -> Node:
    """Return x with a @ x = b, where of a (..., n, n) only the upper or the lower triangle is read; b is (..., n, k).

    With `unitriangular` the diagonal counts as ones. NaN where a number on the diagonal is 0, or one that is read is not
    finite. Batches broadcast.

    Formula: `inv(triu(a) if upper else tril(a)) @ b`: t @ out = b, of the triangle t.
    Gradient: by a `(triu if upper else tril)(-inv(t).mT @ g @ out.mT)`, by b `inv(t).mT @ g`, with `t = triu(a) if
    upper else tril(a)`.
    Source: `torch.linalg.solve_triangular`, LAPACK trtrs; Giles, An extended collection of matrix derivative results
    for forward and reverse mode, 2008, 2.3.1.
    """
    if not isinstance(upper, bool | np.bool_):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise OptionError(f"triangular_solve: expected upper to be True or False, got {upper!r}")
    return factored(TriangularSolve(bool(upper), unitriangular), *_equations(a, b, "triangular_solve"))


@builder("inv")
def inv(a: Any) -> Node:
    """Return the inverse; NaN where there is none. `solve` is faster and more accurate than a product with it.

    NaN, too, where a is not finite.

    Shape: `(..., n, n) -> (..., n, n)`.
    Formula: `solve(a, eye(len(a)))`: a @ out = 1.
    Gradient: by a `-out.mT @ g @ out.mT`.
    Source: `numpy.linalg.inv`, LAPACK getrf; Giles, An extended collection of matrix derivative results for forward
    and reverse mode, 2008, 2.2.3.
    """
    node = square_matrix(a, "inv")
    return solve(node, eye(node.shape[-1], dtype=node.dtype))
