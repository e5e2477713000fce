"""Work that makes many objects and keeps them: Python's collector would look through all of them again and again."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager

_LOCK = threading.Lock()
_inside = 0  # how many threads are at such work
_was_enabled = True


@contextmanager
def uncollected() -> Generator[None]:
    """Keep the collector of cycles from running meanwhile, on any thread; then it is as it was before the first of several."""
    global _inside, _was_enabled
    with _LOCK:
        if _inside == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _leave(1)


def _leave(count: int) -> None:
    global _inside
    _inside -= count
    if count and _inside == 0 and _was_enabled:
        gc.enable()


def _after_fork() -> None:
    # The threads at such work are not in the child.
    _leave(_inside)
    _LOCK.release()


os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_after_fork)
