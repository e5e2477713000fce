"""What `graphc.compile` returns: a plan that can be called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, Self, cast

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import DType, as_dtype
from graphc.emit.loader import Loader
from graphc.errors import CallError
from graphc.records import replace
from graphc.runtime import binding as bindings
from graphc.runtime.activation import is_aligned, prepare_arena
from graphc.runtime.arguments import (
    USABLE,
    Array,
    InputSpec,
    Structure,
    address_of,
    arrange,
    build,
    convert,
    shape_text,
    solve,
)
from graphc.runtime.binding import Binding
from graphc.runtime.caller import Bound, BoundCall, Caller
from graphc.runtime.locks import LOADING
from graphc.runtime.program import STEPS, Part, Program, repeated
from graphc.runtime.threads import thread_count
from graphc.schedule.plan import Form, Plan, calls


class Code:
    """The machine code of plans' kernels, made or read when one of them is needed first; `first` are those made together."""

    def __init__(self, objects: Callable[[Mapping[str, str]], Mapping[str, bytes]], first: Sequence[Plan]) -> None:
        self._objects, self._first = objects, list(first)
        self._loaders: dict[str, Loader] = {}

    def address(self, plan: Plan, kernel: str) -> int:
        """Return where a kernel of a plan starts."""
        with LOADING:
            if kernel not in self._loaders:
                together, self._first = (plan, *self._first), []
                texts = {name: text for one in together for name, text in one.kernels.items()}
                missing = {name: text for name, text in texts.items() if name not in self._loaders}
                self._loaders |= dict.fromkeys(missing, Loader(self._objects(missing)))
            return self._loaders[kernel].address(kernel)


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
        objects: Callable[[Mapping[str, str]], Mapping[str, bytes]] | Code,
        inputs: Sequence[tuple[str, DType, tuple[Dim, ...]]],
        outputs: Structure,
        threads: int | None = None,
        keys: Sequence[object] = (),
        forms: Sequence[Form] = (),
        flush_denormals: bool = False,
    ) -> None:
        self.plan = plan
        self.flush_denormals = flush_denormals
        self.forms = tuple(forms)
        self.threads = thread_count(threads)
        together = (plan, *(form.plan for form in self.forms if not form.needs))
        self._code = objects if isinstance(objects, Code) else Code(objects, together)
        self._specs = tuple(InputSpec(name, as_dtype(dtype), tuple(shape)) for name, dtype, shape in inputs)
        self._keys = tuple(keys)
        writes = any(call.commit for call in calls(plan.steps))
        self._caller = Caller(self._specs, outputs, _check_leaves(plan, leaves), writes, self._code, flush_denormals)
        self._repeats: dict[tuple[int, ...], Executable] = {}
        self._paused = False
        given = {name for spec in self._specs for dim in spec.shape for name in dims.symbols(dim)} | {STEPS}
        for buffer in plan.buffers:
            if unknown := sorted({name for dim in buffer.shape for name in dims.symbols(dim)} - given):
                raise CallError(f"no input tells the size {unknown[0]!r} that {buffer.name!r} depends on")

    def __call__(self, *arguments: Any, out: Any = None, **named: Any) -> Any:
        """Run once and return the results."""
        caller = self._caller
        if named or len(arguments) != len(caller.dtypes):
            return self._call_slowly(arguments, named, out)
        apart = caller.apart
        for array, dtype in zip(arguments, caller.dtypes):  # noqa: B905
            if type(array) is not np.ndarray or array.dtype is not dtype:
                return self._call_slowly(arguments, named, out)
            flags = array.flags.num
            if flags & USABLE != USABLE:
                return self._call_slowly(arguments, named, out)
            if not flags & apart and caller.spans.meet(address_of(array), array.nbytes):
                return self._call_slowly(arguments, named, out)
        shapes = tuple([array.shape for array in arguments])
        bound = caller.bounds.get(shapes) or self._bind(shapes)
        if out is None:
            return caller.call(bound, arguments, None)
        try:
            return caller.call(bound, arguments, out)
        except CallError as error:
            self._refuse(error)

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
                if got == spec.dtype.numpy:
                    got = f"strides {array.strides}" if array.flags.aligned else "one whose elements are not aligned"
                raise CallError(f"bind: input {spec.name!r} must be a C-contiguous array of {spec.dtype}, got {got}")
        arrays, caller = cast(list[Array], values), self._caller
        for spec, array in zip(self._specs, arrays, strict=True):
            if caller.writes and caller.spans.meet(address_of(array), array.nbytes):
                raise CallError(f"bind: input {spec.name!r} shares memory with a parameter that the call updates")
        # With an arena of its own.
        bound = self._bind(tuple(array.shape for array in arrays), None)
        results = caller.results(bound, out, arrays)
        activation = caller.activation(bound)
        activation.set_addresses(*[address_of(array) for array in (*arrays, *results)])
        return BoundCall(activation, caller.writes, build(caller.structure, results), (*arrays, *results))

    def rebind(self, leaves: Sequence[Array]) -> Self:
        """Return the same code on other storage: arrays of the same dtypes and shapes as the present leaves."""
        return type(self)(
            self.plan,
            leaves,
            self._code,
            [(spec.name, spec.dtype, spec.shape) for spec in self._specs],
            self._caller.structure,
            self.threads,
            self._keys,
            self.forms,
            self.flush_denormals,
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
        return Program([self.part(count, arguments, stacked, out)])

    def part(
        self,
        count: int,
        arguments: Sequence[Any] | Mapping[Any, Any] = (),
        stacked: Sequence[int] = (),
        out: Any = None,
    ) -> Part:
        """Return what `repeat` runs, for a program of several parts."""
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
            forms = [replace(form, make=partial(self._repeated, form, key)) for form in self.forms]
            leaves, structure = self._caller.leaves, self._caller.structure
            whole = Executable(
                plan, leaves, self._code, inputs, structure, self.threads, (), forms, self.flush_denormals
            )
            whole._paused = True
            self._repeats[key] = whole
        return self._repeats[key]._part(count, values, out)

    def _repeated(self, form: Form, stacked: tuple[int, ...]) -> Plan:
        return repeated(form.plan, self._specs, stacked)[0]

    def source(self) -> str:
        """Return the source of all kernels, but for those of forms that only sizes of a call ask for."""
        plans = (self.plan, *(form.plan for form in self.forms if not form.needs))
        texts = {name: text for plan in plans for name, text in plan.kernels.items()}
        return "\n\n".join(text.strip("\n") for text in texts.values()) + "\n"

    def peak_bytes(self, **sizes: int) -> int:
        """Return the bytes that one call takes for temporaries and results, when the symbols have these sizes."""
        needed = {name for buffer in self.plan.buffers for dim in buffer.shape for name in dims.symbols(dim)}
        if missing := sorted(needed - sizes.keys()):
            raise CallError(f"peak_bytes needs the sizes of {', '.join(missing)}")
        plan, sizes = self._for(sizes)
        bindings.check_requirements(plan, sizes)
        layout, _ = bindings.assign_memory(plan, sizes, self.threads)
        return layout.arena + sum(dims.evaluate(buffer.nbytes, sizes) for buffer in plan.of_kind("output"))

    def binding(self, **sizes: int) -> Binding:
        """Return the plan bound to these sizes, as a call would bind it."""
        return self._binding(sizes, None)

    def _binding(self, sizes: dict[str, int], announce: bindings.Announce) -> Binding:
        plan, sizes = self._for(sizes)
        return bindings.bind(plan, sizes, self.threads, partial(self._code.address, plan), self._paused, announce)

    def _for(self, sizes: dict[str, int]) -> tuple[Plan, dict[str, int]]:
        """Return the plan of the first form that is for these sizes, and all sizes it depends on; they alone decide."""
        form = next((form for form in self.forms if form.serves(sizes)), None)
        return (self.plan, sizes) if form is None else (form.plan, form.own(sizes))

    def _call_slowly(self, arguments: Sequence[Any], named: Mapping[str, Any], out: Any) -> Any:
        arrays = self._arrays(arrange(self._specs, self._keys, arguments, named))
        return self._caller.call(self._bind(tuple(array.shape for array in arrays)), arrays, out)

    def _refuse(self, error: CallError) -> NoReturn:
        raise error

    def _arrays(self, values: Sequence[object]) -> list[Array]:
        caller = self._caller
        arrays = [convert(value, spec) for value, spec in zip(values, self._specs, strict=True)]
        for n, array in enumerate(arrays):
            if caller.writes and caller.spans.meet(address_of(array), array.nbytes):
                arrays[n] = array.copy()
        return arrays

    def _bind(self, shapes: tuple[tuple[int, ...], ...], announce: bindings.Announce = prepare_arena) -> Bound:
        caller = self._caller
        bound = caller.bounds.get(shapes) or caller.remember(shapes, self._binding(self._sizes(shapes), announce))
        caller.bounds.move_to_end(shapes)
        return bound

    def _sizes(self, shapes: tuple[tuple[int, ...], ...]) -> dict[str, int]:
        if not self._paused:
            return solve(self._specs, shapes)
        sizes, count = solve(self._specs, shapes[:-1]), shapes[-1][0]
        if sizes.setdefault(STEPS, count) != count:
            raise CallError(f"the stacked inputs have {sizes[STEPS]} positions, but the count is {count}")
        return sizes

    def _part(self, count: int, arguments: Sequence[Any], out: Any) -> Part:
        arrays, caller = self._arrays(arguments), self._caller
        bound = self._bind((*(array.shape for array in arrays), (count,)))
        whole = (*arrays, *caller.results(bound, out, arrays))
        return Part(caller, bound, count, whole, [None] * len(whole))


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
