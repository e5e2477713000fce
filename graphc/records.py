"""Records: frozen values, equal and hashed by their fields; `dataclass(frozen=True)` without generated source.

`dataclass` compiles functions for each class, which takes 0.3 ms and more; the IRs have a hundred classes, all made by
`import graphc`. The methods of records are the same functions for every class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import FrozenInstanceError
from operator import attrgetter
from threading import Lock
from typing import Any, Literal, NoReturn, TypeVar, dataclass_transform
from weakref import WeakValueDictionary

C = TypeVar("C", bound=type)
T = TypeVar("T")

_MISSING: Any = object()
_set = object.__setattr__


class _Keyword:
    def __init__(self, default: Any) -> None:
        self.default = default


class _Signature:
    """What `help` and `inspect.signature` say of a record, made when they ask."""

    def __get__(self, instance: object, owner: Any) -> inspect.Signature:
        found: list[inspect.Parameter] = []
        for position, name in enumerate(owner._record_names):
            kind = _POSITIONAL if position < owner._record_positional else inspect.Parameter.KEYWORD_ONLY
            default = owner._record_fields[name]
            found.append(
                inspect.Parameter(name, kind, default=inspect.Parameter.empty if default is _MISSING else default)
            )
        return inspect.Signature(found)


_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


def keyword(*, default: Any, kw_only: Literal[True] = True) -> Any:
    """Return what stands for the default of a field that is given by name only."""
    return _Keyword(default)


@dataclass_transform(frozen_default=True, field_specifiers=(keyword,))
def record(cls: C) -> C:
    """Make the annotated names of a class, after those of its bases, fields of a record.

    Annotations must be strings (`from __future__ import annotations`); those that start with ClassVar are no fields. Methods
    that the class itself defines stay: `__eq__ = object.__eq__` and `__hash__ = object.__hash__` have values compared by
    identity.
    """
    made = _described(cls)
    made |= {"__setattr__": _refuse, "__delattr__": _refuse, "__getstate__": _state}
    if "__eq__" not in cls.__dict__:
        made |= {"__eq__": _equal, "__hash__": _hash}
    _complete(cls, made)
    return cls


@dataclass_transform(eq_default=False)
def structure(cls: C) -> C:
    """Make the annotated names of a class fields, as of a record, that may be assigned; values are compared by identity."""
    _complete(cls, _described(cls))
    return cls


@dataclass_transform(eq_default=False, frozen_default=True)
def slotted(cls: C) -> C:
    """Make a record with slots for its fields and nothing else, compared by identity: for what there are very many of.

    The class is made anew, so its methods cannot say `super()`.
    """
    made = _described(cls)
    body = {name: value for name, value in cls.__dict__.items() if name not in ("__dict__", "__weakref__")}
    inherited = {name for base in cls.__mro__[1:] for name in base.__dict__.get("__slots__", ())}
    own = [name for name in made["_record_names"] if name not in inherited]
    for name in own:
        body.pop(name, None)  # a default, which stands where the slot will
    new: Any = type(cls)(cls.__name__, cls.__bases__, body | {"__slots__": tuple(own)})
    put = [getattr(new, name).__set__ for name in made["_record_names"]]
    made |= {"__setattr__": _refuse, "__delattr__": _refuse, "_record_put": put, "__init__": _fill}
    _complete(new, made)
    return new


def _described(cls: Any) -> dict[str, Any]:
    """Return what the class of some fields has to have."""
    required: dict[str, Any] = {}
    for base in cls.__mro__[:0:-1]:
        required |= base.__dict__.get("_record_fields", {})
    keywords = {name for base in cls.__mro__[1:] for name in base.__dict__.get("_record_keywords", ())}
    for name, annotation in cls.__dict__.get("__annotations__", {}).items():  # noqa: RUF063
        if annotation.startswith("ClassVar"):
            continue
        default = cls.__dict__.get(name, _MISSING)
        if isinstance(default, _Keyword):
            keywords.add(name)
            default = default.default
            setattr(cls, name, default)
        required[name] = default
    positional = tuple(name for name in required if name not in keywords)
    names = (*positional, *(name for name in required if name in keywords))
    return {
        "_record_fields": required,
        "_record_keywords": keywords,
        "_record_names": names,
        "_record_positional": len(positional),
        "_record_plain": len(names) if len(positional) == len(names) else -1,
        "_record_least": len(names) if len(positional) < len(names) else _least(required.values()),
        "_record_defaults": tuple(required.values()),
        "_record_values": staticmethod(_getter(names)),
        "__match_args__": positional,
        "__signature__": _Signature(),
        "__init__": _init,
        "__repr__": _repr,
    }


def _complete(cls: Any, made: dict[str, Any]) -> None:
    if "__init__" in cls.__dict__:
        del made["__signature__"]  # which is its own
    for name, value in made.items():
        if name not in cls.__dict__:
            setattr(cls, name, value)


@dataclass_transform(frozen_default=True)
def interned(cls: C) -> C:
    """Make a record of which equal ones are one object, as long as it is in use; so are its subclasses.

    They are compared and hashed by identity, which takes Python no call of a function: for what many tables have as keys.
    """
    cls = record(cls)
    own: dict[str, Any] = {"__new__": _one, "__init__": object.__init__, "__reduce__": _reduced}
    for name, value in {**own, "__eq__": object.__eq__, "__hash__": object.__hash__}.items():
        setattr(cls, name, value)
    return cls


def names_of(value: Any) -> tuple[str, ...]:
    """Return the names of a record's fields."""
    return value._record_names


def is_left_out(value: Any, name: str) -> bool:
    """Whether a record's field is empty, as it is by default: what has no text."""
    return getattr(value, name) == () == value._record_fields[name]


def annotations_of(kind: type) -> dict[str, str]:
    """Return the annotations of a kind of record's fields, as they are written."""
    found: dict[str, str] = {}
    for base in kind.__mro__[::-1]:
        found |= base.__dict__.get("__annotations__", {})  # noqa: RUF063 - of this class alone
    return {name: found[name] for name in names_of(kind)}


def replace(value: T, /, **changes: Any) -> T:
    """Return a record with other values in some fields."""
    old: Any = value
    kept = {name: getattr(old, name) for name in old._record_names}
    return type(value)(**(kept | changes))


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    match names:
        case ():
            return lambda _: ()
        case (name,):
            return lambda value: (getattr(value, name),)
        case _:
            return attrgetter(*names)


def _init(self: Any, /, *values: Any, **named: Any) -> None:
    if named or len(values) != self._record_plain:
        values = _completed(type(self), values, named)
    # A frozen value refuses assignment. Not through `__dict__`, for as long as nobody asks for that there is none: a quarter of
    # the memory, and there are two records for each node of a graph.
    for name, value in zip(self._record_names, values):  # noqa: B905
        _set(self, name, value)


def _fill(self: Any, /, *values: Any, **named: Any) -> None:
    if named or len(values) != self._record_plain:
        values = _completed(type(self), values, named)
    for put, value in zip(self._record_put, values):  # noqa: B905
        put(self, value)


def _least(defaults: Collection[Any]) -> int:
    """Return how many values must be given before defaults stand for all that follow."""
    return max((n for n, default in enumerate(defaults, 1) if default is _MISSING), default=0)


def _completed(kind: Any, values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    if not named and kind._record_least <= len(values) < kind._record_plain:
        return values + kind._record_defaults[len(values) :]
    names: tuple[str, ...] = kind._record_names
    what = kind.__name__
    if len(values) > kind._record_positional:
        raise TypeError(f"{what} takes {kind._record_positional} values by position, got {len(values)}")
    given = dict(zip(names, values))  # noqa: B905
    if twice := given.keys() & named.keys():
        raise TypeError(f"{what} got {sorted(twice)[0]!r} twice")
    given |= named
    if unknown := given.keys() - set(names):
        raise TypeError(f"{what} has no field {sorted(unknown)[0]!r}")
    complete = kind._record_fields | given
    if missing := [name for name in names if complete[name] is _MISSING]:
        raise TypeError(f"{what} needs {', '.join(missing)}")
    return tuple(complete[name] for name in names)


def _refuse(self: Any, name: str, value: Any = None) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _equal(self: Any, other: object) -> bool:
    if self is other:
        return True
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._record_values(self) == self._record_values(other)


def _hash(self: Any) -> int:
    # Kept, for records are keys of many tables; not among the fields, and not in copies.
    try:
        return self._record_hash
    except AttributeError:
        found = hash(self._record_values(self))
        _set(self, "_record_hash", found)
        return found


_interned: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()
_interning = Lock()


def _one(cls: Any, *values: Any, **named: Any) -> Any:
    if named or len(values) != cls._record_plain:
        values = _completed(cls, values, named)
    key = (cls, *values)
    found = _interned.get(key)
    if found is None:
        with _interning:  # two threads must not make two
            found = _interned.get(key)
            if found is None:
                found = object.__new__(cls)
                for name, value in zip(cls._record_names, values):  # noqa: B905
                    _set(found, name, value)
                _interned[key] = found
    return found


def _reduced(self: Any) -> tuple[Any, Any]:
    return self.__class__, self._record_values(self)


def _state(self: Any) -> dict[str, Any]:
    return {name: value for name, value in self.__dict__.items() if name != "_record_hash"}


def _repr(self: Any) -> str:
    fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._record_names)
    return f"{type(self).__qualname__}({fields})"
