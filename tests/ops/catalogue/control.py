"""Loops, branches, functions of the user, and control of gradients and updates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphc
from graphc.ops import control, custom_vjp, gradient_control
from tests.ops.catalogue.row import Row, f


def _recurrent(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    h = np.zeros(x.shape[1:], x.dtype)
    for v in x[::-1]:
        h = np.tanh(h @ w + v)
    return h


def _product_and_sum(a: graphc.Node, b: graphc.Node) -> graphc.Node:
    """exp(a) * b + tanh(a + b), the two products as results of one custom_vjp, its rule as the chain rule has it."""
    function = custom_vjp.custom_vjp(
        lambda a, b: {"product": graphc.exp(a) * b, "sum": a + b},
        lambda inputs, output, cotangent: (
            cotangent["product"] * output["product"] + cotangent["sum"],
            cotangent["product"] * graphc.exp(inputs[0]) + cotangent["sum"],
        ),
    )
    made = function(a, b)
    return made["product"] + graphc.tanh(made["sum"])


def _reversed_and_exp(reversed: np.ndarray, exponential: np.ndarray, x: np.ndarray) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            reversed[i, j] = x[i, x.shape[1] - 1 - j]
            exponential[i, j] = math.exp(x[i, j])


def _native(x: graphc.Node) -> graphc.Node:
    def rule(inputs: Any, outputs: Any, cotangents: Any) -> graphc.Node:
        return graphc.flip(cotangents[0], 1) + cotangents[1] * outputs[1]

    type = graphc.TensorType(x.shape, x.dtype)
    first, second = graphc.native(_reversed_and_exp, (type, type), x, vjp=rule)
    return first * second


ROWS = (
    Row("custom_vjp", _product_and_sum, (f(3, 2), f(3, 2)), lambda a, b: np.exp(a) * b + np.tanh(a + b)),
    Row("clip_gradient", lambda x: custom_vjp.clip_gradient(graphc.tanh(x), -9.0, 9.0), (f(3, 2),), np.tanh),
    Row("clip_gradient norm", lambda x: custom_vjp.clip_gradient(x * x, max_norm=99.0), (f(3, 2),), np.square),
    Row(
        "clip_by_norm",
        lambda x: gradient_control.clip_by_norm(x, 1.5),
        (f(3, 2, low=0.5),),
        lambda x: x * (1.5 / (np.sqrt((x * x).sum()) + x.dtype.type(1e-6))),
    ),
    Row(
        "global_norm",
        lambda x, y: gradient_control.global_norm([x, {"y": y}]),
        (f(3), f(2, 2)),
        lambda x, y: np.sqrt((x * x).sum() + (y * y).sum()),
    ),
    Row("native", _native, (f(3, 4),), lambda x: x[:, ::-1] * np.exp(x)),
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
