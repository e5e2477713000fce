"""pow, cbrt, sqrt and rsqrt."""

import math

from graphc.simd.formulas.exponential import POWER_OF_TWO
from graphc.simd.formulas.formats import (
    Arithmetic,
    Number,
    Pair,
    clamp,
    constants,
    divide_pairs,
    fast_two_sum,
    format_of,
    multiply_pairs,
    nearest,
    odd,
    polynomial,
    power_of_two,
    scaled,
    two_product,
    two_sum,
)
from graphc.simd.formulas.logarithm import log_edges, log_parts
from graphc.simd.kinds import FLOATS, SimdType
from graphc.simd.record import define, numbers

# log2(1 + f) = f P(f) on [sqrt(1/2) - 1, sqrt(2) - 1], to 2^-40: for a result in f32; minimax.
_LOG2_SHORT = (
    1.4426950408894321,
    -0.7213475204277785,
    0.480898346523412,
    -0.36067376511722415,
    0.2885390783830567,
    -0.24044879293244492,
    0.2060949346307727,
    -0.1803479413911064,
    0.16043105444435188,
    -0.14417245162986336,
    0.12911299629306677,
    -0.11920011854766163,
    0.12593822731158802,
    -0.12504287160868738,
    0.06497580167946086,
)
_LN2 = (0.6931471805599453, 2.3190468138462996e-17)
# 2^r = 1 + r P(r) for |r| <= 1/2, to 2^-34, in f64.
_POWER_OF_TWO_SHORT = (
    0.6931471805414521,
    0.24022650751083853,
    0.05550410962987671,
    0.009618036990282186,
    0.00133334305921525,
    0.00015467092056081747,
    1.5314971218314386e-05,
)
# log2(1 + f) = s (A + z (B + z (C + z P(z)))), s = f / (2 + f), z = s^2; A, B, C are pairs.
_LOG2_PAIRS = (
    (2.8853900817779268, 4.0710547481862066e-17),
    (0.9617966939259756, 5.0577616648125907e-17),
    (0.5770780163555853, 5.2551030481378675e-17),
)
_LOG2_REST = (
    0.41219858311119856,
    0.32059889794345814,
    0.2623081953619109,
    0.221952470455072,
    0.19239438537425166,
    0.1685796903278893,
    0.17183750561225203,
)
# x^(-1/3) on [sqrt(1/2), sqrt(2)], to 2^-12; minimax.
_INVERSE_CUBE_ROOT = (1.73072338, -1.28567076, 0.713184953, -0.158461332)


def _power_f32(m: Arithmetic, size: Number, y: Number) -> Number:
    """size^y for f32, in f64, where nothing overflows and the last conversion rounds."""
    kind = m.type_of(size)
    x, y = m.convert(size, "f64"), m.convert(y, "f64")
    e, f = log_parts(m, x)
    logarithm = log_edges(m, x, m.fma(f, polynomial(m, f, _LOG2_SHORT), e))
    exponent = clamp(m, y * logarithm, -300.0, 300.0)
    k = nearest(m, exponent)
    r = exponent - k
    (one,) = constants(m, x, 1.0)
    return m.convert(m.fma(r, polynomial(m, r, _POWER_OF_TWO_SHORT), one) * power_of_two(m, k), kind.kind)


def _log2_pair(m: Arithmetic, x: Number) -> Pair:
    """log2(x) to some 70 bits; x is positive and finite."""
    (two, zero), (a, b, c) = constants(m, x, 2.0, 0.0), (constants(m, x, *pair) for pair in _LOG2_PAIRS)
    e, f = log_parts(m, x)
    s = fast_two_sum(*divide_pairs(m, (f, zero), fast_two_sum(two, f)))
    z = multiply_pairs(m, s, s)
    term: Pair = (z[0] * polynomial(m, z[0], _LOG2_REST), zero)
    for coefficient in (c, b, a):
        total, low = fast_two_sum(coefficient[0], term[0])
        total_pair = total, low + (coefficient[1] + term[1])
        term = multiply_pairs(m, s if coefficient is a else z, total_pair)
    high, low = fast_two_sum(e, term[0])
    return fast_two_sum(high, low + term[1])


def _power_f64(m: Arithmetic, size: Number, y: Number) -> Number:
    """size^y = 2^(y log2(size)), the exponent as a pair, and its power with the first two terms' errors kept.

    So what goes before the last rounding weighs little, and a power that is a float comes out exact.
    """
    zero, one, limit = constants(m, size, 0.0, 1.0, 1080.0)
    high, low = _log2_pair(m, size)
    high = log_edges(m, size, high)
    # A larger y changes no result, and would overflow where a product's error is taken.
    y = clamp(m, y, -(2.0**100), 2.0**100)
    exponent, error = two_product(m, y, high)
    error = m.select(m.absolute(exponent) < limit, m.fma(y, low, error), zero)
    exponent = clamp(m, exponent, -1080.0, 1080.0)
    k = nearest(m, exponent)
    r, error = two_sum(exponent - k, error)
    first, first_low = constants(m, size, *_LN2)
    linear, lost = two_product(m, r, first)
    total, rest = fast_two_sum(one, linear)
    small = m.fma(r * r, polynomial(m, r, POWER_OF_TWO["f64"][1:]), lost + m.fma(r, first_low, error * first))
    return scaled(m, total + (rest + small), k)


def pow(m: Arithmetic, x: Number, y: Number) -> Number:
    """x^y; C's values where x or y is zero, one, infinite, or NaN, or x is negative."""
    kind: SimdType = m.type_of(x)
    one, zero, half, infinity, nan = constants(m, x, 1.0, 0.0, 0.5, math.inf, math.nan)
    size = m.absolute(x)
    result = (_power_f32 if kind.kind == "f32" else _power_f64)(m, size, y)
    is_integer = m.trunc(y) == y
    halved = y * half
    is_odd = is_integer & (m.trunc(halved) != halved)
    result = m.select(is_odd, m.copysign(result, x), result)
    result = m.select((x < zero) & (size < infinity) & ~is_integer & (y == y), nan, result)
    # One to any power, and -1 to an infinite one.
    ones = (x == one) | ((size == one) & (m.absolute(y) == infinity)) | (y == zero)
    return m.select(ones, one, result)


@odd
def cbrt(m: Arithmetic, x: Number) -> Number:
    """Return the cube root.

    From an approximate root r of 1/x, x r^2 is one of x; Newton's steps need no division.
    """
    zero, infinity, one, third, three = constants(m, x, 0.0, math.inf, 1.0, 1.0 / 3.0, 3.0)
    e, f = log_parts(m, x)
    k = nearest(m, e * third)
    mantissa = (one + f) * power_of_two(m, e - k * three)
    step = e - k * three
    low, high = constants(m, x, 2.0 ** (1 / 3), 2.0 ** (-1 / 3))
    guess = polynomial(m, one + f, _INVERSE_CUBE_ROOT)
    guess = guess * m.select(step > zero, high, m.select(step < zero, low, one))
    for _ in range(1 if format_of(m, x).integer == "i32" else 2):
        guess = m.fma(guess * third, m.fma(-mantissa * guess, guess * guess, one), guess)
    root = mantissa * guess * guess
    square, square_low = two_product(m, root, root)
    cube, cube_low = two_product(m, square, root)
    error = ((mantissa - cube) - cube_low) - square_low * root
    root = m.fma(error * third, guess * guess, root)
    result = scaled(m, root, k)
    return m.select((x > zero) & (x < infinity), result, x)


def sqrt(m: Arithmetic, x: Number) -> Number:
    """The square root, rounded like the processor's own but sooner, where there is an estimate of its inverse.

    Newton's steps go for the root and half of its inverse together (Markstein, Computation of elementary functions on the
    IBM RISC System/6000 processor, 1990). Before the last rounding the error is below 2^-104 in f64, so only roots that lie
    as near to the middle of two floats could be rounded wrongly: a test enumerates them. In f32 all floats were tried.
    """
    estimate = m.instruction("rsqrt14", x, x)
    if estimate is None:
        return m.sqrt(x)
    form = format_of(m, x)
    zero, half, infinity = constants(m, x, 0.0, 0.5, math.inf)
    # Below, what is left of x less the square of its root would be denormal.
    (least,) = constants(m, x, form.normal * 2.0 ** (form.mantissa + 8))
    root, inverse = x * estimate, estimate * half
    for _ in range(1 if form.integer == "i32" else 2):
        rest = m.fma(-root, inverse, half)
        root, inverse = m.fma(root, rest, root), m.fma(inverse, rest, inverse)
    root = m.fma(m.fma(-root, root, x), inverse, root)
    is_zero = x == zero
    root = m.select(is_zero, x, root)
    is_usual = (x >= least) & (x < infinity)
    return m.corrected(~(is_usual | is_zero), (root,), _root, x)[0]


def _root(m: Arithmetic, x: Number) -> tuple[Number, ...]:
    return (m.sqrt(x),)


def rsqrt(m: Arithmetic, x: Number) -> Number:
    """1 / sqrt(x)."""
    return constants(m, x, 1.0)[0] / sqrt(m, x)


for _function in (cbrt, sqrt, rsqrt):
    define(_function.__name__, numbers(1, *FLOATS), _function)
define("pow", numbers(2, *FLOATS), pow)
