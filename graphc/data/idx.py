"""IDX, the format of MNIST and its kin: one array of bytes, integers or floats, plain or compressed by gzip.

A file begins with two zeros, a code of the type and the number of dimensions, a byte each; then come the sizes and the elements,
the last index fastest, all big-endian. LeCun, Cortes and Burges, The MNIST Database of Handwritten Digits.
"""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

import numpy as np

from graphc.errors import DataError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load_idx(path: str | PathLike[str]) -> Any:
    """Return the array of an IDX file, such as train-images-idx3-ubyte or train-labels-idx1-ubyte.gz.

    Its dtype is that of the file, in the machine's order of bytes. MNIST's images are uint8 (N, 28, 28): add an axis of one
    channel and divide by 255 for a convolution. Raises DataError if the file is no IDX, ends early or goes on.
    """
    content = _uncompressed(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        codes = ", ".join(f"{code:#04x}" for code in TYPES)
        raise DataError(
            f"{path}: expected IDX, which begins with 00 00 and one of {codes}; got {content[:4].hex(' ')!r}"
        )
    rank = content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise DataError(f"{path}: expected {rank} sizes of 4 bytes after the first 4, got {len(content) - 4} bytes")
    dtype = np.dtype(TYPES[content[2]])
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", rank, 4))
    expected, found = math.prod(shape) * dtype.itemsize, len(content) - start
    if expected != found:
        product = " * ".join(str(number) for number in (*shape, dtype.itemsize))
        raise DataError(f"{path}: expected {product} = {expected} bytes after its head, got {found}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _uncompressed(path: str | PathLike[str]) -> bytes:
    with open(path, "rb") as file:
        content = file.read()
    if content[:2] != b"\x1f\x8b":
        return content
    import gzip  # few programs need it, and all wait for what is imported at the top
    import zlib

    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: expected a whole gzip file, got one that does not unpack: {error}") from error
