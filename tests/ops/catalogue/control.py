"""Loops, branches, functions of the user, and control of gradients and updates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphc
from graphc.ops import control, custom_vjp, gradient_control
from tests.ops.catalogue.row import NAN, Row, f, ints, misread, node


def _second(_: Any, carry: Any) -> Any:
    return carry


def _is_small(carry: Any) -> graphc.Node:
    return graphc.sum(carry) < 9.0


def _grown(x: np.ndarray) -> np.ndarray:
    grown = x
    while (grown * grown).sum() < 90.0:
        grown = grown * 1.5 + x
    return grown


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


def _halves(x: graphc.Node) -> graphc.Node:
    """One node of several results: the rows of x, cut in two."""
    (first, _) = graphc.cond(True, lambda: (x[:2], x[2:]), lambda: (x[2:], x[:2]))
    return first.inputs[0]


def _passed_on(inputs: Any, output: Any, cotangent: Any) -> Any:
    return cotangent


def _pair(carry: Any, element: Any) -> tuple[Any, Any]:
    return carry, element


PAIR = graphc.TensorType((2,), graphc.float32)

ROWS = (
    Row(
        "py_callback",
        _through_python,
        (f(3, 4), f(4)),
        lambda x, y: np.exp(x + y),
        raises=(
            *misread("py_callback", lambda x: graphc.py_callback(np.exp, PAIR, x)),
            (lambda: graphc.py_callback(3, PAIR, node(2)), graphc.GraphError, "a function to call, got 3"),
            (lambda: graphc.py_callback(np.exp, [], node(2)), graphc.GraphError, r"outputs' types.*; got \[\]"),
            (lambda: graphc.py_callback(np.exp, PAIR, node(2), vjp=3), graphc.GraphError, "a function as vjp, got 3"),
        ),
    ),
    Row(
        "elementwise",
        _steps,
        (f(3, 1, 5), f(4, 1, low=0.5)),
        lambda x, w: np.tanh(x / w),
        spoils=(1e-42, NAN),  # an infinity is never halved to the end
        raises=(
            *misread("elementwise", lambda x: graphc.elementwise(lambda a: a, x)),
            (lambda: graphc.elementwise(3, node(2)), graphc.GraphError, r"a Python function \(def or lambda\), got 3"),
            (lambda: graphc.elementwise(lambda a: a), graphc.GraphError, "expected operands .*; got none"),
            (lambda: graphc.elementwise(lambda a, b: a, node(2)), graphc.GraphError, r"take 1 .*, got \(a, b\)"),
            (
                lambda: graphc.elementwise(lambda a, b: a, node(2), node(3)),
                graphc.ShapeError,
                r"broadcast: \[2\] and \[3\](.|\n)*in elementwise at",
            ),
            (lambda: graphc.elementwise(lambda a: a, node(2), dtype="float16"), graphc.DTypeError, "float16"),
        ),
    ),
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
    Row(
        "custom_vjp",
        _product_and_sum,
        (f(3, 2), f(3, 2)),
        lambda a, b: np.exp(a) * b + np.tanh(a + b),
        raises=(
            *misread("custom_vjp", graphc.custom_vjp(lambda x: x, _passed_on)),
            (lambda: graphc.custom_vjp(3, _passed_on), graphc.GraphError, "a function and a rule to call, got 3 and"),
            (lambda: graphc.custom_vjp(lambda x: x, 4), graphc.GraphError, r"and 4(.|\n)*in custom_vjp at"),
            (lambda: graphc.custom_vjp(lambda x: x)(node(2)), graphc.GraphError, "has no rule; give custom_vjp"),
            (lambda: graphc.custom_vjp(lambda x: None, _passed_on)(node(2)), graphc.GraphError, "nodes, got None"),
            (
                lambda: graphc.custom_vjp(lambda x: x, lambda inputs, output, cotangent: cotangent.sum())(node(2)),
                graphc.ShapeError,
                r"expected float32\[2\] for operand 0, got float32\[\] made by sum",
            ),
        ),
    ),
    Row(
        "clip_gradient",
        lambda x: custom_vjp.clip_gradient(graphc.tanh(x), -9.0, 9.0),
        (f(3, 2),),
        np.tanh,
        raises=(
            *misread("clip_gradient", lambda x: graphc.clip_gradient(x, 0, 1)),
            (lambda: graphc.clip_gradient(node(2)), graphc.GraphError, r"expected bounds \(low, high\), or max_norm"),
            (lambda: graphc.clip_gradient(node(2), 0, 1, max_norm=1), graphc.GraphError, "or max_norm"),
            (lambda: graphc.clip_gradient(node(2), max_norm=-1), graphc.GraphError, "above 0, got -1"),
            (lambda: graphc.clip_gradient(node(2), node(3)), graphc.ShapeError, r"\[2\] and \[3\]"),
        ),
    ),
    Row("clip_gradient norm", lambda x: custom_vjp.clip_gradient(x * x, max_norm=99.0), (f(3, 2),), np.square),
    Row(
        "clip_by_norm",
        lambda x: gradient_control.clip_by_norm(x, 1.5),
        (f(3, 2, low=0.5),),
        lambda x: x * (1.5 / (np.sqrt((x * x).sum()) + x.dtype.type(1e-6))),
        raises=(
            *misread("clip_by_norm", lambda limit: graphc.clip_by_norm(node(2), limit)),
            (lambda: graphc.clip_by_norm(node(2), 0), graphc.GraphError, "max_norm above 0, got 0"),
            (lambda: graphc.clip_by_norm(node(2), node(2)), graphc.ShapeError, r"one number as max_norm, got .*\[2\]"),
            (lambda: graphc.clip_by_norm([], 1.0), graphc.GraphError, r"nodes, got none(.|\n)*in clip_by_norm at"),
        ),
    ),
    Row(
        "global_norm",
        lambda x, y: gradient_control.global_norm([x, {"y": y}]),
        (f(3), f(2, 2)),
        lambda x, y: np.sqrt((x * x).sum() + (y * y).sum()),
        raises=(
            (lambda: graphc.global_norm([]), graphc.GraphError, r"expected nodes, got none(.|\n)*in global_norm at"),
            (lambda: graphc.global_norm(None), graphc.GraphError, "expected nodes, got none"),
            (lambda: graphc.global_norm([node(2), "text"]), graphc.DTypeError, r"a str(.|\n)*in global_norm at"),
        ),
    ),
    Row(
        "native",
        _native,
        (f(3, 4),),
        lambda x: x[:, ::-1] * np.exp(x),
        raises=(
            *misread("native", lambda x: graphc.native(_reversed_and_exp, PAIR, x)),
            (lambda: graphc.native(3, PAIR, node(2)), graphc.GraphError, "a function to call, got 3"),
            (lambda: graphc.native(_reversed_and_exp, "float32", node(2)), graphc.GraphError, "outputs' types"),
            (lambda: graphc.native(_reversed_and_exp, PAIR, node(2), vjp=3), graphc.GraphError, "as vjp, got 3"),
        ),
    ),
    Row(
        "stop_gradient",
        gradient_control.stop_gradient,
        (f(3),),
        lambda x: x,
        derivable=False,
        raises=misread("stop_gradient", graphc.stop_gradient),
    ),
    Row("of_phase", lambda x: gradient_control.make(gradient_control.OfPhase(), x), (f(3),), lambda x: x),
    Row(
        "with_update",
        lambda x: gradient_control.with_update(x, {(s := graphc.state(0.0)): s + 1}),
        (f(3),),
        lambda x: x,
        raises=(
            *misread("with_update", lambda x: graphc.with_update(x, {})),
            *misread("with_update", lambda new: graphc.with_update(node(2), {graphc.state(0.0): new})),
            (lambda: graphc.with_update(node(2), None), graphc.GraphError, "{state: its new value}, got None"),
            (lambda: graphc.with_update(node(2), {"s": 1}), graphc.GraphError, "a parameter or a state .*, got 's'"),
            (lambda: graphc.with_update(node(2), {node(2): 1}), graphc.GraphError, "got float32.* made by input"),
            (
                lambda: graphc.with_update(node(2), {graphc.state(0.0): node(3)}),
                graphc.ShapeError,
                r"the shape of its target, float32\[\]; got float32\[3\](.|\n)*in with_update at",
            ),
            (
                lambda: graphc.with_update(node(2), {graphc.state([1, 2]): node(2)}),
                graphc.DTypeError,
                r"the dtype of its target, int64\[2\]; got float32\[2\]",
            ),
        ),
    ),
    Row(
        "scan",
        lambda x: control.scan(lambda c, v: (c * v, c + v), graphc.ones((2,), x.dtype), x)[1],
        (f(4, 2),),
        lambda x: np.concatenate([np.ones((1, 2), x.dtype), np.cumprod(x, 0)[:-1]]) + x,
        raises=(
            (lambda: graphc.scan(_pair, "text", node(3)), graphc.DTypeError, r"got a str(.|\n)*in scan at"),
            (lambda: graphc.scan(3, node(), node(3)), graphc.GraphError, "a step, a function of .*, got 3"),
            (lambda: graphc.scan(_pair, node(), node()), graphc.ShapeError, "arrays to walk in xs, got a scalar"),
            (lambda: graphc.scan(_pair, node()), graphc.GraphError, r"xs or length, got neither(.|\n)*in scan at"),
            (lambda: graphc.scan(_pair, node(), length=-1), graphc.ShapeError, "a dimension of 0 or more, got -1"),
            (lambda: graphc.scan(lambda c, v: c, node(), node(3)), graphc.GraphError, r"\(carry, result\), got Input"),
            (lambda: graphc.scan(_pair, node(), [node(3), node(4)]), graphc.ShapeError, r"got 4 at xs\[1\]"),
            (
                lambda: graphc.scan(lambda c, v: (c + v, c), node(), node(3, 2)),
                graphc.ShapeError,
                r"carry enters the step as float32\[\] and leaves it as float32\[2\] made by add",
            ),
            (
                lambda: graphc.scan(lambda c, v: (c > v, c), node(), node(3)),
                graphc.DTypeError,
                r"carry enters the step as float32\[\] and leaves it as bool\[\]",
            ),
        ),
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
        raises=(
            (lambda: graphc.map(3, node(2)), graphc.GraphError, r"a function of one element, got 3(.|\n)*in map at"),
            (lambda: graphc.map(graphc.tanh, node()), graphc.ShapeError, r"got a scalar(.|\n)*in map at"),
            (lambda: graphc.map(graphc.tanh, "text"), graphc.DTypeError, r"got a str(.|\n)*in map at"),
            (lambda: graphc.map(lambda v: "text", node(2)), graphc.DTypeError, r"got a str(.|\n)*in map at"),
        ),
    ),
    Row(
        "watch_gradient",
        lambda x: graphc.watch_gradient(x, graphc.constant(0.0, x.dtype)),
        (f(3),),
        lambda x: x,
        raises=(
            *misread("watch_gradient", lambda x: graphc.watch_gradient(x, node())),
            (lambda: graphc.watch_gradient(node(3), node(3)), graphc.ShapeError, "a floating scalar as the probe"),
        ),
    ),
    Row(
        "fori_loop",
        lambda x: graphc.fori_loop(1, 4, lambda i, c: graphc.tanh(c) * i + x, x),
        (f(3),),
        lambda x: np.tanh(np.tanh(np.tanh(x) * 1 + x) * 2 + x) * 3 + x,
        raises=(
            (lambda: graphc.fori_loop(0, 3, 4, node()), graphc.GraphError, "a function of the index .*, got 4"),
            (lambda: graphc.fori_loop(0, node(), _second, node()), graphc.GraphError, "upper must be known before"),
            (lambda: graphc.fori_loop(0, 2.5, _second, node()), graphc.ShapeError, r"2.5(.|\n)*in fori_loop at"),
        ),
    ),
    Row(
        "while_loop",
        lambda x: graphc.while_loop(lambda c: (c * c).sum() < 90.0, lambda c: c * 1.5 + x, x),
        (f(3, low=0.5),),
        _grown,
        raises=(
            (lambda: graphc.while_loop(_is_small, graphc.exp, "text"), graphc.DTypeError, "got a str"),
            (lambda: graphc.while_loop(3, graphc.exp, node()), graphc.GraphError, "two functions of the carry, got 3"),
            (lambda: graphc.while_loop(graphc.exp, graphc.exp, node()), graphc.DTypeError, "a boolean scalar"),
            (lambda: graphc.while_loop(_is_small, graphc.sum, node(2)), graphc.ShapeError, r"carry enters the body"),
        ),
        derivable=False,
    ),
    Row(
        "cond",
        lambda x: control.cond(x.sum() > -99, lambda v: v * v, lambda v: v, x),
        (f(3),),
        lambda x: x * x if x.sum() > -99 else x,
        raises=(
            *misread("cond", lambda condition: graphc.cond(condition, graphc.exp, graphc.tanh, node(2))),
            (lambda: graphc.cond(True, 3, graphc.exp, node(2)), graphc.GraphError, "two functions, as in cond"),
            (lambda: graphc.cond(node(2), graphc.exp, graphc.tanh, node(2)), graphc.ShapeError, "use where for arrays"),
            (
                lambda: graphc.cond(node(), graphc.exp, graphc.tanh, node(2)),
                graphc.DTypeError,
                r"a boolean scalar .*\[\]",
            ),
            (
                lambda: graphc.cond(True, graphc.exp, graphc.sum, node(2)),
                graphc.ShapeError,
                r"result differs(.|\n)*float32\[2\] made by exp(.|\n)*float32\[\] made by sum",
            ),
            (lambda: graphc.cond(True, graphc.exp, graphc.isnan, node(2)), graphc.DTypeError, "result differs"),
            (
                lambda: graphc.cond(True, graphc.exp, lambda v: (v, v), node(2)),
                graphc.GraphError,
                r"must return what the first does(.|\n)*in cond at",
            ),
        ),
    ),
    Row(
        "item",
        lambda x: graphc.item(_halves(x), 1) * 3,
        (f(4, 2),),
        lambda x: x[2:] * 3,
        raises=(
            (lambda: graphc.item(node(2), 0), graphc.GraphError, r"several results, got float32\[2\]"),
            (lambda: graphc.item("text", 0), graphc.GraphError, r"several results, got 'text'(.|\n)*in item at"),
            (lambda: graphc.item(_halves(node(4, 2)), 2), graphc.GraphError, "result 2 does not exist: there are 2"),
        ),
    ),
)
