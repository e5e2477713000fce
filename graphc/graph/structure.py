"""Nested tuples, lists and dictionaries of nodes: what users hand over and get back.

    structure ::= leaf | tuple | list | dict | named tuple | None

Dictionaries keep their order of insertion. None holds no leaf and comes back as None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from graphc.errors import GraphError


def leaves(structure: Any) -> list[Any]:
    """Return the leaves of a structure, in order."""
    return [leaf for _, leaf in paths(structure)]


def paths(structure: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with where it stands, such as "[0]['hidden']"; "" for a bare leaf."""
    match structure:
        case None:
            return
        case dict():
            for key, value in structure.items():  # pyright: ignore[reportUnknownVariableType]
                yield from paths(value, f"{prefix}[{key!r}]")
        case tuple() | list():
            for position, value in enumerate(structure):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
                yield from paths(value, f"{prefix}[{position}]")
        case _:
            yield prefix, structure


def rebuild(structure: Any, new: Sequence[Any]) -> Any:
    """Return the same structure with other leaves."""
    remaining = iter(new)
    result = map_leaves(lambda _: next(remaining), structure)
    assert next(remaining, remaining) is remaining, "more leaves than the structure holds"
    return result


def map_leaves(function: Callable[[Any], Any], structure: Any) -> Any:
    """Return the same structure with `function` applied to every leaf."""
    match structure:
        case None:
            return None
        case dict():
            return {key: map_leaves(function, value) for key, value in structure.items()}  # pyright: ignore[reportUnknownVariableType]
        case tuple() | list():
            items = [map_leaves(function, value) for value in structure]  # pyright: ignore[reportUnknownVariableType]
            if isinstance(structure, tuple) and hasattr(structure, "_fields"):  # pyright: ignore[reportUnknownArgumentType]
                return type(structure)(*items)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            return items if isinstance(structure, list) else tuple(items)
        case _:
            return function(structure)


def match(structure: Any, other: Any, what: str) -> list[Any]:
    """Return the leaves of `other`, which must stand where those of `structure` do."""
    expected, got = list(paths(structure)), list(paths(other))
    if [path for path, _ in expected] != [path for path, _ in got]:
        raise GraphError(f"{what}: expected a structure with leaves at {_where(expected)}, got leaves at {_where(got)}")
    return [leaf for _, leaf in got]


def _where(entries: list[tuple[str, Any]]) -> str:
    return ", ".join(path or "the top" for path, _ in entries) or "no place"
