# The tables below hold lambdas, whose parameters cannot be annotated.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
"""Loads, stores, gathers, and the atomics and calls that the runtime is written in."""

import time
from typing import Any

import numpy as np

from graphc.simd.arrays import Arrays
from graphc.simd.bounds import kernel_at, read, read_lanes, view, write, write_lanes
from graphc.simd.emitter import Emitter, Value
from graphc.simd.kinds import I64, KINDS, SCALARS, VECTORS, ArrayType, SimdType
from graphc.simd.record import Rule, addresses, define, mask_of, require


def _active_run(mask: Any) -> slice | None:
    """Return the active lanes, if they are neighbours: the twin then makes one access of them."""
    active = np.flatnonzero(mask)
    if active.size and active[-1] - active[0] + 1 == active.size:
        return slice(int(active[0]), int(active[-1]) + 1)
    return None


def _lane_addresses(address: Any, kind: SimdType) -> Any:
    return int(address) + np.arange(kind.lanes) * kind.itemsize


def _define_load(kind: SimdType) -> None:
    def rule(address: SimdType, *masks: SimdType) -> SimdType:
        addresses(1, address)
        mask_of(kind, masks)
        return kind

    def build(emitter: Emitter, address: Value, mask: Value | None = None) -> Value:
        return emitter.load(kind, address, mask)

    def twin(arrays: Arrays, address: Any, mask: Any = None) -> Any:
        if mask is None:
            return read(kind, int(address))
        run = _active_run(mask)
        if run is None:
            return read_lanes(kind, _lane_addresses(address, kind), mask)
        result = np.zeros(kind.lanes, kind.dtype)
        result[run] = read(kind.wide(run.stop - run.start), int(address) + run.start * kind.itemsize)
        return result

    define(f"load_{kind}", rule, build, twin)


def _define_gather(kind: SimdType) -> None:
    offsets_type = kind.of("i64")

    def rule(base: SimdType, offsets: SimdType, *masks: SimdType) -> SimdType:
        addresses(1, base)
        require(offsets == offsets_type, f"byte offsets {offsets_type}")
        mask_of(kind, masks)
        return kind

    def build(emitter: Emitter, base: Value, offsets: Value, mask: Value | None = None) -> Value:
        if mask is None:
            mask = emitter.constant(kind.of("b"), 1)
        return emitter.gather(kind, base, offsets, mask)

    def twin(arrays: Arrays, base: Any, offsets: Any, mask: Any = None) -> Any:
        return read_lanes(kind, base + offsets, np.ones(kind.lanes, bool) if mask is None else mask)

    define(f"gather_{kind}", rule, build, twin)


for _kind in SCALARS + VECTORS:
    _define_load(_kind)
for _kind in VECTORS:
    _define_gather(_kind)


def _store_rule(value: SimdType, address: SimdType, *masks: SimdType) -> None:
    addresses(1, address)
    mask_of(value, masks)


def _store_twin(arrays: Arrays, value: Any, address: Any, mask: Any = None) -> None:
    run = slice(0, None) if mask is None else _active_run(mask)
    if run is not None:
        write(int(address) + run.start * value.itemsize, value[run] if value.ndim else value)
    else:
        write_lanes(_lane_addresses(address, arrays.type_of(value)), value, mask)


def _word(emitter: Emitter, args: Value, index: Value) -> Value:
    return emitter.load(I64, args + index * emitter.constant(I64, 8), None)


define(
    "store", _store_rule, lambda emitter, value, address, mask=None: emitter.store(value, address, mask), _store_twin
)


def _define_transpose(kind: SimdType) -> None:
    """A square of so many rows as a vector has lanes, read and written row by row, transposed in registers between."""

    def rule(*types: SimdType) -> None:
        addresses(4, *types)

    def build(emitter: Emitter, source: Value, step: Value, target: Value, target_step: Value) -> None:
        rows = list[Value]()
        for _ in range(kind.lanes):
            rows.append(emitter.load(kind, source, None))
            # Too many rows at a time for the processor to see that each goes on.
            emitter.prefetch(source + emitter.constant(I64, 2 * kind.nbytes))
            source = source + step
        apart = kind.lanes // 2
        while apart:
            # Of two rows so far apart, one takes the half of each block of columns that belongs below, and gives its own.
            for first in (r for r in range(kind.lanes) if not r & apart):
                above, below = rows[first], rows[first + apart]
                lanes = range(kind.lanes)
                upper = [kind.lanes + lane - apart if lane & apart else lane for lane in lanes]
                rows[first] = emitter.pick(above, below, upper)
                rows[first + apart] = emitter.pick(above, below, [one + apart for one in upper])
            apart //= 2
        for row in rows:
            emitter.store(row, target, None)
            target = target + target_step

    def twin(arrays: Arrays, source: Any, step: Any, target: Any, target_step: Any) -> None:
        square = np.stack([read(kind, int(source) + n * int(step)) for n in range(kind.lanes)])
        for n, row in enumerate(square.T):
            write(int(target) + n * int(target_step), np.ascontiguousarray(row))

    define(f"transpose_{kind}", rule, build, twin)


for _kind in VECTORS:
    if _kind.nbytes == 64:
        _define_transpose(_kind)


def _scalars(count: int, result: SimdType | None = I64) -> Rule:
    def rule(*types: SimdType) -> SimdType | None:
        addresses(count, *types)
        return result

    return rule


define("word", _scalars(2), _word, lambda arrays, args, index: read(I64, int(args) + 8 * int(index)))


# Arrays for the user's own functions


def _define_view(kind: str) -> None:
    def rule(address: SimdType, *shape: SimdType) -> ArrayType:
        addresses(1 + len(shape), address, *shape)
        return ArrayType(kind, len(shape))

    def build(emitter: Emitter, address: Value, *shape: Value) -> Any:
        return address, shape  # `graphc.simd.binding` makes Numba's array of them

    def twin(arrays: Arrays, address: Any, *shape: Any) -> Any:
        return view(SimdType(kind), int(address), tuple(int(one) for one in shape))

    define(f"view_{kind}", rule, build, twin)


for _name in KINDS:
    _define_view(_name)


# Atomics on 8-byte words. The twins run on one thread, so plain reads and writes will do.


def _word_pointer(emitter: Emitter, address: Value) -> Any:
    return emitter.pointer(address, emitter.llvm_type(I64))


def _atomic_add(emitter: Emitter, address: Value, value: Value) -> Value:
    pointer = _word_pointer(emitter, address)
    return emitter.value(I64, emitter.builder.atomic_rmw("add", pointer, value.ir, "acq_rel"))


def atomic_load(emitter: Emitter, address: Value) -> Value:
    """Read a word; what was written before it was stored is seen."""
    return emitter.value(I64, emitter.builder.load_atomic(_word_pointer(emitter, address), "acquire", 8))


def atomic_store(emitter: Emitter, address: Value, value: Value) -> None:
    """Write a word after all that was written before."""
    emitter.builder.store_atomic(value.ir, _word_pointer(emitter, address), "release", 8)


def compare_exchange(emitter: Emitter, address: Value, expected: Value, new: Value) -> Value:
    """Store `new` if the word equals `expected`; the old word either way."""
    pair = emitter.builder.cmpxchg(_word_pointer(emitter, address), expected.ir, new.ir, "acq_rel", "acquire")
    return emitter.value(I64, emitter.builder.extract_value(pair, 0))


def _atomic_add_twin(arrays: Arrays, address: Any, value: Any) -> Any:
    old = read(I64, int(address))
    write(int(address), old + value)
    return old


def _compare_exchange_twin(arrays: Arrays, address: Any, expected: Any, new: Any) -> Any:
    old = read(I64, int(address))
    if old == expected:
        write(int(address), new)
    return old


define("atomic_add", _scalars(2), _atomic_add, _atomic_add_twin)
define("atomic_load", _scalars(1), atomic_load, lambda arrays, address: read(I64, int(address)))
define(
    "atomic_store",
    _scalars(2, None),
    atomic_store,
    lambda arrays, address, value: write(int(address), np.int64(value)),
)
define("compare_exchange", _scalars(3), compare_exchange, _compare_exchange_twin)


# Threads, time and calls


def _pause(emitter: Emitter) -> None:
    if emitter.level.name == "aarch64":
        hint = emitter.constant(SimdType("i32"), 1)
        emitter.builder.call(emitter.declare("llvm.aarch64.hint", emitter.ir.VoidType(), [hint.ir.type]), [hint.ir])
    else:
        emitter.builder.call(emitter.declare("llvm.x86.sse2.pause", emitter.ir.VoidType(), []), [])


def _yield_thread(emitter: Emitter) -> None:
    emitter.builder.call(emitter.declare("sched_yield", emitter.ir.IntType(32), []), [])


def _nanoseconds(emitter: Emitter) -> Value:
    builder, word = emitter.builder, emitter.llvm_type(I64)
    with builder.goto_entry_block():  # in a loop, an alloca would grow the stack at every turn
        time_of_day = builder.alloca(word, emitter.ir.Constant(word, 2))
    clock = emitter.ir.Constant(emitter.ir.IntType(32), time.CLOCK_MONOTONIC)
    function = emitter.declare("clock_gettime", clock.type, [clock.type, time_of_day.type])
    builder.call(function, [clock, time_of_day])
    seconds = emitter.value(I64, builder.load(time_of_day))
    rest = emitter.value(I64, builder.load(builder.gep(time_of_day, [emitter.ir.Constant(word, 1)])))
    return seconds * emitter.constant(I64, 1_000_000_000) + rest


def _call_kernel(emitter: Emitter, function: Value, *arguments: Value) -> None:
    word = emitter.llvm_type(I64)
    pointer = emitter.pointer(function, emitter.ir.FunctionType(emitter.ir.VoidType(), [word] * 3))
    emitter.builder.call(pointer, [one.ir for one in arguments])


def _call_kernel_twin(arrays: Arrays, function: Any, *arguments: Any) -> None:
    kernel_at(int(function))(*arguments)


define("pause", _scalars(0, None), _pause, lambda arrays: None)
define("yield_thread", _scalars(0, None), _yield_thread, lambda arrays: None)
define("nanoseconds", _scalars(0), _nanoseconds, lambda arrays: np.int64(time.monotonic_ns()))
define("call_kernel", _scalars(4, None), _call_kernel, _call_kernel_twin)
