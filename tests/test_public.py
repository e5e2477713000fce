"""What `import graphc` gives, and what it must not cost."""

import os
import subprocess
import sys

import graphc


def test_every_public_name_exists_once():
    assert len(set(graphc.__all__)) == len(graphc.__all__)
    assert all(hasattr(graphc, name) for name in graphc.__all__)


def test_import_is_quick_and_brings_neither_numba_nor_networkx(tmp_path):
    code = (
        "import sys, time, numpy; start = time.process_time(); import graphc; took = time.process_time() - start;"
        "print(took, [m for m in ('numba', 'llvmlite', 'networkx', 'scipy') if m in sys.modules])"
    )
    # The first of them writes the bytecode, as an installation does.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    best = 9.0
    for _ in range(4):
        took, heavy = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        ).stdout.split(" ", 1)
        best = min(best, float(took))
    assert heavy.strip() == "[]"
    # Of processor time; the aim is 0.2 s, and the slack is for slow machines.
    assert best < 0.45
