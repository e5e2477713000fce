"""sin, cos and tan, right for every finite argument."""

import itertools
import math

from graphc.simd.formulas.formats import (
    Arithmetic,
    Number,
    Pair,
    constants,
    divide_pairs,
    fast_two_sum,
    polynomial,
    two_product,
    two_sum,
)
from graphc.simd.kinds import FLOATS, SimdType
from graphc.simd.record import define, numbers

# Up to here k = x / (pi/2) has 20 bits, so its products with the first three parts of pi/2, of 33 bits each, are exact.
_MOST = 2.0**20
_HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32)
_HALF_PI_REST = 6.077100506506192e-11  # all but the first part: enough where the angle is wanted in f32
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


def _reduced(m: Arithmetic, x: Number, short: bool) -> tuple[Number, Number, Number]:
    """Return the quarter turns in an f64 x (an i64, right modulo 4) and the angle that is left, as a pair.

    `short`: x was an f32. None of them is within 2^-40 of a multiple of pi/2, so the pair's low part may be 0.
    """
    kind: SimdType = m.type_of(x)
    two_over_pi, rounder, most, infinity = constants(m, x, 2 / math.pi, 1.5 * 2.0**52, _MOST, math.inf)
    raised = m.fma(x, two_over_pi, rounder)
    k = raised - rounder
    first, second, third, fourth, rest, zero = constants(m, x, *_HALF_PI, _HALF_PI_REST, 0.0)
    high = m.fma(k, -first, x)  # exact: both are multiples of first's last place, and near
    if short:
        high, low = m.fma(k, -rest, high), zero
    else:
        high, low = two_sum(high, -(k * second))
        high, error = two_sum(high, -(k * third))
        high, low = fast_two_sum(high, m.fma(k, -fourth, low + error))
    size = m.absolute(x)
    large = (size > most) & (size < infinity)
    found = m.bits(raised, "i64"), high, low
    quarters, high, low = m.corrected(large, found, _reduced_exactly, m.select(large, x, most))
    return quarters & m.constant(kind.of("i64"), 3), high, low


def _reduced_exactly(m: Arithmetic, x: Number) -> tuple[Number, Number, Number]:
    """Do the same for a large x, by multiplying it with those bits of 2/pi that matter (Payne and Hanek, 1983).

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
    negative = x < m.constant(kind, 0.0)
    return (
        m.select(negative, -quarters, quarters),
        m.select(negative, -angle, angle),
        m.select(negative, -error, error),
    )


def _angle(m: Arithmetic, x: Number) -> tuple[Number, Number, Number]:
    """Return quarter turns and the angle left, as a pair, in the format of x; f32 is reduced in f64."""
    kind: SimdType = m.type_of(x)
    if kind.kind == "f64":
        return _reduced(m, x, short=False)
    quarters, high, _ = _reduced(m, m.convert(x, "f64"), short=True)
    short = m.convert(high, "f32")
    return m.convert(quarters, "i32"), short, m.convert(high - m.convert(short, "f64"), "f32")


def _sin_and_cos(m: Arithmetic, high: Number, low: Number) -> tuple[Pair, Pair]:
    """Return the sine and the cosine of a small angle, as pairs (fdlibm, k_sin.c and k_cos.c)."""
    kind: SimdType = m.type_of(high)
    one, half = constants(m, high, 1.0, 0.5)
    z = high * high
    half_square = half * z
    rest = one - half_square
    sine = m.fma(high * z, polynomial(m, z, _SIN[kind.kind]), low * rest)
    cosine = ((one - rest) - half_square) + m.fma(z * z, polynomial(m, z, _COS[kind.kind]), -(high * low))
    return (high, sine), (rest, cosine)


def _chosen(m: Arithmetic, mask: Number, a: Pair, b: Pair) -> Pair:
    return m.select(mask, a[0], b[0]), m.select(mask, a[1], b[1])


def _sine(m: Arithmetic, x: Number, ahead: int) -> Number:
    """Return the sine of x and `ahead` quarter turns."""
    quarters, high, low = _angle(m, x)
    integer = m.type_of(quarters)
    quarters = quarters + m.constant(integer, ahead)
    one, two = m.constant(integer, 1), m.constant(integer, 2)
    sine, cosine = _sin_and_cos(m, high, low)
    first, rest = _chosen(m, (quarters & one) == one, cosine, sine)
    result = first + rest
    return m.select((quarters & two) == two, -result, result)


def sin(m: Arithmetic, x: Number) -> Number:
    """Return the sine of an angle in radians."""
    return m.select(x == constants(m, x, 0.0)[0], x, _sine(m, x, 0))


def cos(m: Arithmetic, x: Number) -> Number:
    """Return the cosine of an angle in radians."""
    return _sine(m, x, 1)


def tan(m: Arithmetic, x: Number) -> Number:
    """Return the tangent of an angle in radians: sine by cosine, or cosine by -sine, both as pairs."""
    quarters, high, low = _angle(m, x)
    one = m.constant(m.type_of(quarters), 1)
    sine, cosine = _sin_and_cos(m, high, low)
    turned = (quarters & one) == one
    above = _chosen(m, turned, cosine, sine)
    below = _chosen(m, turned, (-sine[0], -sine[1]), cosine)
    quotient, rest = divide_pairs(m, fast_two_sum(*above), fast_two_sum(*below))
    return m.select(x == constants(m, x, 0.0)[0], x, quotient + rest)


for _function in (sin, cos, tan):
    define(_function.__name__, numbers(1, *FLOATS), _function)
