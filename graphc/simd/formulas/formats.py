"""What the formulas know of the two float formats, and the steps that most of them share.

A formula's first parameter `m` is an `Emitter` (its values become machine code) or an `Arrays` (NumPy's). The union says
less than Any, since no method of one accepts the values of the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.simd.kinds import SimdType

Arithmetic = Any
Number = Any
Pair = tuple[Number, Number]  # a number as the unrounded sum of a high part and a low one


@dataclass(frozen=True)
class Format:
    """A float format: its fields, and the split of ln 2 by which exponents are taken apart and put together."""

    integer: str  # the integer kind of its width
    mantissa: int
    bias: int
    ln2_high: float  # ln 2 with zeros at its end, so that k * ln2_high is exact (Cephes, fdlibm)
    ln2_low: float
    splitter: float  # 2^n + 1, which cuts a mantissa in halves (Veltkamp)

    @property
    def rounder(self) -> float:
        """Adding this to a small number leaves its nearest integer in the last bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def biased(self) -> float:
        """Adding this to a small number leaves its nearest integer in the last bits as an exponent's field."""
        return self.rounder + self.bias

    @property
    def rounder_bits(self) -> int:
        return ((self.bias + self.mantissa) << self.mantissa) | (1 << (self.mantissa - 1))

    @property
    def normal(self) -> float:
        """The smallest number that is not denormal."""
        return 2.0 ** (1 - self.bias)


FORMATS = {
    "f32": Format("i32", 23, 127, 0.693359375, -2.12194440e-4, 4097.0),
    "f64": Format("i64", 52, 1023, 6.93147180369123816490e-01, 1.90821492927058770002e-10, 134217729.0),
}


def format_of(m: Arithmetic, x: Number) -> Format:
    """Return the format of a value."""
    return FORMATS[m.type_of(x).kind]


def constants(m: Arithmetic, x: Number, *numbers: float) -> tuple[Number, ...]:
    """Return the numbers in the type of x."""
    kind = m.type_of(x)
    return tuple(m.constant(kind, number) for number in numbers)


def polynomial(m: Arithmetic, x: Number, coefficients: Sequence[float]) -> Number:
    """Horner's rule; the coefficients rise in degree."""
    kind = m.type_of(x)
    result = m.constant(kind, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = m.fma(result, x, m.constant(kind, coefficient))
    return result


def nearest(m: Arithmetic, x: Number) -> Number:
    """Return the nearest integer of a number that is small beside the mantissa's range."""
    rounder = m.constant(m.type_of(x), format_of(m, x).rounder)
    return (x + rounder) - rounder


def power_of_two(m: Arithmetic, k: Number) -> Number:
    """2^k for an integer k that leaves a normal number."""
    return power_of_biased(m, k + m.constant(m.type_of(k), format_of(m, k).biased))


def power_of_biased(m: Arithmetic, shifted: Number) -> Number:
    """2^k for the sum of an integer k and `biased`, whose last bits are the exponent's."""
    kind: SimdType = m.type_of(shifted)
    form = FORMATS[kind.kind]
    return m.bits(
        m.shift_left(m.bits(shifted, form.integer), m.constant(kind.of(form.integer), form.mantissa)), kind.kind
    )


def scaled(m: Arithmetic, x: Number, k: Number) -> Number:
    """X * 2^k in two steps, so that 2^k may be out of range and a denormal result is rounded once."""
    direct = m.instruction("scalef", x, k, x)
    if direct is not None:
        return direct
    half, rounder = constants(m, k, 0.5, format_of(m, k).rounder)
    first = m.fma(k, half, rounder) - rounder
    return x * power_of_two(m, first) * power_of_two(m, k - first)


def clamp(m: Arithmetic, x: Number, lowest: float, highest: float) -> Number:
    """Bring x between the limits; the comparisons leave a NaN as it is."""
    low, high = constants(m, x, lowest, highest)
    x = m.select(x > high, high, x)
    return m.select(x < low, low, x)


def two_sum(a: Number, b: Number) -> Pair:
    """Return the rounded sum and its error (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def fast_two_sum(a: Number, b: Number) -> Pair:
    """Return the rounded sum and its error, where a is 0 or not smaller than b (Dekker)."""
    total = a + b
    return total, b - (total - a)


def two_product(m: Arithmetic, a: Number, b: Number) -> Pair:
    """Return the rounded product and its error: by one fused multiply-add, or by cutting both factors (Dekker)."""
    product = a * b
    if m.has_fma:
        return product, m.fma(a, b, -product)
    a_high, a_low = _halves(m, a)
    b_high, b_low = _halves(m, b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(m: Arithmetic, x: Number) -> Pair:
    raised = x * m.constant(m.type_of(x), format_of(m, x).splitter)
    high = raised - (raised - x)
    return high, x - high


def multiply_pairs(m: Arithmetic, a: Pair, b: Pair) -> Pair:
    """Return the product of two pairs, without the product of their low parts."""
    high, low = two_product(m, a[0], b[0])
    return high, low + m.fma(a[0], b[1], a[1] * b[0])


def divide_pairs(m: Arithmetic, a: Pair, b: Pair) -> Pair:
    """Return the quotient of two pairs, by one division and a step that mends it."""
    (one,) = constants(m, a[0], 1.0)
    inverse = one / b[0]
    quotient = a[0] * inverse
    product, error = two_product(m, quotient, b[0])
    rest = ((a[0] - product) - error) + (a[1] - quotient * b[1])
    return quotient, rest * inverse


def odd(formula: Callable[[Arithmetic, Number], Number]) -> Callable[[Arithmetic, Number], Number]:
    """Extend a formula of |x| to an odd function; a zero keeps its sign."""

    def extended(m: Arithmetic, x: Number) -> Number:
        return m.copysign(formula(m, m.absolute(x)), x)

    extended.__name__, extended.__doc__ = formula.__name__, formula.__doc__
    return extended
