"""sin, cos and tan, right for every finite argument."""

import itertools
import math

from graphc.simd.formulas.formats import (
    Arithmetic,
    Number,
    constants,
    fast_two_sum,
    format_of,
    polynomial,
    two_product,
)
from graphc.simd.kinds import FLOATS, SimdType
from graphc.simd.record import define, numbers

# pi/2 in parts, and the largest argument that is reduced with them. The quarter turns k of a smaller one have no more bits
# than a part has zeros at its end: k times a part is exact, and so is what the first two leave of x.
_HALF_PI = {
    "f32": (1.57080078125, -4.410743713378906e-06, -4.371395334601402e-08, 2.5633440682570896e-12),
    "f64": (1.5707963267341256, 6.077094383272197e-11, 6.12323399667708e-17, -9.403137205957857e-27),
}
_MOST = {"f32": 6144.0, "f64": 2.0**20}
_HALF_PI_PAIR = (1.5707963267948966, 6.123233995736766e-17)
_WORD = 0xFFFFFFFF
# 64 zero bits, and then the bits of 2/pi from the first after the point, in words of 32.
_TWO_OVER_PI = (
    0, 0,
    0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561, 0xB7246E3A,
    0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5, 0x2EBB4484, 0xE99C7026, 0xB45F7E41,
    0x3991D639, 0x835339F4, 0x9C845F8B, 0xBDF9283B, 0x1FF897FF, 0xDE05980F, 0xEF2F118B, 0x5A0A6D1F, 0x6D367ECF,
    0x27CB09B7, 0x4F463F66, 0x9E5FEA2D, 0x7527BAC7, 0xEBE5F17B, 0x3D0739F7, 0x8A5292EA, 0x6BFB5FB1, 0x1F8D5D08,
    0x56033046,
)  # fmt: skip
_WINDOW = 6  # words of 2/pi that matter to one argument: 2 bits before the point, 53 of the factor, 137 that are right

# sin(r) = r + r^3 P(r^2) and cos(r) = 1 - r^2/2 + r^4 P(r^2) for |r| <= pi/4; minimax.
_SIN = {
    "f32": (-0.166666672, 0.00833332911, -0.000198393318, 2.7182748e-06),
    "f64": (
        -0.16666666666666632,
        0.008333333333322385,
        -0.00019841269829780998,
        2.7557313681392357e-06,
        -2.5050756294747635e-08,
        1.5896681284421946e-10,
    ),
}
_COS = {
    "f32": (0.0416666456, -0.00138873653, 2.44381208e-05),
    "f64": (
        0.0416666666666666,
        -0.0013888888888874068,
        2.4801587289445403e-05,
        -2.755731434103188e-07,
        2.087572165636477e-09,
        -1.1359560335678048e-11,
    ),
}
# tan(r) = r + r^3 P(r^2) for |r| <= pi/4; minimax.
_TAN = {
    "f32": (0.33333350590, 0.13332633543, 0.05406340405, 0.0212636276, 0.0108852894, 2.51536792e-05, 0.00440882),
    "f64": (
        0.3333333333333272,
        0.1333333333342205,
        0.053968253923125424,
        0.02186948969375194,
        0.008863217972434858,
        0.003592299814640716,
        0.0014546928318959213,
        0.0005953385341779559,
        0.0002215729026137037,
        0.00013818772624791945,
        -2.8729843899150263e-05,
        9.160737683113267e-05,
        -4.6040623258885216e-05,
        2.1143391716459756e-05,
    ),
}


def _angle(m: Arithmetic, x: Number) -> tuple[Number, Number, Number]:
    """Return the quarter turns in x >= 0 (an integer, right modulo 4) and the angle that is left, as a pair."""
    kind: SimdType = m.type_of(x)
    form = format_of(m, x)
    two_over_pi, rounder, most = constants(m, x, 2 / math.pi, form.rounder, _MOST[kind.kind])
    first, second, third, fourth = constants(m, x, *_HALF_PI[kind.kind])
    raised = m.fma(x, two_over_pi, rounder)
    k = raised - rounder
    near = m.fma(k, -second, m.fma(k, -first, x))
    high = m.fma(k, -third, near)  # rounded; the same product again leaves what was lost
    low = m.fma(k, -fourth, m.fma(k, -third, near - high))
    large = x > most
    exactly = _reduced_exactly if kind.kind == "f64" else _reduced_in_f64
    return m.corrected(large, (m.bits(raised, form.integer), high, low), exactly, m.select(large, x, most))


def _reduced_in_f64(m: Arithmetic, x: Number) -> tuple[Number, Number, Number]:
    """Do the same for an f32 x that is large."""
    quarters, high, low = _angle(m, m.convert(x, "f64"))
    short = m.convert(high, "f32")
    rest = (high - m.convert(short, "f64")) + low
    return m.convert(quarters, "i32"), short, m.convert(rest, "f32")


def _reduced_exactly(m: Arithmetic, x: Number) -> tuple[Number, Number, Number]:
    """Do the same for an f64 x that is large, by multiplying it with those bits of 2/pi that matter (Payne and Hanek, 1983).

    x is n 2^p with an integer n of 53 bits. Bits of 2/pi of weight 2^(2-p) and more give multiples of four turns, so the
    product starts at the next one; it is kept modulo 2^192, in words of 32 bits.
    """
    kind: SimdType = m.type_of(x)
    integer = kind.of("i64")

    def whole(number: int) -> Number:
        return m.constant(integer, number)

    word, width = whole(_WORD), whole(32)
    bits = m.bits(x, "i64")
    position = (m.shift_right(bits, whole(52)) & whole(0x7FF)) - whole(1023 + 52 + 2 - 64)
    n = (bits & whole((1 << 52) - 1)) | whole(1 << 52)
    n_low, n_high = n & word, m.shift_right(n, width)
    start, shift = m.shift_right(position, whole(5)), position & whole(31)
    words = [m.lookup(_TWO_OVER_PI, start + whole(index)) for index in range(_WINDOW + 1)]
    window = [
        (m.shift_left(one, shift) | m.shift_right(following, width - shift)) & word
        for one, following in itertools.pairwise(words)
    ][::-1]

    product: list[Number] = []
    carry = whole(0)
    with_low = [n_low * one for one in window]
    with_high = [n_high * one for one in window]
    for index in range(_WINDOW):
        total = carry + (with_low[index] & word)
        if index >= 1:
            total = total + (with_high[index - 1] & word) + (m.shift_right(with_low[index - 1], width) & word)
        if index >= 2:
            total = total + (m.shift_right(with_high[index - 2], width) & word)
        product.append(total & word)
        carry = m.shift_right(total, width)

    top = product[-1]
    quarters = m.shift_right(top + whole(1 << 29), whole(30))
    parts = [top - m.shift_left(quarters, whole(30)), *product[-2:-5:-1]]
    scaled = [m.convert(part, "f64") * m.constant(kind, 2.0 ** (-30 - 32 * index)) for index, part in enumerate(parts)]
    high, low = fast_two_sum(scaled[0], scaled[1])
    high, low = fast_two_sum(high, low + (scaled[2] + scaled[3]))
    turn_high, turn_low = constants(m, x, *_HALF_PI_PAIR)
    angle, error = two_product(m, high, turn_high)
    angle, error = fast_two_sum(angle, error + m.fma(high, turn_low, low * turn_high))
    return quarters, angle + (x - x), error  # infinity - infinity is NaN


def _flipped(m: Arithmetic, result: Number, x: Number, turns: Number) -> Number:
    """Return the result with the sign of x, and changed once more if the integer `turns` is odd."""
    kind: SimdType = m.type_of(turns)
    top = m.constant(kind, -(2 ** (kind.bits - 1)))
    sign = (m.bits(x, kind.kind) ^ m.shift_left(turns, m.constant(kind, kind.bits - 1))) & top
    return m.bits(m.bits(result, kind.kind) ^ sign, m.type_of(x).kind)


def _sine(m: Arithmetic, x: Number, ahead: int) -> tuple[Number, Number]:
    """Return the sine of x >= 0 and `ahead` quarter turns but for its sign, and an integer that is odd if it is negative.

    What the angle's low part adds to a square goes into both polynomials with it; where the sine needs it times a
    cosine, 1 will do.
    """
    quarters, high, low = _angle(m, x)
    kind: SimdType = m.type_of(x)
    quarters = quarters + m.constant(m.type_of(quarters), ahead)
    one, minus_half = constants(m, x, 1.0, -0.5)
    bit = m.constant(m.type_of(quarters), 1)
    square = m.fma(high, high, high * (low + low))
    sine = high + m.fma(high * square, polynomial(m, square, _SIN[kind.kind]), low)
    cosine = m.fma(square, m.fma(square, polynomial(m, square, _COS[kind.kind]), minus_half), one)
    return m.select((quarters & bit) == bit, cosine, sine), m.shift_right(quarters, bit)


def sin(m: Arithmetic, x: Number) -> Number:
    """Return the sine of an angle in radians."""
    result, turns = _sine(m, m.absolute(x), 0)
    return _flipped(m, result, x, turns)


def cos(m: Arithmetic, x: Number) -> Number:
    """Return the cosine of an angle in radians."""
    size = m.absolute(x)
    result, turns = _sine(m, size, 1)
    return _flipped(m, result, size, turns)


def tan(m: Arithmetic, x: Number) -> Number:
    """Return the tangent of an angle in radians: that of the angle left, in every second quarter -1 by it."""
    quarters, high, low = _angle(m, m.absolute(x))
    kind: SimdType = m.type_of(x)
    first, *others = _TAN[kind.kind]
    one, third = constants(m, x, 1.0, first)
    bit = m.constant(m.type_of(quarters), 1)
    square = high * high
    fourth = square * square
    rest = m.fma(square, third, fourth * polynomial(m, square, others))
    tangent, rest = fast_two_sum(high, m.fma(high, rest, m.fma(low, square + fourth, low)))
    inverse = one / tangent
    error = m.fma(-inverse, rest, m.fma(-inverse, tangent, one))
    result = m.select((quarters & bit) == bit, m.fma(inverse, error, inverse), tangent)
    return _flipped(m, result, x, quarters)


for _function in (sin, cos, tan):
    define(_function.__name__, numbers(1, *FLOATS), _function)
