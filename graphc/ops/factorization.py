"""The family of ops that run LAPACK on the last two axes of arrays; leading axes are a batch.

A matrix that is singular, not positive definite, or not finite gives NaN for its own results and leaves the rest of the
batch alone, as in JAX, because a kernel cannot raise.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import DType, float32, int32, int64
from graphc.errors import DTypeError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, make, require
from graphc.graph.op import Op
from graphc.graph.types import NodeType, TensorType, TupleType
from graphc.ops import lapack
from graphc.ops.nested import item
from graphc.ops.operands import expand, floating
from graphc.records import record

Shape = tuple[Dim, ...]
Tangents = tuple[Node | None, ...]


@record
class Factorization(Op):
    """The family: operand 0 holds the addresses of LAPACK routines, the others are matrices of one batch.

    `routines` are their names without the letter for the dtype; `shapes` gives the results' shapes for one matrix of a
    batch, and `scratch` those of the arrays that its function works in, with their dtypes.
    """

    routines: ClassVar[tuple[str, ...]]
    is_native: ClassVar[bool] = True

    def shapes(self, *matrices: Shape) -> tuple[Shape, ...]:
        """Return the shape of each result."""
        raise NotImplementedError

    def scratch(self, dtype: DType, *matrices: Shape) -> tuple[TensorType, ...]:
        """Return the types of the arrays to work in."""
        raise NotImplementedError

    def function(self) -> Callable[..., None]:
        """Return the function over whole arrays."""
        raise NotImplementedError

    def definition(self, *matrices: Any) -> tuple[Any, ...]:
        """Return the results for one matrix, by NumPy."""
        raise NotImplementedError

    def relevant(self, matrix: Any) -> Any:
        """Return what must be finite of operand 1."""
        return matrix

    def infer(self, addresses: TensorType, *matrices: TensorType) -> NodeType:
        if addresses != TensorType((len(self.routines),), int64):
            raise DTypeError(f"{self.name}: expected the addresses of {self.routines}, got {addresses}")
        first = matrices[0]
        for matrix in matrices:
            if not matrix.dtype.is_float or matrix.dtype is not first.dtype:
                raise DTypeError(f"{self.name}: expected floats of one dtype, got {matrix}")
            if matrix.rank < 2:
                raise ShapeError(f"{self.name}: expected a matrix, or a batch of them, got {matrix}")
            for a, b in zip(matrix.shape[:-2], first.shape[:-2], strict=True):
                require(a, "==", b, f"{self.name} of {first} and {matrix}")
        batch = first.shape[:-2]
        cores = self.shapes(*(matrix.shape[-2:] for matrix in matrices))
        items = tuple(TensorType((*batch, *core), first.dtype) for core in cores)
        return items[0] if len(items) == 1 else TupleType(items)

    def numpy(self, addresses: Any, *matrices: Any) -> Any:
        batch = matrices[0].shape[:-2]
        cores: Any = self.shapes(*(matrix.shape[-2:] for matrix in matrices))
        results = tuple(np.full((*batch, *core), np.nan, matrices[0].dtype) for core in cores)
        for at in np.ndindex(batch):
            # Right sides may hold anything.
            if not np.isfinite(self.relevant(matrices[0][at])).all():
                continue
            try:
                found = self.definition(*(matrix[at] for matrix in matrices))
            except np.linalg.LinAlgError:
                continue
            for result, value in zip(results, found, strict=True):
                result[at] = value
        return results[0] if len(results) == 1 else results

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Any:
        size = next(matrix.shape[0] for matrix in batched if matrix is not None)
        pairs = zip(node.inputs[1:], batched[1:], strict=True)
        matrices = [expand(x, (size, *x.shape)) if new is None else new for x, new in pairs]
        return parts(make(self, node.inputs[0], *matrices))

    def lower(self, out: NodeType, addresses: TensorType, *matrices: TensorType) -> bodies.Body:
        batch = matrices[0].shape[:-2]
        items = out.items if isinstance(out, TupleType) else (out,)
        rows = [(dims.product(batch), *type.shape[len(batch) :]) for type in (*items, *matrices)]
        views = (*rows[: len(items)], addresses.shape, *rows[len(items) :])
        scratch = self.scratch(matrices[0].dtype, *(matrix.shape[-2:] for matrix in matrices))
        return bodies.Native(self.function(), scratch, views)


def factored(op: Factorization, *matrices: Node) -> Any:
    """Return the results of an op on matrices of one batch and dtype."""
    letter = "s" if matrices[0].dtype is float32 else "d"
    return parts(make(op, lapack.routines(*(letter + name for name in op.routines)), *matrices))


def parts(node: Node) -> Any:
    """Return the results of a node as a tuple of nodes; one result as it is."""
    if not isinstance(node.type, TupleType):
        return node
    return tuple(item(node, k) for k in range(len(node.type.items)))


def square(core: Shape, what: str) -> Dim:
    """Return the size of a square matrix, and demand that it is square."""
    require(core[0], "==", core[1], f"{what}: expected square matrices")
    return core[0]


def integers(*sizes: Dim) -> tuple[TensorType, ...]:
    """Return the types of LAPACK's integers, an array of each size."""
    return tuple(TensorType((size,), int32) for size in sizes)


def plus(first: Node | None, second: Node | None) -> Node:
    """Return the sum of two contributions of which one may be missing."""
    if first is None or second is None:
        found = second if first is None else first
        assert found is not None
        return found
    return first + second


def matrix_of(x: Any, what: str) -> Node:
    """Return the operand as floats; ShapeError if it is no matrix or batch of them."""
    node = floating(x)
    if node.ndim < 2:
        raise ShapeError(f"{what}: expected a matrix, or a batch of them, got {node.type}")
    return node


def square_matrix(x: Any, what: str) -> Node:
    """Return the operand as floats; ShapeError if its matrices cannot be square."""
    node = matrix_of(x, what)
    demand_equal(node.shape[-2], node.shape[-1], f"{what}: expected square matrices, got {node.type}")
    return node


def demand_equal(first: Dim, second: Dim, message: str) -> None:
    """Raise ShapeError if two numbers differ; what symbols leave open is required when the node is made."""
    if isinstance(first, int) and isinstance(second, int) and first != second:
        raise ShapeError(message)
