# The tables below hold lambdas, whose parameters cannot be annotated.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
"""Conversions, splats, operators, selection, integer division, shifts and reductions of the dialect."""

import operator
from collections.abc import Callable
from typing import Any

from graphc.simd.kinds import FLOATS, I64, INTEGERS, KINDS, LANES, NUMBERS, UNSIGNED, VECTORS, B, SimdType
from graphc.simd.record import Result, Rule, addresses, comparison, define, define_operator, equal, numbers, require

# A formula's first parameter is `Emitter | Arrays` and its values are theirs; the union says less than Any, since no
# method of one accepts the values of the other.
Arithmetic = Any
Number = Any


# Conversions and vectors from scalars


def _define_conversion(kind: str) -> None:
    define(kind, lambda x: x.of(kind), lambda arithmetic, x: arithmetic.convert(x, kind))


def _define_splat(kind: SimdType) -> None:
    def rule(x: SimdType) -> SimdType:
        require(x.lanes in (1, kind.lanes), f"a scalar, or a vector of {kind.lanes} lanes")
        return kind

    def build(arithmetic: Arithmetic, x: Number) -> Number:
        converted = arithmetic.convert(x, kind.kind)
        return arithmetic.splat(converted, kind.lanes) if arithmetic.type_of(x).lanes == 1 else converted

    define(str(kind), rule, build)


def _scalar_rule(result: SimdType) -> Rule:
    def rule(x: SimdType) -> SimdType:
        require(x == I64, "an i64 scalar")
        return result

    return rule


def _define_iota(kind: SimdType) -> None:
    def build(arithmetic: Arithmetic, start: Number) -> Number:
        steps = arithmetic.constant(kind, list(range(kind.lanes)))
        return arithmetic.splat(arithmetic.convert(start, kind.kind), kind.lanes) + steps

    define(f"iota_{kind}", _scalar_rule(kind), build)


def _define_tail(lanes: int) -> None:
    def build(arithmetic: Arithmetic, count: Number) -> Number:
        # Compared in 32 bits, half the work of 64; so the count is first brought into [0, lanes].
        most, none = arithmetic.constant(I64, lanes), arithmetic.constant(I64, 0)
        bounded = minimum(arithmetic, maximum(arithmetic, count, none), most)
        steps = arithmetic.constant(SimdType("i32", lanes), list(range(lanes)))
        mask = steps < arithmetic.splat(arithmetic.convert(bounded, "i32"), lanes)
        return arithmetic.with_run(mask, count)

    define(f"tail_bx{lanes}", _scalar_rule(SimdType("b", lanes)), build)


# Operators


def scalars_only(rule: Rule) -> Rule:
    """Return the rule of augmented assignment, which in the twin would change a vector under all of its names."""

    def scalar(*types: SimdType) -> Result:
        require(all(one.lanes == 1 for one in types), "scalars; for vectors write a = a + b")
        return rule(*types)

    return scalar


def _bound(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda arithmetic, *values: function(*values)


_SYMBOLS: tuple[tuple[str, Rule, tuple[Callable[..., Any], ...]], ...] = (
    ("+", numbers(2, *NUMBERS), (operator.add, operator.iadd)),
    ("-", numbers(2, *NUMBERS), (operator.sub, operator.isub)),
    ("*", numbers(2, *NUMBERS), (operator.mul, operator.imul)),
    ("/", numbers(2, *FLOATS), (operator.truediv, operator.itruediv)),
    ("&", numbers(2, "b", *INTEGERS), (operator.and_, operator.iand)),
    ("|", numbers(2, "b", *INTEGERS), (operator.or_, operator.ior)),
    ("^", numbers(2, "b", *INTEGERS), (operator.xor, operator.ixor)),
    ("<", comparison, (operator.lt,)),
    ("<=", comparison, (operator.le,)),
    (">", comparison, (operator.gt,)),
    (">=", comparison, (operator.ge,)),
    ("==", comparison, (operator.eq,)),
    ("!=", comparison, (operator.ne,)),
    ("-", numbers(1, *NUMBERS), (operator.neg,)),
    ("~", numbers(1, "b", *INTEGERS), (operator.invert,)),
)


# Selection, maxima, rounding


def maximum(arithmetic: Arithmetic, a: Number, b: Number) -> Number:
    """Return the larger; a NaN if either is one; b if they are equal (signed zeros included)."""
    larger = arithmetic.select(a > b, a, b)
    return arithmetic.select(a != a, a, larger) if arithmetic.type_of(a).is_float else larger


def minimum(arithmetic: Arithmetic, a: Number, b: Number) -> Number:
    """Return the smaller; a NaN if either is one; b if they are equal."""
    smaller = arithmetic.select(a < b, a, b)
    return arithmetic.select(a != a, a, smaller) if arithmetic.type_of(a).is_float else smaller


def absolute(arithmetic: Arithmetic, x: Number) -> Number:
    """|x|; the smallest signed integer wraps to itself."""
    kind = arithmetic.type_of(x)
    if kind.is_float:
        return arithmetic.absolute(x)
    return x if kind.kind in UNSIGNED else arithmetic.select(x < arithmetic.constant(kind, 0), -x, x)


def _select_rule(mask: SimdType, a: SimdType, b: SimdType) -> SimdType:
    require(mask == a.of("b"), f"a mask {a.of('b')} first")
    return equal(a, b)


# Division


def _safe_division(arithmetic: Arithmetic, a: Number, b: Number) -> tuple[Number, Number]:
    """Integer floor quotient and remainder, with a divisor that cannot trap; a zero divisor leaves a and 0."""
    kind = arithmetic.type_of(a)
    zero, one = arithmetic.constant(kind, 0), arithmetic.constant(kind, 1)
    harmful = b == zero
    if kind.is_signed:
        lowest = arithmetic.constant(kind, -(2 ** (kind.bits - 1)))
        harmful = harmful | ((a == lowest) & (b == arithmetic.constant(kind, -1)))
    divisor = arithmetic.select(harmful, one, b)
    quotient = arithmetic.quotient(a, divisor)
    remainder = a - quotient * divisor
    if kind.is_signed:
        down = (remainder != zero) & ((remainder ^ divisor) < zero)
        quotient = arithmetic.select(down, quotient - one, quotient)
        remainder = arithmetic.select(down, remainder + divisor, remainder)
    return quotient, remainder


def _float_division(arithmetic: Arithmetic, a: Number, b: Number) -> tuple[Number, Number]:
    """Floor quotient and remainder by NumPy's rule (npy_divmod), fmod first."""
    kind = arithmetic.type_of(a)
    zero, half, one = (arithmetic.constant(kind, number) for number in (0.0, 0.5, 1.0))
    remainder = arithmetic.fmod(a, b)
    quotient = (a - remainder) / b
    down = (remainder != zero) & ((b < zero) != (remainder < zero))
    signed_zero = arithmetic.copysign(zero, b)
    result = arithmetic.select(down, remainder + b, arithmetic.select(remainder == zero, signed_zero, remainder))
    quotient = arithmetic.select(down, quotient - one, quotient)
    floored = arithmetic.floor(quotient)
    snapped = arithmetic.select(quotient - floored > half, floored + one, floored)
    floor = arithmetic.select(quotient == zero, arithmetic.copysign(zero, a / b), snapped)
    return arithmetic.select(b == zero, a / b, floor), arithmetic.select(b == zero, remainder, result)


def floordiv(arithmetic: Arithmetic, a: Number, b: Number) -> Number:
    """NumPy's floor division; integers divided by zero give 0."""
    kind = arithmetic.type_of(a)
    if kind.is_float:
        return _float_division(arithmetic, a, b)[0]
    zero = arithmetic.constant(kind, 0)
    return arithmetic.select(b == zero, zero, _safe_division(arithmetic, a, b)[0])


def share(arithmetic: Arithmetic, total: Number, thread: Number, threads: Number) -> Number:
    """Where the share of a thread begins: total * thread // threads of numbers that are not negative, and at least one thread."""
    return arithmetic.quotient(total * thread, threads)


def _share_rule(*types: SimdType) -> SimdType:
    addresses(3, *types)
    return I64


def remainder(arithmetic: Arithmetic, a: Number, b: Number) -> Number:
    """NumPy's remainder, with the divisor's sign; integers by zero give 0."""
    divide = _float_division if arithmetic.type_of(a).is_float else _safe_division
    return divide(arithmetic, a, b)[1]


# Shifts


def _shift_rule(x: SimdType, count: SimdType) -> SimdType:
    require(x.is_integer, "an integer")
    require(count in (x, I64), f"a count of type {x} or i64")
    return x


def _shift(left: bool) -> Callable[..., Any]:
    def build(arithmetic: Arithmetic, x: Number, count: Number) -> Number:
        """Shift as NumPy: by the width or more gives 0, or the sign; LLVM leaves that undefined, so it is selected."""
        kind, given = arithmetic.type_of(x), arithmetic.type_of(count)
        width = arithmetic.constant(given, kind.bits)
        inside = (count >= arithmetic.constant(given, 0)) & (count < width)
        amount = arithmetic.select(inside, count, arithmetic.constant(given, 0 if left else kind.bits - 1))
        if given != kind:
            amount = arithmetic.convert(amount, kind.kind)
            amount = amount if kind.lanes == 1 else arithmetic.splat(amount, kind.lanes)
            inside = inside if kind.lanes == 1 else arithmetic.splat(inside, kind.lanes)
        shifted = (arithmetic.shift_left if left else arithmetic.shift_right)(x, amount)
        if not left and kind.is_signed:
            return shifted
        return arithmetic.select(inside, shifted, arithmetic.constant(kind, 0))

    return build


# Reductions


def fold(combine: Callable[[Number, Number], Number], arithmetic: Arithmetic, x: Number) -> Number:
    """Return the fixed binary tree: the first half of the lanes with the second, until one is left."""
    lanes = arithmetic.type_of(x).lanes
    while lanes > 1:
        lanes //= 2
        x = combine(arithmetic.lanes(x, list(range(lanes))), arithmetic.lanes(x, list(range(lanes, 2 * lanes))))
    return x


def _reduction_rule(*kinds: str) -> Rule:
    def rule(x: SimdType) -> SimdType:
        require(x.lanes > 1 and x.kind in kinds, f"a vector of {', '.join(kinds)}")
        return x.wide(1)

    return rule


def _define_reduction(name: str, combine: Callable[..., Any], *kinds: str) -> None:
    def build(arithmetic: Arithmetic, x: Number) -> Number:
        return fold(lambda a, b: combine(arithmetic, a, b), arithmetic, x)

    define(f"reduce_{name}", _reduction_rule(*kinds), build)


def reduce_or(arithmetic: Arithmetic, x: Number) -> Number:
    """Any lane of a mask; the bits set in any lane of an integer."""
    if arithmetic.type_of(x).kind == "b":
        return arithmetic.any_lane(x)
    return fold(lambda a, b: a | b, arithmetic, x)


def reduce_and(arithmetic: Arithmetic, x: Number) -> Number:
    """Every lane of a mask; the bits set in every lane of an integer."""
    if arithmetic.type_of(x).kind == "b":
        return ~arithmetic.any_lane(~x)
    return fold(lambda a, b: a & b, arithmetic, x)


def _argmax_rule(values: SimdType, indexes: SimdType) -> SimdType:
    require(values.lanes > 1 and values.kind in NUMBERS, "a vector of numbers first")
    require(indexes == values.of("i64"), f"indexes {values.of('i64')}")
    return I64


def argmax(arithmetic: Arithmetic, values: Number, indexes: Number) -> Number:
    """Return the index of the largest value: a NaN before any number, the smallest index among equals."""
    lanes = arithmetic.type_of(values).lanes
    while lanes > 1:
        lanes //= 2
        low, high = list(range(lanes)), list(range(lanes, 2 * lanes))
        a, b = arithmetic.lanes(values, low), arithmetic.lanes(values, high)
        i, j = arithmetic.lanes(indexes, low), arithmetic.lanes(indexes, high)
        a_nan, b_nan = a != a, b != b
        level = (a == b) | (a_nan & b_nan)
        first = (a > b) | (a_nan & ~b_nan) | (level & (i < j))
        values, indexes = arithmetic.select(first, a, b), arithmetic.select(first, i, j)
    return indexes


def _lane_rule(x: SimdType, index: SimdType) -> SimdType:
    require(x.lanes > 1 and index == I64, "a vector and an i64 scalar")
    return x.wide(1)


def _define_all() -> None:
    for kind in KINDS:
        _define_conversion(kind)
    for kind in VECTORS:
        _define_splat(kind)
    for lanes in LANES:
        _define_tail(lanes)
        for kind in ("i64", "i32"):
            _define_iota(SimdType(kind, lanes))
    for symbol, rule, operators in _SYMBOLS:
        define_operator(symbol, rule, _bound(operators[0]), operators[0])
        define_operator(f"{symbol}=", scalars_only(rule), _bound(operators[0]), *operators[1:])
    define_operator("not", numbers(1, "b"), lambda arithmetic, x: ~x, operator.not_)
    define_operator("bool", lambda x: B, lambda arithmetic, x: arithmetic.convert(x, "b"), bool)

    define("fma", numbers(3, *FLOATS), lambda arithmetic, a, b, c: arithmetic.fma(a, b, c))
    define("floor", numbers(1, *FLOATS), lambda arithmetic, x: arithmetic.floor(x))
    define("ceil", numbers(1, *FLOATS), lambda arithmetic, x: arithmetic.ceil(x))
    define("trunc", numbers(1, *FLOATS), lambda arithmetic, x: arithmetic.trunc(x))
    define("round", numbers(1, *FLOATS), lambda arithmetic, x: arithmetic.round(x))
    define("abs", numbers(1, *NUMBERS), absolute)
    define("maximum", numbers(2, *NUMBERS), maximum, None, max)
    define("minimum", numbers(2, *NUMBERS), minimum, None, min)
    define("select", _select_rule, lambda arithmetic, mask, a, b: arithmetic.select(mask, a, b))
    define("invert", numbers(1, "b", *INTEGERS), lambda arithmetic, x: ~x)
    define("logical_not", numbers(1, "b"), lambda arithmetic, x: ~x)
    define("floordiv", numbers(2, *NUMBERS), floordiv, None, operator.floordiv)
    define("share", _share_rule, share)
    define("remainder", numbers(2, *NUMBERS), remainder, None, operator.mod)
    define("shift_left", _shift_rule, _shift(left=True), None, operator.lshift)
    define("shift_right", _shift_rule, _shift(left=False), None, operator.rshift)

    _define_reduction("add", lambda arithmetic, a, b: a + b, *NUMBERS)
    _define_reduction("multiply", lambda arithmetic, a, b: a * b, *NUMBERS)
    _define_reduction("maximum", maximum, *NUMBERS)
    _define_reduction("minimum", minimum, *NUMBERS)
    define("reduce_and", _reduction_rule("b", *INTEGERS), reduce_and)
    define("reduce_or", _reduction_rule("b", *INTEGERS), reduce_or)
    define("reduce_argmax", _argmax_rule, argmax)
    define("lane", _lane_rule, lambda arithmetic, x, index: arithmetic.lane(x, index))


_define_all()
