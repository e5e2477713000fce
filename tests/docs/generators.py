"""Makes the parts of the docs that show graphs, kernels and plans; always for one CPU level, so they are the same everywhere."""

import inspect
import linecache
from functools import cache

import numpy as np

import graphc
from graphc.compiler import plan_of
from graphc.graph.graph import Graph
from graphc.inspect.plan_text import plan_text
from graphc.loops.text import text as kernel_text
from graphc.passes import PASSES, run_passes
from graphc.passes.algebra import THEMES
from graphc.schedule.scheduling import schedule
from graphc.simd.levels import LEVELS

LEVEL = LEVELS["x86-64-v4"]

PROGRAM = """\
x = graphc.input("x", ("batch", 3))
y = graphc.input("y", ("batch", 2))
w = graphc.parameter(np.ones((3, 2), "float32"), "w")
loss = graphc.mean(graphc.square(graphc.tanh(x @ w) - y))
updates = {w: w - 0.1 * graphc.grad(loss, w)}
"""


@cache
def example():
    names = {"graphc": graphc, "np": np}
    linecache.cache["model.py"] = (len(PROGRAM), None, PROGRAM.splitlines(keepends=True), "model.py")
    exec(compile(PROGRAM, "model.py", "exec"), names)
    return Graph((names["x"], names["y"]), (names["loss"],), tuple(names["updates"].items()))


@cache
def passed():
    return run_passes(example(), training=True)


def kernels():
    linecache.cache["model.py"] = (len(PROGRAM), None, PROGRAM.splitlines(keepends=True), "model.py")
    draft = schedule(passed(), LEVEL)
    return "\n\n".join(kernel_text(k.kernel, lambda n: draft.buffers[n].name) for k in draft.kernels)


LINE = """\
import graphc
x = graphc.input("x", (1024,))
y = graphc.tanh(x) * 0.5 + x
"""


def one_line():
    """The kernel of one line of a user's program."""
    names = {}
    linecache.cache["model.py"] = (len(LINE), None, LINE.splitlines(keepends=True), "model.py")
    exec(compile(LINE, "model.py", "exec"), names)
    plan = plan_of(run_passes(Graph((names["x"],), (names["y"],))), LEVEL)
    return "\n".join(plan.kernels.values())


def source():
    linecache.cache["model.py"] = (len(PROGRAM), None, PROGRAM.splitlines(keepends=True), "model.py")
    return list(plan_of(passed(), LEVEL).kernels.values())[-1]


def passes():
    """The passes in order, each with the first words of its file."""
    lines = []
    for step in PASSES:
        name, text = step.__name__, inspect.getdoc(inspect.getmodule(step))
        line = f"{len(lines) + 1}. `{name}`: {text.partition(chr(10) * 2)[0].replace(chr(10), ' ')}"
        lines.append(line)
    return "\n".join(lines)


def rules():
    """Every rule of algebra, by theme, with the line that says what it does and when it is legal."""
    parts = []
    for theme in THEMES:
        found = dict.fromkeys(rule for table in theme.RULES.values() for rule in table)
        listed = "\n".join(f"- `{rule.__name__}`: {inspect.getdoc(rule)}" for rule in found)
        parts.append(f"### {theme.__name__.rpartition('.')[2].capitalize()}\n\n{inspect.getdoc(theme)}\n\n{listed}")
    return "\n\n".join(parts)


GENERATORS = {
    "program": lambda: PROGRAM,
    "graph": lambda: str(example()),
    "passed": lambda: str(passed()),
    "kernels": kernels,
    "source": source,
    "plan": lambda: plan_text(plan_of(passed(), LEVEL)),
    "one_line": one_line,
    "passes": passes,
    "rules": rules,
}
