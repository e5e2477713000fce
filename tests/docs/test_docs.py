"""README and docs show what really happens: programs are run, and generated parts made again.

In a Markdown file, `<!-- run: NAME -->` stands before a program, `<!-- output: NAME -->` before its output, and
`<!-- generated: NAME -->` before a block that `generators.py` makes, or before text that ends with `<!-- end -->`. The
gallery of errors and the reference are pages that are generated as a whole.
"""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.docs import conventions, gallery, mistakes, mistakes_training, reference
from tests.docs.generators import GENERATORS

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(<!-- (run|output|generated): (\S+) -->\n(?:```\w*\n|\n))(.*?)(```\n|\n<!-- end -->\n)", re.DOTALL)
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {
    "errors.md": gallery.page,
    "reference/README.md": reference.index,
    "reference/conventions.md": conventions.page,
    **{f"reference/{name}.md": partial(reference.page, name) for name in reference.PAGES},
}
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_its_generator_writes(name, request):
    path = ROOT / "docs" / name
    new = "\n".join(line.rstrip() for line in PAGES[name]().rstrip("\n").splitlines()) + "\n"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(new)
    assert new == path.read_text(), (
        f"docs/{name} shows something else; if the new text is right, run pytest --update-golden"
    )


def test_the_gallery_shows_the_mistakes_of_both_files():
    files = {one.name: one for one in gallery.MISTAKES}
    assert files.keys() >= {mistakes.broadcast.__name__, mistakes_training.lr.__name__}


def test_the_reference_has_every_public_name_once():
    modules = [module for _, sections in reference.PAGES.values() for group in sections.values() for module in group]
    assert len(set(modules)) == len(modules)
    assert {name for name, value in reference.public().items() if value.__module__ not in modules} == set()


def test_every_public_name_says_what_it_is():
    silent = [name for name, value in reference.public().items() if not (vars(value).get("__doc__") or value.__doc__)]
    assert silent == []


def test_links_lead_to_files():
    for path in (*FILES, *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+\.md)[^)]*\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
