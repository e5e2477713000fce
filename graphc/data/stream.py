"""Long series cut into windows that follow one another row by row, for states that are carried from call to call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import GraphError, ShapeError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def stream(series: Array | Sequence[Array], batch: int, length: int, drop_last: bool = False) -> Iterator[Any]:
    """Cut a series into `batch` contiguous rows and yield windows of `length` times of all rows, in order.

    series: an array (times, ...), or several of one leading size (inputs and targets, say), for which tuples come. Windows
    have shape (length, batch, ...), time first as `scan` walks it. Row r of each window goes on where row r of the one
    before ended, so a state that a step leaves is the right one for the next step. The last `times % batch` elements are
    left out; the last window is shorter where `length` does not divide the rows, or left out too with `drop_last`.
    Raises ShapeError if a row would be empty or the leading sizes differ, GraphError for a batch or length below 1.
    """
    for name, value in (("batch", batch), ("length", length)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GraphError(f"stream: expected {name} of 1 or more, got {value!r}")
    single = not isinstance(series, tuple | list)
    arrays = [np.asarray(one) for one in ([series] if single else series)]
    if not arrays or any(not one.ndim for one in arrays) or len({len(one) for one in arrays}) > 1:
        shapes = ", ".join(str(one.shape) for one in arrays) or "none"
        raise ShapeError(f"stream: expected arrays of one leading size, the times; got shapes {shapes}")
    times = len(arrays[0]) // batch
    if not times:
        raise ShapeError(f"stream: {len(arrays[0])} times do not fill {batch} rows; expected at least {batch}")
    rows = [one[: batch * times].reshape(batch, times, *one.shape[1:]).swapaxes(0, 1) for one in arrays]
    return _windows(rows, times, length, drop_last, single)


def _windows(rows: list[Array], times: int, length: int, drop_last: bool, single: bool) -> Iterator[Any]:
    for start in range(0, times - length + 1 if drop_last else times, length):
        window = tuple(np.ascontiguousarray(one[start : start + length]) for one in rows)
        yield window[0] if single else window
