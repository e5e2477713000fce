"""erf and erfc."""

from graphc.simd.formulas.exponential import exponential_parts
from graphc.simd.formulas.formats import (
    Arithmetic,
    Number,
    constants,
    divide_pairs,
    odd,
    polynomial,
    scaled,
    two_product,
    two_sum,
)
from graphc.simd.kinds import FLOATS
from graphc.simd.record import define, numbers

# erf(x) = x + x P(x^2) for |x| < 1; minimax.
_ERF = {
    "f32": (0.128379166, -0.37612626, 0.112835854, -0.0268538147, 0.00518833054, -0.000801020244, 7.85384982e-05),
    "f64": (
        0.1283791670955126,
        -0.3761263890318375,
        0.11283791670954858,
        -0.02686617064507296,
        0.00522397762478137,
        -0.0008548326978765149,
        0.00012055331037551108,
        -1.4925593518728226e-05,
        1.6460972954153757e-06,
        -1.6350026192077187e-07,
        1.4657883530919153e-08,
        -1.1365670671825342e-09,
        5.94525558422059e-11,
    ),
}
# e^(x^2) erfc(x) (x + c) = P((x - c) / (x + c)) for x >= 1: c, P's constant term as a pair, and its others (after
# Shepherd and Laframboise, Chebyshev approximation of (1 + 2x) exp(x^2) erfc x, 1981); minimax.
_ERFC = {
    "f32": (
        2.5,
        (1.05403185, -2.88590840e-08),
        (
            -0.804651856,
            0.453914165,
            -0.171250731,
            0.0283600241,
            0.0083869407,
            -0.00480227498,
            -0.000406970765,
            0.00062999106,
        ),
    ),
    "f64": (
        3.0,
        (1.0740069070883398, -9.054665193108687e-17),
        (
            -0.883394453169884,
            0.5902283571041038,
            -0.3104672619005156,
            0.11952776128710962,
            -0.026827234626773326,
            -0.0012124166207449802,
            0.003034062046033987,
            -0.000548309811898068,
            -0.0002767782977602252,
            0.00010756277043423866,
            3.040056670694886e-05,
            -1.7478710199788113e-05,
            -4.754999301015917e-06,
            2.7955758735773372e-06,
            9.976371272197886e-07,
            -4.681066789563571e-07,
            -1.995648866552976e-07,
            9.529906662078889e-08,
        ),
    ),
}
# erfc of this and more is 0.
_LIMIT = {"f32": 10.5, "f64": 27.5}


def _remainder(m: Arithmetic, x: Number) -> Number:
    """Return erf(x) - x for |x| < 1."""
    return x * polynomial(m, x * x, _ERF[m.type_of(x).kind])


def _tail(m: Arithmetic, size: Number, precise: bool) -> Number:
    """Return erfc of a number from 1 on, within some 5 ULP if it need not be `precise`.

    The error of the square is made good in the exponential.
    """
    kind = m.type_of(size)
    centre, start, coefficients = _ERFC[kind.kind]
    one, zero, limit, middle, width = constants(m, size, 1.0, 0.0, _LIMIT[kind.kind], centre, -2.0 * centre)
    x = m.select(size > limit, limit, size)
    square, error = two_product(m, x, x)
    k, fraction = exponential_parts(m, -square, -error)
    if not precise:
        inverse = one / (x + middle)
        factor = polynomial(m, m.fma(width, inverse, one), (start[0], *coefficients)) * inverse
        return scaled(m, m.fma(fraction, factor, factor), k)
    # What rounding takes from the quotient, the polynomial's last sum and their product would each cost half an ULP.
    inverse, rest = divide_pairs(m, (one, zero), two_sum(x, middle))
    t = m.fma(width, inverse, m.fma(width, rest, one))
    first, first_low = constants(m, size, *start)
    others = polynomial(m, t, coefficients)
    factor = m.fma(others, t, first)
    low = m.fma(others, t, first - factor) + first_low
    product, error = two_product(m, factor, inverse)
    error = error + m.fma(factor, rest, low * inverse)
    return scaled(m, product + m.fma(fraction, product, error), k)


def erfc(m: Arithmetic, x: Number) -> Number:
    """1 - erf(x), with relative accuracy down to the smallest numbers."""
    one, two, zero = constants(m, x, 1.0, 2.0, 0.0)
    size = m.absolute(x)
    tail = _tail(m, size, precise=True)
    far = m.select(x < zero, two - tail, tail)
    return m.select(size < one, (one - x) - _remainder(m, x), far)


@odd
def erf(m: Arithmetic, x: Number) -> Number:
    """2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    (one,) = constants(m, x, 1.0)
    return m.select(x < one, x + _remainder(m, x), one - _tail(m, x, precise=False))


for _function in (erf, erfc):
    define(_function.__name__, numbers(1, *FLOATS), _function)
