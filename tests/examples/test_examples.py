"""Every example runs in a short form, and again in a fresh process from the cache with numba blocked.

`docs/examples.md` shows what the short forms print. There, after `<!-- example: COMMAND -->`, numbers may differ a little
from those printed here: another CPU rounds differently, and training makes small differences larger.
"""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What follows the name on the command line, then limits of figures in the output: pattern, at least, at most.
EXAMPLES = {
    "digits_mlp.py": ("--epochs 5", [(r"accuracy: (\S+)%", 93, 100)]),
    "lenet.py": ("--epochs 4", [(r"accuracy: (\S+)%", 80, 100)]),
    "resnet.py": ("--epochs 2", [(r"augmentation +(\S+)%", 94, 100), (r"without.*, (\S+)% of them", 50, 90)]),
    "autoencoder.py": ("--epochs 8", [(r"autoencoder +(\S+)", 0.01, 0.025), (r"components +(\S+)", 0.025, 0.026)]),
    "regression.py": ("", [(r"R\^2 = (\S+),", 0.5177, 0.5178), (r"sin\(3x\) = (\S+),", 0, 0.03)]),
    "gradient_check.py": ("", [(r"1e-02 +(\S+)", 1e-7, 1e-3), (r"1e-05 +(\S+)", 0, 1e-9), (r"to (\S+)", 0, 1e-12)]),
    "rumelhart1986.py": ("--sweeps 5000", [(r"XOR 2-1-1 direct +(\d+)", 18, 20), (r"8-3-8 +(\d+)", 18, 20)]),
    "gan.py": ("--steps 2000", [(r"ring: (\S+) ->", 1, 2), (r"-> (\S+);", 0, 0.2), (r"gets (\d+)%", 5, 13)]),
    "adding.py": (
        "--length 20 --hidden 32 --steps 600",
        [(r"always 1.*error (\S+)", 0.16, 0.18), (r"LSTM.*below (\S+)", 0, 0.01), (r"RNN.*error (\S+)", 0.15, 0.2)],
    ),
    "charlm.py": (
        "--models gru --width 24 --steps 100 --written 0",
        [(r"3-gram: (\S+)", 2.0, 3.0), (r"gru: (\S+)", 2.0, 4.2)],
    ),
    "ctc_tones.py": ("--steps 180 --hidden 32 --shown 0", [(r"error rate: at most (\S+)%", 0, 5)]),
    "forecast.py": ("", [(r"naive forecast by (\d+)%", 10, 80)]),
    "gradients_in_time.py": ("", [(r"to (1e-14)", 1e-14, 1e-14), (r"b  tanh.* (\S+)\n", 0, 1e-15)]),
    "sort_gpt.py": ("--layers 1 --steps 250", [(r"sorted: (\d+) of 729", 650, 729)]),
    "pinn.py": ("--steps 500 --layers 1", [(r"solution: (\S+)", 0, 0.1)]),
}
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
DOC = ROOT / "docs" / "examples.md"
SHOWN = re.compile(r"(<!-- example: (\S+\.py)(.*?) -->\n```text\n)(.*?)(```\n)", re.DOTALL)
NUMBER = re.compile(r"\d[\d.]*(?:e[-+]?\d+)?")
SECONDS = re.compile(r".* in [\d.]+ s\n")


@cache
def printed(name, folder):
    """Return what the short form prints, less the seconds it took, after a run that fills the cache in this folder."""
    script = [str(ROOT / "examples" / name), *EXAMPLES[name][0].split()]
    environment = {**os.environ, "GRAPHC_CACHE": str(folder / "cache")}
    cold, warm = (
        subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, check=False)
        for command in (script, ["-c", BLOCKED, *script])
    )
    assert cold.returncode == 0, cold.stderr
    assert warm.returncode == 0, warm.stderr
    assert SECONDS.sub("", cold.stdout) == SECONDS.sub("", warm.stdout)
    return SECONDS.sub("", cold.stdout)


def is_same_but_for_rounding(text, other):
    """Whether two texts have the same words, and numbers within a half of each other."""
    words = [" ".join(NUMBER.sub("#", one).split()) for one in (text, other)]
    pairs = zip(NUMBER.findall(text), NUMBER.findall(other), strict=False)
    return words[0] == words[1] and all(float(a) == pytest.approx(float(b), rel=0.5, abs=1e-9) for a, b in pairs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")


def test_every_example_has_a_short_form():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


def test_every_example_is_in_the_docs():
    text = DOC.read_text()
    assert {(name, arguments.strip()) for _, name, arguments, _, _ in SHOWN.findall(text)} == {
        (name, arguments) for name, (arguments, _) in EXAMPLES.items()
    }
    assert all(f"| [{name}](../examples/{name}) |" in text for name in EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_figures_of_the_short_form_are_within_their_limits_and_as_in_the_docs(name, folder, request):
    output = printed(name, folder)
    for pattern, least, most in EXAMPLES[name][1]:
        assert least <= float(re.search(pattern, output).group(1)) <= most, output

    text = DOC.read_text()
    shown = next(body for _, given, _, body, _ in SHOWN.findall(text) if given == name)
    if request.config.getoption("--update-golden"):
        # Read again: the other examples' outputs are put there by the other tests.
        DOC.write_text(SHOWN.sub(lambda m: m[1] + (output if m[2] == name else m[4]) + m[5], text))
    else:
        assert is_same_but_for_rounding(shown, output), (
            "docs/examples.md is old: run pytest --update-golden on this file"
        )


def test_the_comparison_with_the_docs_sees_differences():
    assert is_same_but_for_rounding("error 1.2e-03 in 5 runs", "error  1.3e-03 in 5 runs")
    assert not is_same_but_for_rounding("error 1.2e-03 in 5 runs", "error 1.2e-02 in 5 runs")
    assert not is_same_but_for_rounding("error 1.2e-03", "errors 1.2e-03")
    assert not is_same_but_for_rounding("error 1 2", "error 1")
