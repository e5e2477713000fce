"""exp, exp2, expm1 and what is made of them: tanh, sigmoid, sinh, cosh."""

import math

from graphc.simd.formulas.formats import (
    FORMATS,
    Arithmetic,
    Number,
    Pair,
    clamp,
    constants,
    nearest,
    odd,
    polynomial,
    power_of_biased,
    power_of_two,
    scaled,
)
from graphc.simd.kinds import FLOATS
from graphc.simd.record import define, numbers

# exp of the first and less is 0, of the second and more is infinite.
LIMITS = {"f32": (-104.0, 89.0), "f64": (-746.0, 710.0)}
_LIMITS_OF_TWO = {"f32": (-151.0, 129.0), "f64": (-1076.0, 1025.0)}

# (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2; interpolated at Chebyshev's nodes, within 1.1 of minimax.
_EXPONENTIAL = {
    "f32": (0.500000001, 0.166666667, 0.0416664646, 0.00833331089, 0.00139336859, 0.000198910307),
    "f64": (
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
}
# e^2r for |r| <= ln(2) / 4, from the same numbers.
_SQUARED = {
    kind: (1.0, 2.0, *(c * 2.0**n for n, c in enumerate(coefficients, 2)))
    for kind, coefficients in _EXPONENTIAL.items()
}
# (2^r - 1) / r for |r| <= 1/2; minimax.
POWER_OF_TWO = {
    "f32": (0.693147182, 0.240226507, 0.055503279, 0.00961800385, 0.00134002767, 0.000154763969),
    "f64": (
        0.6931471805599453,
        0.24022650695910133,
        0.05550410866482174,
        0.009618129107593333,
        0.0013333558146379073,
        0.000154035304580784,
        1.5252733867500932e-05,
        1.3215434817454206e-06,
        1.0178046479082788e-07,
        7.0738600932505745e-09,
        4.4573844711356626e-10,
    ),
}
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
# sinh(x) = x + x^3 P(x^2) for |x| < 1; minimax.
_SINH = {
    "f32": (0.166666672, 0.00833335053, 0.000198360663, 2.81743883e-06),
    "f64": (
        0.16666666666666669,
        0.008333333333333139,
        0.0001984126984143768,
        2.755731915533708e-06,
        2.5052123398523067e-08,
        1.6057240343600172e-10,
        7.759312138320017e-13,
    ),
}


def exponential_parts(m: Arithmetic, x: Number, low: Number | None = None) -> Pair:
    """Return the integer k (as a float) nearest x / ln 2, and expm1 of what x + low is more than k ln 2."""
    kind = m.type_of(x)
    form = FORMATS[kind.kind]
    rounder = m.constant(kind, form.rounder)
    k = m.fma(x, m.constant(kind, math.log2(math.e)), rounder) - rounder
    r = m.fma(k, m.constant(kind, -form.ln2_low), m.fma(k, m.constant(kind, -form.ln2_high), x))
    if low is not None:
        r = r + low
    return k, m.fma(r * r, polynomial(m, r, _EXPONENTIAL[kind.kind]), r)


def exp(m: Arithmetic, x: Number) -> Number:
    """e^x = 2^k e^r; the product with 2^k is made in two steps, so that a denormal result is rounded once.

    What is 0 anyway is not computed: a product that underflows costs twenty times a product, and masked scores do.
    """
    zero, one, low, high = constants(m, x, 0.0, 1.0, *LIMITS[m.type_of(x).kind])
    vanishes = x < low
    k, fraction = exponential_parts(m, m.select(vanishes, zero, m.select(x > high, high, x)))
    return m.select(vanishes, zero, scaled(m, fraction + one, k))


def exp2(m: Arithmetic, x: Number) -> Number:
    """2^x = 2^k 2^r, with k the nearest integer; r = x - k is exact."""
    kind = m.type_of(x).kind
    limited = clamp(m, x, *_LIMITS_OF_TWO[kind])
    k = nearest(m, limited)
    r = limited - k
    return scaled(m, m.fma(r, polynomial(m, r, POWER_OF_TWO[kind]), constants(m, x, 1.0)[0]), k)


def expm1(m: Arithmetic, x: Number) -> Number:
    """e^x - 1, with relative accuracy near 0."""
    kind = m.type_of(x)
    form = FORMATS[kind.kind]
    one, half, zero = constants(m, x, 1.0, 0.5, 0.0)
    limited = clamp(m, x, -form.mantissa * 1.0, LIMITS[kind.kind][1])  # e^-mantissa - 1 is -1 within an ULP
    k, fraction = exponential_parts(m, limited)
    # One less in the exponent, doubled at the end: 2^k is too large for the largest x.
    scale = power_of_two(m, k - one)
    result = m.fma(fraction, scale, scale - half)
    result = result + result
    lost = m.select(x < m.constant(kind, -form.mantissa * 1.0), -one, result)
    return m.select(x == zero, x, lost)


@odd
def tanh(m: Arithmetic, x: Number) -> Number:
    """X + x^3 P(x^2) / Q(x^2) near 0 (Cephes), and 1 - 2 / (e^2x + 1) beyond; one division serves both where Q is not 1.

    Beyond, the error of e^2x weighs little, so one product takes k ln(2) / 2 from x.
    """
    kind = m.type_of(x).kind
    above, below = _TANH[kind]
    limit, by, step, biased, one, two, bound = constants(
        m, x, 22.0, 2 * math.log2(math.e), -math.log(2) / 2, FORMATS[kind].biased, 1.0, 2.0, 0.625
    )
    limited = m.select(x > limit, limit, x)
    shifted = m.fma(limited, by, biased)
    r = m.fma(shifted - biased, step, limited)
    grown = m.fma(polynomial(m, r, _SQUARED[kind]), power_of_biased(m, shifted), one)

    near, square = x < bound, x * x
    cube, ratio = x * square, polynomial(m, square, above)
    if len(below) == 1:
        return m.select(near, m.fma(cube, ratio, x), one - two / grown)
    numerator = m.select(near, cube * ratio, -two)
    denominator = m.select(near, polynomial(m, square, below), grown)
    return m.select(near, x, one) + numerator / denominator


def sigmoid(m: Arithmetic, x: Number) -> Number:
    """1 / (1 + e^-x), as b - b q: q = e / (1 + e), b = 1 or (for negative x) e, with e = e^-|x|.

    Nothing overflows, and the quotient is only the smaller term, so its rounding weighs little.
    """
    one, zero, low = constants(m, x, 1.0, 0.0, LIMITS[m.type_of(x).kind][0])
    negative = -m.absolute(x)
    k, fraction = exponential_parts(m, m.select(negative < low, low, negative))
    small = scaled(m, fraction + one, k)
    base = m.select(x < zero, small, one)
    return m.fma(-base, small / (one + small), base)


def _half_exponential(m: Arithmetic, size: Number) -> Number:
    """Return e^size / 2, which is in range where e^size no longer is."""
    limit, one = constants(m, size, LIMITS[m.type_of(size).kind][1] + 1.0, 1.0)
    k, fraction = exponential_parts(m, m.select(size > limit, limit, size))
    return scaled(m, fraction + one, k - one)


def cosh(m: Arithmetic, x: Number) -> Number:
    """(e^|x| + e^-|x|) / 2, as h + 1 / (4 h) with h = e^|x| / 2."""
    half = _half_exponential(m, m.absolute(x))
    return half + constants(m, x, 0.25)[0] / half


@odd
def sinh(m: Arithmetic, x: Number) -> Number:
    """X + x^3 P(x^2) below 1, and h - 1 / (4 h) beyond, with h = e^x / 2."""
    quarter, one = constants(m, x, 0.25, 1.0)
    half = _half_exponential(m, x)
    square = x * x
    near = m.fma(x * square, polynomial(m, square, _SINH[m.type_of(x).kind]), x)
    return m.select(x < one, near, half - quarter / half)


for _function in (exp, exp2, expm1, tanh, sigmoid, cosh, sinh):
    define(_function.__name__, numbers(1, *FLOATS), _function)
