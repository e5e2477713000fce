"""What `graphc.compile` returns: a plan that can be called."""

from __future__ import annotations

import os
import sys
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast
from weakref import WeakSet

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import DType, as_dtype
from graphc.emit.loader import Loader
from graphc.errors import CallError
from graphc.runtime import binding as bindings
from graphc.runtime.activation import Activation, Arena, check_memory, give_back, is_aligned, take_arena
from graphc.runtime.arguments import (
    Array,
    InputSpec,
    Structure,
    address_of,
    arrange,
    build,
    check_outputs,
    convert,
    flatten,
    overlaps,
    shape_text,
    solve,
)
from graphc.runtime.binding import Binding
from graphc.runtime.locks import LOADING
from graphc.runtime.program import STEPS, Program, repeated
from graphc.runtime.threads import thread_count
from graphc.schedule.plan import Plan, calls

_REMEMBERED = 64


class Code:
    """The machine code of a plan's kernels, made or read at first use."""

    def __init__(self, objects: Callable[[], Mapping[str, bytes]]) -> None:
        self._objects = objects
        self._loader: Loader | None = None

    def address(self, kernel: str) -> int:
        """Return where a kernel starts."""
        with LOADING:
            if self._loader is None:
                self._loader = Loader(self._objects())
            return self._loader.address(kernel)


class Bound:
    """A binding, and activations of it that no run uses."""

    __slots__ = ("binding", "idle")

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self.idle: list[Activation] = []


class Executable:
    """A compiled computation; call it with arrays, by position, by name, or with one dict.

    Results are new arrays, in the structure that was compiled, unless `out=` gives arrays of that structure to write
    into. Calls may come from several threads: those that update parameters or states take turns, others run side by
    side.
    """

    def __init__(
        self,
        plan: Plan,
        leaves: Sequence[Array],
        objects: Callable[[], Mapping[str, bytes]] | Code,
        inputs: Sequence[tuple[str, DType, tuple[Dim, ...]]],
        outputs: Structure,
        threads: int | None = None,
        keys: Sequence[object] = (),
    ) -> None:
        self.plan = plan
        self.threads = thread_count(threads)
        self._code = objects if isinstance(objects, Code) else Code(objects)
        self._specs = tuple(InputSpec(name, as_dtype(dtype), tuple(shape)) for name, dtype, shape in inputs)
        self._structure = outputs
        self._keys = tuple(keys)
        self._leaves = _check_leaves(plan, leaves)
        self._constants = [np.require(c, requirements=["C", "A"]) for c in plan.constants]
        self._writes = any(call.commit for call in calls(plan.steps))
        self._bounds: OrderedDict[tuple[tuple[int, ...], ...], Bound] = OrderedDict()
        self._dtypes = tuple(spec.dtype.numpy for spec in self._specs)
        self._alignments = tuple(spec.dtype.itemsize - 1 for spec in self._specs)
        self._is_single = outputs == 0 and isinstance(outputs, int)
        starts = [address_of(leaf) for leaf in self._leaves]
        ends = [start + leaf.nbytes for start, leaf in zip(starts, self._leaves, strict=True)]
        # Inputs inside this range may be views of a parameter that the run is about to change.
        self._leaf_range = (min(starts), max(ends)) if starts and self._writes else (0, 0)
        self._leaf_spans = sorted(zip(starts, ends, strict=True))
        self._repeats: dict[tuple[int, ...], Executable] = {}
        self._paused = False
        given = {name for spec in self._specs for dim in spec.shape for name in dims.symbols(dim)} | {STEPS}
        for buffer in plan.buffers:
            if unknown := sorted({name for dim in buffer.shape for name in dims.symbols(dim)} - given):
                raise CallError(f"no input tells the size {unknown[0]!r} that {buffer.name!r} depends on")

    def __call__(self, *arguments: Any, out: Any = None, **named: Any) -> Any:
        """Run once and return the results."""
        if named or out is not None or len(arguments) != len(self._dtypes):
            return self._call_slowly(arguments, named, out)
        addresses: list[int] = []
        shapes: list[tuple[int, ...]] = []
        low, high = self._leaf_range
        for array, dtype, alignment in zip(arguments, self._dtypes, self._alignments):  # noqa: B905
            if type(array) is not np.ndarray or array.dtype is not dtype or not array.flags.c_contiguous:
                return self._call_slowly(arguments, named, out)
            address = address_of(array)
            if address & alignment or (low <= address < high and self._is_in_leaf(address)):
                return self._call_slowly(arguments, named, out)
            addresses.append(address)
            shapes.append(array.shape)
        bound = self._bounds.get(tuple(shapes)) or self._bind(tuple(shapes))
        results = [np.empty(shape, dtype.numpy) for dtype, shape in bound.binding.outputs]
        addresses.extend(map(address_of, results))
        self._run(bound, addresses)
        return self._structured(results)

    def bind(self, *arguments: Any, out: Any = None, **named: Any) -> BoundCall:
        """Fix the arrays that are read and written, and return a callable without arguments: the lowest latency.

        Each call reads what the arrays hold then, and returns the same result arrays. The arguments must be usable in
        place: of the right dtype, C-contiguous and aligned.
        """
        values = arrange(self._specs, self._keys, arguments, named)
        for value, spec in zip(values, self._specs, strict=True):
            array = cast(Array, value)
            if not isinstance(value, np.ndarray) or array.dtype != spec.dtype.numpy or not is_aligned(array):
                got = array.dtype if isinstance(value, np.ndarray) else type(value).__name__
                raise CallError(f"bind: input {spec.name!r} must be a C-contiguous array of {spec.dtype}, got {got}")
        arrays = cast(list[Array], values)
        self._refuse_leaves(arrays)
        bound = self._bind(tuple(array.shape for array in arrays))
        results = self._outputs(bound, out, arrays)
        activation = self._activation(bound)
        activation.set_addresses([address_of(array) for array in (*arrays, *results)])
        return BoundCall(activation, self._writes, build(self._structure, results), (*arrays, *results))

    def rebind(self, leaves: Sequence[Array]) -> Self:
        """Return the same code on other storage: arrays of the same dtypes and shapes as the present leaves."""
        return type(self)(
            self.plan,
            leaves,
            self._code,
            [(spec.name, spec.dtype, spec.shape) for spec in self._specs],
            self._structure,
            self.threads,
            self._keys,
        )

    def repeat(
        self,
        count: int,
        arguments: Sequence[Any] | Mapping[Any, Any] = (),
        stacked: Sequence[int] = (),
        out: Any = None,
    ) -> Program:
        """Return a program that runs `count` times natively on the arguments of a call, in a list or as one dict.

        Inputs whose positions are in `stacked` have an extra leading axis of length `count`, walked one position a
        step; the others are the same in every step. Each output has such an axis too.
        """
        if not isinstance(arguments, tuple | list | dict):
            example = f"repeat({count}, [{', '.join(spec.name for spec in self._specs)}])"
            raise CallError(f"expected the arguments in a list, as in {example}, got a {type(arguments).__name__}")
        values = arrange(self._specs, self._keys, [arguments] if isinstance(arguments, dict) else arguments, {})
        key = tuple(sorted(set(stacked)))
        if bad := [n for n in key if not 0 <= n < len(self._specs)]:
            raise CallError(f"stacked: there is no input {bad[0]}; positions go from 0 to {len(self._specs) - 1}")
        if count < 0:
            raise CallError(f"count must be 0 or more, got {count}")
        if key not in self._repeats:
            plan, inputs = repeated(self.plan, self._specs, key)
            whole = Executable(plan, self._leaves, self._code, inputs, self._structure, self.threads)
            whole._paused = True
            self._repeats[key] = whole
        return self._repeats[key]._start(count, values, out)

    def source(self) -> str:
        """Return the source of all kernels."""
        return "\n\n".join(text.strip("\n") for text in self.plan.kernels.values()) + "\n"

    def peak_bytes(self, **sizes: int) -> int:
        """Return the bytes that one call takes for temporaries and results, when the symbols have these sizes."""
        needed = {name for buffer in self.plan.buffers for dim in buffer.shape for name in dims.symbols(dim)}
        if missing := sorted(needed - sizes.keys()):
            raise CallError(f"peak_bytes needs the sizes of {', '.join(missing)}")
        bindings.check_requirements(self.plan, sizes)
        layout, _ = bindings.assign_memory(self.plan, sizes, self.threads)
        return layout.arena + sum(dims.evaluate(buffer.nbytes, sizes) for buffer in self.plan.of_kind("output"))

    def binding(self, **sizes: int) -> Binding:
        """Return the plan bound to these sizes, as a call would bind it."""
        return bindings.bind(self.plan, sizes, self.threads, self._code.address, self._paused)

    def _call_slowly(self, arguments: Sequence[Any], named: Mapping[str, Any], out: Any) -> Any:
        arrays = self._arrays(arrange(self._specs, self._keys, arguments, named))
        bound = self._bind(tuple(array.shape for array in arrays))
        results = self._outputs(bound, out, arrays)
        self._run(bound, [address_of(array) for array in (*arrays, *results)])
        return self._structured(results) if out is None else build(self._structure, results)

    def _arrays(self, values: Sequence[object]) -> list[Array]:
        arrays = [convert(value, spec) for value, spec in zip(values, self._specs, strict=True)]
        low, high = self._leaf_range
        for n, array in enumerate(arrays):
            if low < address_of(array) + array.nbytes and address_of(array) < high:
                arrays[n] = array.copy() if any(overlaps(array, leaf) for leaf in self._leaves) else array
        return arrays

    def _outputs(self, bound: Bound, out: Any, arrays: Sequence[Array]) -> list[Array]:
        expected = bound.binding.outputs
        for dtype, shape in expected:
            check_memory(dtype.itemsize * int(np.prod(shape, dtype=np.float64)))
        given = flatten(self._structure, out, len(expected))
        others = [(f"input {spec.name!r}", array) for spec, array in zip(self._specs, arrays, strict=True)]
        others += [("a parameter or state", leaf) for leaf in self._leaves]
        return check_outputs(given, expected, others)

    def _is_in_leaf(self, address: int) -> bool:
        place = bisect_right(self._leaf_spans, (address, sys.maxsize)) - 1
        return place >= 0 and address < self._leaf_spans[place][1]

    def _refuse_leaves(self, arrays: Sequence[Array]) -> None:
        for spec, array in zip(self._specs, arrays, strict=True):
            if self._writes and any(overlaps(array, leaf) for leaf in self._leaves):
                raise CallError(f"bind: input {spec.name!r} shares memory with a parameter that the call updates")

    def _bind(self, shapes: tuple[tuple[int, ...], ...]) -> Bound:
        bound = self._bounds.get(shapes)
        if bound is None:
            sizes = self._sizes(shapes)
            bound = self._bounds[shapes] = Bound(self.binding(**sizes))
            if len(self._bounds) > _REMEMBERED:
                self._bounds.popitem(last=False)
        self._bounds.move_to_end(shapes)
        return bound

    def _sizes(self, shapes: tuple[tuple[int, ...], ...]) -> dict[str, int]:
        if not self._paused:
            return solve(self._specs, shapes)
        sizes, count = solve(self._specs, shapes[:-1]), shapes[-1][0]
        if sizes.setdefault(STEPS, count) != count:
            raise CallError(f"the stacked inputs have {sizes[STEPS]} positions, but the count is {count}")
        return sizes

    def _activation(self, bound: Bound) -> Activation:
        return Activation(bound.binding, self._leaves, self._constants, self.plan.sites, self._code)

    def _take(self, bound: Bound) -> Activation:
        try:
            return bound.idle.pop()
        except IndexError:
            return self._activation(bound)

    def _run(self, bound: Bound, addresses: list[int]) -> None:
        activation = self._take(bound)
        arena = take_arena(bound.binding.arena)
        activation.place(arena.address)
        activation.set_addresses(addresses)
        try:
            activation.run(self._writes)
        finally:
            give_back(arena)
            bound.idle.append(activation)

    def _structured(self, results: list[Array]) -> Any:
        # As NumPy does, a result without axes is a scalar.
        if self._is_single:
            return results[0] if results[0].ndim else results[0][()]
        return build(self._structure, [array if array.ndim else array[()] for array in results])

    def _start(self, count: int, arguments: Sequence[Any], out: Any) -> Program:
        arrays = self._arrays(arguments)
        bound = self._bind((*(array.shape for array in arrays), (count,)))
        results = self._outputs(bound, out, arrays)
        activation = self._take(bound)
        arena = take_arena(bound.binding.arena)
        activation.place(arena.address)
        activation.set_addresses([address_of(array) for array in (*arrays, *results)])
        return Program(
            activation, bound.idle, arena, count, self._writes, build(self._structure, results), (*arrays, *results)
        )


class BoundCall:
    """A call with its buffers fixed. `results` are the arrays that each call writes and returns."""

    def __init__(self, activation: Activation, writes: bool, results: Any, keep: Sequence[Array]) -> None:
        self.results = results
        self._keep = keep
        self._arena = Arena(activation.binding.arena)
        activation.place(self._arena.address)
        self._run = activation.run
        self._writes = writes
        self._reset = activation.reset
        self._lock = threading.Lock()
        _bound_calls.add(self)

    def forget(self) -> None:
        """In a child of fork: forget a run of another thread that the child does not have."""
        self._lock = threading.Lock()
        self._reset()

    def __call__(self) -> Any:
        """Run once on what the bound arrays hold now."""
        with self._lock:
            self._run(self._writes)
        return self.results


_bound_calls: WeakSet[BoundCall] = WeakSet()


def _after_fork() -> None:
    for bound in _bound_calls:
        bound.forget()


os.register_at_fork(after_in_child=_after_fork)


def _check_leaves(plan: Plan, leaves: Sequence[Array]) -> list[Array]:
    buffers = plan.of_kind("leaf")
    if len(leaves) != len(buffers):
        raise CallError(f"expected {len(buffers)} arrays of parameters and states, got {len(leaves)}")
    for buffer, leaf in zip(buffers, leaves, strict=True):
        shape = tuple(dims.evaluate(dim, {}) for dim in buffer.shape)
        if leaf.dtype != buffer.dtype.numpy or leaf.shape != shape or not (is_aligned(leaf) and leaf.flags.writeable):
            raise CallError(
                f"{buffer.name}: expected a writeable C-contiguous array of {buffer.dtype} {shape_text(shape)}, "
                f"got {leaf.dtype} {shape_text(leaf.shape)}"
            )
    return list(leaves)
