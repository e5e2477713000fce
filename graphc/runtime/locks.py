"""The readers-writer lock between runs that commit updates and runs that do not.

`threading` has none, and this one must also survive a KeyboardInterrupt at any instruction: a reader is a member of a
set, added and discarded in `try ... finally`; the writers' mutex is a `with` of the interpreter's own lock. So
whatever is interrupted leaves nothing held.
"""

from __future__ import annotations

import os
import threading
import time

_NAP = 50e-6


class ReadersWriterLock:
    """Many readers or one writer; `reading()` and `writing()` give context managers, one for each use."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all holders, as a child of fork must."""
        self.mutex = threading.Lock()
        self.readers: set[object] = set()
        self.patient: set[object] = set()
        self.writer: object | None = None

    def enter_reading(self, token: object) -> None:
        """Become a reader under this token; must be inside try, with `readers.discard(token)` in its finally."""
        self.readers.add(token)
        while self.writer is not None:
            self.readers.discard(token)
            self.patient.add(token)
            try:
                with self.mutex:
                    # No writer now; one that comes later finds this reader and waits.
                    self.readers.add(token)
                    return
            finally:
                self.patient.discard(token)

    def enter_writing(self, token: object) -> None:
        """Wait for the readers; must be inside try and `with mutex`, with `writer = None` in the finally."""
        self.writer = token
        while self.readers:
            time.sleep(_NAP)

    def give_way(self) -> None:
        """Before taking the mutex: let readers in who wait for it, lest a loop of writes starve them."""
        if self.patient:
            time.sleep(_NAP)


LOCK = ReadersWriterLock()
os.register_at_fork(after_in_child=LOCK.clear)

# Held while machine code is made or loaded. A fork waits for it: a child must not inherit a compiler in mid-work.
LOADING = threading.RLock()
os.register_at_fork(before=LOADING.acquire, after_in_parent=LOADING.release, after_in_child=LOADING.release)
