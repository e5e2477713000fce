"""exp, expm1, log, log1p, tanh and sigmoid, each written once for `Emitter` (compiled) and `Arrays` (its own twin).

Errors are measured in `tests/simd/test_accuracy.py`. Infinities, NaN, signed zeros and denormals come out as in C's
libm.
"""

import math
from dataclasses import dataclass
from typing import Any

from graphc.simd.kinds import FLOATS, SimdType
from graphc.simd.record import define, numbers

Arithmetic = Any
Number = Any


@dataclass(frozen=True)
class _Format:
    """What the formulas know of a float format."""

    integer: str  # the integer kind of its width
    mantissa: int
    bias: int
    lowest: float  # exp of this and less is 0
    highest: float  # exp of this and more is infinite
    ln2_high: float  # ln 2 with zeros at its end, so that k * ln2_high is exact
    ln2_low: float
    exponential: tuple[float, ...]  # (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2
    halfway: int  # the bits of the float next to sqrt(1/2), where log's mantissa starts

    @property
    def rounder(self) -> float:
        """Adding this to a small number leaves its nearest integer in the last bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def rounder_bits(self) -> int:
        return ((self.bias + self.mantissa) << self.mantissa) | (1 << (self.mantissa - 1))

    @property
    def normal(self) -> float:
        """The smallest number that is not denormal."""
        return 2.0 ** (1 - self.bias)


# The polynomials interpolate at Chebyshev's nodes (within 1.1 of minimax); ln 2 is split as in Cephes and fdlibm.
_FORMATS = {
    "f32": _Format(
        "i32",
        23,
        127,
        -104.0,
        89.0,
        0.693359375,
        -2.12194440e-4,
        (0.500000001, 0.166666667, 0.0416664646, 0.00833331089, 0.00139336859, 0.000198910307),
        0x3F3504F3,
    ),
    "f64": _Format(
        "i64",
        52,
        1023,
        -746.0,
        710.0,
        6.93147180369123816490e-01,
        1.90821492927058770002e-10,
        (
            0.5,
            0.1666666666666667,
            0.04166666666666667,
            0.008333333333326112,
            0.001388888888888373,
            0.0001984126987490126,
            2.4801587325605324e-05,
            2.7557255297969643e-06,
            2.755727357010214e-07,
            2.5105259538448494e-08,
            2.0914717341716378e-09,
        ),
        0x3FE6A09E667F3BCD,
    ),
}

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
# tanh(x) = x + x^3 P(x^2) / Q(x^2) for |x| < 0.625 (Cephes, tanhf.c and tanh.c).
_TANH = {
    "f32": (
        (-3.33332819422e-1, 1.33314422036e-1, -5.37397155531e-2, 2.06390887954e-2, -5.70498872745e-3),
        (1.0,),
    ),
    "f64": (
        (-1.61468768441708447952e3, -9.92877231001918586564e1, -9.64399179425052238628e-1),
        (4.84406305325125486048e3, 2.23548839060100448583e3, 1.12811678491632931402e2, 1.0),
    ),
}


def _polynomial(m: Arithmetic, x: Number, coefficients: tuple[float, ...]) -> Number:
    """Horner's rule; the coefficients rise in degree."""
    kind = m.type_of(x)
    result = m.constant(kind, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = m.fma(result, x, m.constant(kind, coefficient))
    return result


def _reduced(m: Arithmetic, x: Number, form: _Format) -> tuple[Number, Number]:
    """Return the integer k (as a float) nearest x / ln 2, and expm1 of what x is more than k ln 2."""
    kind = m.type_of(x)
    rounder = m.constant(kind, form.rounder)
    k = m.fma(x, m.constant(kind, math.log2(math.e)), rounder) - rounder
    r = m.fma(k, m.constant(kind, -form.ln2_low), m.fma(k, m.constant(kind, -form.ln2_high), x))
    return k, m.fma(r * r, _polynomial(m, r, form.exponential), r)


def _power_of_two(m: Arithmetic, k: Number, form: _Format) -> Number:
    """2^k for an integer k that leaves a normal number."""
    kind: SimdType = m.type_of(k)
    integer = kind.of(form.integer)
    biased = m.bits(k + m.constant(kind, form.rounder + form.bias), form.integer)
    return m.bits(m.shift_left(biased, m.constant(integer, form.mantissa)), kind.kind)


def _split_power(m: Arithmetic, k: Number, form: _Format) -> tuple[Number, Number]:
    """Two powers of two whose product is 2^k, where 2^k itself may be denormal or too large."""
    kind = m.type_of(k)
    rounder = m.constant(kind, form.rounder)
    half = m.fma(k, m.constant(kind, 0.5), rounder) - rounder
    return _power_of_two(m, half, form), _power_of_two(m, k - half, form)


def _clamp(m: Arithmetic, x: Number, lowest: float, highest: float) -> Number:
    """Bring x between the limits; the comparisons leave a NaN as it is."""
    kind = m.type_of(x)
    low, high = m.constant(kind, lowest), m.constant(kind, highest)
    x = m.select(x > high, high, x)
    return m.select(x < low, low, x)


def exp(m: Arithmetic, x: Number) -> Number:
    """e^x = 2^k e^r; the product with 2^k is made in two steps, so that a denormal result is rounded once."""
    kind = m.type_of(x)
    form = _FORMATS[kind.kind]
    k, fraction = _reduced(m, _clamp(m, x, form.lowest, form.highest), form)
    first, second = _split_power(m, k, form)
    return (fraction + m.constant(kind, 1.0)) * first * second


def expm1(m: Arithmetic, x: Number) -> Number:
    """e^x - 1, with relative accuracy near 0."""
    kind = m.type_of(x)
    form = _FORMATS[kind.kind]
    one = m.constant(kind, 1.0)
    limited = _clamp(m, x, -form.mantissa * 1.0, form.highest)  # e^-mantissa - 1 is -1 within an ULP
    k, fraction = _reduced(m, limited, form)
    # One less in the exponent, doubled at the end: 2^k is too large for the largest x.
    scale = _power_of_two(m, k - one, form)
    half = m.constant(kind, 0.5)
    result = m.fma(fraction, scale, scale - half)
    result = result + result
    lost = m.select(x < m.constant(kind, -form.mantissa * 1.0), -one, result)
    return m.select(x == m.constant(kind, 0.0), x, lost)


def tanh(m: Arithmetic, x: Number) -> Number:
    """X + x^3 P(x^2) / Q(x^2) near 0 (Cephes), and 1 - 2 / (e^(2|x|) + 1) beyond; one division serves both."""
    kind = m.type_of(x)
    form = _FORMATS[kind.kind]
    one = m.constant(kind, 1.0)
    size = m.absolute(x)
    doubled = size + size
    limit = m.constant(kind, 44.0)
    k, fraction = _reduced(m, m.select(doubled > limit, limit, doubled), form)
    grown = (fraction + one) * _power_of_two(m, k, form)

    square = size * size
    above, below = _TANH[kind.kind]
    near = size < m.constant(kind, 0.625)
    numerator = m.select(near, size * square * _polynomial(m, square, above), m.constant(kind, -2.0))
    denominator = m.select(near, _polynomial(m, square, below), grown + one)
    return m.copysign(m.select(near, size, one) + numerator / denominator, x)


def sigmoid(m: Arithmetic, x: Number) -> Number:
    """1 / (1 + e^-x), as b - b q: q = e / (1 + e), b = 1 or (for negative x) e, with e = e^-|x|.

    Nothing overflows, and the quotient is only the smaller term, so its rounding weighs little.
    """
    kind = m.type_of(x)
    form = _FORMATS[kind.kind]
    one = m.constant(kind, 1.0)
    low = m.constant(kind, form.lowest)
    negative = -m.absolute(x)
    k, fraction = _reduced(m, m.select(negative < low, low, negative), form)
    first, second = _split_power(m, k, form)
    small = (fraction + one) * first * second
    base = m.select(x < m.constant(kind, 0.0), small, one)
    return m.fma(-base, small / (one + small), base)


def _log_parts(m: Arithmetic, x: Number, form: _Format) -> tuple[Number, Number]:
    """Return the exponent e and f with x = 2^e (1 + f), 1 + f between sqrt(1/2) and sqrt(2)."""
    kind: SimdType = m.type_of(x)
    integer = kind.of(form.integer)
    denormal = x < m.constant(kind, form.normal)
    x = m.select(denormal, x * m.constant(kind, 2.0**form.mantissa), x)
    half = form.halfway
    # Biased so that it is positive, and masked so that LLVM knows: AVX2 has no arithmetic shift of 64 bits.
    distance = m.bits(x, form.integer) + m.constant(integer, (form.bias << form.mantissa) - half)
    fraction = (1 << form.mantissa) - 1
    exponent = m.shift_right(
        distance & m.constant(integer, (2 * form.bias + 1) << form.mantissa), m.constant(integer, form.mantissa)
    )
    e = m.bits(exponent + m.constant(integer, form.rounder_bits), kind.kind)
    offset = m.constant(kind, form.rounder + form.bias)
    e = e - m.select(denormal, m.constant(kind, form.rounder + form.bias + form.mantissa), offset)
    mantissa = m.bits((distance & m.constant(integer, fraction)) + m.constant(integer, half), kind.kind)
    return e, mantissa - m.constant(kind, 1.0)


def _log_sum(m: Arithmetic, e: Number, f: Number, form: _Format, correction: Number | None = None) -> Number:
    """E ln 2 + log(1 + f) + correction, the small terms first."""
    kind = m.type_of(f)
    high, low = m.constant(kind, form.ln2_high), m.constant(kind, form.ln2_low)
    half_square = m.constant(kind, 0.5) * f * f
    if form.integer == "i32":
        small = m.fma(e, low, _polynomial(m, f, _LOG_F32) * f * (f * f)) - half_square
    else:
        s = f / (m.constant(kind, 2.0) + f)
        z = s * s
        r = _polynomial(m, z, _LOG_F64) * z
        small = m.fma(s, half_square + r, e * low) - half_square
    if correction is not None:
        small = small + correction
    return m.fma(e, high, f + small)


def _log_edges(m: Arithmetic, x: Number, result: Number) -> Number:
    """-inf at 0, inf at inf, NaN below 0 and at NaN."""
    kind = m.type_of(x)
    zero, infinity = m.constant(kind, 0.0), m.constant(kind, math.inf)
    not_positive = m.select(x == zero, -infinity, m.constant(kind, math.nan))
    return m.select(x > zero, m.select(x < infinity, result, infinity), not_positive)


def log(m: Arithmetic, x: Number) -> Number:
    """Return the natural logarithm."""
    form = _FORMATS[m.type_of(x).kind]
    e, f = _log_parts(m, x, form)
    return _log_edges(m, x, _log_sum(m, e, f, form))


def log1p(m: Arithmetic, x: Number) -> Number:
    """log(1 + x), with relative accuracy near 0: what rounding 1 + x lost is added as a first-order term."""
    kind = m.type_of(x)
    form = _FORMATS[kind.kind]
    one = m.constant(kind, 1.0)
    u = one + x
    lost = m.select(x < one, x - (u - one), one - (u - x))
    e, f = _log_parts(m, u, form)
    # With e = 0, f is u - 1; then x itself is the better f, and nothing is lost.
    zero = m.constant(kind, 0.0)
    exact = e == zero
    f = m.select(exact, x, f)
    correction = m.select(exact, zero, lost / u)
    result = _log_edges(m, u, _log_sum(m, e, f, form, correction))
    return m.select(x == zero, x, result)


for _function in (exp, expm1, log, log1p, tanh, sigmoid):
    define(_function.__name__, numbers(1, *FLOATS), _function)
