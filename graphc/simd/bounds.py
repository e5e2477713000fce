"""Memory as the NumPy twins see it: every access is checked against the buffers that the caller registered."""

import contextlib
import ctypes
import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.simd.kinds import SimdType


class OutOfBounds(IndexError):
    """An access outside every registered buffer, or a write to one that is read-only."""


@dataclass(frozen=True)
class _Buffer:
    address: int
    nbytes: int
    writable: bool

    def distance(self, address: int, nbytes: int) -> int:
        return max(self.address - address, address + nbytes - (self.address + self.nbytes), 0)


_registered: list[_Buffer] = []
_kernels: dict[int, Callable[[int, int, int], None]] = {}


@contextlib.contextmanager
def buffers(
    spans: Iterable[tuple[int, int, bool]], kernels: dict[int, Callable[[int, int, int], None]] | None = None
) -> Generator[None]:
    """Allow the twins to touch these (address, bytes, writable) spans, and no other memory, inside the block.

    The row of arguments and the status block are spans like any other. `kernels` gives the addresses that
    `call_kernel` may call a meaning. Blocks nest; overflow warnings are silenced inside, since emitted code gives
    none.
    """
    added = [_Buffer(int(address), int(nbytes), writable) for address, nbytes, writable in spans]
    before = len(_registered)
    _registered.extend(added)
    _kernels.update(kernels or {})
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        del _registered[before:]
        for address in kernels or {}:
            _kernels.pop(address, None)


def silent() -> bool:
    """Whether a block of `buffers` is open, which silences NumPy's warnings."""
    return bool(_registered)


def kernel_at(address: int) -> Callable[[int, int, int], None]:
    """Return the function that `call_kernel` finds at an address; raises OutOfBounds if none was registered."""
    if address not in _kernels:
        raise OutOfBounds(f"call of address {address:#x}, where no kernel is registered")
    return _kernels[address]


def _check(address: int, nbytes: int, write: bool) -> None:
    for buffer in _registered:
        inside = buffer.address <= address and address + nbytes <= buffer.address + buffer.nbytes
        if inside and (buffer.writable or not write):
            return
    what = f"{'write' if write else 'read'} of {nbytes} bytes at {address:#x}"
    nearest = min(_registered, key=lambda one: one.distance(address, nbytes), default=None)
    if nearest is None:
        raise OutOfBounds(f"{what}: no buffer is registered")
    kind = "writable" if nearest.writable else "read-only"
    raise OutOfBounds(
        f"{what}: the nearest buffer is {nearest.nbytes} bytes at {nearest.address:#x} ({kind}); "
        f"the access starts at its byte {address - nearest.address}"
    )


def _span(address: int, nbytes: int) -> Any:
    return (ctypes.c_char * nbytes).from_address(address)


def read(kind: SimdType, address: int) -> Any:
    """Return a contiguous load, checked."""
    _check(address, kind.nbytes, write=False)
    stored = kind.of("u8") if kind.kind == "b" else kind
    lanes = np.frombuffer(ctypes.string_at(address, kind.nbytes), stored.dtype)
    lanes = lanes != 0 if kind.kind == "b" else lanes
    return lanes if kind.lanes > 1 else lanes[0]


def view(kind: SimdType, address: int, shape: tuple[int, ...]) -> Any:
    """Return an array over registered memory; it can be written to if the buffer can."""
    nbytes = kind.itemsize * math.prod(shape)
    try:
        _check(address, nbytes, write=True)
        writable = True
    except OutOfBounds:
        _check(address, nbytes, write=False)
        writable = False
    array = np.frombuffer(_span(address, nbytes), kind.dtype).reshape(shape)
    array.flags.writeable = writable
    return array


def write(address: int, value: Any) -> None:
    """Return a contiguous store, checked."""
    data = np.ascontiguousarray(value)
    _check(address, data.nbytes, write=True)
    np.frombuffer(_span(address, data.nbytes), data.dtype)[...] = data.reshape(-1)


def read_lanes(kind: SimdType, addresses: Any, mask: Any) -> Any:
    """One load for each active lane, checked; the other lanes are zero."""
    result = np.zeros(kind.lanes, kind.dtype)
    for lane in np.flatnonzero(mask):
        result[lane] = read(kind.wide(1), int(addresses[lane]))
    return result


def write_lanes(addresses: Any, values: Any, mask: Any) -> None:
    """One store for each active lane, checked."""
    for lane in np.flatnonzero(mask):
        write(int(addresses[lane]), values[lane])
