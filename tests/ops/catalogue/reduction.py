"""Ops along axes."""

from __future__ import annotations

import numpy as np

import graphc
from graphc.ops.cumulative import linear_recurrence
from tests.ops.catalogue.row import Operand, Row, along, empty, f, ints, misread, node


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _recurrence(factor: np.ndarray, term: np.ndarray) -> np.ndarray:
    result = [term[:, 0]]
    for t in range(1, term.shape[1]):
        result.append(factor[:, t] * result[-1] + term[:, t])
    return np.stack(result, 1)


def _logsumexp(x: np.ndarray) -> np.ndarray:
    return np.log(np.exp(x.astype(np.longdouble)).sum(-1))


ROWS = (
    Row(
        "sum",
        lambda x: x.sum((0, 2)),
        (f(3, 4, 5),),
        lambda x: x.sum((0, 2)),
        raises=(
            *along("sum"),
            (lambda: graphc.sum(node(3), dtype="float16"), graphc.DTypeError, "float16' is not supported"),
        ),
    ),
    Row("sum keepdims", lambda x: x.sum(1, keepdims=True), (f(3, 4),), lambda x: x.sum(1, keepdims=True)),
    Row("sum empty", lambda x: x.sum(1), (f(3, 0),), lambda x: x.sum(1)),
    Row("sum int32", lambda x: x.sum(), (ints(9, low=-9, high=9, kind="i32"),), lambda x: x.sum(), derivable=False),
    Row(
        "sum dtype",
        lambda x: graphc.sum(x, dtype="int32"),
        (ints(9, low=-9, high=9),),
        lambda x: x.sum(dtype="int32"),
        derivable=False,
    ),
    Row("prod", lambda x: graphc.prod(x, 1), (f(3, 4),), lambda x: x.prod(1), raises=along("prod")),
    Row("prod with zeros", lambda x: graphc.prod(x, (0, 2)), (f(2, 3, 4, zeros=5),), lambda x: x.prod((0, 2))),
    Row("prod of two zeros", lambda x: graphc.prod(x), (f(2, 3, zeros=2),), lambda x: x.prod()),
    Row("prod empty", lambda x: graphc.prod(x, 1, keepdims=True), (f(3, 0),), lambda x: x.prod(1, keepdims=True)),
    Row(
        "prod ints",
        lambda x: graphc.prod(x, 0),
        (ints(4, 3, low=-5, high=5, kind="i32"),),
        lambda x: x.prod(0),
        derivable=False,
    ),
    Row("mean", lambda x: x.mean(-1), (f(3, 4),), lambda x: x.mean(-1), raises=along("mean")),
    Row(
        "var",
        lambda x: graphc.var(x, 0, correction=1),
        (f(5, 2),),
        lambda x: x.var(0, ddof=1),
        tolerance=64,
        raises=(*along("var"), *misread("var", lambda correction: graphc.var(node(3), correction=correction))),
    ),
    Row(
        "std",
        lambda x: graphc.std(x, 1),
        (f(2, 5),),
        lambda x: x.std(1),
        tolerance=64,
        raises=(*along("std"), *misread("std", lambda correction: graphc.std(node(3), correction=correction))),
    ),
    Row(
        "max",
        lambda x: x.max(1),
        (f(3, 4, gap=0.2),),
        lambda x: x.max(1),
        raises=(*along("max"), *empty("max")),
    ),
    Row("min", lambda x: x.min(), (f(3, 4, gap=0.2),), lambda x: x.min(), raises=(*along("min"), *empty("min"))),
    *(
        Row(
            name,
            lambda x, name=name: getattr(graphc, name)(x, 0),
            (Operand((2, 9), "b"),),
            lambda x, name=name: getattr(x, name)(0),
            derivable=False,
            raises=along(name),
        )
        for name in ("all", "any")
    ),
    Row(
        "argmax",
        lambda x: x.argmax(1),
        (f(3, 5, gap=0.2),),
        lambda x: x.argmax(1),
        derivable=False,
        raises=(*along("argmax", one=True), *empty("argmax")),
    ),
    Row(
        "argmax ties", lambda x: graphc.argmax(x), (ints(4, 6, low=0, high=3),), lambda x: np.argmax(x), derivable=False
    ),
    Row(
        "argmin",
        lambda x: graphc.argmin(x, 0, keepdims=True),
        (ints(4, 6, low=0, high=9, kind="u"),),
        lambda x: np.argmin(x, 0, keepdims=True),
        derivable=False,
        raises=(*along("argmin", one=True), *empty("argmin")),
    ),
    Row(
        "cumulative_sum",
        lambda x: graphc.cumulative_sum(x, 1),
        (f(3, 5),),
        lambda x: np.cumsum(x, 1),
        raises=(
            *along("cumulative_sum", one=True),
            (lambda: graphc.cumulative_sum(node(2, 2)), graphc.ShapeError, "needs an axis"),
        ),
    ),
    Row(
        "cumulative_sum reverse",
        lambda x: graphc.cumulative_sum(x, 0, reverse=True),
        (f(5, 2),),
        lambda x: np.flip(np.cumsum(np.flip(x, 0), 0), 0),
    ),
    Row(
        "cumulative_prod",
        lambda x: graphc.cumulative_prod(x, 1),
        (f(3, 5),),
        lambda x: np.cumprod(x, 1),
        raises=(
            *along("cumulative_prod", one=True),
            (lambda: graphc.cumulative_prod(node(2, 2)), graphc.ShapeError, "needs an axis"),
        ),
    ),
    Row(
        "cumulative_prod with zeros",
        lambda x: graphc.cumulative_prod(x, 0, reverse=True),
        (f(5, 3, zeros=4),),
        lambda x: np.flip(np.cumprod(np.flip(x, 0), 0), 0),
    ),
    Row(
        "cumulative_prod ints",
        lambda x: graphc.cumulative_prod(x),
        (ints(6, low=-3, high=4, kind="i32"),),
        np.cumprod,
        derivable=False,
    ),
    Row("linear_recurrence", lambda a, b: linear_recurrence(a, b, 1), (f(2, 5, 3), f(2, 5, 3)), _recurrence),
    Row(
        "linear_recurrence reverse",
        lambda a, b: linear_recurrence(a, b, -1, reverse=True),
        (f(), f(2, 5)),
        lambda a, b: np.flip(_recurrence(np.full_like(b, a), np.flip(b, 1)), 1),
        raises=((lambda: linear_recurrence(node(3, dtype="int64"), 2), graphc.DTypeError, "floats"),),
    ),
    Row(
        "logsumexp",
        lambda x: graphc.logsumexp(x, -1),
        (f(3, 5, low=-30, high=30),),
        _logsumexp,
        raises=(*along("logsumexp"), *empty("logsumexp")),
    ),
    Row(
        "softmax",
        lambda x: graphc.softmax(x, 0),
        (f(4, 3),),
        lambda x: _softmax(x, 0),
        raises=(*along("softmax"), *empty("softmax")),
    ),
    Row(
        "log_softmax",
        graphc.log_softmax,
        (f(3, 4),),
        lambda x: np.log(_softmax(x.astype(np.longdouble), -1)),
        raises=(*along("log_softmax"), *empty("log_softmax")),
    ),
)
