"""log, log2, log10, log1p and what is made of them: softplus, asinh, acosh, atanh."""

import math

from graphc.simd.formulas.exponential import LIMITS, exponential_parts
from graphc.simd.formulas.formats import (
    FORMATS,
    Arithmetic,
    Number,
    Pair,
    constants,
    divide_pairs,
    fast_two_sum,
    format_of,
    odd,
    polynomial,
    scaled,
    two_product,
    two_sum,
)
from graphc.simd.kinds import FLOATS, SimdType
from graphc.simd.record import define, numbers

# The bits of the float next to sqrt(1/2), where the mantissa of the argument starts.
_LOWEST_MANTISSA = {"f32": 0x3F3504F3, "f64": 0x3FE6A09E667F3BCD}

_HIGHEST_HALF = {"f32": 0.7071067690849304, "f64": 0.7071067811865476}  # the same as numbers
# What fixupimm gives for NaN, signalling NaN, zero, one, -inf, inf, other negative and other positive numbers, from the
# last digit on: 0 the result, 2 NaN as it is, 3 NaN, 4 -inf, 5 inf.
_EDGES = 0x03530422

# log(1 + f) = f - f^2/2 + f^3 P(f) on [sqrt(1/2) - 1, sqrt(2) - 1] (Cephes, logf.c).
_LOG_F32 = (
    3.3333331174e-1,
    -2.4999993993e-1,
    2.0000714765e-1,
    -1.6668057665e-1,
    1.4249322787e-1,
    -1.2420140846e-1,
    1.1676998740e-1,
    -1.1514610310e-1,
    7.0376836292e-2,
)
# log(1 + f) = f - (f^2/2 - s (f^2/2 + R(s^2))), s = f / (2 + f) (fdlibm, e_log.c).
_LOG_F64 = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
# Of another base: 1 / ln(base) and log(2), each as a pair; log(2)'s high part times an exponent is exact.
_BASE_2 = {
    "f32": ((1.44269502, 1.92596299e-08), (1.0, 0.0)),
    "f64": ((1.4426950408889634, 2.0355273740931033e-17), (1.0, 0.0)),
}
_BASE_10 = {
    "f32": ((0.434294492, -1.01030501e-08), (0.301025390625, 4.60503898e-06)),
    "f64": ((0.4342944819032518, 1.098319650216765e-17), (0.30102999566361177, 3.694239077158931e-13)),
}


def log_parts(m: Arithmetic, x: Number) -> Pair:
    """Return the exponent e and f with x = 2^e (1 + f), 1 + f between sqrt(1/2) and sqrt(2)."""
    kind: SimdType = m.type_of(x)
    form = FORMATS[kind.kind]
    integer = kind.of(form.integer)
    exponent, mantissa = m.instruction("getexp", x, x), m.instruction("getmant", x, 0, x)
    if exponent is not None:
        half, one, highest = constants(m, x, 0.5, 1.0, 2 * _HIGHEST_HALF[kind.kind])
        is_large = mantissa >= highest
        return m.select(is_large, exponent + one, exponent), m.select(is_large, mantissa * half, mantissa) - one
    denormal = x < m.constant(kind, form.normal)
    x = m.select(denormal, x * m.constant(kind, 2.0**form.mantissa), x)
    lowest = _LOWEST_MANTISSA[kind.kind]
    # Biased so that it is positive, and masked so that LLVM knows: AVX2 has no arithmetic shift of 64 bits.
    distance = m.bits(x, form.integer) + m.constant(integer, (form.bias << form.mantissa) - lowest)
    fraction = (1 << form.mantissa) - 1
    exponent = m.shift_right(
        distance & m.constant(integer, (2 * form.bias + 1) << form.mantissa), m.constant(integer, form.mantissa)
    )
    e = m.bits(exponent + m.constant(integer, form.rounder_bits), kind.kind)
    offset = m.constant(kind, form.rounder + form.bias)
    e = e - m.select(denormal, m.constant(kind, form.rounder + form.bias + form.mantissa), offset)
    mantissa = m.bits((distance & m.constant(integer, fraction)) + m.constant(integer, lowest), kind.kind)
    return e, mantissa - m.constant(kind, 1.0)


def _beyond_first_order(m: Arithmetic, f: Number, low: Number | None = None) -> Number:
    """log(1 + f) - f, with `low` (small beside f) added."""
    half, two = constants(m, f, 0.5, 2.0)
    half_square = half * f * f
    if format_of(m, f).integer == "i32":
        cubic = polynomial(m, f, _LOG_F32) * f
        small = cubic * (f * f) if low is None else m.fma(cubic, f * f, low)
    else:
        s = f / (two + f)
        z = s * s
        r = polynomial(m, z, _LOG_F64) * z
        small = s * (half_square + r) if low is None else m.fma(s, half_square + r, low)
    return small - half_square


def _log_sum(m: Arithmetic, e: Number, f: Number, correction: Number | None = None) -> Number:
    """E ln 2 + log(1 + f) + correction, the small terms first."""
    form = format_of(m, f)
    high, low = constants(m, f, form.ln2_high, form.ln2_low)
    small = _beyond_first_order(m, f, e * low)
    if correction is not None:
        small = small + correction
    return m.fma(e, high, f + small)


def log_edges(m: Arithmetic, x: Number, result: Number) -> Number:
    """-inf at 0, inf at inf, NaN below 0 and at NaN."""
    kind = m.type_of(x)
    direct = m.instruction("fixupimm", result, x, m.constant(kind.of(FORMATS[kind.kind].integer), _EDGES), 0)
    if direct is not None:
        return direct
    zero, infinity, nan = constants(m, x, 0.0, math.inf, math.nan)
    not_positive = m.select(x == zero, -infinity, nan)
    return m.select(x > zero, m.select(x < infinity, result, infinity), not_positive)


def log(m: Arithmetic, x: Number) -> Number:
    """Return the natural logarithm."""
    e, f = log_parts(m, x)
    return log_edges(m, x, _log_sum(m, e, f))


def _log_of_base(m: Arithmetic, x: Number, base: dict[str, tuple[tuple[float, float], tuple[float, float]]]) -> Number:
    """E log(2) + f / ln(base) + ..., with the error of the largest terms kept: powers of the base come out exact."""
    scale, step = base[m.type_of(x).kind]
    scale_high, scale_low, step_high, step_low = constants(m, x, *scale, *step)
    e, f = log_parts(m, x)
    first, error = two_product(m, f, scale_high)
    high, low = two_sum(e * step_high, first)
    small = m.fma(_beyond_first_order(m, f), scale_high, m.fma(f, scale_low, error))
    return log_edges(m, x, high + (low + m.fma(e, step_low, small)))


def log2(m: Arithmetic, x: Number) -> Number:
    """Return the logarithm of base 2."""
    return _log_of_base(m, x, _BASE_2)


def log10(m: Arithmetic, x: Number) -> Number:
    """Return the logarithm of base 10."""
    return _log_of_base(m, x, _BASE_10)


def _log1p_pair(m: Arithmetic, x: Number, low: Number, doublings: Number | None = None) -> Number:
    """log(1 + x + low) + doublings * ln 2, where low is small beside x; what rounding 1 + x lost is added to it."""
    one, zero = constants(m, x, 1.0, 0.0)
    u, lost = two_sum(one, x)
    e, f = log_parts(m, u)
    # With e = 0, f is u - 1; then x itself is the better f, and nothing is lost.
    exact = e == zero
    f = m.select(exact, x, f)
    correction = m.select(exact, low, lost + low) / u
    if doublings is not None:
        e = e + doublings
    return _log_sum(m, e, f, correction)


def log1p(m: Arithmetic, x: Number) -> Number:
    """log(1 + x), with relative accuracy near 0: what rounding 1 + x lost is added as a first-order term."""
    one, zero = constants(m, x, 1.0, 0.0)
    result = log_edges(m, x + one, _log1p_pair(m, x, zero))
    return m.select(x == zero, x, result)


def softplus(m: Arithmetic, x: Number) -> Number:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    one, zero, low = constants(m, x, 1.0, 0.0, LIMITS[m.type_of(x).kind][0])
    negative = -m.absolute(x)
    k, fraction = exponential_parts(m, m.select(negative < low, low, negative))
    factor, rest = fast_two_sum(one, fraction)
    small = scaled(m, factor, k)
    result = _log1p_pair(m, small, scaled(m, rest, k))
    # A small^2 is lost in the last place long before small is denormal.
    result = m.select(small < constants(m, x, format_of(m, x).normal * 4.0)[0], small, result)
    return m.select(x > zero, x + result, m.select(x == x, result, x))


@odd
def asinh(m: Arithmetic, x: Number) -> Number:
    """log(1 + x + x^2 / (1 + sqrt(1 + x^2))), and log(2 x) where x^2 + 1 is x^2."""
    one, zero, infinity, most = constants(m, x, 1.0, 0.0, math.inf, 2.0 ** (format_of(m, x).mantissa + 2))
    large = x > most
    square = m.select(large, zero, x * x)
    sum, low = fast_two_sum(x, square / (one + m.sqrt(one + square)))
    sum, low = m.select(large, x, sum), m.select(large, zero, low)
    result = _log1p_pair(m, sum, low, m.select(large, one, zero))
    return m.select(x < infinity, m.select(x == zero, x, result), x)


def acosh(m: Arithmetic, x: Number) -> Number:
    """log(1 + (x - 1 + sqrt(x^2 - 1))), with the root as a pair; log(2 x) where x^2 - 1 is x^2."""
    one, zero, half, infinity, nan = constants(m, x, 1.0, 0.0, 0.5, math.inf, math.nan)
    (most,) = constants(m, x, 2.0 ** (format_of(m, x).mantissa + 2))
    large = x > most
    y = m.select(large, one, x)
    product, error = two_product(m, y, y)
    rest, low = two_sum(product, -one)
    rest, low = fast_two_sum(rest, low + error)
    root = m.sqrt(rest)
    squared, error = two_product(m, root, root)
    root_low = m.select(root > zero, ((rest - squared) - error + low) * half / root, zero)
    above, above_low = two_sum(y, -one)
    sum, sum_low = two_sum(root, above)
    sum, sum_low = m.select(large, x, sum), m.select(large, zero, sum_low + (root_low + above_low))
    result = _log1p_pair(m, sum, sum_low, m.select(large, one, zero))
    result = m.select(x < infinity, m.select(x > one, result, zero), x)
    return m.select(x >= one, result, nan)


@odd
def atanh(m: Arithmetic, x: Number) -> Number:
    """log(1 + 2 x / (1 - x)) / 2, with the quotient as a pair."""
    one, zero, half, infinity, nan = constants(m, x, 1.0, 0.0, 0.5, math.inf, math.nan)
    inside = m.select(x < one, x, zero)
    below, error = two_sum(one, -inside)
    quotient, low = divide_pairs(m, (inside + inside, zero), (below, error))
    result = half * _log1p_pair(m, quotient, low)
    result = m.select(inside == zero, x, result)
    return m.select(x < one, result, m.select(x == one, infinity, nan))


for _function in (log, log2, log10, log1p, softplus, asinh, acosh, atanh):
    define(_function.__name__, numbers(1, *FLOATS), _function)
