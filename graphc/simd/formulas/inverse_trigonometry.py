"""asin, acos, atan and atan2."""

import math

from graphc.simd.formulas.formats import (
    Arithmetic,
    Number,
    Pair,
    constants,
    fast_two_sum,
    format_of,
    odd,
    polynomial,
    two_product,
)
from graphc.simd.kinds import FLOATS
from graphc.simd.record import define, numbers

# asin(x) = x + x^3 P(x^2) for |x| <= 1/2; minimax.
_ASIN = {
    "f32": (0.166666597, 0.0750051066, 0.0445158035, 0.0318170227, 0.0144044803, 0.037563026),
    "f64": (
        0.16666666666666763,
        0.07499999999970261,
        0.0446428571751212,
        0.030381942683603627,
        0.022372215660567688,
        0.01735160008854692,
        0.0139809614796348,
        0.011397775807637513,
        0.010786529949449708,
        0.003683038579092585,
        0.02176350811272882,
        -0.02107730634840538,
        0.03267689960161552,
    ),
}
# atan(x) = x + x^3 P(x^2) for |x| <= tan(pi/8); minimax.
_ATAN = {
    "f32": (-0.333333164, 0.199984908, -0.142438546, 0.105959944, -0.0608334169),
    "f64": (
        -0.333333333333332,
        0.1999999999995404,
        -0.1428571428024419,
        0.11111110785910926,
        -0.09090897829642401,
        0.0769206151151251,
        -0.0666311890919285,
        0.058479978717974654,
        -0.05039794436423614,
        0.03807699227807477,
        -0.017920792416194,
    ),
}
_TAN_PI_8 = math.sqrt(2.0) - 1.0
# Multiples of pi/4 (one, two, three and four), rounded, and what rounding lost.
_ANGLES = {
    "f32": (
        (0.785398185, 1.57079637, 2.3561945, 3.14159274),
        (-2.1855695e-08, -4.371139e-08, -5.96244023e-09, -8.742278e-08),
    ),
    "f64": (
        (0.7853981633974483, 1.5707963267948966, 2.356194490192345, 3.141592653589793),
        (3.061616997868383e-17, 6.123233995736766e-17, 9.184850993605148e-17, 1.2246467991473532e-16),
    ),
}


def _angle(m: Arithmetic, x: Number, quarters: int) -> Pair:
    """Return a multiple of pi/4 as a pair."""
    high, low = _ANGLES[m.type_of(x).kind]
    pair = constants(m, x, high[quarters - 1], low[quarters - 1])
    return pair[0], pair[1]


def _arcsine_parts(m: Arithmetic, size: Number) -> tuple[Number, Number, Number]:
    """Return whether |x| is below 1/2, and as a pair asin(|x|) there, else asin(sqrt((1 - |x|) / 2))."""
    one, half, zero = constants(m, size, 1.0, 0.5, 0.0)
    near = size < half
    square = m.select(near, size * size, (one - size) * half)  # the second is exact
    root = m.sqrt(square)
    product, error = two_product(m, root, root)
    lost = m.select(square > zero, ((square - product) - error) * half / root, zero)
    start = m.select(near, size, root)
    rest = start * square * polynomial(m, square, _ASIN[m.type_of(size).kind])
    return near, start, m.select(near, rest, rest + lost)


@odd
def asin(m: Arithmetic, x: Number) -> Number:
    """Return the arc sine in radians: below 1/2 by the polynomial, beyond as pi/2 less twice that of a half angle."""
    high, low = _angle(m, x, 2)
    near, start, rest = _arcsine_parts(m, x)
    main, error = fast_two_sum(high, -(start + start))
    return m.select(near, start + rest, main + (error + (low - (rest + rest))))


def acos(m: Arithmetic, x: Number) -> Number:
    """pi/2 - asin(x) for |x| below 1/2; beyond, 2 asin(sqrt((1 - |x|) / 2)), from pi for a negative x."""
    zero = constants(m, x, 0.0)[0]
    near, start, rest = _arcsine_parts(m, m.absolute(x))
    negative = x < zero
    start, rest = m.select(near, start, start + start), m.select(near, rest, rest + rest)
    # |x| near 0: pi/2 - asin x. Far: 0 + angle or pi - angle.
    upward = negative ^ ~near
    (half_turn, half_low), (turn, turn_low) = _angle(m, x, 2), _angle(m, x, 4)
    base = m.select(near, half_turn, m.select(negative, turn, zero))
    base_low = m.select(near, half_low, m.select(negative, turn_low, zero))
    main = m.select(upward, start, -start)
    high = base + main
    error = m.select(near | negative, main - (high - base), zero)
    return high + (error + (base_low + m.select(upward, rest, -rest)))


def _arctangent(m: Arithmetic, above: Number, below: Number, turned: Number | None = None) -> Number:
    """Return the angle of the point (below, above) in the first quadrant; where `turned`, pi less it.

    The quotient is kept below tan(pi/8) by turning the point back by pi/4 or pi/2.
    """
    zero, limit = constants(m, above, 0.0, _TAN_PI_8)
    flat = above <= limit * below
    steep = below < limit * above
    numerator = m.select(flat, above, m.select(steep, -below, above - below))
    denominator = m.select(flat, below, m.select(steep, above, above + below))
    t = numerator / denominator
    t = m.select(above == zero, zero, t)
    square = t * t
    rest = t * square * polynomial(m, square, _ATAN[m.type_of(above).kind])
    (eighth, eighth_low), (quarter, quarter_low) = _angle(m, above, 1), _angle(m, above, 2)
    high = m.select(flat, zero, m.select(steep, quarter, eighth))
    low = m.select(flat, zero, m.select(steep, quarter_low, eighth_low))
    if turned is not None:
        (three, three_low), (half, half_low) = _angle(m, above, 3), _angle(m, above, 4)
        far = m.select(flat, half, m.select(steep, quarter, three))
        far_low = m.select(flat, half_low, m.select(steep, quarter_low, three_low))
        high, low = m.select(turned, far, high), m.select(turned, far_low, low)
        t, rest = m.select(turned, -t, t), m.select(turned, -rest, rest)
        main, error = fast_two_sum(high, t)
        return m.select(high == zero, t + rest, main + (error + (low + rest)))
    return high + (low + rest + t)


@odd
def atan(m: Arithmetic, x: Number) -> Number:
    """Return the arc tangent, in radians."""
    one, infinity = constants(m, x, 1.0, math.inf)
    result = _arctangent(m, x, one)
    return m.select(x == infinity, _angle(m, x, 2)[0], result)


def atan2(m: Arithmetic, y: Number, x: Number) -> Number:
    """Return the angle of the point (x, y), in (-pi, pi]; C's values at zeros and infinities."""
    one, zero, infinity, quarter = constants(m, x, 1.0, 0.0, math.inf, 0.25)
    form = format_of(m, x)
    above, below = m.absolute(y), m.absolute(x)
    both = (above == infinity) & (below == infinity)
    above, below = m.select(both, one, above), m.select(both, one, below)
    # Their sum must not overflow, and a part of a denormal one must not be rounded.
    top, bottom, larger = constants(m, x, 2.0 ** (form.bias - 2), form.normal * 2.0, 2.0**form.mantissa)
    huge, tiny = (above > top) | (below > top), (above < bottom) & (below < bottom)
    factor = m.select(huge, quarter, m.select(tiny, larger, one))
    above, below = above * factor, below * factor
    turned = m.copysign(one, x) < zero
    result = _arctangent(m, above, below, turned)
    result = m.select(x != x, x, m.select(y != y, y, result))
    return m.copysign(result, y)


for _function in (asin, acos, atan):
    define(_function.__name__, numbers(1, *FLOATS), _function)
define("atan2", numbers(2, *FLOATS), atan2)
