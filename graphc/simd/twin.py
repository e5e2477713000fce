# pyright: reportUnusedImport=false, reportUnknownVariableType=false
"""The dialect in plain Python: what the source of a kernel means when it is run without being compiled.

    with twin.buffers([(address, nbytes, True), ...]):
        exec(source, names := twin.namespace())
        names["kernel"](args_address, 0, 1)

Every access is checked (`OutOfBounds`), so this run is the bounds checker of emitted source.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc.simd.dialect  # noqa: F401  (fills FUNCTIONS)
from graphc.simd.arrays import Arrays
from graphc.simd.bounds import OutOfBounds, buffers, silent
from graphc.simd.kinds import SimdType, type_of
from graphc.simd.record import FUNCTIONS, Function

__all__ = ["OutOfBounds", "buffers", "namespace"]


def _typed(value: Any) -> Any:
    """Return a Python number as the dialect's scalar: int is i64 and wraps, float is f64, bool is b."""
    if isinstance(value, np.generic | np.ndarray):
        return value
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, float):
        return np.float64(value)
    return np.int64((value + 2**63) % 2**64 - 2**63)


def _callable(function: Function, arrays: Arrays) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        values = [_typed(one) for one in arguments]
        expected = function.infer(*(type_of(one) for one in values))
        if silent():
            result = function.twin(arrays, *values)
        else:
            with np.errstate(all="ignore"):
                result = function.twin(arrays, *values)
        if isinstance(expected, SimdType) and type_of(result) != expected:
            raise AssertionError(f"the twin of {function.name} gave {type_of(result)}, its rule says {expected}")
        return result

    call.__name__ = function.name
    return call


def namespace(has_fma: bool = True) -> dict[str, Any]:
    """Return the dialect's names, as functions on NumPy scalars and arrays; `has_fma` as of the level imitated."""
    arrays = Arrays(has_fma)
    return {name: _callable(function, arrays) for name, function in FUNCTIONS.items()}
