"""The order of samples in each epoch, written by a thread while the epochs before run."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.runtime.arguments import Array

if TYPE_CHECKING:
    from queue import SimpleQueue


class Orders:
    """The order of each epoch is that of `Generator(Philox(key=[key, epoch])).shuffle`, or the samples' own without a key.

    One generator is set anew for each epoch, for making one takes as long as shuffling a thousand samples. NumPy lets
    other threads run while it shuffles, so this costs a training run no time where a core is free.
    """

    def __init__(self, key: int | None, samples: int) -> None:
        self._straight = np.arange(samples)
        self._generator: np.random.Generator | None = None
        if key is not None:
            source = np.random.Philox(key=[key, 0])
            self._state: Any = source.state
            self._generator = np.random.Generator(source)
        from queue import SimpleQueue  # not what `import graphc` waits for

        self._asked: SimpleQueue[tuple[int, Array] | None] = SimpleQueue()
        self._written: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread: Thread | None = None

    def write(self, epoch: int, rows: Array) -> None:
        """Write the orders of this epoch and those after it into the rows of an array."""
        rows[:] = self._straight
        if self._generator is not None:
            for n, row in enumerate(rows):
                self._state["state"]["key"][1] = epoch + n
                self._generator.bit_generator.state = self._state
                self._generator.shuffle(row)

    def write_ahead(self, epoch: int, rows: Array) -> None:
        """Begin to write orders; `wait` before they are read, and before anything else is written."""
        if self._thread is None:
            self._thread = Thread(target=self._serve, name="graphc-orders", daemon=True)
            self._thread.start()
        self._asked.put((epoch, rows))

    def wait(self) -> None:
        """Wait until the orders begun are written; raises what the thread raised."""
        if (failure := self._written.get()) is not None:
            raise failure

    def close(self) -> None:
        """Let the thread end."""
        self._asked.put(None)

    def _serve(self) -> None:
        while (asked := self._asked.get()) is not None:
            failure = None
            try:
                self.write(*asked)
            except BaseException as error:
                failure = error
            self._written.put(failure)
