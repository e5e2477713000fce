"""Elementwise ops of real numbers: arithmetic, exponentials, trigonometry, rounding, choice."""

from __future__ import annotations

import math

import numpy as np
import scipy.special

import graphc
from graphc import normal_cdf, normal_pdf
from tests.ops.catalogue.row import FLOATS, INF, NAN, Operand, Row, binary, f, misread, node, unary


def _sigmoid(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.longdouble)
    return 1 / (1 + np.exp(-x))


def _softplus(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.longdouble)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _rsqrt(x: np.ndarray) -> np.ndarray:
    return 1 / np.sqrt(x.astype(np.longdouble))


def _clip(x: np.ndarray, low: float, high: float) -> np.ndarray:
    # Python's comparisons, an element at a time: NaN stays, and the upper limit is applied last.
    def limited(value: float) -> float:
        value = low if value < low else value
        return high if value > high else value

    return np.array([limited(value) for value in x.reshape(-1).tolist()], x.dtype).reshape(x.shape)


def _bell(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.longdouble)
    return np.exp(x * x / -2) / np.sqrt(2 * np.longdouble(np.pi))


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    """Below 0 by erfc(s) e^(s^2), which the rounding of s = -x / sqrt(2) hardly moves, times e^(-x^2 / 2) in more precision."""
    exact = x.astype(np.longdouble)
    with np.errstate(over="ignore"):
        tail = scipy.special.erfcx(-x.astype(np.float64) / np.sqrt(2)) * np.exp(exact * exact / -2) / 2
    return np.where(x < 0, tail, scipy.special.ndtr(x.astype(np.float64)))


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * _normal_cdf(x)


COMPARED = (f(4, 5, gap=0.25), f(4, 5, gap=0.2))
HALVES = (*FLOATS, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, 8388609.0, -4503599627370497.0)
ANGLES = (*FLOATS, math.pi, -math.pi, math.pi / 2, 1e5, -1e10)
NORMAL = (*FLOATS, 3.0, -3.0, -9.0, 13.5, -13.5, -14.4, 36.0, -38.5, -40.0)
UNIT = (*FLOATS, 0.9999999, -0.9999999, 1.0000001, 2.0)
EXPONENTS = (0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, -3.0, 1e10, 1e-42, NAN, INF, -INF)

ARITHMETIC = (
    binary("add", np.add, booleans=False),
    binary("subtract", np.subtract, booleans=False),
    binary("multiply", np.multiply, booleans=False),
    binary("divide", np.divide, operands=(f(3, 4), f(4, low=0.5, high=2.0)), hard=FLOATS),
    binary("maximum", np.maximum, operands=COMPARED, booleans=False),
    binary("minimum", np.minimum, operands=COMPARED, booleans=False),
    binary(
        "floor_divide",
        np.floor_divide,
        operands=(f(9, low=-2.1, high=2.3), f(1, low=0.7, high=0.71)),
        derivable=False,
        booleans=False,
    ),
    binary("remainder", np.remainder, operands=(f(9, gap=0.31), f(1, low=5.7, high=5.71)), booleans=False),
    unary("negative", np.negative, booleans=False),
    unary("abs", np.abs, gap=0.25, booleans=False),
    unary("sign", np.sign, gap=0.25, derivable=False, booleans=False),
    unary("square", lambda x: x * x, booleans=False),
    unary("reciprocal", lambda x: 1 / x, low=0.5, high=2.0),
    unary("relu", lambda x: np.maximum(x, 0), gap=0.25, booleans=False),
    Row(
        "clip",
        lambda x: graphc.clip(x, -0.6, 0.8),
        (f(3, 5, gap=0.2),),
        lambda x: _clip(x, -0.6, 0.8),
        tuple((v,) for v in FLOATS),
        (
            (lambda: graphc.clip(node(3), node(4)), graphc.ShapeError, r"do not broadcast: \[3\] and \[4\]"),
            (lambda: graphc.clip(node(3), "low"), graphc.DTypeError, "got a str"),
            (lambda: graphc.clip(node(3, dtype="bool"), 0, 1), graphc.DTypeError, r"clip: expected .*, got bool\[3\]"),
        ),
    ),
    Row("clip below", lambda x: x.clip(0.6), (f(3, 5, gap=0.2),), lambda x: _clip(x, 0.6, INF)),
    Row(
        "clip crossed", lambda x: x.clip(2.0, -1.0), (f(9),), lambda x: np.clip(x, 2.0, -1.0), ((0.0,), (INF,), (NAN,))
    ),
    Row("clip by nodes", graphc.clip, (f(3, 5), f(5, low=-1, high=0), f(3, 1, low=0.1, high=1)), np.clip),
    Row("clip by NaN", lambda x: graphc.clip(x, NAN, 1.0), (f(5),), lambda x: np.clip(x, NAN, 1.0), derivable=False),
)

EXPONENTIAL = (
    unary("exp", np.exp, (*FLOATS, 88.0, 89.0, -103.0, -110.0, 709.0, -745.0)),
    unary("exp2", np.exp2, (*FLOATS, 127.0, 128.0, -126.0, -149.0, -151.0, 1023.0, -1074.0)),
    unary("expm1", np.expm1, (*FLOATS, 88.0, 89.0, -20.0, -40.0, 709.0)),
    unary("log", np.log, low=0.2, high=3.0),
    unary("log1p", np.log1p, (*FLOATS, -0.99999, 1e-20), low=-0.7, high=3.0),
    unary("log2", np.log2, (*FLOATS, 8.0, 0.25, 2.0**-149), low=0.2, high=3.0),
    unary("log10", np.log10, (*FLOATS, 1000.0, 1e-5), low=0.2, high=3.0),
    unary("sqrt", np.sqrt, low=0.2, high=3.0),
    unary("rsqrt", _rsqrt, low=0.2, high=3.0),
    unary("cbrt", np.cbrt, (*FLOATS, 27.0, -8.0), low=0.3, high=3.0),
    unary("sigmoid", _sigmoid, (*FLOATS, 88.0, -88.0, -100.0)),
    unary("softplus", _softplus, (*FLOATS, 88.0, -88.0, -100.0, 20.0)),
    unary("erf", scipy.special.erf, (*FLOATS, 4.0, -4.0, 6.0, 1e-20)),
    unary("erfc", scipy.special.erfc, (*FLOATS, 4.0, -4.0, 9.0, 10.5, 26.0, 28.0)),
    Row(
        "normal_cdf",
        normal_cdf,
        (f(3, 5),),
        _normal_cdf,
        tuple((v,) for v in NORMAL),
        misread("normal_cdf", normal_cdf),
    ),
    Row("normal_pdf", normal_pdf, (f(3, 5),), _bell, tuple((v,) for v in NORMAL), misread("normal_pdf", normal_pdf)),
    Row("gelu", graphc.nn.gelu, (f(3, 5),), _gelu, tuple((v,) for v in NORMAL)),
    binary(
        "pow", np.power, operands=(f(3, 1, 5, low=0.3, high=2), f(4, 1)), hard=(*FLOATS, *EXPONENTS), booleans=False
    ),
    Row("pow 0", lambda x: x**0, (f(7),), lambda x: x**0, ((0.0,), (NAN,), (INF,)), derivable=False),
    Row("pow 2", lambda x: x**2, (f(7),), lambda x: x * x, tuple((v,) for v in FLOATS)),
    Row("pow -3", lambda x: x**-3, (f(7, low=0.5, high=2),), lambda x: x**-3.0, ((2.0,), (0.0,), (INF,), (NAN,))),
    Row("pow 40", lambda x: x**40, (f(7, low=0.5, high=1.5),), lambda x: x**40.0, ((-2.0,), (0.0,))),
    Row("pow 2.5", lambda x: x**2.5, (f(7, low=0.3, high=2),), lambda x: x**2.5, ((0.0,), (1.0,), (-1.0,), (INF,))),
    Row("pow 0.5", lambda x: x**0.5, (f(7, low=0.3, high=2),), np.sqrt),
    Row("pow -0.5", lambda x: x**-0.5, (f(7, low=0.3, high=2),), lambda x: 1 / np.sqrt(x)),
    Row("pow of a number", lambda x: 2.5**x, (f(7),), lambda x: np.asarray(2.5, x.dtype) ** x),
)

TRIGONOMETRIC = (
    unary("sin", np.sin, ANGLES),
    unary("cos", np.cos, ANGLES),
    unary("tan", np.tan, ANGLES, low=-1.2, high=1.2),
    unary("asin", np.arcsin, UNIT, low=-0.8, high=0.8),
    unary("acos", np.arccos, UNIT, low=-0.8, high=0.8),
    unary("atan", np.arctan),
    unary("sinh", np.sinh, (*FLOATS, 88.0, -89.0, 90.0, 709.0, 711.0)),
    unary("cosh", np.cosh, (*FLOATS, 88.0, -89.0, 90.0, 709.0, 711.0)),
    unary("tanh", np.tanh, (*FLOATS, 20.0, -20.0)),
    unary("asinh", np.arcsinh),
    unary("acosh", np.arccosh, (*FLOATS, 1.0000001, 1e30), low=1.2, high=3.0),
    unary("atanh", np.arctanh, UNIT, low=-0.8, high=0.8),
    binary("atan2", np.arctan2, operands=(f(3, 4, gap=0.3), f(3, 4, gap=0.4)), hard=FLOATS),
)

ROUNDING = (
    unary("floor", np.floor, HALVES, gap=0.3, derivable=False, booleans=False),
    unary("ceil", np.ceil, HALVES, gap=0.3, derivable=False, booleans=False),
    unary("trunc", np.trunc, HALVES, gap=0.3, derivable=False, booleans=False),
    unary("round", np.round, HALVES, gap=0.3, derivable=False, booleans=False),
    Row(
        "round decimals",
        lambda x: graphc.concat([graphc.round(x, places) for places in (0, 1, 3, -1, -2)], None),
        (f(3, 5, low=-300, high=300),),
        lambda x: np.concatenate([np.round(x, places).ravel() for places in (0, 1, 3, -1, -2)]),
        raises=(
            (lambda: graphc.round(node(3), "two"), graphc.ShapeError, r"a number of decimals .*, got 'two'"),
            (
                lambda: graphc.round(node(3, dtype="int64"), -1),
                graphc.DTypeError,
                r"expected floats for decimals=-1, got int64\[3\]; use astype",
            ),
        ),
        derivable=False,
    ),
)

CHOICE = (
    *(
        binary(name, getattr(np, name), operands=COMPARED, derivable=False, hard=FLOATS)
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    ),
    unary("isnan", np.isnan, derivable=False),
    unary("isinf", np.isinf, derivable=False),
    unary("isfinite", np.isfinite, derivable=False),
    Row(
        "where",
        graphc.where,
        (Operand((3, 1), "b"), f(4), f(3, 4)),
        np.where,
        ((True, NAN, 1.0), (False, NAN, 1.0), (True, INF, NAN), (False, 0.0, -INF)),
        (
            (
                lambda: graphc.where(node(2), 1.0, 2.0),
                graphc.DTypeError,
                r"expected booleans, got float32\[2\]; compare",
            ),
            (lambda: graphc.where(node(2, dtype="bool"), node(2), node(3)), graphc.ShapeError, "do not broadcast"),
            (lambda: graphc.where(node(2, dtype="bool"), "yes", 0.0), graphc.DTypeError, "got a str"),
            (lambda: graphc.where(None, 1.0, 0.0), graphc.DTypeError, "got a None"),
        ),
    ),
)

ROWS = (*ARITHMETIC, *EXPONENTIAL, *TRIGONOMETRIC, *ROUNDING, *CHOICE)
