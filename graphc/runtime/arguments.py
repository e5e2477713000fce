"""What a call may be given: arrays, sizes and output buffers, checked before anything runs.

An array of the right dtype that is C-contiguous and aligned is used in place. Anything else that stands for the same
kind of numbers is converted; what would lose more than precision is an error.
"""

from __future__ import annotations

import ctypes
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np

from graphc import dims
from graphc.dims import Atom, Dim, Symbol
from graphc.dtypes import DType
from graphc.errors import CallError, DTypeError, GraphcError, MissingInputError
from graphc.records import record

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
# A single position, or a tuple, list or dict of structures.
Structure: TypeAlias = "int | tuple[Structure, ...] | list[Structure] | dict[Any, Structure]"

_probe = np.zeros(1)
_DATA_FIELD = 16
# NumPy's C structure of an array starts with the object header and the data pointer. Reading the pointer there takes a
# fifth of the time that `array.ctypes.data` takes; where the header is laid out otherwise, the slow way is used.
_IS_FIELD_KNOWN = ctypes.c_int64.from_address(id(_probe) + _DATA_FIELD).value == _probe.ctypes.data
_pointer_at = ctypes.c_int64.from_address


# Bits of `array.flags.num`, as NumPy's C interface defines them: one lookup answers what would take several.
OWNS_DATA = 0x4
USABLE = 0x1 | 0x100  # C-contiguous, aligned
WRITEABLE = USABLE | 0x400
_OWN = WRITEABLE | OWNS_DATA
# Bytes of a line of the cache, and those up to which an array may begin anywhere.
LINE, SMALL = 64, 1 << 14


def address_of(array: Array) -> int:
    """Return the address of an array's first element."""
    return _pointer_at(id(array) + _DATA_FIELD).value if _IS_FIELD_KNOWN else int(array.ctypes.data)


class Spans:
    """The memory of some arrays that do not overlap, to be asked often whether others share it."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        spans = sorted((address_of(array), address_of(array) + array.nbytes) for array in arrays if array.nbytes)
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]
        # Otherwise they are views, whose memory no array that owns its own can share.
        self.are_owners = any(array.flags.owndata for array in arrays)

    def meet(self, address: int, nbytes: int) -> bool:
        """Whether any of these bytes belong to one of the arrays."""
        place = bisect_left(self._starts, address + nbytes)
        return place > 0 and nbytes > 0 and self._ends[place - 1] > address


@record
class InputSpec:
    """An input: its name, dtype and shape, whose dims may be symbols."""

    name: str
    dtype: DType
    shape: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {shape_text(self.shape)}"


def shape_text(shape: Sequence[Dim]) -> str:
    """Return a shape the way Python prints tuples, with symbols bare."""
    return f"({', '.join(str(d) for d in shape)}{',' if len(shape) == 1 else ''})"


def arrange(
    specs: Sequence[InputSpec], keys: Sequence[object], arguments: Sequence[object], named: Mapping[str, object]
) -> list[object]:
    """Return the arguments by position, whether given by position, by name, or as one dict keyed by name or key."""
    if len(arguments) == 1 and isinstance(arguments[0], dict) and not named:
        position = {id(key): n for n, key in enumerate(keys)}
        mapping = cast(dict[Any, object], arguments[0])
        by_name = {spec.name: n for n, spec in enumerate(specs)}
        found: dict[int, object] = {}
        for key, value in mapping.items():
            place = by_name.get(key) if isinstance(key, str) else position.get(id(key))
            if place is None:
                raise MissingInputError(f"{_key_text(key)} is not an input; expected {_expected(specs)}")
            found[place] = value
        missing = [spec.name for n, spec in enumerate(specs) if n not in found]
        if missing:
            raise MissingInputError(f"missing input {', '.join(map(repr, missing))}; expected {_expected(specs)}")
        return [found[n] for n in range(len(specs))]
    if len(arguments) > len(specs):
        raise MissingInputError(f"got {len(arguments)} arguments, expected {_expected(specs)}")
    values = dict(zip((spec.name for spec in specs), arguments, strict=False))
    for name, value in named.items():
        if name in values:
            raise MissingInputError(f"input {name!r} is given twice, by position and by name")
        values[name] = value
    names = [spec.name for spec in specs]
    if extra := [name for name in values if name not in names]:
        raise MissingInputError(f"{', '.join(map(repr, extra))} is not an input; expected {_expected(specs)}")
    if missing := [name for name in names if name not in values]:
        raise MissingInputError(f"missing input {', '.join(map(repr, missing))}; expected {_expected(specs)}")
    return [values[name] for name in names]


def convert(value: object, spec: InputSpec) -> Array:
    """Return the value as an array that a kernel can read in place, copied only if it must be."""
    try:
        array = np.asarray(value)
    except GraphcError as error:
        raise DTypeError(f"input {spec.name!r}: expected an array, got {value!r:.80}") from error
    except (TypeError, ValueError, RuntimeError) as error:  # PyTorch refuses a tensor that requires a gradient
        raise CallError(f"input {spec.name!r}: a {type(value).__name__} is no array: {error}") from error
    target = spec.dtype.numpy
    if array.dtype != target:
        array = _cast(array, value, spec, target)
    if not array.flags.c_contiguous or not array.flags.aligned or not array.dtype.isnative:
        array = np.require(array, target, ["C", "A"])
    return array


def _cast(array: Array, value: object, spec: InputSpec, target: np.dtype[Any]) -> Array:
    kind, wanted = array.dtype.kind, spec.dtype.kind
    if kind not in "biuf":
        if value is None:
            raise DTypeError(f"input {spec.name!r}: expected {spec.dtype}, got None")
        hint = f"; where all its elements are numbers, pass array.astype({spec.dtype.name!r})" if kind == "O" else ""
        raise DTypeError(f"input {spec.name!r}: expected {spec.dtype}, got an array of dtype {array.dtype}{hint}")
    order = "biuf".index
    if array.size == 0 and isinstance(value, list | tuple):
        return array.astype(target)  # An empty list has no dtype of its own.
    if wanted == "b" or (kind == "f" and wanted != "f"):
        advice = f"array.astype({spec.dtype.name!r})" if kind == "f" else "array != 0"
        raise DTypeError(
            f"input {spec.name!r}: expected {spec.dtype}, got {array.dtype}, which is not converted; pass {advice}"
        )
    if wanted in "iu" and kind in "iu" and array.size:
        limits = np.iinfo(target)
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            worst = low if low < limits.min else high
            raise CallError(f"input {spec.name!r}: the value {worst} does not fit {spec.dtype}")
    assert order(kind) <= order("f")
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(target)


def solve(specs: Sequence[InputSpec], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """Return the sizes of all symbols in the specs; CallError where ranks, numbers or symbols do not agree."""
    sizes: dict[str, int] = {}
    source: dict[str, str] = {}
    waiting: list[tuple[InputSpec, int, Dim, int]] = []
    for spec, shape in zip(specs, shapes, strict=True):
        if len(shape) != len(spec.shape):
            raise CallError(
                f"input {spec.name!r}: expected shape {shape_text(spec.shape)} with {len(spec.shape)} dimensions, "
                f"got {shape_text(shape)} with {len(shape)}{_advice(spec, shape)}"
            )
        for n, (dim, size) in enumerate(zip(spec.shape, shape, strict=True)):
            waiting.append((spec, n, dim, size))
    # Plain numbers and symbols first; then expressions with one unknown, as often as that helps.
    progress = True
    while waiting and progress:
        progress = False
        for item in list(waiting):
            spec, axis, dim, size = item
            unknown = dims.symbols(dim) - sizes.keys()
            if len(unknown) > 1 or (unknown and not _determine(dim, unknown.pop(), size, sizes, source, item)):
                continue
            waiting.remove(item)
            progress = True
            if dims.evaluate(dim, sizes) != size:
                raise CallError(_mismatch(item, sizes, source, dict(zip(specs, shapes, strict=True))[spec]))
    if waiting:
        spec, axis, dim, size = waiting[0]
        raise CallError(f"input {spec.name!r}: axis {axis} has size {size}, which no size of {dim} gives")
    return sizes


def _determine(
    dim: Dim, name: str, size: int, sizes: dict[str, int], source: dict[str, str], item: tuple[InputSpec, int, Dim, int]
) -> bool:
    known: dict[Atom, Dim] = {Symbol(symbol): number for symbol, number in sizes.items()}
    slope, rest = dims.linear(dims.substitute(dim, known), Symbol(name))
    if not isinstance(slope, int) or not isinstance(rest, int) or not slope:
        return False
    number, remainder = divmod(size - rest, slope)
    if remainder or number < 0:
        return False
    sizes[name] = number
    source[name] = f"axis {item[1]} of {item[0].name!r}"
    return True


def _mismatch(
    item: tuple[InputSpec, int, Dim, int], sizes: dict[str, int], source: dict[str, str], shape: tuple[int, ...]
) -> str:
    spec, axis, dim, size = item
    text = (
        f"input {spec.name!r}: expected shape {shape_text(spec.shape)}, got {shape_text(shape)}: axis {axis} is {size}"
    )
    if isinstance(dim, int):
        return f"{text}, expected {dim}"
    given = " and ".join(f"{name} = {sizes[name]} by {source[name]}" for name in sorted(dims.symbols(dim)))
    return f"{text}, but {given}" + ("" if str(dim) in sizes else f" make {dim} = {dims.evaluate(dim, sizes)}")


def _advice(spec: InputSpec, shape: tuple[int, ...]) -> str:
    missing = len(spec.shape) - len(shape)
    if missing == 1 and spec.shape and (not isinstance(spec.shape[0], int) or spec.shape[0] == 1):
        return "; for a single example pass array[None]"
    return ""


def new_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a new array, at the beginning of a cache line unless it is small: vectors across two take twice as long to store."""
    nbytes = dtype.itemsize * math.prod(shape)
    if nbytes < SMALL:
        return np.empty(shape, dtype)
    memory = np.empty(nbytes + LINE, np.uint8)
    return np.ndarray(shape, dtype, memory, -address_of(memory) % LINE)


def fitting(
    given: Sequence[object],
    expected: Sequence[tuple[tuple[int, ...], np.dtype[Any]]],
    specs: Sequence[InputSpec],
    inputs: Sequence[Array],
    leaves: Spans,
) -> list[Array]:
    """Return the arrays to write into: those given, if they fit and lie apart from all others, and new ones for None."""
    arrays: list[Array] = []
    if len(given) == 1 and not leaves.are_owners and _surely_fits(given[0], *expected[0], inputs):
        return [cast(Array, given[0])]
    taken = [(address_of(array), array.nbytes) for array in inputs]
    for n, (value, (shape, dtype)) in enumerate(zip(given, expected, strict=True)):
        if value is None:
            arrays.append(new_array(shape, dtype))
            continue
        if not isinstance(value, np.ndarray):
            raise CallError(f"out: expected an array for output {n}, got a {type(value).__name__}")
        array = cast(Array, value)
        if array.dtype != dtype or array.shape != shape:
            got = f"{array.dtype} {shape_text(array.shape)}"
            raise CallError(f"out: output {n} is {dtype} {shape_text(shape)}, got {got}")
        if array.flags.num & WRITEABLE != WRITEABLE:
            raise CallError(f"out: the array for output {n} must be C-contiguous, aligned and writeable")
        low, nbytes = address_of(array), array.nbytes
        for place, (start, size) in enumerate(taken):
            if low < start + size and start < low + nbytes and nbytes and size:
                other = f"input {specs[place].name!r}" if place < len(specs) else "the array for another output"
                raise CallError(_SHARED.format(n, other))
        if leaves.meet(low, nbytes):
            raise CallError(_SHARED.format(n, "a parameter or state"))
        taken.append((low, nbytes))
        arrays.append(array)
    return arrays


def _surely_fits(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: Sequence[Array]) -> bool:
    """Whether a lone array fits and lies apart, seen without its address: it and the inputs own their memory."""
    if (
        type(value) is not np.ndarray
        or value.dtype is not dtype
        or value.shape != shape
        or value.flags.num & _OWN != _OWN
    ):
        return False
    # A loop, for this is the path of every call with `out`, and `all` costs twice as much.
    for array in inputs:  # noqa: SIM110
        if array is value or not array.flags.num & OWNS_DATA:
            return False
    return True


_SHARED = "out: the array for output {} shares memory with {}; pass another array or a copy"


def flatten(structure: Structure, value: object, count: int) -> list[object]:
    """Return what `value`, of the same structure, holds for each output position (None where nothing)."""
    flat: list[object] = [None] * count
    _place(structure, value, "", flat)
    return flat


def _place(structure: Structure, value: Any, path: str, flat: list[object]) -> None:
    if value is None:
        return
    if isinstance(structure, int):
        flat[structure] = value
    elif isinstance(structure, dict):
        if not isinstance(value, dict) or any(key not in structure for key in cast(dict[Any, Any], value)):
            raise CallError(f"out{path}: expected a dict with the keys {list(structure)}")
        for key, part in structure.items():
            _place(part, cast(dict[Any, Any], value).get(key), f"{path}[{key!r}]", flat)
    else:
        items = list(cast(Sequence[Any], value)) if isinstance(value, tuple | list) else []
        if len(items) != len(structure) or not isinstance(value, tuple | list):
            raise CallError(f"out{path}: expected {len(structure)} arrays in a {type(structure).__name__}")
        for n, (part, item) in enumerate(zip(structure, items, strict=True)):
            _place(part, item, f"{path}[{n}]", flat)


def build(structure: Structure, values: Sequence[Any]) -> Any:
    """Return the structure with each position replaced by its value."""
    if isinstance(structure, int):
        return values[structure]
    if isinstance(structure, dict):
        return {key: build(part, values) for key, part in structure.items()}
    return type(structure)([build(part, values) for part in structure])


def _expected(specs: Sequence[InputSpec]) -> str:
    if not specs:
        return "no inputs"
    return f"{len(specs)} input{'s' if len(specs) > 1 else ''} ({'; '.join(map(str, specs))})"


def _key_text(key: object) -> str:
    return repr(key) if isinstance(key, str) else f"the key {key}"
