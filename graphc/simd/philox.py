"""Philox-4x32-10, the counter-based random generator.

Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
"""

from typing import Any

from graphc.simd.kinds import I64, SimdType
from graphc.simd.record import define, equal, require

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def _rule(*types: SimdType) -> SimdType:
    require(len(types) == 7, "four counters, two keys and the word's number")
    kind = equal(*types[:6])
    require(kind.kind == "u32", "u32")
    require(types[6] in (I64, SimdType("u32"), kind), f"the word's number as a literal, u32 or {kind}")
    return kind


def philox(m: Any, c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any, which: Any) -> Any:
    """Word `which` (0 to 3) of the block of random bits that counter and key name."""
    kind: SimdType = m.type_of(c0)
    for turn in range(_ROUNDS):
        if turn:
            k0, k1 = k0 + m.constant(kind, _WEYL[0]), k1 + m.constant(kind, _WEYL[1])
        high0, low0 = _wide_product(m, c0, _MULTIPLIERS[0])
        high1, low1 = _wide_product(m, c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    words = (c0, c1, c2, c3)
    known = m.known(which)
    if known is not None:
        return words[known & 3]
    number = m.convert(which, "u32")
    if m.type_of(number) != kind:
        number = m.splat(number, kind.lanes)
    result = c3
    for index in (2, 1, 0):
        result = m.select(number == m.constant(kind, index), words[index], result)
    return result


def _wide_product(m: Any, x: Any, factor: int) -> tuple[Any, Any]:
    """Return the high and low words of a 64-bit product (it wraps into the sign; the cuts do not mind)."""
    kind: SimdType = m.type_of(x)
    wide = kind.of("i64")
    product = m.convert(x, "i64") * m.constant(wide, factor)
    return m.convert(m.shift_right(product, m.constant(wide, 32)), "u32"), m.convert(product, "u32")


define("philox", _rule, philox)
