"""Ops that order, and that search in what is ordered."""

from __future__ import annotations

import numpy as np

import graphc
from tests.ops.catalogue.row import FLOATS, Row, along, f, ints, node

MIXED = tuple((v,) for v in FLOATS)


def _middle(x: np.ndarray) -> np.ndarray:
    return np.array([np.nan if any(v != v for v in row) else sorted(row)[len(row) // 2] for row in x], x.dtype)


def _first(x: np.ndarray, k: int) -> np.ndarray:
    return np.array([sorted(range(len(row)), key=lambda i: -int(row[i]))[:k] for row in x])


ROWS = (
    Row(
        "argsort",
        lambda x: graphc.argsort(x, 0),
        (ints(7, 3, low=0, high=4),),
        lambda x: np.argsort(x, 0, kind="stable"),
        derivable=False,
        raises=along("argsort", one=True),
    ),
    Row("sort", graphc.sort, (f(3, 5, gap=0.2),), np.sort, raises=along("sort", one=True)),
    Row(
        "sort descending", lambda x: graphc.sort(x, 0, descending=True), (f(5, 2, gap=0.2),), lambda x: -np.sort(-x, 0)
    ),
    Row("sort NaN", lambda x: graphc.sort(x, 0), (f(3, gap=0.2),), lambda x: np.sort(x, 0), MIXED),
    Row(
        "median",
        lambda x: graphc.median(x, (0, 2)),
        (f(2, 3, 4, gap=0.2),),
        lambda x: np.median(x, (0, 2)),
        raises=along("median"),
    ),
    Row("median odd", lambda x: graphc.median(x, 1), (f(3, 5, gap=0.2),), _middle),
    Row(
        "median keepdims",
        lambda x: graphc.median(x, keepdims=True),
        (f(2, 3, gap=0.2),),
        lambda x: np.median(x, keepdims=True),
    ),
    Row("median NaN", graphc.median, (f(3, gap=0.2),), np.median, MIXED),
    Row("topk", lambda x: graphc.topk(x, 2)[0], (f(3, 5, gap=0.2),), lambda x: -np.sort(-x)[:, :2]),
    Row(
        "topk smallest",
        lambda x: graphc.topk(x, 3, 0, largest=False)[0],
        (f(4, 2, gap=0.2),),
        lambda x: np.sort(x, 0)[:3],
        raises=(
            (
                lambda: graphc.topk(node(3), 4),
                graphc.ShapeError,
                r"at most 3, .* axis 0 of float32\[3\]; got 4(.|\n)*in topk at",
            ),
            (lambda: graphc.topk(node(3), 1, 1), graphc.ShapeError, "axis 1 does not exist"),
            (lambda: graphc.topk(node(3), None), graphc.ShapeError, "expected a dimension.*got None"),
            (lambda: graphc.topk("text", 1), graphc.DTypeError, "got a str"),
        ),
    ),
    Row(
        "topk ties",
        lambda x: graphc.topk(x, 3)[1],
        (ints(4, 6, low=0, high=3, kind="u"),),
        lambda x: _first(x, 3),
        derivable=False,
    ),
    *(
        Row(
            f"searchsorted {side}",
            lambda a, v, side=side: graphc.searchsorted(graphc.sort(a), v, side),
            (ints(7, low=0, high=5), ints(3, 4, low=-1, high=6)),
            lambda a, v, side=side: np.searchsorted(np.sort(a), v, side),
            derivable=False,
            raises=(
                (lambda: graphc.searchsorted(node(2, 2), node(2)), graphc.ShapeError, "vector"),
                (lambda side=side: graphc.searchsorted(node(2), 1, side + "most"), graphc.GraphError, "side"),
            ),
        )
        for side in ("left", "right")
    ),
    Row(
        "searchsorted NaN",
        lambda v: graphc.searchsorted(graphc.constant([-1.0, 0.5, np.inf, np.nan, np.nan], v.dtype), v),
        (f(3),),
        lambda v: np.searchsorted(np.array([-1.0, 0.5, np.inf, np.nan, np.nan], v.dtype), v),
        MIXED,
        derivable=False,
    ),
)
