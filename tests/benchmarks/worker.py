"""One framework in a process of its own: it makes a row's first step, then runs blocks of steps as it is told.

    python -m tests.benchmarks.worker MODULE CLASS ROW THREADS [memory]

Lines of JSON come in and go out. While it waits it sleeps, so threads that spin and pools that wait disturb nobody else.
Nothing is imported before the framework: what that costs is measured.
"""

import gc
import importlib
import json
import os
import sys
import time

from tests.benchmarks.clock import clock_for


def resident(field):
    """Return bytes of this process in memory: "VmRSS" now, "VmHWM" at most (ru_maxrss would begin with its parent's)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def main():
    """Answer until the pipe is closed."""
    module, name, row, threads = *sys.argv[1:4], int(sys.argv[4])
    # What libraries print must not come between the lines.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    start = time.perf_counter()
    try:
        make = getattr(importlib.import_module(module), name)
        imported = time.perf_counter()
        if sys.argv[5:]:
            print(json.dumps(_growth(make, row, threads)), file=answers)
            return
        begun = time.perf_counter()
        steps = make(row, threads)
    except (ImportError, AttributeError) as error:
        print(json.dumps({"missing": str(error)}), file=answers)
        return
    steps.first()
    now = time.perf_counter()
    about = steps.about() if hasattr(steps, "about") else {}
    answer = {"import": imported - start, "first": now - begun, "at": now, "modes": steps.MODES, **about}
    answer["work"] = sum(os.times()[:4])  # with that of compilers that were started
    print(json.dumps(answer), file=answers)
    for line in sys.stdin:
        print(json.dumps(_answered(steps, json.loads(line), clock_for(threads))), file=answers)


def _growth(make, row, threads):
    """Return how much of memory a row's model, optimizer and three steps take at most, libraries left out.

    So a small model is trained before, which loads what is loaded late; and what only drawing the first weights took is
    not counted. `bound` is what is known before any step runs, of who can tell: all that is in memory once the sizes are
    known, and what a step is said to take besides.
    """
    make("mlp_tiny", threads).first()
    gc.collect()
    before = resident("VmRSS")
    steps = make(row, threads)
    found = {}
    if hasattr(steps, "step_bytes"):
        said = steps.step_bytes()
        found["bound"] = resident("VmRSS") - before + said
    with open("/proc/self/clear_refs", "w") as most:
        most.write("5")  # the most in memory is what is there now
    for _ in range(3):
        steps.first()
    return found | {"growth": resident("VmHWM") - before}


def _answered(steps, order, clock):
    """Return the seconds of one step in a block of a mode, or what a method gives for these arguments."""
    if "ask" in order:
        return {"value": getattr(steps, order.pop("ask"))(**order)}
    block, count = getattr(steps, order["mode"]), order["count"]
    block(-(-count // 10))  # threads that slept wake up, and caches that others used fill
    start = clock()
    block(count)
    return {"value": (clock() - start) / count}


if __name__ == "__main__":
    main()
