"""One cache for many: eight processes that compile the same model at once, and entries that were damaged since."""

import os
import subprocess
import sys

import pytest

from graphc.emit import cache

MODEL = """
import sys, warnings
import numpy as np
import graphc
print("ready", flush=True)
sys.stdin.readline()  # all processes start at once
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    x = graphc.input("x", ("n", 3))
    w = graphc.parameter(np.arange(6.0).reshape(3, 2), "w", "float32")
    loss = graphc.mean(graphc.tanh(x @ w))
    step = graphc.compile([x], loss, {w: w - 0.5 * graphc.grad(loss, w)})
    losses = [float(step(np.ones((4, 3), "float32") * k)) for k in (0.1, 0.2)]
print(*losses, *w.value.ravel(), "graphc.simd.translate" in sys.modules, len(told), *(str(one.message)[:30] for one in told))
"""


def started(count, folder):
    environment = {**os.environ, "GRAPHC_CACHE": str(folder), "GRAPHC_VERIFY": "0", "GRAPHC_CACHE_LIMIT": str(10**8)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return [subprocess.Popen([sys.executable, "-c", MODEL], env=environment, text=True, **pipes) for _ in range(count)]


def ended(processes):
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said[0][1]
    return [out.split(maxsplit=10) for out, _ in said]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return folder, ended(started(8, folder))


def test_eight_processes_compile_the_same_model_at_once(filled, monkeypatch):
    folder, said = filled
    monkeypatch.setenv("GRAPHC_CACHE", str(folder))
    # One that the system kept waiting may have found what the others wrote.
    assert {(*one[:8], *one[9:]) for one in said} == {(*said[0][:8], "0")}, said
    assert "True" in {one[8] for one in said}
    assert cache.verify() == []
    kinds = {kind: [entry for entry in cache.entries() if entry.kind == kind] for kind in cache.KINDS}
    assert len(kinds["plan"]) == 1
    assert len(kinds["object"]) == len(kinds["source"]) >= 4
    assert all(entry.key.isalnum() for entry in cache.entries()), "a file that was not finished"


def test_damaged_entries_are_compiled_again(filled, monkeypatch):
    folder, said = filled
    monkeypatch.setenv("GRAPHC_CACHE", str(folder))
    (whole,) = ended(started(1, folder))
    assert whole == [*said[0][:8], "False", "0"]
    for number, entry in enumerate(cache.entries()):
        path = folder / entry.kind / entry.key
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if number % 2 else data[: len(data) // 2])
    assert len(cache.verify()) == len(cache.entries())
    (again,) = ended(started(1, folder))
    assert again[:10] == [*said[0][:8], "True", "1"]
    assert again[10].startswith("the cache is not used")
    damaged = {entry.kind for entry in cache.verify()}
    assert damaged <= {"source"}, "what is loaded was written anew"
    cache.clear()
    assert cache.entries() == []
