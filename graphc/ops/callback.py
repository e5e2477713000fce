"""Python called at run time: a native function that hands addresses and shapes to a C function, which ctypes makes.

The C function's address is data, in a state: so it stands in no code and no cache, and whoever holds the state's array
holds the C function.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
from __future__ import annotations

import ctypes
import functools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from graphc import reentry
from graphc.dtypes import DType, int64
from graphc.errors import CallError
from graphc.graph import bodies
from graphc.graph.node import Leaf, Node, State, builder, here, make
from graphc.graph.types import NodeType, TensorType, shape_text
from graphc.ops.custom_vjp import Rule
from graphc.ops.native import Native, as_types, results, with_rule
from graphc.records import record
from graphc.simd.foreign import call_address, pointer

_Entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


@record
class Target:
    """A Python function with what it takes and gives, as (dtype, rank)."""

    function: Callable[..., Any]
    outputs: tuple[tuple[DType, int], ...]
    inputs: tuple[tuple[DType, int], ...]

    def __repr__(self) -> str:
        # What a plan is known by: not the function, which is not part of it.
        return getattr(self.function, "__name__", "function")

    def __call__(self, shapes: list[tuple[int, ...]], *arrays: Any) -> tuple[Any, ...]:
        """Return the results, checked to be arrays of these shapes."""
        returned = self.function(*arrays)
        several = returned if isinstance(returned, tuple | list) and len(self.outputs) != 1 else (returned,)
        if len(several) != len(self.outputs):
            raise CallError(f"py_callback: expected {self} to return {len(self.outputs)} arrays, got {len(several)}")
        found = tuple(np.asarray(one) for one in several)
        for array, (dtype, _), shape in zip(found, self.outputs, shapes, strict=True):
            is_fit = np.can_cast(array.dtype, dtype.numpy, "same_kind") or (
                array.dtype.kind in "iub" and dtype.kind != "b"
            )
            if array.shape != shape or not is_fit:
                wanted, got = f"{dtype}{shape_text(shape)}", f"{array.dtype}{shape_text(array.shape)}"
                raise CallError(f"py_callback: expected {self} to return {wanted}, got {got}")
        return found

    def enter(self, status_address: int, words_address: int) -> None:
        """Run on memory that native code names, and keep what is raised for the end of the run."""
        thread = threading.get_ident()
        reentry.inside.add(thread)
        try:
            arrays = list(self._arrays(words_address))
            count = len(self.outputs)
            # Copies: what the function keeps must not change under it, nor outlive the memory.
            found = self([array.shape for array in arrays[:count]], *(array.copy() for array in arrays[count:]))
            for array, new in zip(arrays[:count], found, strict=True):
                array[...] = new
        except BaseException as error:
            reentry.waiting[status_address] = error
            status = (ctypes.c_int64 * 2).from_address(status_address)
            if status[0] == 0:
                status[1], status[0] = reentry.LAST_SITE, reentry.PYTHON_RAISED
        finally:
            reentry.inside.discard(thread)

    def _arrays(self, address: int) -> Iterator[Any]:
        for dtype, rank in (*self.outputs, *self.inputs):
            start, *shape = (ctypes.c_int64 * (rank + 1)).from_address(address)
            memory: Any = (ctypes.c_char * (math.prod(shape) * dtype.itemsize)).from_address(start)
            yield np.frombuffer(memory, dtype.numpy).reshape(shape)
            address += 8 * (rank + 1)


class _Address(ctypes.c_int64):
    """The address of a C function, which lives as long as this does."""

    entry: Any


def _address(target: Target) -> State:
    entry = _Entry(target.enter)
    address: Any = _Address(ctypes.cast(entry, ctypes.c_void_p).value or 0)
    address.entry = entry
    array = np.frombuffer(address, np.int64)
    return State(Leaf("state", f"address of {target}"), (), TensorType((1,), int64), here(), (), array)


@functools.cache
def _marshal(outputs: tuple[int, ...], inputs: tuple[int, ...]) -> Callable[..., None]:
    """Return the native function for arrays of these ranks: it writes addresses and shapes down, and calls."""
    names = [*(f"y{k}" for k in range(len(outputs))), *(f"x{k}" for k in range(len(inputs)))]
    lines: list[str] = []
    for name, rank in zip(names, (*outputs, *inputs), strict=True):
        for value in (f"pointer({name}, 0)", *(f"{name}.shape[{axis}]" for axis in range(rank))):
            lines.append(f"        words[{len(lines)}] = {value}")
    heads = ", ".join(["status", *names[: len(outputs)], "words", "address", *names[len(outputs) :]])
    call = "        call_address(address[0], pointer(status, 0), pointer(words, 0))"
    source = "\n".join([f"def call_python({heads}):", "    if status[0] == 0:", *lines, call])
    namespace: dict[str, Any] = {"pointer": pointer, "call_address": call_address, "__name__": __name__}
    exec(compile(source, "<py_callback>", "exec"), namespace)
    return namespace["call_python"]


@record
class PyCallback(Native):
    """`target`, called by way of the native `function`; operand 0 is the address of the C function between them."""

    target: Target
    name: ClassVar[str] = "py_callback"
    pure: ClassVar[bool] = False

    @property
    def called(self) -> str:
        return repr(self.target)

    def numpy(self, *inputs: Any) -> Any:
        shapes: Any = [type.shape for type in self.types]
        found = self.target(shapes, *(np.array(array) for array in inputs[1:]))
        arrays = tuple(array.astype(type.dtype.numpy) for array, type in zip(found, self.types, strict=True))
        return arrays[0] if len(arrays) == 1 else arrays

    def lower(self, out: NodeType, *inputs: TensorType) -> bodies.Body:
        words = sum(1 + type.rank for type in (*self.types, *inputs[1:]))
        return bodies.Native(self.function, (TensorType((words,), int64),), reports=True)


@builder("py_callback")
def py_callback(
    function: Callable[..., Any],
    types: TensorType | tuple[TensorType, ...],
    *inputs: Any,
    vjp: Rule | None = None,
) -> Any:
    """Call a Python function at run time: `function(*arrays)` gets NumPy arrays and returns those of the outputs.

    It works in loops, in branches and under `fit`, and is slow: each call waits for the interpreter, copies its arguments and
    results, and runs on the calling thread alone. It should depend on its arguments only: how often it is called is not
    fixed. What it raises ends the run, which then changes nothing, and comes to the caller as it is. It must not call an
    executable. With several types the result is a tuple of nodes. `vjp(inputs, output, cotangent)` is its derivative, as in
    `custom_vjp`; without one, differentiation raises GraphError.

    Raises CallError at run time if the results are not of the types' shapes, or of another kind of number.

    Shape: that of the types.
    Formula: out = function(*arrays).
    Gradient: what `vjp` returns; without it, none: GraphError.
    Source: `jax.pure_callback`.
    """
    given = as_types(types, "py_callback")

    def build(*nodes: Node) -> Any:
        outputs, operands = (
            tuple((one.dtype, one.rank) for one in part) for part in (given, [x.tensor for x in nodes])
        )
        target = Target(function, outputs, operands)
        marshal = _marshal(tuple(rank for _, rank in outputs), tuple(rank for _, rank in operands))
        return results(make(PyCallback(marshal, given, target), _address(target), *nodes))

    return with_rule(build, function, vjp, inputs)
