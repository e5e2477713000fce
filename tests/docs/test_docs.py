"""README and docs show what really happens: programs are run, and generated parts made again.

In a Markdown file, `<!-- run: NAME -->` stands before a program, `<!-- output: NAME -->` before its output, and
`<!-- generated: NAME -->` before a block that `generators.py` makes, or before text that ends with `<!-- end -->`.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.generators import GENERATORS

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(<!-- (run|output|generated): (\S+) -->\n(?:```\w*\n|\n))(.*?)(```\n|\n<!-- end -->\n)", re.DOTALL)
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_outputs = {}


def output_of(name, programs, folder):
    if name not in _outputs:
        done = subprocess.run(
            [sys.executable, "-c", programs[name]], capture_output=True, text=True, cwd=folder, check=False
        )
        assert done.returncode == 0, done.stderr
        _outputs[name] = done.stdout
    return _outputs[name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_shown_output_is_real(path, tmp_path, request):
    text = path.read_text()
    programs = {name: body for _, kind, name, body, _ in BLOCK.findall(text) if kind == "run"}

    def renewed(match):
        head, kind, name, body, tail = match.groups()
        if kind == "output":
            body = output_of(name, programs, tmp_path)
        elif kind == "generated":
            body = GENERATORS[name]()
        return head + body.rstrip("\n") + "\n" + tail

    new = BLOCK.sub(renewed, text)
    if request.config.getoption("--update-golden"):
        path.write_text(new)
    assert new == text or request.config.getoption("--update-golden"), (
        f"{path.name} shows something else; if the new text is right, run pytest --update-golden"
    )


def test_every_generator_is_shown():
    shown = {name for path in FILES for _, kind, name, _, _ in BLOCK.findall(path.read_text()) if kind == "generated"}
    assert shown == set(GENERATORS)
