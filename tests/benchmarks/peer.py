"""The parent's side of a worker: starts it, asks it, and lets the machine become quiet in between."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# name: module, class, seconds in which its threads go on spinning after their work, on the cores that others then use.
PEERS = {
    "graphc": ("tests.benchmarks.models.graphc", "Steps", 0.01),
    "torch": ("tests.benchmarks.models.torch", "Steps", 0.25),
    "torch.channels_last": ("tests.benchmarks.models.torch", "LastSteps", 0.25),
    "torch.compile": ("tests.benchmarks.models.torch", "CompiledSteps", 0.25),
    "jax": ("tests.benchmarks.models.jax", "Steps", 0.05),
}
MACHINE = ("tests.benchmarks.machine", "Machine", 0.01)

# What is freed goes back to the system at once, so that memory is what is in use and not what once was (glibc).
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536"}


class Unavailable(Exception):
    """A framework that is not installed, or whose worker ended."""


def environment(cache):
    """Return the variables that point the caches of compiled code to a folder; JAX goes without one, as it does by default."""
    return {
        **os.environ,
        "GRAPHC_CACHE": f"{cache}/graphc",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torch",
        "JAX_PLATFORMS": "cpu",
        "GRAPHC_VERIFY": "0",
    }


class Worker:
    """A framework's process for one row. `ready` is what it told after its first step, `start` when it was started.

    Raises Unavailable if the framework cannot be imported or the process ends.
    """

    def __init__(self, entry, row, threads, cache, *options):
        module, name, self.settling = entry
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with the process
        command = [sys.executable, "-m", "tests.benchmarks.worker", module, name, row, str(threads), *options]
        start = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            bufsize=1,
            cwd=ROOT,
            env=environment(cache) | (RETURNED if options else {}),
        )
        self.ready = self._read()
        if "missing" in self.ready:
            self.close()
            raise Unavailable(self.ready["missing"])
        # The clock of perf_counter is the same for all processes.
        self.start = self.ready.get("at", start) - start

    def _read(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.errors.seek(0)
        said = [one for one in self.errors.read().splitlines() if one.strip()]
        self.close()
        raise Unavailable(said[-1] if said else f"its process ended with {self.process.returncode}")

    def ask(self, **order):
        """Return the answer to an order (see `worker`), once the machine is quiet."""
        print(json.dumps(order), file=self.process.stdin)
        answer = self._read()["value"]
        time.sleep(self.settling)
        return answer

    def close(self):
        """End the process."""
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
