"""The disk cache: object code, plans, their memory and measured tilings under the names of what they were made from.

An entry is `KIND/KEY`; its file is a mark, the SHA-256 of the payload, and the payload. Nothing is loaded that does
not verify, or that another user owns or may write to; whatever goes wrong counts as a miss, and is told once.

A process that adds to the cache for the first time removes what was used least recently beyond `$GRAPHC_CACHE_LIMIT` bytes (1 GiB
unless set). `graphc.cache` is this module: `entries()`, `verify()`, `clear()`, `shrink(limit)`, `folder()`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from graphc.errors import GraphcWarning
from graphc.records import record

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("object", "plan", "source", "memory", "tiling")
_MARK = b"graphc\x00\x01"
_DIGEST = hashlib.sha256().digest_size
_LIMIT = 1 << 30
_DAY = 86_400
_warned: list[str] = []
_measured: list[bool] = []


@record
class Entry:
    """One file of the cache: its size in bytes, and when it was last used, in seconds since 1970."""

    kind: str
    key: str
    nbytes: int
    used: float


def folder() -> Path:
    """Return the cache's folder: `$GRAPHC_CACHE`, else `graphc` in the platform's folder for a user's caches."""
    return _path(_folder())


def path_of(kind: str, key: str) -> Path:
    """Return the file of an entry, whether it exists or not."""
    return _path(_file(kind, key))


def _path(name: str) -> Path:
    from pathlib import Path  # slow to import, and a start from the cache asks for no path

    return Path(name)


def _folder() -> str:
    chosen = os.environ.get("GRAPHC_CACHE")
    if chosen:
        return chosen
    home = os.path.expanduser("~")
    if home == "~":
        raise RuntimeError("this user has no home folder, and $GRAPHC_CACHE names no other")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches", "graphc")
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA") or home, "graphc")
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache"), "graphc")


def _file(kind: str, key: str) -> str:
    if kind not in KINDS or not key.isalnum():
        raise ValueError(f"no cache entry {kind!r}/{key!r}: kinds are {', '.join(KINDS)}, keys are letters and digits")
    return os.path.join(_folder(), kind, key)


@functools.cache
def environment() -> str:
    """Return what all cached code depends on: graphc's own files, Numba, llvmlite, Python and the machine."""
    package = os.path.dirname(os.path.dirname(__file__))
    stamps = [f"{path} {s.st_size} {s.st_mtime_ns}" for path, s in _sources(package)]
    versions = [_version_file(name) for name in ("numba", "llvmlite", "numpy")]
    return "\n".join([*sorted(stamps), *versions, sys.version, platform.machine(), sys.platform])


def _sources(folder: str, inside: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield the source files below a folder: their paths from there, and what the system says of them."""
    with os.scandir(folder) as found:
        for entry in found:
            if entry.name.endswith(".py"):
                yield inside + entry.name, entry.stat()
            elif entry.is_dir() and entry.name != "__pycache__":
                yield from _sources(entry.path, f"{inside}{entry.name}/")


def _version_file(package: str) -> str:
    """Return the text of a package's version file: importlib.metadata is slower, importing the package far slower."""
    spec = PathFinder.find_spec(package)
    for origin in (spec.submodule_search_locations or ()) if spec else ():
        for name in ("_version.py", "version.py"):
            with contextlib.suppress(OSError), open(os.path.join(origin, name), encoding="utf-8") as file:
                return file.read()
    return f"{package}: none"


def key_of(level: str, *parts: str | bytes) -> str:
    """Return the key of what is made from these parts for a CPU level, by this graphc with its tools' versions."""
    digest = _hashed(environment()).copy()
    for part in (level, *parts):
        _add(digest, part)
    return digest.hexdigest()


@functools.cache
def _hashed(environment: str) -> Any:
    """Return the hash of what every key begins with."""
    digest = hashlib.sha256()
    _add(digest, environment)
    return digest


def _add(digest: Any, part: str | bytes) -> None:
    data = part.encode() if isinstance(part, str) else part
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)


def _warn(what: str) -> None:
    if not _warned:
        _warned.append(what)
        warnings.warn(f"the cache is not used: {what}; everything is compiled anew", GraphcWarning, stacklevel=3)


def _distrusted(status: os.stat_result, path: str) -> str:
    """Why a file or folder is not to be trusted; empty if it is."""
    if sys.platform == "win32":
        return ""  # owners and modes mean nothing there; the user's profile is private
    if status.st_uid != os.geteuid():
        return f"{path} belongs to another user"
    return f"{path} can be written by others" if status.st_mode & 0o022 else ""


def _distrusted_folders(kind: str) -> str:
    reasons = (_distrusted(os.stat(path), path) for path in (_folder(), os.path.join(_folder(), kind)))
    return next((reason for reason in reasons if reason), "")


def read(kind: str, key: str) -> bytes | None:
    """Return the payload of an entry, or None if there is none that can be trusted."""
    try:
        path = _file(kind, key)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RuntimeError) as error:
        _warn(str(error))
        return None
    try:
        with open(descriptor, "rb") as file:
            reason = _distrusted(os.fstat(descriptor), path) or _distrusted_folders(kind)
            data = b"" if reason else file.read()
    except OSError as error:
        _warn(str(error))
        return None
    payload = data[len(_MARK) + _DIGEST :]
    if not reason and data != _MARK + hashlib.sha256(payload).digest() + payload:
        reason = f"{path} is damaged"
    if reason:
        _warn(reason)
        return None
    with contextlib.suppress(OSError):
        if time.time() - os.stat(path).st_mtime > _DAY:
            os.utime(path)
    return payload


def holds(kind: str, key: str) -> bool:
    """Whether there is an entry, which may still not be one that can be trusted."""
    with contextlib.suppress(OSError, RuntimeError):
        return os.path.exists(_file(kind, key))
    return False


def write(kind: str, key: str, payload: bytes) -> None:
    """Store a payload, or nothing if it cannot be; readers see the whole entry or none."""
    temporary = ""
    try:
        path = _file(kind, key)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        reason = _distrusted_folders(kind)
        if reason:
            _warn(reason)
            return
        # Not tempfile, whose import takes longer than reading an entry.
        temporary = f"{path}.{os.getpid()}.{threading.get_ident()}"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_MARK + hashlib.sha256(payload).digest() + payload)
        os.replace(temporary, path)
        if not _measured:
            _measured.append(True)
            shrink(int(os.environ.get("GRAPHC_CACHE_LIMIT") or _LIMIT))
    except (OSError, RuntimeError) as error:
        _warn(str(error))
        with contextlib.suppress(OSError):
            if temporary:
                os.unlink(temporary)


def entries() -> list[Entry]:
    """Return every entry, the least recently used first; an entry's time of use is known to a day."""
    found: list[Entry] = []
    for kind in KINDS:
        with contextlib.suppress(OSError, RuntimeError), os.scandir(os.path.join(_folder(), kind)) as files:
            for file in files:
                with contextlib.suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    found.append(Entry(kind, file.name, status.st_size, status.st_mtime))
    return sorted(found, key=lambda entry: entry.used)


def verify() -> list[Entry]:
    """Read every entry and return those that are damaged or not to be trusted; they are never loaded."""
    return [entry for entry in entries() if not _is_whole(os.path.join(_folder(), entry.kind, entry.key))]


def clear() -> None:
    """Remove every entry."""
    _remove(entries())


def shrink(limit: int) -> None:
    """Remove the least recently used entries until what is left takes at most `limit` bytes."""
    found = entries()
    excess = sum(entry.nbytes for entry in found) - limit
    for entry in found:
        if excess <= 0:
            return
        _remove([entry])
        excess -= entry.nbytes


def _is_whole(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            data = file.read()
        payload = data[len(_MARK) + _DIGEST :]
        return data == _MARK + hashlib.sha256(payload).digest() + payload and not _distrusted(os.lstat(path), path)
    except OSError:
        return False


def _remove(found: Iterable[Entry]) -> None:
    for entry in found:
        with contextlib.suppress(OSError, RuntimeError):
            os.unlink(os.path.join(_folder(), entry.kind, entry.key))
