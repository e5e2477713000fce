"""Sums of products: matrices, einsum, convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc
from tests.ops.catalogue.row import Row, f, ints, node


def _conv2d(
    stride: tuple[int, int], pads: tuple[tuple[int, int], tuple[int, int]], dilation: tuple[int, int]
) -> Callable[..., Any]:
    def define(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        x = np.pad(x, ((0, 0), *pads, (0, 0)))
        reach = [(w.shape[k] - 1) * dilation[k] + 1 for k in (0, 1)]
        height, width = ((x.shape[k + 1] - reach[k]) // stride[k] + 1 for k in (0, 1))
        out = np.zeros((x.shape[0], height, width, w.shape[3]), x.dtype)
        for i in range(height):
            for j in range(width):
                top, left = i * stride[0], j * stride[1]
                patch = x[:, top : top + reach[0] : dilation[0], left : left + reach[1] : dilation[1]]
                out[:, i, j] = np.einsum("nklc,klco->no", patch, w)
        return out

    return define


ROWS = (
    *(
        Row(f"matmul {a} {b}", graphc.matmul, (f(*a), f(*b)), np.matmul)
        for a, b in (
            ((3, 4), (4, 5)),
            ((4,), (4, 5)),
            ((3, 4), (4,)),
            ((4,), (4,)),
            ((2, 1, 3, 4), (5, 4, 2)),
            ((2, 3, 4), (4,)),
            ((1, 3, 4), (2, 4, 1)),
            ((3, 0), (0, 2)),
        )
    ),
    Row(
        "matmul int",
        graphc.matmul,
        (ints(3, 4, low=-9, high=9), ints(4, 2, low=-9, high=9)),
        np.matmul,
        derivable=False,
        raises=(
            (lambda: graphc.matmul(node(2, 3), node(2, 3)), graphc.ShapeError),
            (lambda: graphc.matmul(node(), node(3)), graphc.ShapeError),
            (lambda: graphc.matmul(node(2, 2, dtype="bool"), node(2, 2, dtype="bool")), graphc.DTypeError),
        ),
    ),
    Row(
        "einsum",
        lambda x, y: graphc.einsum("bij,kj->kbi", x, y),
        (f(2, 3, 4), f(5, 4)),
        lambda x, y: np.einsum("bij,kj->kbi", x, y),
        raises=((lambda: graphc.einsum("ij,jk", node(2, 2), node(2, 2)), graphc.ShapeError),),
    ),
    Row(
        "einsum diagonal",
        lambda x, y: graphc.einsum("ii,j->i", x, y),
        (f(3, 3), f(4)),
        lambda x, y: np.einsum("ii,j->i", x, y),
    ),
    Row(
        "conv2d",
        graphc.conv2d,
        (f(2, 5, 4, 3), f(3, 2, 3, 2)),
        _conv2d((1, 1), ((0, 0), (0, 0)), (1, 1)),
        tolerance=64,
        raises=(
            (lambda: graphc.conv2d(node(1, 2, 2, 1), node(3, 3, 1, 1)), graphc.ShapeError),
            (lambda: graphc.conv2d(node(1, 5, 5, 2), node(3, 3, 1, 1)), graphc.ShapeError),
            (lambda: graphc.conv2d(node(5, 5, 2), node(3, 3, 2, 1)), graphc.ShapeError),
        ),
    ),
    Row(
        "conv2d stride",
        lambda x, w: graphc.conv2d(x, w, stride=(2, 3), padding=((1, 2), (0, 1)), dilation=(2, 1)),
        (f(1, 6, 7, 2), f(2, 3, 2, 1)),
        _conv2d((2, 3), ((1, 2), (0, 1)), (2, 1)),
        tolerance=64,
    ),
    Row(
        "conv2d same",
        lambda x, w: graphc.conv2d(x, w, stride=2, padding="same"),
        (f(1, 5, 4, 1), f(3, 3, 1, 2)),
        _conv2d((2, 2), ((1, 1), (0, 1)), (1, 1)),
        tolerance=64,
    ),
)
