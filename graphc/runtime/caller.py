"""What runs a bound plan on arrays that fit: results, arena, addresses, the native walk.

This is the path of every call, so it is an object with slots of its own: in a class that answers unknown names, as the
public one does, every lookup costs three times as much.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import numpy as np

from graphc.runtime.activation import SURELY_AVAILABLE, Activation, Arena, check_memory, give_back, take_arena
from graphc.runtime.arguments import (
    OWNS_DATA,
    SMALL,
    Array,
    InputSpec,
    Spans,
    Structure,
    address_of,
    build,
    fitting,
    flatten,
    new_array,
)
from graphc.runtime.binding import Binding

_REMEMBERED = 64


class Bound:
    """A binding, what its results look like, and activations of it that no run uses."""

    __slots__ = ("arena", "binding", "idle", "is_small", "nbytes", "results")

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self.arena = binding.arena
        self.idle: list[Activation] = []
        self.results = [(shape, dtype.numpy) for dtype, shape in binding.outputs]
        self.nbytes = sum(dtype.itemsize * math.prod(shape) for dtype, shape in binding.outputs)
        self.is_small = self.nbytes < SMALL


class Caller:
    """The storage and the shape of the results of one executable, and its bindings by the shapes of the inputs."""

    __slots__ = (
        "apart", "bounds", "dtypes", "flushes", "is_single", "keep", "leaves", "spans", "specs", "structure", "writes",
    )  # fmt: skip

    def __init__(
        self,
        specs: Sequence[InputSpec],
        structure: Structure,
        leaves: Sequence[Array],
        writes: bool,
        keep: object,
        flushes: bool,
    ) -> None:
        self.specs, self.structure, self.leaves, self.writes = specs, structure, leaves, writes
        self.keep, self.flushes = keep, flushes
        self.dtypes = tuple(spec.dtype.numpy for spec in specs)
        self.is_single = structure == 0 and isinstance(structure, int)
        self.bounds: OrderedDict[tuple[tuple[int, ...], ...], Bound] = OrderedDict()
        self.spans = Spans(leaves)
        # An input with one of these flags shares no memory with a leaf that the run changes.
        self.apart = -1 if not writes else 0 if self.spans.are_owners else OWNS_DATA

    def remember(self, shapes: tuple[tuple[int, ...], ...], binding: Binding) -> Bound:
        """Keep a binding for later calls; the one not used for longest makes room."""
        bound = self.bounds[shapes] = Bound(binding)
        if len(self.bounds) > _REMEMBERED:
            self.bounds.popitem(last=False)
        return bound

    def call(self, bound: Bound, arrays: Sequence[Array], out: Any) -> Any:
        """Run once and return the results, in new arrays or in those of `out`."""
        results = self.results(bound, out, arrays)
        arena = take_arena(bound.arena)
        activation = self.take(bound)
        try:
            activation.place(arena.address)
            activation.set_addresses(*[address_of(array) for array in (*arrays, *results)])
            activation.run(self.writes)
        finally:
            give_back(arena)
            bound.idle.append(activation)
        # As NumPy does, a result without axes is a scalar.
        if self.is_single:
            return results[0] if results[0].ndim or out is not None else results[0][()]
        if out is None:
            results = [array if array.ndim else array[()] for array in results]
        return build(self.structure, results)

    def results(self, bound: Bound, out: Any, arrays: Sequence[Array]) -> list[Array]:
        """Return the arrays that the results go into: those of `out`, which are checked, and new ones for the rest."""
        if bound.nbytes >= SURELY_AVAILABLE:
            check_memory(bound.nbytes)
        if out is None:
            make = np.empty if bound.is_small else new_array
            return [make(shape, dtype) for shape, dtype in bound.results]
        given = [out] if self.is_single else flatten(self.structure, out, len(bound.results))
        return fitting(given, bound.results, self.specs, arrays, self.spans)

    def take(self, bound: Bound) -> Activation:
        """Return an activation for one run; it goes back to `bound.idle`."""
        try:
            return bound.idle.pop()
        except IndexError:
            return self.activation(bound)

    def activation(self, bound: Bound) -> Activation:
        """Return a new activation."""
        return Activation(bound.binding, self.leaves, self.keep, self.flushes)


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
