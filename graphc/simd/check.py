"""Range checks of indices read from data: the first bad one is recorded, and the kernel goes on with index 0.

`check_index` lets negative indices count from the end, once; to `check_position` they are out of range.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.simd.arrays import Arrays
from graphc.simd.basic import reduce_or
from graphc.simd.bounds import read, write
from graphc.simd.emitter import Emitter, Value
from graphc.simd.kinds import I64, SimdType
from graphc.simd.memory import compare_exchange
from graphc.simd.record import addresses, define, mask_of, require

INDEX_OUT_OF_RANGE = 1  # the status block's first word; site, index and size follow it


def _rule(index: SimdType, size: SimdType, args: SimdType, site: SimdType, *masks: SimdType) -> SimdType:
    require(index.kind == "i64", "an i64 index")
    addresses(3, size, args, site)
    if index.lanes > 1:
        mask_of(index, masks)
    else:
        require(masks in ((), (index.of("b"),)), "at most one condition, b")
    return index


def _checked(m: Any, index: Any, size: Any, mask: Any, *, wraps: bool) -> tuple[Any, Any, Any]:
    """Return the index to use, whether it is bad (by lane), and whether any is."""
    kind: SimdType = m.type_of(index)
    zero = m.constant(kind, 0)
    sizes = size if kind.lanes == 1 else m.splat(size, kind.lanes)
    used = m.select(index < zero, index + sizes, index) if wraps else index
    outside = (used < zero) | (used >= sizes)
    bad = outside if mask is None else outside & mask
    return m.select(outside, zero, used), bad, bad if kind.lanes == 1 else reduce_or(m, bad)


def _builder(*, wraps: bool) -> Callable[..., Value]:
    def build(
        emitter: Emitter, index: Value, size: Value, args: Value, site: Value, mask: Value | None = None
    ) -> Value:
        safe, bad, any_bad = _checked(emitter, index, size, mask, wraps=wraps)
        with emitter.builder.if_then(any_bad.ir, likely=False):
            status = emitter.load(I64, args, None)
            zero = emitter.constant(I64, 0)
            old = compare_exchange(emitter, status, zero, emitter.constant(I64, INDEX_OUT_OF_RANGE))
            with emitter.builder.if_then((old == zero).ir):
                first = index if index.type.lanes == 1 else emitter.first_lane(index, bad)
                for number, value in enumerate((site, first, size), 1):
                    emitter.store(value, status + emitter.constant(I64, 8 * number), None)
        return safe

    return build


def _twin(*, wraps: bool) -> Callable[..., Any]:
    def twin(arrays: Arrays, index: Any, size: Any, args: Any, site: Any, mask: Any = None) -> Any:
        safe, bad, any_bad = _checked(arrays, index, size, mask, wraps=wraps)
        if any_bad:
            status = int(read(I64, int(args)))
            if read(I64, status) == 0:
                first = index if index.ndim == 0 else arrays.first_lane(index, bad)
                write(status, np.array([INDEX_OUT_OF_RANGE, site, first, size], np.int64))
        return safe

    return twin


define("check_index", _rule, _builder(wraps=True), _twin(wraps=True))
define("check_position", _rule, _builder(wraps=False), _twin(wraps=False))
