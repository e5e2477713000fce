"""exp (thin line)."""
from typing import Any
from graphc.simd.kinds import FLOATS
from graphc.simd.record import define, numbers

def exp(m: Any, x: Any) -> Any:
    t = m.type_of(x)
    c = lambda v: m.constant(t, v)
    s = m.fma(x, c(1.4426950408889634), c(1.5 * 2.0**23))
    k = s - c(1.5 * 2.0**23)
    r = m.fma(k, c(-0.693359375), x)
    r = m.fma(k, c(2.12194440e-4), r)
    p = c(1.9875691500e-4)
    for q in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = m.fma(p, r, c(q))
    p = m.fma(p, r * r, r) + c(1.0)
    i = t.of("i32")
    scale = m.bits(m.shift_left(m.convert(k, "i32") + m.constant(i, 127), m.constant(i, 23)), "f32")
    return p * scale

define("exp", numbers(1, *FLOATS), exp)
