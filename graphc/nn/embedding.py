"""Tables of vectors.

Shape: `(...) -> (..., embedding_dim)`.
Source: `torch.nn.{name}`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.graph.node import Node, Parameter, builder, parameter
from graphc.nn.arguments import whole
from graphc.nn.module import Module
from graphc.ops.comparison import where
from graphc.ops.gradient_control import stop_gradient
from graphc.ops.indexing import embedding as rows_of
from graphc.ops.operands import as_node, expand
from graphc.ops.random import draw_normal


@builder("nn.embedding")
def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Node:
    """Return the rows of `weight` at the indices `input`, whose dimensions come before that of a row.

    input: (...), integers from 0; others raise IndexError when the graph runs. weight: (rows, features).
    padding_idx: a row whose gradient is zero, counted from the end if negative.

    Shape: `(...), (n, d) -> (..., d)`.
    Formula: `weight[input]`.
    Gradient: by weight `scatter_add(ravel(input), reshape(g, (-1, weight.shape[1])), len(weight))`, and 0 at
    padding_idx.
    """
    indices, table = as_node(input), as_node(weight)
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"expected integer indices, got {indices.describe()}; use astype")
    if table.ndim != 2:
        raise ShapeError(f"expected a weight of shape (rows, features), got {table.type}")
    rows = rows_of(table, indices)
    if padding_idx is None:
        return rows
    padding = _row(padding_idx, table.shape[0])
    return where(expand((indices == padding)[..., None], rows.shape), stop_gradient(rows), rows)


def _row(index: int, rows: Any) -> int:
    if isinstance(rows, int) and not -rows <= index < rows:
        raise ShapeError(f"expected padding_idx from {-rows} to {rows - 1}, got {index}")
    return index % rows if index < 0 else index


class Embedding(Module):
    """A table of vectors, one for each integer from 0 to num_embeddings - 1.

    weight: (num_embeddings, embedding_dim), normally distributed at the start. padding_idx: a row that starts as zeros
    and is not trained.

    Formula: `embedding(input, weight, padding_idx)`.
    Gradient: by weight, g added up at the rows that were read, and 0 at padding_idx.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, dtype: object = None
    ) -> None:
        self.num_embeddings = whole(num_embeddings, "Embedding's num_embeddings")
        self.embedding_dim = whole(embedding_dim, "Embedding's embedding_dim")
        self.padding_idx = None if padding_idx is None else _row(padding_idx, self.num_embeddings)
        start = draw_normal((self.num_embeddings, self.embedding_dim), 0.0, 1.0, dtype)
        if self.padding_idx is not None:
            start[self.padding_idx] = np.zeros(self.embedding_dim)
        self.weight: Parameter = parameter(start, "weight")

    def forward(self, input: Any) -> Node:
        return embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
