"""Where the user wrote something: the first stack frame outside the package, and errors that name it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import FrameType, ModuleType
from typing import NoReturn, Self

from graphc.errors import GraphcError, MissingAttributeError
from graphc.records import record

_PACKAGE = os.path.dirname(__file__)
_internal: dict[str, bool] = {}
# Many nodes are made at one line.
_origins: dict[tuple[str, int], Origin] = {}


@record
class Origin:
    """A line of the user's program."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"


_override: ContextVar[Origin | None] = ContextVar("_override", default=None)


def here() -> Origin:
    """Return the user's line that is being run, or the one that `made_at` names."""
    chosen = _override.get()
    if chosen is not None:
        return chosen
    frame = _users_frame()
    place = frame.f_code.co_filename, frame.f_lineno
    return _origins.get(place) or _origins.setdefault(place, Origin(*place))


def frames_within() -> Iterator[FrameType]:
    """Yield the frames between the caller's and the user's line; none where `made_at` names that line."""
    frame, last = sys._getframe(1), _users_frame()  # pyright: ignore[reportPrivateUsage]
    while _override.get() is None and frame is not None and frame is not last:
        yield frame
        frame = frame.f_back


def _users_frame() -> FrameType:
    """Return the first frame outside the package, seen from the caller's caller."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    while True:
        file = frame.f_code.co_filename
        internal = _internal.get(file)
        if internal is None:
            internal = _internal[file] = file.startswith((_PACKAGE, "<")) and not file.startswith(
                ("<stdin", "<ipython")
            )
        if not internal or frame.f_back is None:
            return frame
        frame = frame.f_back


class made_at:
    """Give the nodes made inside this block the origin of what they derive from."""

    # No generator, which takes five times as long to enter and leave: passes do it for every node.
    __slots__ = ("_origin", "_token")

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def __enter__(self) -> Self:
        self._token = _override.set(self._origin)
        return self

    def at(self, origin: Origin) -> None:
        """Go on with another origin, until the block ends."""
        _override.set(origin)

    def __exit__(self, *_: object) -> None:
        _override.reset(self._token)


def locate(error: GraphcError, what: str, operands: tuple[str, ...]) -> None:
    """Add to an error the user's line, the operation, and where each operand was made.

    Of operations inside one another the outermost is named, which is the one that the user called; but a function of
    the user's in between, such as a scan's step, has the line that matters.
    """
    call = id(_users_frame())  # that of a call inside it stays in the traceback: no other has its id
    message, inner, known = getattr(error, "located", (str(error), call, operands))
    if inner != call:
        return
    operands = operands or known
    error.located = message, call, operands  # type: ignore[attr-defined]
    lines = [message, f"  in {what} at {here()}", *(f"  operand {k}: {text}" for k, text in enumerate(operands))]
    error.args = ("\n".join(lines),)


def refuse_attribute(owner: object, name: str, advice: Mapping[str, str]) -> NoReturn:
    """Raise the AttributeError of an attribute that `owner` does not have, with advice for names of other frameworks."""
    what = f"module {owner.__name__!r}" if isinstance(owner, ModuleType) else f"{type(owner).__name__!r} object"
    missing = f"{what} has no attribute {name!r}"
    if name not in advice:
        # Python looks names up that objects may lack, to copy or print them: no frame is walked for those.
        if not name.startswith("_") and (near := _near(name, owner)):
            # Python 3.13 would guess, too, from name and object; older ones do so for errors of their own only.
            raise MissingAttributeError(f"{missing}. Did you mean: {near[0]!r}?")
        raise MissingAttributeError(missing, name=name, obj=owner)
    raise MissingAttributeError(f"{missing}; {advice[name]}\n  at {here()}", name=name, obj=owner)


def _near(name: str, owner: object) -> list[str]:
    from difflib import get_close_matches  # slow to import

    return get_close_matches(name, [other for other in dir(owner) if not other.startswith("_")], 1, 0.7)
