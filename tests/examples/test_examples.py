"""Every example runs in a short form, and again in a fresh process from the cache with numba blocked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORT = {"digits_mlp.py": ["--epochs", "5"]}
BLOCKED = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba", "networkx"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_every_example_has_a_short_form():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SHORT)


@pytest.mark.parametrize("name", SHORT)
def test_example_cold_then_warm_without_numba(name, tmp_path):
    environment = {**os.environ, "GRAPHC_CACHE": str(tmp_path / "cache")}

    def run(*command):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if "accuracy" in line]

    script = [str(EXAMPLES / name), *SHORT[name]]
    cold, warm = run(*script), run("-c", BLOCKED, *script)
    assert cold
    assert warm == cold


def test_digits_reach_97_percent():
    sys.path.insert(0, str(EXAMPLES))
    try:
        import digits_mlp
    finally:
        sys.path.pop(0)
    assert digits_mlp.main(verbose=False) >= 0.97
