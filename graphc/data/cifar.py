"""CIFAR's binary format: records of one or two labels and an image of 32 x 32 in three planes, red first.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import Any, cast

import numpy as np

from graphc.errors import DataError

SIDE, PLANES = 32, 3
# For each number of classes, how many values each label of a record has: CIFAR-100 gives a coarse one before the fine one.
LABELS = {10: (10,), 100: (20, 100)}


def load_cifar(paths: str | PathLike[str] | Iterable[str | PathLike[str]], classes: int = 10) -> tuple[Any, Any]:
    """Return the images and labels of a file of CIFAR-10 or CIFAR-100, or of several joined in order.

    Images: uint8 (N, 32, 32, 3), channels last; labels: int64 (N,), the fine ones of CIFAR-100. classes: 10 or 100. The files
    are the binary version's, such as data_batch_1.bin. Raises DataError if one does not consist of whole records, or
    holds a label that there is not: the format has no other mark.
    """
    if classes not in LABELS:
        raise DataError(f"load_cifar: expected classes to be 10 or 100, got {classes!r}")
    one = isinstance(paths, str | PathLike)
    parts = [_records(path, classes) for path in cast(Any, [paths] if one else paths)]
    if not parts:
        raise DataError("load_cifar: expected one file or more, got none")
    records = np.concatenate(parts)
    marks = len(LABELS[classes])
    planes = records[:, marks:].reshape(-1, PLANES, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, marks - 1].astype(np.int64)


def _records(path: str | PathLike[str], classes: int) -> Any:
    limits = LABELS[classes]
    size = len(limits) + PLANES * SIDE * SIDE
    with open(path, "rb") as file:
        content = file.read()
    if not content or len(content) % size:
        raise DataError(
            f"{path}: expected whole records of {size} bytes, as CIFAR-{classes} has them; got {len(content)} bytes = "
            f"{len(content) // size} * {size} + {len(content) % size}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    for column, limit in enumerate(limits):
        wrong = np.flatnonzero(records[:, column] >= limit)
        if wrong.size:
            raise DataError(
                f"{path}: expected labels below {limit}, got {records[wrong[0], column]} in record {wrong[0]}: "
                f"this is not CIFAR-{classes}"
            )
    return records
