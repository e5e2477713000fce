"""Loops, branches, functions of the user, and control of gradients and updates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphc
from graphc.ops import control, custom_vjp, gradient_control
from tests.ops.catalogue.row import Row, f, ints


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


def _smooth_step(x: float, width: float) -> float:
    """tanh(x / width) by halving: tanh(2 u) = 2 t / (1 + t * t), as a loop, a branch and a call of math."""
    u = x / width
    halvings = 0
    while abs(u) > 0.25:
        u = u * 0.5
        halvings += 1
    value = math.sinh(u) / math.cosh(u)
    for _ in range(halvings):
        value = 2 * value / (1 + value * value)
    return value


def _steps(x: graphc.Node, width: graphc.Node) -> graphc.Node:
    def partials(x: graphc.Node, width: graphc.Node) -> tuple[graphc.Node, graphc.Node]:
        value = graphc.elementwise(_smooth_step, x, width, derivative=partials)
        slope = 1.0 - value * value
        return slope / width, -slope * x / (width * width)

    return graphc.elementwise(_smooth_step, x, width, derivative=partials)


def _through_python(x: graphc.Node, y: graphc.Node) -> graphc.Node:
    def rule(inputs: Any, output: Any, cotangent: graphc.Node) -> tuple[graphc.Node, graphc.Node]:
        return cotangent * output, (cotangent * inputs[0]).sum(0) * 0.0 + (cotangent * output).sum(0)

    return graphc.py_callback(lambda x, y: np.exp(x + y), x.type, x, y, vjp=rule)


ROWS = (
    Row("py_callback", _through_python, (f(3, 4), f(4)), lambda x, y: np.exp(x + y)),
    Row("elementwise", _steps, (f(3, 1, 5), f(4, 1, low=0.5)), lambda x, w: np.tanh(x / w)),
    Row(
        "elementwise integers",
        lambda x, y: graphc.elementwise(lambda a, b: a // b if a > b else b * b, x, y),
        (ints(3, 5, low=-9, high=9), ints(5, low=1, high=9, kind="i32")),
        lambda x, y: np.where(x > y, x // y, y.astype("int64") * y),
        derivable=False,
    ),
    Row(
        "elementwise mask",
        lambda x: graphc.elementwise(lambda a: a > 0.5, x, dtype="bool"),
        (f(7),),
        lambda x: x > 0.5,
        hard=((0.5,), (math.nan,), (math.inf,), (-math.inf,)),
        derivable=False,
    ),
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
    Row("of_phase", lambda x: gradient_control.make(gradient_control.OfPhase(), x), (f(3),), lambda x: x),
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
