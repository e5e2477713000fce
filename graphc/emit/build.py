"""The object code of a plan's kernels, made or read from the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from graphc.emit import cache
from graphc.simd.levels import Level

if TYPE_CHECKING:
    from graphc.emit.parallel import Crew


class Builder:
    """Makes the objects of a compilation's kernels; `natives` gives the functions that they may call."""

    def __init__(self, level: Level, natives: Callable[[], Mapping[str, Callable[..., Any]]]) -> None:
        self._level, self._natives = level, natives
        self._crew: Crew | None = None
        self._hiring = Lock()  # one thread may ask for objects while a call in another one has a form made

    def offer(self, name: str, text: str) -> None:
        """Begin with a kernel of which the object will be needed, where processes can be had for that."""
        if not cache.holds("object", self._key(text)):
            with self._hiring:
                self._crew = self._crew or self._new_crew()
                self._crew.offer(name, text)

    def objects(self, kernels: Mapping[str, str]) -> dict[str, bytes]:
        """Return the object code of kernels by name, from the cache where it is there."""
        made: dict[str, bytes] = {}
        missing: dict[str, str] = {}
        with self._hiring:
            crew, self._crew = self._crew, None
        for name, text in kernels.items():
            key = self._key(text)
            found = cache.read("object", key)
            if found is None:
                missing[name] = key
            else:
                made[name] = found
        if not missing:
            return made
        for name, data in (crew or self._new_crew()).finish({name: kernels[name] for name in missing}).items():
            made[name] = data
            cache.write("object", missing[name], data)
            cache.write("source", missing[name], kernels[name].encode())
        return {name: made[name] for name in kernels}

    def _new_crew(self) -> Crew:
        # Only a cold start needs the compiler.
        from graphc.emit.parallel import Crew

        return Crew(self._level, self._natives())

    def _key(self, text: str) -> str:
        return cache.key_of(self._level.name, _code(text))


def objects(
    kernels: Mapping[str, str], level: Level, natives: Callable[[], Mapping[str, Callable[..., Any]]]
) -> dict[str, bytes]:
    """Return the object code of kernels by name, from the cache where it is there; `natives` gives what they may call."""
    return Builder(level, natives).objects(kernels)


def _code(text: str) -> str:
    """Return a kernel's source without its comments: what differs in them alone is the same object."""
    first, *rest = text.split("#")
    return "\n".join([first.rstrip(" "), *(part.partition("\n")[2].rstrip(" ") for part in rest)])
