"""Kernels of a plan: their source from loop nests, their object code made or read from the cache."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.emit import cache
from graphc.emit.objects import compile_kernel
from graphc.emit.source import Source, emit
from graphc.loops.kernels import Kernel
from graphc.simd.levels import Level

__all__ = ["objects", "sources"]

_COMMENT = re.compile(r"^ *# .*\n|  # .*$", re.MULTILINE)


def sources(kernels: Sequence[tuple[Kernel, Sequence[str]]], describe: Callable[[int], str]) -> list[Source]:
    """Return the source of each kernel; `describe` gives the comment beside a buffer's argument."""
    return [emit(kernel, describe, comments) for kernel, comments in kernels]


def objects(kernels: Mapping[str, str], level: Level, natives: Mapping[str, Callable[..., Any]]) -> dict[str, bytes]:
    """Return the object code of kernels by name, from the cache where it is there."""
    made: dict[str, bytes] = {}
    for name, text in kernels.items():
        bare = _COMMENT.sub("", text)
        key = cache.key_of(level.name, bare)
        found = cache.read("object", key)
        if found is None:
            called = {native: function for native, function in natives.items() if native in bare}
            found = compile_kernel(text, name, level, called or None)
            cache.write("object", key, found)
            cache.write("source", key, text.encode())
        made[name] = found
    return made
