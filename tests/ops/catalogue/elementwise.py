"""Elementwise ops."""

from __future__ import annotations

import numpy as np

import graphc
from graphc.graph.node import make
from graphc.ops.bitwise import ShiftRight
from tests.ops.catalogue.row import FLOATS, INF, NAN, Operand, Row, binary, f, ints, node, unary


def _sigmoid(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.longdouble)
    return 1 / (1 + np.exp(-x))


COMPARED = (f(4, 5, gap=0.25), f(4, 5, gap=0.2))

ROWS = (
    binary("add", np.add),
    binary("subtract", np.subtract),
    binary("multiply", np.multiply),
    binary("divide", np.divide, operands=(f(3, 4), f(4, low=0.5, high=2.0))),
    binary("maximum", np.maximum, operands=COMPARED),
    binary("minimum", np.minimum, operands=COMPARED),
    binary(
        "floor_divide", np.floor_divide, operands=(f(9, low=-2.1, high=2.3), f(1, low=0.7, high=0.71)), derivable=False
    ),
    binary("remainder", np.remainder, operands=(f(9, gap=0.31), f(1, low=5.7, high=5.71))),
    *(
        binary(name, getattr(np, name), operands=COMPARED, derivable=False)
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    ),
    unary("negative", np.negative),
    unary("exp", np.exp, (*FLOATS, 88.0, 89.0, -103.0, -110.0, 709.0, -745.0)),
    unary("log", np.log, low=0.2, high=3.0),
    unary("tanh", np.tanh, (*FLOATS, 20.0, -20.0)),
    unary("sigmoid", _sigmoid, (*FLOATS, 88.0, -88.0, -100.0)),
    unary("sqrt", np.sqrt, low=0.2, high=3.0),
    unary("abs", np.abs, gap=0.25),
    unary("relu", lambda x: np.maximum(x, 0), gap=0.25),
    unary("floor", np.floor, gap=0.3, derivable=False),
    unary("isnan", np.isnan, derivable=False),
    unary("isfinite", np.isfinite, derivable=False),
    unary("sign", np.sign, (0.0, 1.0, -2.0, INF), gap=0.25, derivable=False),
    unary("square", lambda x: x * x),
    Row("pow 2", lambda x: x**2, (f(7),), lambda x: x * x, tuple((v,) for v in FLOATS)),
    Row("pow -3", lambda x: x**-3, (f(7, low=0.5, high=2),), lambda x: x**-3.0, ((2.0,),)),
    Row("pow 2.5", lambda x: x**2.5, (f(7, low=0.3, high=2),), lambda x: x**2.5, ((0.0,), (1.0,), (-1.0,), (INF,))),
    Row("pow 0.5", lambda x: x**0.5, (f(7, low=0.3, high=2),), np.sqrt),
    Row("pow int", lambda x: x**3, (ints(7, low=-9, high=9),), lambda x: x**3, derivable=False),
    Row(
        "floor_divide int",
        graphc.floor_divide,
        (ints(9, low=-9, high=9), ints(9, low=-3, high=3)),
        np.floor_divide,
        derivable=False,
    ),
    Row(
        "remainder int",
        graphc.remainder,
        (ints(9, low=-9, high=9), ints(9, low=-3, high=3)),
        np.remainder,
        derivable=False,
    ),
    Row(
        "add int32", graphc.add, (ints(5, low=-9, high=9, kind="i32"), ints(5, low=-9, high=9)), np.add, derivable=False
    ),
    *(
        Row(name, getattr(graphc, name), (Operand((9,), "b"), Operand((9,), "b")), getattr(np, name), derivable=False)
        for name in ("logical_and", "logical_or", "logical_xor")
    ),
    Row(
        "logical_not",
        graphc.logical_not,
        (Operand((9,), "b"),),
        np.logical_not,
        derivable=False,
        raises=((lambda: graphc.logical_not(node(2)), graphc.DTypeError),),
    ),
    Row(
        "where",
        graphc.where,
        (Operand((3, 1), "b"), f(4), f(3, 4)),
        np.where,
        raises=((lambda: graphc.where(node(2), 1.0, 2.0), graphc.DTypeError),),
    ),
    Row(
        "bitwise_right_shift",
        lambda x: make(ShiftRight(), x, graphc.full(x.shape, 3, "uint32")),
        (ints(9, low=0, high=2**32, kind="u"),),
        lambda x: x >> np.uint32(3),
        derivable=False,
    ),
    Row("astype float32", lambda x: x.astype("float32"), (f(5),), lambda x: x.astype("float32"), tolerance=1e7),
    Row(
        "astype int32",
        lambda x: x.astype("int32"),
        (f(9, low=-9, high=9),),
        lambda x: x.astype("int32"),
        ((NAN,), (-0.9,), (0.9,)),
        derivable=False,
    ),
    Row("astype bool", lambda x: x.astype("bool"), (ints(9, low=-2, high=2),), lambda x: x != 0, derivable=False),
    Row(
        "astype from bool",
        lambda x: x.astype("float64"),
        (Operand((9,), "b"),),
        lambda x: x.astype("float64"),
        derivable=False,
    ),
    Row("clip", lambda x: graphc.clip(x, -0.6, 0.8), (f(3, 5, gap=0.2),), lambda x: np.clip(x, -0.6, 0.8)),
)
