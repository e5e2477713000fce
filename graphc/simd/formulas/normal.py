"""The normal distribution's probability and density."""

import math

from graphc.simd.formulas.exponential import exponential_parts
from graphc.simd.formulas.formats import Arithmetic, Number, constants, polynomial, scaled, two_product
from graphc.simd.kinds import FLOATS
from graphc.simd.record import define, numbers

# e^(x^2 / 2) (x + c) times the probability above x is P((x - c) / (x + c)) for x >= 0: c and P, minimax (after Shepherd
# and Laframboise, Chebyshev approximation of (1 + 2x) exp(x^2) erfc x, 1981).
_CENTRES = {"f32": 4.0, "f64": 5.0}
_ABOVE = {
    "f32": (
        0.755285135,
        -0.607896588,
        0.387136901,
        -0.186523441,
        0.0604038316,
        -0.00752527156,
        -0.00351255602,
        0.00156992304,
        0.000179356697,
        -0.000131970285,
    ),
    "f64": (
        0.76919304975006296,
        -0.66538250289005678,
        0.49530561596997726,
        -0.31353315667129627,
        0.16502036617033974,
        -0.069118638706567007,
        0.020795066800788553,
        -0.0029933767667615706,
        -0.00079786940748590495,
        0.00054489903398244171,
        -5.9375677965355428e-5,
        -4.976265869600799e-5,
        1.668105270635778e-5,
        3.9803997763274757e-6,
        -2.7689772502624751e-6,
        -3.3557466204019911e-7,
        4.3291347335805983e-7,
        4.0936884947141268e-8,
        -6.6024652577851992e-8,
        -8.341763219403042e-9,
        7.9359023008948832e-9,
        1.4485532122736773e-9,
        -2.9650240542008872e-10,
    ),
}
# Beyond, probability and density are 0.
_LIMIT = {"f32": 14.5, "f64": 38.7}


def _bell(m: Arithmetic, x: Number) -> tuple[Number, Number, Number]:
    """Return |x|, and e^(-x^2 / 2) as an exponent and a fraction; the error of the square is made good."""
    limit, half = constants(m, x, _LIMIT[m.type_of(x).kind], -0.5)
    size = m.absolute(x)
    size = m.select(size > limit, limit, size)
    return size, *exponential_parts(m, *two_product(m, size, size * half))


def normal_cdf(m: Arithmetic, x: Number) -> Number:
    """The probability that a standard normal variable lies below x, with relative accuracy for negative x."""
    kind = m.type_of(x).kind
    zero, one, centre = constants(m, x, 0.0, 1.0, _CENTRES[kind])
    size, k, fraction = _bell(m, x)
    inverse = one / (size + centre)
    factor = polynomial(m, (size - centre) * inverse, _ABOVE[kind]) * inverse
    tail = scaled(m, m.fma(fraction, factor, factor), k)
    return m.select(x > zero, one - tail, tail)


def normal_pdf(m: Arithmetic, x: Number) -> Number:
    """The density of a standard normal variable at x."""
    (factor,) = constants(m, x, 1 / math.sqrt(2 * math.pi))
    _, k, fraction = _bell(m, x)
    return scaled(m, m.fma(fraction, factor, factor), k)


for _function in (normal_cdf, normal_pdf):
    define(_function.__name__, numbers(1, *FLOATS), _function)
