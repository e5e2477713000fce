"""Range checks of indices read from data: a bad one is recorded, and the kernel goes on with index 0.

Of several sites that find one, the smallest number stays, whichever thread or kernel came first: an op's own error rather
than that of its gradient.

`check_index` lets negative indices count from the end, once; to `check_position` they are out of range.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.simd.arithmetic import Value
from graphc.simd.arrays import Arrays
from graphc.simd.basic import reduce_or
from graphc.simd.bounds import read, write
from graphc.simd.emitter import Emitter
from graphc.simd.kinds import I64, SimdType
from graphc.simd.memory import atomic_load, atomic_store, compare_exchange
from graphc.simd.record import addresses, define, mask_of, require

_BUSY = -1
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


def _record(emitter: Emitter, status: Value, site: Value, index: Value, size: Value) -> None:
    """Write the status block, unless it holds an error of a smaller site; its first word is a lock meanwhile."""
    function = emitter.function
    again, look, claim, write, done = (function.label(name) for name in ("again", "look", "claim", "write", "done"))
    none, code, busy = (emitter.constant(I64, value) for value in (0, INDEX_OUT_OF_RANGE, _BUSY))
    place = [status + emitter.constant(I64, 8 * k) for k in range(4)]
    function.branch(again)
    function.place(again)
    old = atomic_load(emitter, status)
    function.choose((old == busy).ir, again, look)
    function.place(look)
    function.choose(((old != none) & (emitter.load(I64, place[1], None) <= site)).ir, done, claim)
    function.place(claim)
    function.choose((compare_exchange(emitter, status, old, busy) == old).ir, write, again)
    function.place(write)
    for address, value in zip(place[1:], (site, index, size), strict=True):
        emitter.store(value, address, None)
    atomic_store(emitter, status, code)
    function.branch(done)
    function.place(done)


def _builder(*, wraps: bool) -> Callable[..., Value]:
    def build(
        emitter: Emitter, index: Value, size: Value, args: Value, site: Value, mask: Value | None = None
    ) -> Value:
        safe, bad, any_bad = _checked(emitter, index, size, mask, wraps=wraps)
        with emitter.function.when(any_bad.ir, seldom=True):
            first = index if index.type.lanes == 1 else emitter.first_lane(index, bad)
            _record(emitter, emitter.load(I64, args, None), site, first, size)
        return safe

    return build


def _twin(*, wraps: bool) -> Callable[..., Any]:
    def twin(arrays: Arrays, index: Any, size: Any, args: Any, site: Any, mask: Any = None) -> Any:
        safe, bad, any_bad = _checked(arrays, index, size, mask, wraps=wraps)
        if any_bad:
            status = int(read(I64, int(args)))
            if read(I64, status) == 0 or int(site) < int(read(I64, status + 8)):
                first = index if index.ndim == 0 else arrays.first_lane(index, bad)
                write(status, np.array([INDEX_OUT_OF_RANGE, site, first, size], np.int64))
        return safe

    return twin


define("check_index", _rule, _builder(wraps=True), _twin(wraps=True))
define("check_position", _rule, _builder(wraps=False), _twin(wraps=False))
