"""For each rule of algebra: nodes on which it fires, and near misses on which it must not.

Operands: x and y hold all pairs of special floats (NaN, infinities, both zeros, denormals, extremes), i and j all pairs
of special integers, u and v of unsigned ones, a, b and c all triples of booleans, m and k are matrices.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

import graphc
from graphc.graph.node import make
from graphc.ops.conversion import Astype
from graphc.ops.exponential import Pow
from graphc.ops.gradient_control import StopGradient
from graphc.ops.joining import Concat
from graphc.ops.movement import BroadcastTo, PermuteDims, Reshape
from graphc.ops.reduction import Sum
from graphc.ops.slicing import Pad, Slice

FLOATS = np.array([0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 5e-324, -1e-310, 1.7e308, -1.7e308, 0.3, -7.5, 2e-8])
INTEGERS = np.array([0, 1, -1, 2, 7, -(2**63), 2**63 - 1])
UNSIGNED = np.array([0, 1, 7, 2**31, 2**32 - 1], "uint32")

Build = Callable[[Any], Any]


def pairs(values: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.array(column) for column in zip(*itertools.product(values, values), strict=True))


def operands() -> tuple[SimpleNamespace, dict[Any, np.ndarray]]:
    """Return the inputs by name, and their values."""
    values: dict[str, np.ndarray] = dict(zip("xy", pairs(FLOATS), strict=True))
    values |= dict(zip("ij", pairs(INTEGERS), strict=True)) | dict(zip("uv", pairs(UNSIGNED), strict=True))
    values |= dict(zip("abc", np.array(list(itertools.product([False, True], repeat=3))).T, strict=True))
    values |= {
        "m": np.arange(12.0).reshape(4, 3) - 5.5,
        "k": np.array([[np.nan, np.inf, -2.0]] * 4),
        "s": np.array(3.5),
    }
    values |= {"t": np.arange(12.0).reshape(4, 1, 3), "e": np.zeros((0, 3))}
    inputs = {name: graphc.input(name, array.shape, array.dtype) for name, array in values.items()}
    return SimpleNamespace(**inputs), {inputs[name]: array for name, array in values.items()}


@dataclass(frozen=True)
class Case:
    """`fires`, `misses`: nodes made of the operands. `rtol`: 0 where the same bits are promised, signs of zeros too.

    `truth`: where the rule may correct what overflows or cancels: the true value, from the operands in long doubles.
    """

    fires: tuple[Build, ...]
    misses: tuple[Build, ...]
    rtol: float = 0.0
    truth: Callable[..., Any] | None = None


def full(like: Any, value: Any) -> Any:
    return graphc.full(like.shape, value, like.dtype)


def node(op: Any, *inputs: Any) -> Any:
    return make(op, *inputs)


def power(x: Any, exponent: float) -> Any:
    return make(Pow(), x, full(x, exponent))


def walked(v, reverse):
    """The states of a loop over the rows of m."""

    def step(h, row):
        h = h * 0.5 + row
        return h, h

    return graphc.scan(step, v.m[0], v.m, reverse=reverse)[1]


def carried(v: Any, new: Build) -> Any:
    return graphc.scan(lambda h, r: (new(h), r), v.s, v.m)[0]


def scaled(v: Any, factor: Any) -> Any:
    """Return a scan whose step multiplies by an operand that the scan is then given."""
    scan = carried(v, lambda h: h * v.s).inputs[0]
    return scan.on((*scan.inputs[:-1], factor))


def branched(v: Any, condition: Any) -> Any:
    return graphc.cond(condition, lambda: v.m * 2.0, lambda: v.m * 3.0)


def repeated(v: Any, *shape: int) -> Any:
    return graphc.broadcast_to(v.m, (*shape, 4, 3))


E = graphc.exp
ARITHMETIC = {
    "add_zero": Case(
        (lambda v: v.x + -0.0, lambda v: v.i + 0, lambda v: abs(v.x) + 0.0, lambda v: 0.0 + v.x * v.x),
        (lambda v: v.x + 0.0, lambda v: v.x + 1e-300, lambda v: v.x + v.y),
    ),
    "add_negative": Case((lambda v: v.x + -v.y, lambda v: -v.i + v.j), (lambda v: v.x + v.y,)),
    "add_twice": Case((lambda v: (v.i + 7) + (2**63 - 1), lambda v: 7 + (5 + v.u)), (lambda v: (v.x + 7.0) + 5.0,)),
    "subtract_zero": Case((lambda v: v.x - 0.0, lambda v: v.i - 0), (lambda v: v.x - -0.0, lambda v: v.x - 1e-300)),
    "subtract_from_zero": Case((lambda v: -0.0 - v.x, lambda v: 0 - v.i), (lambda v: 0.0 - v.x, lambda v: 0 - v.u)),
    "subtract_negative": Case((lambda v: v.x - -v.y, lambda v: v.i - -v.j), (lambda v: -v.x - v.y,)),
    "subtract_itself": Case((lambda v: v.i - v.i, lambda v: v.u - v.u), (lambda v: v.x - v.x, lambda v: v.i - v.j)),
    "negative_negative": Case(
        (lambda v: graphc.negative(-v.x), lambda v: graphc.negative(-v.i)), (lambda v: -abs(-v.x),)
    ),
    "negative_difference": Case((lambda v: -(v.i - v.j),), (lambda v: -(v.x - v.y), lambda v: -(v.i + v.j))),
    "negative_scaled": Case(
        (lambda v: -(v.x * 3.0), lambda v: -(0.1 * v.x), lambda v: -(v.x / 7.0)),
        (lambda v: -(v.x * v.y), lambda v: -(3.0 / v.x), lambda v: -(v.i * 3)),
    ),
    "multiply_one": Case(
        (lambda v: v.x * 1.0, lambda v: 1 * v.i, lambda v: v.x * -1.0, lambda v: v.i * -1),
        (lambda v: v.x * 1.0000001, lambda v: v.x * v.y),
    ),
    "multiply_zero": Case((lambda v: v.i * 0, lambda v: 0 * v.u), (lambda v: v.x * 0.0, lambda v: v.i * 2)),
    "multiply_negatives": Case((lambda v: -v.x * -v.y, lambda v: -v.x * 3.0), (lambda v: -v.x * v.y,)),
    "multiply_twice": Case(
        (lambda v: (v.x * 3.0) * 7.1, lambda v: 0.1 * (v.x * -0.3), lambda v: (v.i * 2**40) * 2**30),
        (
            lambda v: (v.x * 1e200) * 1e-200,
            lambda v: (v.x * 1e200) * 1e200,
            lambda v: (v.x * 0.1) * 3.0,
            lambda v: (v.x * v.y) * 3.0,
        ),
        rtol=4e-16,
    ),
    "square_of_size": Case((lambda v: graphc.square(abs(v.x)),), (lambda v: abs(v.x) * abs(v.y),)),
    "divide_one": Case((lambda v: v.x / 1.0, lambda v: v.x / -1.0), (lambda v: v.x / 2.0,)),
    "divide_power_of_two": Case(
        (lambda v: v.x / 4.0, lambda v: v.x / -0.125),
        (
            lambda v: v.x / 3.0,
            lambda v: v.x / 0.0,
            lambda v: v.x / np.inf,
            lambda v: v.x / 2.0**1023,
            lambda v: 4.0 / v.x,
        ),
    ),
    "divide_twice": Case(
        (lambda v: (v.x / 3.0) / 7.0, lambda v: (v.x / 0.1) / -0.3),
        (lambda v: (v.x / 1e200) / 1e-200, lambda v: (v.x / 1e200) / 1e200, lambda v: (v.x / v.y) / 3.0),
        rtol=4e-16,
    ),
    "divide_negatives": Case(
        (lambda v: -v.x / -v.y, lambda v: -v.x / 3.0), (lambda v: -v.x / v.y, lambda v: v.x / -v.y)
    ),
    "whole_division": Case(
        (lambda v: v.i // 1, lambda v: v.i % 1), (lambda v: v.x // 1.0, lambda v: v.x % 1.0, lambda v: v.i // 2)
    ),
    "abs_again": Case(
        (
            lambda v: abs(abs(v.x)),
            lambda v: abs(-v.x),
            lambda v: abs(E(v.x)),
            lambda v: abs(v.x * v.x),
            lambda v: abs(v.u),
            lambda v: abs(-v.i),
        ),
        (lambda v: abs(v.x * v.y), lambda v: abs(v.i * v.i), lambda v: abs(graphc.sqrt(v.x))),
    ),
    "relu_again": Case(
        (lambda v: graphc.relu(graphc.relu(v.x)), lambda v: graphc.relu(E(v.x)), lambda v: graphc.relu(v.u)),
        (lambda v: graphc.relu(-abs(v.x)), lambda v: graphc.relu(v.i * v.i)),
    ),
}
EXPONENTIAL = {
    "log_exp": Case(
        (
            lambda v: graphc.log(E(v.x)),
            lambda v: graphc.log2(graphc.exp2(v.x)),
            lambda v: graphc.log1p(graphc.expm1(v.x)),
        ),
        (lambda v: graphc.log(v.x), lambda v: graphc.log(graphc.exp2(v.x)), lambda v: graphc.log1p(E(v.x))),
        truth=lambda x, y: x,
    ),
    "log_one_plus": Case(
        (lambda v: graphc.log(1.0 + v.x), lambda v: graphc.log(v.x + 1.0)),
        (lambda v: graphc.log(2.0 + v.x), lambda v: graphc.log(v.x - 1.0)),
        rtol=4e-16,
        truth=lambda x, y: np.log1p(x),
    ),
    "exp_minus_one": Case(
        (lambda v: E(v.x) - 1.0, lambda v: E(v.x) + -1.0),
        (lambda v: E(v.x) + 1.0, lambda v: E(v.x) - 2.0, lambda v: 2.0 - E(v.x)),
        rtol=4e-16,
        truth=lambda x, y: np.expm1(x),
    ),
    "sqrt_square": Case(
        (lambda v: graphc.sqrt(v.x * v.x),),
        (lambda v: graphc.sqrt(v.x * v.y), lambda v: graphc.sqrt(v.x)),
        truth=lambda x, y: np.abs(x),
    ),
    "pow_known": Case(
        (
            *(lambda v, e=e: power(v.x, e) for e in (0.0, 1.0, 2.0, -1.0)),
            lambda v: node(Pow(), full(v.x, 1.0), v.x),
            lambda v: power(v.i, 2),
        ),
        (lambda v: power(v.x, 0.5), lambda v: power(v.x, 3.0), lambda v: power(v.i, -1)),
        rtol=4e-16,
    ),
}
CHOICE = {
    "compare_itself": Case(
        (
            *(lambda v: v.x < v.x, lambda v: v.x > v.x, lambda v: v.i == v.i, lambda v: v.i != v.i),
            *(lambda v: v.a <= v.a, lambda v: v.u >= v.u),
        ),
        (lambda v: v.x == v.x, lambda v: v.x <= v.x, lambda v: v.x != v.x, lambda v: v.i == v.j),
    ),
    "compare_unsigned": Case((lambda v: v.u < 0, lambda v: v.u >= 0), (lambda v: v.i < 0, lambda v: v.u < 1)),
    "not_not": Case((lambda v: ~~v.a,), (lambda v: ~v.a,)),
    "not_comparison": Case(
        (lambda v: ~(v.x == v.y), lambda v: ~(v.x != v.y), lambda v: ~(v.i < v.j), lambda v: ~(v.u >= v.v)),
        (lambda v: ~(v.x < v.y), lambda v: ~(v.x >= v.y)),
    ),
    "and_or_itself": Case((lambda v: v.a & v.a, lambda v: v.a | v.a), (lambda v: v.a & v.b,)),
    "and_or_known": Case(
        (lambda v: v.a & True, lambda v: False & v.a, lambda v: v.a | True, lambda v: v.a | False),
        (lambda v: v.a & v.b,),
    ),
    "and_or_opposite": Case((lambda v: v.a & ~v.a, lambda v: ~v.a | v.a), (lambda v: v.a & ~v.b,)),
    "and_or_absorbed": Case(
        (
            lambda v: v.a & (v.b | v.a),
            lambda v: v.a | (v.a & v.b),
            lambda v: (v.a & v.b) & v.b,
            lambda v: v.a | (v.a | v.b),
        ),
        (lambda v: v.a & (v.b | v.c), lambda v: v.a & (v.b ^ v.a)),
    ),
    "xor_known": Case((lambda v: v.a ^ v.a, lambda v: v.a ^ False, lambda v: True ^ v.a), (lambda v: v.a ^ v.b,)),
    "where_same": Case((lambda v: graphc.where(v.x > 0.0, v.y, v.y),), (lambda v: graphc.where(v.x > 0.0, v.x, v.y),)),
    "where_known": Case(
        (lambda v: graphc.where(full(v.a, True), v.b, v.c), lambda v: graphc.where(full(v.a, False), v.b, v.c)),
        (lambda v: graphc.where(v.a, v.b, v.c),),
    ),
    "where_not": Case((lambda v: graphc.where(~v.a, v.b, v.c),), (lambda v: graphc.where(v.a, ~v.b, v.c),)),
    "where_again": Case(
        (
            lambda v: graphc.where(v.a, graphc.where(v.a, v.b, v.c), v.c),
            lambda v: graphc.where(v.a, v.b, graphc.where(v.a, v.c, v.b)),
        ),
        (lambda v: graphc.where(v.a, graphc.where(v.b, v.b, v.c), v.c),),
    ),
    "where_truth": Case(
        tuple(lambda v, c=c, d=d: graphc.where(v.a, c, d) for c in (True, False) for d in (True, False)),
        (lambda v: graphc.where(v.a, True, v.b), lambda v: graphc.where(v.a, 1.0, 0.0)),
    ),
    "extreme_itself": Case(
        (lambda v: graphc.maximum(v.x, v.x), lambda v: graphc.minimum(v.i, v.i)), (lambda v: graphc.maximum(v.x, v.y),)
    ),
    "extreme_twice": Case(
        (
            lambda v: graphc.maximum(graphc.maximum(v.x, 1.0), -2.0),
            lambda v: graphc.minimum(3.0, graphc.minimum(v.x, 4.0)),
            lambda v: graphc.maximum(graphc.maximum(v.i, 5), 3),
        ),
        (
            lambda v: graphc.maximum(graphc.minimum(v.x, 1.0), 2.0),
            lambda v: graphc.maximum(graphc.maximum(v.x, v.y), 1.0),
            lambda v: graphc.maximum(graphc.maximum(v.x, np.nan), 1.0),
        ),
    ),
    "extreme_ordered": Case(
        (lambda v: graphc.maximum(graphc.minimum(v.x, 4.0), 0.5), lambda v: graphc.maximum(-2, graphc.minimum(v.i, 4))),
        (
            lambda v: graphc.maximum(graphc.minimum(v.x, 1.0), 2.0),
            lambda v: graphc.maximum(graphc.minimum(v.x, v.y), 2.0),
        ),
    ),
    "extreme_absorbed": Case(
        (
            lambda v: graphc.maximum(v.x, graphc.maximum(v.x, v.y)),
            lambda v: graphc.minimum(v.i, graphc.maximum(v.j, v.i)),
        ),
        (
            lambda v: graphc.maximum(v.x, graphc.minimum(v.x, v.y)),
            lambda v: graphc.maximum(v.i, graphc.minimum(v.j, v.j)),
        ),
    ),
}
CONVERSION = {
    "astype_same": Case((lambda v: node(Astype(v.x.dtype), v.x),), (lambda v: v.x.astype("float32"),)),
    "astype_chain": Case(
        (
            lambda v: v.a.astype("float32").astype("float64"),
            lambda v: v.a.astype("float64").astype("bool"),
            lambda v: v.u.astype("int64").astype("int32"),
            lambda v: v.u.astype("float64").astype("int64"),
        ),
        (
            lambda v: v.x.astype("float32").astype("float64"),
            lambda v: v.i.astype("float64").astype("int64"),
            lambda v: v.i.astype("int32").astype("int64"),
            lambda v: v.u.astype("float64").astype("int32"),
        ),
    ),
}
REDUCTION = {
    "reduce_nothing": Case(
        (lambda v: node(Sum(()), v.m), lambda v: graphc.sum(v.t, axis=1), lambda v: graphc.max(v.t, axis=(0, 1))),
        (lambda v: graphc.sum(v.m, axis=0), lambda v: graphc.sum(v.t)),
    ),
    "reduce_twice": Case(
        (
            lambda v: graphc.sum(graphc.sum(v.m, axis=0), axis=0),
            lambda v: graphc.max(graphc.max(v.k, axis=1), axis=0),
            lambda v: graphc.any(graphc.any(v.m > 0.0, axis=0), axis=0),
        ),
        (
            lambda v: graphc.sum(graphc.max(v.m, axis=0), axis=0),
            lambda v: graphc.any(graphc.all(v.m > 0.0, axis=0), axis=0),
        ),
        rtol=1e-15,
    ),
    "reduce_moved": Case(
        (lambda v: graphc.sum(v.m.T), lambda v: graphc.min(v.k.reshape(-1)), lambda v: graphc.all((v.m > 0.0).T)),
        (lambda v: graphc.sum(v.m.T, axis=0), lambda v: graphc.sum(v.s.reshape(1))),
        rtol=1e-15,
    ),
    "sum_broadcast": Case(
        (
            lambda v: repeated(v, 7).sum(0),
            lambda v: repeated(v, 7, 2).sum((0, 2)),
            lambda v: graphc.broadcast_to(v.t, (4, 5, 3)).sum((1, 2)),
        ),
        (
            lambda v: repeated(v, 7).sum(1),
            lambda v: repeated(v, 0).sum(0),
            lambda v: graphc.broadcast_to(v.m, (graphc.input("n", ("n",)).shape[0], 4, 3)).sum(0),
        ),
        rtol=1e-15,
    ),
    "extreme_broadcast": Case(
        (
            lambda v: graphc.max(repeated(v, 7), axis=0),
            lambda v: graphc.all(graphc.broadcast_to(v.m > 0.0, (7, 4, 3)), axis=(0, 2)),
        ),
        (
            lambda v: graphc.max(repeated(v, 7), axis=1),
            lambda v: graphc.any(graphc.broadcast_to(v.m > 0.0, (0, 4, 3)), axis=0),
        ),
    ),
    "sum_negative": Case(
        (lambda v: graphc.sum(-v.m, axis=0), lambda v: graphc.sum(-v.k), lambda v: graphc.sum(-v.e, axis=0)),
        (lambda v: graphc.sum(-v.i), lambda v: graphc.sum(v.m)),
    ),
}
MOVEMENT = {
    "repeat_last": Case(
        (
            lambda v: graphc.tanh(repeated(v, 5)),
            lambda v: repeated(v, 5) * 2.0,
            lambda v: repeated(v, 5) + graphc.broadcast_to(v.k, (5, 4, 3)),
        ),
        (
            lambda v: graphc.tanh(v.m),
            lambda v: repeated(v, 4)[:, 0] + v.m,
            lambda v: graphc.broadcast_to(v.m[0], (4, 3)) + graphc.broadcast_to(v.m[:, :1], (4, 3)),
        ),
    ),
    "unmoved": Case(
        (
            *(lambda v: node(PermuteDims((0, 1)), v.m), lambda v: node(Reshape((4, 3)), v.m)),
            *(lambda v: node(BroadcastTo((4, 3)), v.m), lambda v: node(Pad((0, 0), (0, 0), (0, 0)), v.m)),
            lambda v: node(Slice((0, 0), (4, 3), (1, 1)), v.m),
        ),
        (lambda v: v.m.T, lambda v: v.m[::-1], lambda v: graphc.pad(v.m, 1)),
    ),
    "moved_number": Case(
        (
            lambda v: graphc.full((2, 3), 1.5).T,
            lambda v: graphc.full((2, 3), 1.5).reshape(6),
            lambda v: graphc.broadcast_to(graphc.constant([[2.0]]), (3, 2)),
        ),
        (lambda v: graphc.full((2, 3), 1.5), lambda v: v.m.T),
    ),
    "broadcast_twice": Case(
        (
            lambda v: graphc.broadcast_to(repeated(v, 2), (5, 2, 4, 3)),
            lambda v: graphc.broadcast_to(v.m.reshape(1, 4, 3), (2, 4, 3)),
        ),
        (lambda v: graphc.broadcast_to(v.m.reshape(4, 1, 3), (4, 2, 3)), lambda v: repeated(v, 2)),
    ),
    "reshape_twice": Case((lambda v: v.m.reshape(12).reshape(6, 2),), (lambda v: v.m.T.reshape(12),)),
    "reshape_repeated": Case(
        (lambda v: graphc.broadcast_to(v.s, (4, 3)).reshape(6, 2),), (lambda v: repeated(v, 2).reshape(24),)
    ),
    "permute_twice": Case(
        (lambda v: graphc.permute_dims(graphc.permute_dims(v.t, (1, 2, 0)), (2, 0, 1)),), (lambda v: v.m.T,)
    ),
    "permute_ones": Case(
        (lambda v: graphc.permute_dims(v.t, (1, 0, 2)),), (lambda v: graphc.permute_dims(v.t, (2, 1, 0)),)
    ),
    "slice_twice": Case((lambda v: v.m[1:][::-1], lambda v: v.m[::2][1:]), (lambda v: v.m[1:],)),
    "slice_pad": Case(
        (
            lambda v: graphc.pad(v.m, ((1, 2), (0, 0)))[1:5],
            lambda v: graphc.pad(v.m, ((2, 2), (0, 0)), constant_values=7.0)[0:2],
        ),
        (
            lambda v: graphc.pad(v.m, ((1, 2), (0, 0)))[0:5],
            lambda v: graphc.pad(v.m, ((1, 2), (0, 0)), interior=(1, 0))[1:4],
        ),
    ),
    "slice_concat": Case(
        (lambda v: graphc.concat([v.m, v.k])[4:8], lambda v: graphc.concat([v.m, v.k])[7:4:-1]),
        (lambda v: graphc.concat([v.m, v.k])[3:6],),
    ),
    "slice_broadcast": Case((lambda v: repeated(v, 7)[2:4, 1:],), (lambda v: v.m[1:],)),
    "pad_twice": Case(
        (lambda v: graphc.pad(graphc.pad(v.m, 1), 2),),
        (
            lambda v: graphc.pad(graphc.pad(v.m, 1), 2, constant_values=1.0),
            lambda v: graphc.pad(graphc.pad(v.m, 1, interior=(1, 1)), 2),
        ),
    ),
    "concat_concat": Case(
        (lambda v: graphc.concat([graphc.concat([v.m, v.k]), v.m]),),
        (lambda v: node(Concat(1), graphc.concat([v.m, v.k]), graphc.concat([v.k, v.m])),),
    ),
}
NESTING = {
    "stop_gradient_passed": Case((lambda v: node(StopGradient(), v.x),), ()),
    "branch_known": Case(
        (lambda v: branched(v, graphc.constant(True)), lambda v: branched(v, graphc.constant(False))),
        (lambda v: branched(v, v.s > 0.0), lambda v: carried(v, lambda h: h)),
    ),
    "carry_kept": Case(
        (lambda v: carried(v, lambda h: h),),
        (lambda v: carried(v, lambda h: h * 2.0), lambda v: branched(v, v.s > 0.0)),
    ),
    "last_result": Case(
        (lambda v: walked(v, False)[-1:], lambda v: walked(v, True)[:1]),
        (
            lambda v: walked(v, False)[:1],
            lambda v: walked(v, True)[-1:],
            lambda v: walked(v, False)[-1:, 1:],
            lambda v: (walked(v, False) * 2.0)[-1:],
        ),
    ),
    "numbers_inside": Case(
        (lambda v: scaled(v, graphc.constant(2.0, "float64")),),
        (lambda v: scaled(v, v.s),),
    ),
}
CASES = ARITHMETIC | EXPONENTIAL | CHOICE | CONVERSION | REDUCTION | MOVEMENT | NESTING
