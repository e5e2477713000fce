"""Calls from native code back into Python: what the calls and the runtime must tell each other.

An exception cannot pass through native code. It waits here, under the address of the run's status block, which says that
one does, until the run is over.
"""

import os

# The second of the codes of a status block; the first is that of an index out of range.
PYTHON_RAISED = 2
# A place in the order of errors after that of every index check: those are reported first.
LAST_SITE = 2**62

waiting: dict[int, BaseException] = {}
# Threads inside such a call: they hold the locks of a run, so another run would wait for itself.
inside: set[int] = set()
os.register_at_fork(after_in_child=inside.clear)
