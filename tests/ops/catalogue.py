"""One row for each op, and for builders with a behaviour of their own: what every check of ops runs over.

A row gives a builder, its operands (shape, kind of numbers, safe domain), an independent NumPy definition, hard values,
and calls that must raise. Kinds: "f" runs in float32 and float64; "i" is int64, "i32" int32, "u" uint32, "b" bool.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc
from graphc.graph.node import make
from graphc.ops import control, gradient_control
from graphc.ops import random as random_ops
from graphc.ops.elementwise import ShiftRight

NAN, INF = math.nan, math.inf
FLOATS = (0.0, -0.0, 1.0, -1.0, NAN, INF, -INF, 1e-42, -1e-42, 3.4e38, -3.4e38, 0.5, 1e-8)
KINDS = {"i": "int64", "i32": "int32", "u": "uint32", "b": "bool"}


@dataclass(frozen=True)
class Operand:
    """One operand: values are drawn from [low, high), with a `gap` between them where an op has corners."""

    shape: tuple[int, ...]
    kind: str = "f"
    low: float = -2.0
    high: float = 2.0
    gap: float = 0.0

    def dtype(self, floating: str) -> str:
        return floating if self.kind == "f" else KINDS[self.kind]

    def draw(self, generator: np.random.Generator, floating: str) -> np.ndarray:
        dtype = self.dtype(floating)
        if self.kind == "b":
            return generator.integers(0, 2, self.shape).astype(bool)
        if self.kind != "f":
            return generator.integers(int(self.low), int(self.high), self.shape).astype(dtype)
        if self.gap:
            # A shuffled ladder off zero: no two values, and none and 0, come closer than the gap.
            count = math.prod(self.shape)
            ladder = self.gap * (np.arange(count) - count // 2 + 0.5)
            return generator.permutation(ladder).reshape(self.shape).astype(dtype)
        return generator.uniform(self.low, self.high, self.shape).astype(dtype)


@dataclass(frozen=True)
class Row:
    name: str
    build: Callable[..., Any]
    operands: tuple[Operand, ...]
    reference: Callable[..., Any]
    hard: tuple[tuple[Any, ...], ...] = ()
    raises: tuple[tuple[Callable[[], Any], type[Exception]], ...] = ()
    derivable: bool = True
    tolerance: float = 32.0
    batchable: bool = True

    def draw(self, floating: str, seed: int = 0) -> list[np.ndarray]:
        generator = np.random.default_rng(seed)
        return [operand.draw(generator, floating) for operand in self.operands]

    def inputs(self, floating: str) -> list[graphc.Input]:
        return [graphc.input(f"x{k}", o.shape, o.dtype(floating)) for k, o in enumerate(self.operands)]


def f(*shape: int, **more: Any) -> Operand:
    return Operand(shape, "f", **more)


def ints(*shape: int, low: int, high: int, kind: str = "i") -> Operand:
    return Operand(shape, kind, low, high)


def node(*shape: int, dtype: str = "float32") -> graphc.Input:
    return graphc.input("x", shape, dtype)


def unary(name: str, reference: Callable[..., Any], hard: tuple[float, ...] = FLOATS, **more: Any) -> Row:
    low, high, gap = more.pop("low", -2.0), more.pop("high", 2.0), more.pop("gap", 0.0)
    return Row(
        name,
        getattr(graphc, name),
        (f(3, 5, low=low, high=high, gap=gap),),
        reference,
        tuple((v,) for v in hard),
        **more,
    )


def binary(name: str, reference: Callable[..., Any], **more: Any) -> Row:
    pairs = tuple((a, b) for a in FLOATS[:7] for b in FLOATS[:7])
    build = getattr(graphc, name)
    operands = more.pop("operands", (f(3, 1, 5), f(4, 1)))
    wrong = (lambda: build(node(3), node(4)), graphc.ShapeError)
    return Row(name, build, operands, reference, pairs, more.pop("raises", (wrong,)), **more)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.longdouble)
    return 1 / (1 + np.exp(-x))


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _logsumexp(x: np.ndarray) -> np.ndarray:
    return np.log(np.exp(x.astype(np.longdouble)).sum(-1))


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


def _scatter(indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    out = np.zeros((4, *updates.shape[1:]), updates.dtype)
    for k, at in enumerate(indices):
        out[at] += updates[k]
    return out


def _recurrent(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    h = np.zeros(x.shape[1:], x.dtype)
    for v in x[::-1]:
        h = np.tanh(h @ w + v)
    return h


def _philox_word(flat: int, seed: int, site: int, step: int) -> int:
    c, k = [flat // 4, 0, step & 0xFFFFFFFF, step >> 32], [seed, site]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[flat % 4]


def _bits(seed: np.ndarray, step: np.ndarray) -> np.ndarray:
    words = [_philox_word(k, int(seed), 7, int(step)) for k in range(10)]
    return np.array(words, np.uint32).reshape(2, 5)


def _reverse_rows(out: np.ndarray, x: np.ndarray) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, x.shape[1] - 1 - j]


def _native(x: graphc.Node) -> graphc.Node:
    def rule(node: graphc.Node, cotangent: graphc.Node) -> tuple[graphc.Node]:
        return (graphc.flip(cotangent, 1),)

    return graphc.native(_reverse_rows, graphc.TensorType(x.shape, x.dtype), x, vjp=rule)


COMPARED = (f(4, 5, gap=0.25), f(4, 5, gap=0.2))
LABELS = ints(6, low=-4, high=4)

ELEMENTWISE = (
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
    Row("power 2", lambda x: x**2, (f(7),), lambda x: x * x, tuple((v,) for v in FLOATS)),
    Row("power -3", lambda x: x**-3, (f(7, low=0.5, high=2),), lambda x: x**-3.0, ((2.0,),)),
    Row("power 2.5", lambda x: x**2.5, (f(7, low=0.3, high=2),), lambda x: x**2.5, ((0.0,), (1.0,), (-1.0,), (INF,))),
    Row("power 0.5", lambda x: x**0.5, (f(7, low=0.3, high=2),), np.sqrt),
    Row("power int", lambda x: x**3, (ints(7, low=-9, high=9),), lambda x: x**3, derivable=False),
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
    Row(
        "normal_quantile",
        random_ops.normal_quantile,
        (f(9, low=0.1, high=0.9),),
        random_ops.quantile,
        ((0.5,), (1e-4,), (1e-30,)),
        tolerance=256,
    ),
)

MOVEMENT = (
    Row(
        "broadcast_to",
        lambda x: graphc.broadcast_to(x, (4, 3, 2, 5)),
        (f(3, 1, 5),),
        lambda x: np.broadcast_to(x, (4, 3, 2, 5)),
        raises=(
            (lambda: graphc.broadcast_to(node(3), (4,)), graphc.ShapeError),
            (lambda: graphc.broadcast_to(node(2, 3), (3,)), graphc.ShapeError),
        ),
    ),
    Row("broadcast_to scalar", lambda x: graphc.broadcast_to(x, (2, 3)), (f(),), lambda x: np.broadcast_to(x, (2, 3))),
    Row(
        "reshape",
        lambda x: x.reshape(2, -1, 5),
        (f(4, 3, 5),),
        lambda x: x.reshape(2, -1, 5),
        raises=(
            (lambda: node(6).reshape(4, -1), graphc.ShapeError),
            (lambda: node(6).reshape(-1, -1), graphc.ShapeError),
            (lambda: node(6).reshape(5), graphc.ShapeError),
        ),
    ),
    Row(
        "permute_dims",
        lambda x: graphc.permute_dims(x, (2, 0, 1)),
        (f(2, 3, 4),),
        lambda x: x.transpose(2, 0, 1),
        raises=(
            (lambda: graphc.permute_dims(node(2, 3), (0, 0)), graphc.ShapeError),
            (lambda: graphc.permute_dims(node(2), (1,)), graphc.ShapeError),
        ),
    ),
    Row("T", lambda x: x.T, (f(2, 3),), lambda x: x.T),
    Row("expand_dims", lambda x: graphc.expand_dims(x, (0, 2)), (f(2, 3),), lambda x: np.expand_dims(x, (0, 2))),
    Row(
        "squeeze",
        graphc.squeeze,
        (f(2, 1, 3, 1),),
        np.squeeze,
        raises=((lambda: graphc.squeeze(node(2), 0), graphc.ShapeError),),
    ),
    Row(
        "slice",
        lambda x: x[1:7:2, ::-1, -2],
        (f(9, 4, 3),),
        lambda x: x[1:7:2, ::-1, -2],
        raises=(
            (lambda: node(3)[3], graphc.ShapeError),
            (lambda: node(3)[0, 0], graphc.ShapeError),
            (lambda: node(3)[::0], graphc.ShapeError),
        ),
    ),
    Row(
        "slice negative step",
        lambda x: x[7:1:-3, None, ..., 2:0:-1],
        (f(9, 4),),
        lambda x: x[7:1:-3, None, ..., 2:0:-1],
    ),
    Row("slice empty", lambda x: x[5:2], (f(9, 2),), lambda x: x[5:2]),
    Row(
        "pad",
        lambda x: graphc.pad(x, ((1, 2), (0, 3))),
        (f(3, 2),),
        lambda x: np.pad(x, ((1, 2), (0, 3))),
        raises=((lambda: graphc.pad(node(3), -1), graphc.ShapeError),),
    ),
    Row(
        "pad interior",
        lambda x: graphc.pad(x, ((1, 0), (2, 1)), 1.5, interior=(2, 1)),
        (f(3, 2),),
        lambda x: _interior(x),
    ),
    Row(
        "concat",
        lambda *x: graphc.concat(x, axis=1),
        (f(2, 3), f(2, 1), f(2, 4)),
        lambda *x: np.concatenate(x, 1),
        raises=(
            (lambda: graphc.concat([node(2, 3), node(3, 3)], 1), graphc.ShapeError),
            (lambda: graphc.concat([]), graphc.ShapeError),
        ),
    ),
    Row("stack", lambda *x: graphc.stack(x, axis=1), (f(2, 3), f(2, 3)), lambda *x: np.stack(x, 1)),
    Row("flip", lambda x: graphc.flip(x, 1), (f(2, 4),), lambda x: np.flip(x, 1)),
    Row("moveaxis", lambda x: graphc.moveaxis(x, 0, -1), (f(2, 3, 4),), lambda x: np.moveaxis(x, 0, -1)),
    Row("repeat", lambda x: graphc.repeat(x, 3, 1), (f(2, 4),), lambda x: np.repeat(x, 3, 1)),
    Row(
        "positions",
        lambda x: x * graphc.arange(2, 11, 3, dtype=x.dtype) + graphc.size(5, x.dtype),
        (f(3),),
        lambda x: x * np.arange(2, 11, 3, x.dtype) + np.asarray(5, x.dtype),
    ),
    Row("tril", lambda x: graphc.tril(x, -1) + graphc.triu(x, 1), (f(3, 4),), lambda x: np.tril(x, -1) + np.triu(x, 1)),
    Row("eye", lambda x: x * graphc.eye(3, 4, x.dtype), (f(3, 4),), lambda x: x * np.eye(3, 4, dtype=x.dtype)),
    Row(
        "constant",
        lambda x: x + graphc.constant(np.arange(6).reshape(2, 3), x.dtype),
        (f(2, 3),),
        lambda x: x + np.arange(6).reshape(2, 3).astype(x.dtype),
    ),
)


def _interior(x: np.ndarray) -> np.ndarray:
    out = np.full((1 + 7, 2 + 3 + 1), 1.5, x.dtype)
    out[1:8:3, 2:5:2] = x
    return out


REDUCTION = (
    Row(
        "sum",
        lambda x: x.sum((0, 2)),
        (f(3, 4, 5),),
        lambda x: x.sum((0, 2)),
        raises=((lambda: node(3).sum(1), graphc.ShapeError), (lambda: node(3, 3).sum((0, -2)), graphc.ShapeError)),
    ),
    Row("sum keepdims", lambda x: x.sum(1, keepdims=True), (f(3, 4),), lambda x: x.sum(1, keepdims=True)),
    Row("sum empty", lambda x: x.sum(1), (f(3, 0),), lambda x: x.sum(1)),
    Row("sum int32", lambda x: x.sum(), (ints(9, low=-9, high=9, kind="i32"),), lambda x: x.sum(), derivable=False),
    Row("mean", lambda x: x.mean(-1), (f(3, 4),), lambda x: x.mean(-1)),
    Row("var", lambda x: graphc.var(x, 0, correction=1), (f(5, 2),), lambda x: x.var(0, ddof=1), tolerance=64),
    Row("std", lambda x: graphc.std(x, 1), (f(2, 5),), lambda x: x.std(1), tolerance=64),
    Row(
        "max",
        lambda x: x.max(1),
        (f(3, 4, gap=0.2),),
        lambda x: x.max(1),
        raises=((lambda: node(3, 0).max(1), graphc.ShapeError),),
    ),
    Row("min", lambda x: x.min(), (f(3, 4, gap=0.2),), lambda x: x.min()),
    Row("all", lambda x: x.all(0), (Operand((2, 9), "b"),), lambda x: x.all(0), derivable=False),
    Row("any", lambda x: x.any(0), (Operand((2, 9), "b"),), lambda x: x.any(0), derivable=False),
    Row(
        "argmax",
        lambda x: x.argmax(1),
        (f(3, 5, gap=0.2),),
        lambda x: x.argmax(1),
        derivable=False,
        raises=((lambda: node(0).argmax(0), graphc.ShapeError),),
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
    ),
    Row(
        "cumulative_sum",
        lambda x: graphc.cumulative_sum(x, 1),
        (f(3, 5),),
        lambda x: np.cumsum(x, 1),
        raises=((lambda: graphc.cumulative_sum(node(2, 2)), graphc.ShapeError),),
    ),
    Row(
        "cumulative_sum reverse",
        lambda x: graphc.cumulative_sum(x, 0, reverse=True),
        (f(5, 2),),
        lambda x: np.flip(np.cumsum(np.flip(x, 0), 0), 0),
    ),
    Row("logsumexp", lambda x: graphc.logsumexp(x, -1), (f(3, 5, low=-30, high=30),), _logsumexp),
    Row("softmax", lambda x: graphc.softmax(x, 0), (f(4, 3),), lambda x: _softmax(x, 0)),
    Row("log_softmax", graphc.log_softmax, (f(3, 4),), lambda x: np.log(_softmax(x.astype(np.longdouble), -1))),
)

CONTRACTION = (
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

INDEXING = (
    Row(
        "take",
        lambda x, i: graphc.take(x, i, axis=1),
        (f(2, 4, 3), ints(2, 5, low=-4, high=4)),
        lambda x, i: np.take(x, i, 1),
        raises=(
            (lambda: graphc.take(node(3), node(2)), graphc.DTypeError),
            (lambda: graphc.take(node(3), 0, 1), graphc.ShapeError),
        ),
    ),
    Row("take int32", lambda x, i: x[i], (f(4, 3), ints(6, low=-4, high=4, kind="i32")), lambda x, i: x[i]),
    Row(
        "take_along_axis",
        lambda x, i: graphc.take_along_axis(x, i, 1),
        (f(2, 4, 3), ints(2, 5, 3, low=-4, high=4)),
        lambda x, i: np.take_along_axis(x, i, 1),
    ),
    Row(
        "scatter_add",
        lambda i, x: graphc.scatter_add(i, x, 4),
        (LABELS, f(6, 3)),
        _scatter,
        raises=((lambda: graphc.scatter_add(node(3, dtype="int64"), node(4), 9), graphc.ShapeError),),
    ),
    Row("one_hot", lambda i: graphc.one_hot(i, 4), (LABELS,), lambda i: np.eye(4, dtype="float32")[i], derivable=False),
    Row(
        "argsort",
        lambda x: graphc.argsort(x, 0),
        (ints(7, 3, low=0, high=4),),
        lambda x: np.argsort(x, 0, kind="stable"),
        derivable=False,
    ),
    Row("sort", graphc.sort, (f(3, 5, gap=0.2),), np.sort),
    Row(
        "sort descending", lambda x: graphc.sort(x, 0, descending=True), (f(5, 2, gap=0.2),), lambda x: -np.sort(-x, 0)
    ),
    Row("native", _native, (f(3, 4),), lambda x: x[:, ::-1], batchable=False),
    Row(
        "random_bits",
        lambda seed, step: make(random_ops.RandomBits(7, (2, 5)), seed, step),
        (ints(low=0, high=2**32, kind="u"), ints(low=0, high=2**40)),
        _bits,
        derivable=False,
        batchable=False,
    ),
)

CONTROL = (
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

ROWS: tuple[Row, ...] = (*ELEMENTWISE, *MOVEMENT, *REDUCTION, *CONTRACTION, *INDEXING, *CONTROL)
