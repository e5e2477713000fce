"""Elementwise ops of integers and booleans, and conversion between dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc
from tests.ops.catalogue.row import INF, KINDS, NAN, Operand, Row, f, ints, node, refused, whole

LIMITS = (-(2**63), -(2**31) - 1, -(2**31), -257, -1, 0, 1, 255, 256, 2**24 + 1, 2**31, 2**32 + 5, 2**63 - 1)
REALS = (NAN, INF, -INF, 0.0, -0.0, -0.9, 0.9, -1.5, 254.7, 255.0, 256.5, 2147483520.0, 2147483648.0, 3e9, -3e9, 1e30)


def _wrapped(value: int, dtype: np.dtype[Any]) -> int:
    limits = np.iinfo(dtype)
    return (value - int(limits.min)) % (int(limits.max) - int(limits.min) + 1) + int(limits.min)


def _exact(function: Callable[..., int]) -> Callable[..., np.ndarray]:
    """A function of Python's integers, which are exact, over arrays; the results wrap around."""

    def define(*arrays: np.ndarray) -> np.ndarray:
        dtype = arrays[0].dtype
        rows = zip(*(a.reshape(-1).tolist() for a in np.broadcast_arrays(*arrays)), strict=True)
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        return np.array([_wrapped(function(*row), dtype) for row in rows], dtype).reshape(shape)

    return define


def _power(x: int, y: int) -> int:
    if y >= 0:
        return pow(x, y, 2**64)
    return x ** (y % 2) if abs(x) == 1 else 0


def _left(x: int, y: int) -> int:
    return x << y if 0 <= y < 64 else 0


def _right(x: int, y: int) -> int:
    return x >> (y if 0 <= y < 64 else 64)


def _saturated(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    limits = np.iinfo(kind)

    def define(x: np.ndarray) -> np.ndarray:
        def one(value: float) -> int:
            if value != value:
                return 0
            return int(limits.max) if value >= limits.max else max(int(limits.min), int(max(value, -1e300)))

        return np.array([one(float(value)) for value in x.reshape(-1)], kind).reshape(x.shape)

    return define


def _astype(to: str, operand: Operand, reference: Callable[..., Any], hard: tuple[Any, ...], **more: Any) -> Row:
    name = f"astype {to}" if operand.kind == "f" else f"astype {to} from {KINDS[operand.kind]}"
    return Row(name, lambda x: x.astype(to), (operand,), reference, tuple((v,) for v in hard), **more)


def _logical(name: str) -> Row:
    build = getattr(graphc, name)
    message = r"expected booleans, got float32\[2\]; compare first, as in x != 0"
    return Row(
        name,
        build,
        (Operand((9,), "b"), Operand((3, 1), "b")),
        getattr(np, name),
        ((True, False), (False, True), (True, True), (False, False)),
        (
            (lambda: build(node(2), node(2, dtype="bool")), graphc.DTypeError, message),
            (lambda: build(True, 1), graphc.DTypeError, "expected booleans, got int64"),
            (lambda: build(node(2, dtype="bool"), node(3, dtype="bool")), graphc.ShapeError, "do not broadcast"),
        ),
        derivable=False,
    )


def _bitwise(name: str) -> tuple[Row, ...]:
    build, reference = getattr(graphc, name), getattr(np, name)
    message = r"expected integers or unsigned integers, got float32\[3\]; use astype"
    wrong = (
        *refused(build, 2),
        (lambda: build(node(3), node(3)), graphc.DTypeError, message),
        (lambda: build(node(3, dtype="int32"), 1.5), graphc.DTypeError, message),
        (lambda: build(node(3, dtype="uint8"), 256), graphc.DTypeError, "256 does not fit uint8"),
    )
    return (
        whole(name, reference, "i", 2, raises=wrong),
        whole(name, reference, "u8", 2),
        Row(f"{name} bool", build, (Operand((9,), "b"), Operand((9,), "b")), reference, derivable=False),
    )


ROWS = (
    whole("add", _exact(lambda x, y: x + y), "i", 2),
    whole("add", _exact(lambda x, y: x + y), "u8", 2),
    whole("subtract", _exact(lambda x, y: x - y), "u", 2),
    whole("multiply", _exact(lambda x, y: x * y), "i32", 2),
    *(whole("floor_divide", _exact(lambda x, y: x // y if y else 0), kind, 2) for kind in ("i", "i32", "u8")),
    *(whole("remainder", _exact(lambda x, y: x % y if y else 0), kind, 2) for kind in ("i", "i32", "u8")),
    whole("maximum", np.maximum, "i", 2),
    whole("minimum", np.minimum, "u", 2),
    *(whole("negative", _exact(lambda x: -x), kind, 1) for kind in ("i", "u", "u8")),
    *(whole("abs", _exact(abs), kind, 1) for kind in ("i", "i32", "u")),
    *(whole("sign", _exact(lambda x: (x > 0) - (x < 0)), kind, 1) for kind in ("i32", "u8")),
    whole("square", _exact(lambda x: x * x), "i", 1),
    whole("relu", _exact(lambda x: max(x, 0)), "i32", 1),
    *(whole(name, lambda x: x, "i", 1) for name in ("floor", "ceil", "trunc", "round")),
    Row(
        "round decimals int64",
        lambda x: graphc.round(x, 2),
        (ints(9, low=-9, high=9),),
        lambda x: np.round(x, 2),
        derivable=False,
    ),
    *(whole(name, getattr(np, name), "i32", 1) for name in ("isnan", "isinf", "isfinite")),
    whole("divide", lambda x, y: np.divide(x, y, dtype="float32"), "i32", 2),
    whole("reciprocal", lambda x: np.divide(1, x, dtype="float32"), "i32", 1),
    whole("less", np.less, "u", 2),
    whole("greater_equal", np.greater_equal, "i", 2),
    *(whole("pow", _exact(_power), kind, 2) for kind in ("i", "i32", "u8")),
    Row(
        "pow int",
        lambda x: x**3,
        (ints(7, low=-9, high=9),),
        _exact(lambda x: x**3),
        ((2**62,), (-(2**63),), (-1,)),
        (
            (lambda: node(3, dtype="int32") ** -1, graphc.DTypeError, "integers have no negative powers, got -1"),
            (lambda: node(3, dtype="bool") ** 2, graphc.DTypeError, r"got bool\[3\]; use astype"),
        ),
        derivable=False,
    ),
    Row(
        "add of two integers",
        graphc.add,
        (ints(5, low=-9, high=9, kind="i32"), ints(5, low=-9, high=9)),
        np.add,
        derivable=False,
    ),
    Row(
        "add of signed and unsigned",
        graphc.add,
        (ints(5, low=-9, high=9, kind="i32"), ints(5, low=0, high=2**32, kind="u")),
        np.add,
        derivable=False,
    ),
    Row("clip int", lambda x: x.clip(-2, 3), (ints(9, low=-9, high=9),), lambda x: np.clip(x, -2, 3), derivable=False),
    *_bitwise("bitwise_and"),
    *_bitwise("bitwise_or"),
    *_bitwise("bitwise_xor"),
    whole("bitwise_invert", _exact(lambda x: ~x), "i32", 1),
    whole(
        "bitwise_invert",
        _exact(lambda x: ~x),
        "u",
        1,
        raises=(
            *refused(graphc.bitwise_invert, 1),
            (lambda: ~node(3), graphc.DTypeError, r"bitwise_invert: expected integers.*, got float32\[3\]; use astype"),
        ),
    ),
    *(
        whole(f"bitwise_{side}_shift", _exact(shift), kind, 2, raises=wrong)
        for side, shift in (("left", _left), ("right", _right))
        for kind, wrong in (
            ("i", refused(getattr(graphc, f"bitwise_{side}_shift"), 2, booleans=False)),
            ("i32", ()),
            ("u8", ()),
        )
    ),
    *(_logical(name) for name in ("logical_and", "logical_or", "logical_xor")),
    Row(
        "logical_not",
        graphc.logical_not,
        (Operand((9,), "b"),),
        np.logical_not,
        ((True,), (False,)),
        ((lambda: graphc.logical_not(node(2)), graphc.DTypeError, "expected booleans, got float32"),),
        derivable=False,
    ),
    _astype(
        "float32",
        f(5),
        lambda x: x.astype("float32"),
        (NAN, INF, 1e-46, 1e39, 0.1),
        tolerance=1e7,
        raises=(
            (lambda: node(3).astype("float16"), graphc.DTypeError, "dtype 'float16' is not supported; expected one of"),
            (lambda: node(3).astype("text"), graphc.DTypeError, "dtype 'text' is not supported"),
            (lambda: node(3).astype(None), graphc.DTypeError, "dtype None is not supported"),
        ),
    ),
    *(_astype(to, f(9, low=-9, high=9), _saturated(to), REALS, derivable=False) for to in ("int32", "int64")),
    *(_astype(to, f(9, low=-9, high=9), _saturated(to), REALS, derivable=False) for to in ("uint8", "uint32")),
    _astype("bool", f(9), lambda x: x != 0, (NAN, INF, 0.0, -0.0, 1e-42), derivable=False),
    *(
        _astype(
            to,
            ints(9, low=-999, high=999),
            lambda x, to=to: np.array([_wrapped(v, np.dtype(to)) for v in x.tolist()], to),
            LIMITS,
            derivable=False,
        )
        for to in ("int32", "uint8", "uint32")
    ),
    _astype("float32", ints(9, low=-999, high=999), lambda x: x.astype("float32"), LIMITS, derivable=False),
    _astype("bool", ints(9, low=-2, high=2), lambda x: x != 0, LIMITS, derivable=False),
    _astype("float64", Operand((9,), "b"), lambda x: x.astype("float64"), (True, False), derivable=False),
    _astype("int32", Operand((9,), "b"), lambda x: x.astype("int32"), (True, False), derivable=False),
)
