"""Ops that index, order, or run a function of the user."""

from __future__ import annotations

import numpy as np

import graphc
from tests.ops.catalogue.row import Row, f, ints, node


def _scatter(indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    out = np.zeros((4, *updates.shape[1:]), updates.dtype)
    for k, at in enumerate(indices):
        out[at] += updates[k]
    return out


def _reverse_rows(out: np.ndarray, x: np.ndarray) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, x.shape[1] - 1 - j]


def _native(x: graphc.Node) -> graphc.Node:
    def rule(node: graphc.Node, cotangent: graphc.Node) -> tuple[graphc.Node]:
        return (graphc.flip(cotangent, 1),)

    return graphc.native(_reverse_rows, graphc.TensorType(x.shape, x.dtype), x, vjp=rule)


LABELS = ints(6, low=-4, high=4)

ROWS = (
    Row(
        "take",
        lambda x, i: graphc.take(x, i, axis=1),
        (f(2, 4, 3), ints(2, 5, low=-4, high=4)),
        lambda x, i: np.take(x, i, 1),
        raises=(
            (lambda: graphc.take(node(3), node(2)), graphc.DTypeError),
            (lambda: graphc.take(node(3), 0, 1), graphc.ShapeError),
        ),
    ),
    Row("take int32", lambda x, i: x[i], (f(4, 3), ints(6, low=-4, high=4, kind="i32")), lambda x, i: x[i]),
    Row(
        "take_along_axis",
        lambda x, i: graphc.take_along_axis(x, i, 1),
        (f(2, 4, 3), ints(2, 5, 3, low=-4, high=4)),
        lambda x, i: np.take_along_axis(x, i, 1),
    ),
    Row(
        "scatter_add",
        lambda i, x: graphc.scatter_add(i, x, 4),
        (LABELS, f(6, 3)),
        _scatter,
        raises=((lambda: graphc.scatter_add(node(3, dtype="int64"), node(4), 9), graphc.ShapeError),),
    ),
    Row("one_hot", lambda i: graphc.one_hot(i, 4), (LABELS,), lambda i: np.eye(4, dtype="float32")[i], derivable=False),
    Row(
        "argsort",
        lambda x: graphc.argsort(x, 0),
        (ints(7, 3, low=0, high=4),),
        lambda x: np.argsort(x, 0, kind="stable"),
        derivable=False,
    ),
    Row("sort", graphc.sort, (f(3, 5, gap=0.2),), np.sort),
    Row(
        "sort descending", lambda x: graphc.sort(x, 0, descending=True), (f(5, 2, gap=0.2),), lambda x: -np.sort(-x, 0)
    ),
    Row("native", _native, (f(3, 4),), lambda x: x[:, ::-1], batchable=False),
)
