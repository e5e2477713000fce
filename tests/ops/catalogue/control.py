"""Loops, branches, and control of gradients and updates."""

from __future__ import annotations

import numpy as np

import graphc
from graphc.ops import control, gradient_control
from tests.ops.catalogue.row import Row, f


def _recurrent(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    h = np.zeros(x.shape[1:], x.dtype)
    for v in x[::-1]:
        h = np.tanh(h @ w + v)
    return h


ROWS = (
    Row("stop_gradient", gradient_control.stop_gradient, (f(3),), lambda x: x, derivable=False),
    Row(
        "with_update",
        lambda x: gradient_control.with_update(x, {(s := graphc.state(0.0)): s + 1}),
        (f(3),),
        lambda x: x,
    ),
    Row(
        "scan",
        lambda x: control.scan(lambda c, v: (c * v, c + v), graphc.ones((2,), x.dtype), x)[1],
        (f(4, 2),),
        lambda x: np.concatenate([np.ones((1, 2), x.dtype), np.cumprod(x, 0)[:-1]]) + x,
    ),
    Row(
        "scan recurrent",
        lambda x, w: control.scan(
            lambda h, v: (graphc.tanh(h @ w + v), h), graphc.zeros((2, 3), x.dtype), x, reverse=True
        )[0],
        (f(4, 2, 3), f(3, 3)),
        _recurrent,
        tolerance=128,
    ),
    Row(
        "map",
        lambda x: control.map(lambda v: graphc.sum(graphc.tanh(v)) * v, x),
        (f(4, 3),),
        lambda x: np.stack([np.tanh(v).sum() * v for v in x]),
    ),
    Row("cond", lambda x: control.cond(x.sum() > -99, lambda v: v * v, lambda v: v, x), (f(3),), lambda x: x * x),
)
