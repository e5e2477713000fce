"""The clock that measures."""

import time


def clock_for(threads):
    """Return the clock for work on so many threads.

    One thread's work is measured by the processor time of its process, which other processes do not lengthen; that of
    several by the time that passes, since what they wait for each other counts.
    """
    return time.process_time if threads == 1 else time.perf_counter
