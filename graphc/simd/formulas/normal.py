"""The normal distribution's probability and density."""

import math
from collections.abc import Sequence

from graphc.simd.formulas.exponential import exponential_parts
from graphc.simd.formulas.formats import Arithmetic, Number, constants, polynomial, scaled, two_product
from graphc.simd.kinds import FLOATS
from graphc.simd.record import define, numbers

# The probability above x, by the density at x, is P(x) / Q(x) for x >= 0; minimax. All are positive, so no sum cancels.
_ABOVE = {
    "f32": (
        (1.2533141447, 1.0986419567, 0.45930197235, 0.10185226071, 0.010318037832),
        (1.0, 1.6744744364, 1.2025024625, 0.4694702047, 0.10185870786, 0.010317918086),
    ),
    "f64": (
        (
            1.2533141373155002,
            1.941855846457611,
            1.488380106981136,
            0.7247690946715565,
            0.24468061024521304,
            0.059146916672328255,
            0.0102364444994137957,
            0.00122727974934300821,
            9.31996118694009517e-5,
            3.46531386984942114e-6,
        ),
        (
            1.0,
            2.3472613599961628,
            2.5603991072767587,
            1.7135158282406388,
            0.7814963514447238,
            0.25473064366520288,
            0.0603672662254374301,
            0.0103296440999047336,
            0.00123074506341619534,
            9.31996118672150375e-5,
            3.46531386986002048e-6,
        ),
    ),
}
# Beyond, probability and density are 0.
_LIMIT = {"f32": 14.5, "f64": 38.7}


def normal_cdf(m: Arithmetic, x: Number) -> Number:
    """The probability that a standard normal variable lies below x, with relative accuracy for negative x."""
    zero, one = constants(m, x, 0.0, 1.0)
    size = _limited(m, x)
    square = size * size
    above, below = (_in_halves(m, size, square, numbers) for numbers in _ABOVE[m.type_of(x).kind])
    tail = normal_pdf(m, x) * (above / below)
    return m.select(x > zero, one - tail, tail)


def normal_pdf(m: Arithmetic, x: Number) -> Number:
    """The density of a standard normal variable at x; the error of the square is made good."""
    half, factor = constants(m, x, -0.5, 1 / math.sqrt(2 * math.pi))
    size = _limited(m, x)
    k, fraction = exponential_parts(m, *two_product(m, size, size * half))
    return scaled(m, m.fma(fraction, factor, factor), k)


def _in_halves(m: Arithmetic, x: Number, square: Number, coefficients: Sequence[float]) -> Number:
    """A polynomial by its even and its odd powers: half as many roundings follow one another."""
    return m.fma(x, polynomial(m, square, coefficients[1::2]), polynomial(m, square, coefficients[::2]))


def _limited(m: Arithmetic, x: Number) -> Number:
    """Return |x|, or what is large enough for both to be 0."""
    (limit,) = constants(m, x, _LIMIT[m.type_of(x).kind])
    size = m.absolute(x)
    return m.select(size > limit, limit, size)


for _function in (normal_cdf, normal_pdf):
    define(_function.__name__, numbers(1, *FLOATS), _function)
