"""Imports go one way: each package sees only what the architecture says, at the top of its files, by absolute names."""

import ast
from pathlib import Path

import pytest

import graphc

ROOT = Path(graphc.__file__).parent
BASE = {"dtypes", "dims", "errors", "origin", "parsing", "records", "reentry", "requirements"}
SPINE = BASE | {"loops", "graph"}
MODEL = SPINE | {"chain", "ops", "derivatives"}
COMPILER = SPINE | {"chain", "ops", "passes", "schedule", "simd", "emit", "runtime", "compiler"}
# What each part may import besides itself.
ALLOWED = {
    "errors": set(),
    "reentry": set(),
    "dtypes": {"errors", "records"},
    "records": set(),
    "uncollected": set(),
    "origin": {"errors", "records"},
    "parsing": {"dims"},
    "dims": {"errors", "origin", "records"},
    "requirements": {"dims", "records"},
    "simd": {"records"},
    "loops": BASE,
    "graph": BASE | {"loops"},
    "chain": SPINE,
    "ops": SPINE | {"chain"},
    "derivatives": SPINE | {"chain", "ops"},
    "linalg": {"ops"},
    "data": BASE,
    "nn": MODEL,
    "optim": MODEL,
    "passes": SPINE | {"chain", "ops"},
    "plan": BASE | {"loops"},
    "schedule": SPINE | {"chain", "ops", "passes"},
    "emit": BASE | {"loops", "simd"},
    "runtime": BASE | {"loops", "emit"},
    "forms": SPINE | {"ops"},
    "planning": SPINE | {"schedule", "emit"},
    "tuning": SPINE | {"forms", "planning", "schedule", "simd", "emit", "runtime"},
    "compiler": COMPILER | {"forms", "planning", "tuning", "uncollected"},
}
# Single modules that hold plain data, the plan and what a CPU can do, and what native functions may call.
DATA = {("runtime", "graphc.schedule.plan"), ("runtime", "graphc.simd.levels"), ("schedule", "graphc.simd.levels")}
DATA |= {("ops", "graphc.simd.foreign"), ("ops", "graphc.simd.lanewise")}
ABOVE = MODEL | COMPILER | {"nn", "optim"}
for part in ("train", "inspect", "interop", "methods", "distributed"):
    ALLOWED[part] = ABOVE | {"train", "inspect"}
ALLOWED["flat"] = ABOVE
ALLOWED["cli"] = ALLOWED["__main__"] = ABOVE | {"train", "inspect", "interop", "methods", "distributed", "cli"}

# What only a cold start needs is imported when it is needed; the direction is that of all imports.
DEFERRED = {
    ("compiler", "graphc.passes"),
    ("compiler", "graphc.planning"),
    ("compiler", "graphc.tuning"),
    ("compiler", "graphc.schedule.scheduling"),
    ("compiler", "graphc.schedule.natives"),
    ("emit", "graphc.emit.parallel"),
}

FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(tree: ast.Module):
    """Every import of graphc with whether it stands at the top level; TYPE_CHECKING blocks are left out."""
    pending = [(node, True) for node in tree.body]
    while pending:
        node, top = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending += [(child, top) for child in node.orelse]
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = [
                f"{node.module}.{alias.name}" if node.module == "graphc" else str(node.module) for alias in node.names
            ]
        yield from ((name, top, node.lineno) for name in names if name.split(".")[0] == "graphc")
        inner = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        pending += [(child, inner) for child in ast.iter_child_nodes(node)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    part = part_of(path)
    assert part in ALLOWED, f"say in tests/test_layout.py what {part} may import"
    for name, top, line in imports(ast.parse(path.read_text())):
        seen = name.split(".")[1] if "." in name else "graphc"
        assert top or (part, name) in DEFERRED, f"{path.name}:{line} imports {name} inside a function"
        allowed = seen == part or seen in ALLOWED[part] or (part, name) in DATA
        assert allowed, f"{path.name}:{line}: {part} must not import {seen}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 500
