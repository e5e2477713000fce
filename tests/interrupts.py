"""Ctrl-C at a given moment of a test."""

import os
import signal
import threading
import time
from contextlib import contextmanager


@contextmanager
def interrupted_after(delay):
    """Send this process SIGINT after `delay` seconds, and again each second; yield the list of the times when it was sent.

    Again, because Python drops a KeyboardInterrupt that is raised while an object's finalizer runs. What a shell runs in the
    background ignores SIGINT from the start, so Python's own handler is set meanwhile.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    sent, over = [], threading.Event()

    def interrupt():
        while not over.wait(1.0 if sent else delay):
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
