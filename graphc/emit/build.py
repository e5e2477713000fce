"""The object code of a plan's kernels, made or read from the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphc.emit import cache
from graphc.simd.levels import Level


def objects(
    kernels: Mapping[str, str], level: Level, natives: Callable[[], Mapping[str, Callable[..., Any]]]
) -> dict[str, bytes]:
    """Return the object code of kernels by name, from the cache where it is there; `natives` gives what they may call."""
    made: dict[str, bytes] = {}
    missing: dict[str, str] = {}
    for name, text in kernels.items():
        key = cache.key_of(level.name, _code(text))
        found = cache.read("object", key)
        if found is None:
            missing[name] = key
        else:
            made[name] = found
    if not missing:
        return made
    # Only a cold start needs the compiler.
    from graphc.emit.parallel import compile_kernels

    for name, data in compile_kernels({name: kernels[name] for name in missing}, level, natives()).items():
        made[name] = data
        cache.write("object", missing[name], data)
        cache.write("source", missing[name], kernels[name].encode())
    return {name: made[name] for name in kernels}


def _code(text: str) -> str:
    """Return a kernel's source without its comments: what differs in them alone is the same object."""
    first, *rest = text.split("#")
    return "\n".join([first.rstrip(" "), *(part.partition("\n")[2].rstrip(" ") for part in rest)])
