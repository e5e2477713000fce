# The tables below hold lambdas, whose parameters cannot be annotated.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
"""Loads, stores, gathers, and the atomics and calls that the runtime is written in."""

import time
from typing import Any

import numpy as np

from graphc.simd.arithmetic import Value
from graphc.simd.arrays import Arrays
from graphc.simd.bounds import kernel_at, read, read_lanes, view, write, write_lanes
from graphc.simd.emitter import Emitter
from graphc.simd.kinds import I64, KINDS, SCALARS, VECTORS, ArrayType, SimdType
from graphc.simd.listing import POINTER, VOID, WORD
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


def _scatter_rule(value: SimdType, base: SimdType, offsets: SimdType, *masks: SimdType) -> None:
    addresses(1, base)
    require(value.lanes > 1 and offsets == value.of("i64"), f"a vector and byte offsets i64x{value.lanes}")
    mask_of(value, masks)


def _scatter(emitter: Emitter, value: Value, base: Value, offsets: Value, mask: Value | None = None) -> None:
    emitter.scatter(value, base, offsets, emitter.constant(value.type.of("b"), 1) if mask is None else mask)


def _scatter_twin(arrays: Arrays, value: Any, base: Any, offsets: Any, mask: Any = None) -> None:
    write_lanes(base + offsets, value, np.ones(value.size, bool) if mask is None else mask)


def _word(emitter: Emitter, args: Value, index: Value) -> Value:
    return emitter.load(I64, args + index * emitter.constant(I64, 8), None)


define(
    "store", _store_rule, lambda emitter, value, address, mask=None: emitter.store(value, address, mask), _store_twin
)
define("scatter", _scatter_rule, _scatter, _scatter_twin)


def _prefetch_rule(address: SimdType) -> None:
    addresses(1, address)


# Whatever lies there: a prefetch of what is no memory does nothing.
define("prefetch", _prefetch_rule, lambda emitter, address: emitter.prefetch(address), lambda arrays, address: None)


def _claim(emitter: Emitter, address: Value) -> None:
    # Elsewhere LLVM would prefetch for reading, which helps nobody who writes.
    if emitter.level.can_claim:
        emitter.prefetch(address, "write")


# The same for a line that will be written: other cores give up their copies of it meanwhile.
define("claim", _prefetch_rule, _claim, lambda arrays, address: None)


def _alternate(kind: SimdType, apart: int, start: int) -> list[int]:
    """Return which lanes of two vectors, the second's numbered on, alternate from a start on, in a step of a transposition."""
    near = 16 // (kind.nbytes // kind.lanes)
    block, group = (1, near) if apart < near else (near, kind.lanes)
    wanted = [lane for lane in range(kind.lanes) if lane // block % 2 == start]
    return [
        lane + n for g in range(kind.lanes // group) for n in (0, kind.lanes) for lane in wanted if lane // group == g
    ]


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
        for apart in (1 << n for n in range(kind.lanes.bit_length() - 1)):
            # Of two rows one takes the even lanes of both, the other the odd ones: at first within 16 bytes, then 16 bytes
            # at a time. Immediate operands tell these shuffles; what tells others stays in registers that tiles then lack.
            even, odd = (_alternate(kind, apart, start) for start in (0, 1))
            for first in (r for r in range(kind.lanes) if not r & apart):
                above, below = rows[first], rows[first + apart]
                rows[first], rows[first + apart] = (emitter.pick(above, below, lanes) for lanes in (even, odd))
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
        return address, shape  # `graphc.simd.natives` makes Numba's array of them

    def twin(arrays: Arrays, address: Any, *shape: Any) -> Any:
        return view(SimdType(kind), int(address), tuple(int(one) for one in shape))

    define(f"view_{kind}", rule, build, twin)


for _name in KINDS:
    _define_view(_name)


# Atomics on 8-byte words. The twins run on one thread, so plain reads and writes will do.


def _atomic_add(emitter: Emitter, address: Value, value: Value) -> Value:
    return _made(emitter, f"atomicrmw add {POINTER} {emitter.pointer(address)}, {value.typed} acq_rel, align 8")


def _made(emitter: Emitter, instruction: str) -> Value:
    return Value(emitter, I64, emitter.function.make(instruction))


def atomic_load(emitter: Emitter, address: Value) -> Value:
    """Read a word; what was written before it was stored is seen."""
    return _made(emitter, f"load atomic {WORD}, {POINTER} {emitter.pointer(address)} acquire, align 8")


def atomic_store(emitter: Emitter, address: Value, value: Value) -> None:
    """Write a word after all that was written before."""
    emitter.function.do(f"store atomic {value.typed}, {POINTER} {emitter.pointer(address)} release, align 8")


def compare_exchange(emitter: Emitter, address: Value, expected: Value, new: Value) -> Value:
    """Store `new` if the word equals `expected`; the old word either way."""
    where = f"{POINTER} {emitter.pointer(address)}"
    pair = emitter.function.make(f"cmpxchg {where}, {expected.typed}, {new.typed} acq_rel acquire, align 8")
    return _made(emitter, f"extractvalue {{{WORD}, i1}} {pair}, 0")


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
        emitter.call("llvm.aarch64.hint", VOID, ("i32", "1"))
    else:
        emitter.call("llvm.x86.sse2.pause", VOID)


def _yield_thread(emitter: Emitter) -> None:
    emitter.call("sched_yield", "i32")


def _nanoseconds(emitter: Emitter) -> Value:
    time_of_day = emitter.function.slot(WORD, 2)
    emitter.call("clock_gettime", "i32", ("i32", str(time.CLOCK_MONOTONIC)), (POINTER, time_of_day))
    seconds = _made(emitter, f"load {WORD}, {POINTER} {time_of_day}")
    after = emitter.function.make(f"getelementptr {WORD}, {POINTER} {time_of_day}, {WORD} 1")
    return seconds * emitter.constant(I64, 1_000_000_000) + _made(emitter, f"load {WORD}, {POINTER} {after}")


def _flush_denormals(emitter: Emitter) -> Value:
    """Return how this thread's arithmetic was set, and have it take and give zeros for denormal numbers from here on."""
    if emitter.level.name == "aarch64":
        before = emitter.call("llvm.aarch64.get.fpcr", WORD)
        emitter.call("llvm.aarch64.set.fpcr", VOID, (WORD, emitter.function.make(f"or {WORD} {before}, {1 << 24}")))
        return Value(emitter, I64, before)
    place = emitter.function.slot("i32")
    emitter.call("llvm.x86.sse.stmxcsr", VOID, (POINTER, place))
    before = emitter.function.make(f"load i32, {POINTER} {place}")
    # Results are flushed by bit 15, operands by bit 6.
    _set_control(emitter, emitter.function.make(f"or i32 {before}, {1 << 15 | 1 << 6}"))
    return _made(emitter, f"zext i32 {before} to {WORD}")


def _restore_arithmetic(emitter: Emitter, before: Value) -> None:
    if emitter.level.name == "aarch64":
        emitter.call("llvm.aarch64.set.fpcr", VOID, (WORD, before.ir))
    else:
        _set_control(emitter, emitter.function.make(f"trunc {before.typed} to i32"))


def _set_control(emitter: Emitter, bits: str) -> None:
    place = emitter.function.slot("i32")
    emitter.function.do(f"store i32 {bits}, {POINTER} {place}")
    emitter.call("llvm.x86.sse.ldmxcsr", VOID, (POINTER, place))


def _call_kernel(emitter: Emitter, function: Value, *arguments: Value) -> None:
    operands = ", ".join([one.typed for one in arguments])
    emitter.function.do(f"call {VOID} {emitter.pointer(function)}({operands})")


def _call_kernel_twin(arrays: Arrays, function: Any, *arguments: Any) -> None:
    kernel_at(int(function))(*arguments)


define("pause", _scalars(0, None), _pause, lambda arrays: None)
define("yield_thread", _scalars(0, None), _yield_thread, lambda arrays: None)
define("nanoseconds", _scalars(0), _nanoseconds, lambda arrays: np.int64(time.monotonic_ns()))
define("flush_denormals", _scalars(0), _flush_denormals, lambda arrays: np.int64(0))
define("restore_arithmetic", _scalars(1, None), _restore_arithmetic, lambda arrays, before: None)
define("call_kernel", _scalars(4, None), _call_kernel, _call_kernel_twin)
