"""Makes the parts of the docs that show graphs, kernels and plans; always for one CPU level, so they are the same everywhere."""

import linecache
from functools import cache

import numpy as np

import graphc
from graphc.compiler import plan_of
from graphc.graph.graph import Graph
from graphc.inspect.plan_text import plan_text
from graphc.loops.text import text as kernel_text
from graphc.passes import run_passes
from graphc.schedule import schedule
from graphc.simd.levels import LEVELS

LEVEL = LEVELS["x86-64-v4"]

PROGRAM = """\
x = graphc.input("x", ("batch", 3))
y = graphc.input("y", ("batch", 2))
w = graphc.parameter(np.ones((3, 2), "float32"), "w")
loss = graphc.mean(graphc.square(graphc.tanh(x @ w) - y))
gradient = graphc.grad(loss, w)
"""


@cache
def example():
    names = {"graphc": graphc, "np": np}
    linecache.cache["model.py"] = (len(PROGRAM), None, PROGRAM.splitlines(keepends=True), "model.py")
    exec(compile(PROGRAM, "model.py", "exec"), names)
    return Graph((names["x"], names["y"]), (names["loss"],), ((names["w"], names["w"] - 0.1 * names["gradient"]),))


@cache
def passed():
    return run_passes(example(), training=True)


def kernels():
    draft = schedule(passed(), LEVEL)
    return "\n\n".join(kernel_text(k.kernel, lambda n: draft.buffers[n].name) for k in draft.kernels)


def row_kernel():
    """A whole softmax as one kernel."""
    x = graphc.input("x", ("rows", 64))
    plan = plan_of(run_passes(Graph((x,), (graphc.softmax(x, axis=-1),))), LEVEL)
    return "\n".join(plan.kernels.values())


def source():
    return list(plan_of(passed(), LEVEL).kernels.values())[-1]


GENERATORS = {
    "program": lambda: PROGRAM,
    "graph": lambda: str(example()),
    "passed": lambda: str(passed()),
    "kernels": kernels,
    "source": source,
    "plan": lambda: plan_text(plan_of(passed(), LEVEL)),
    "softmax": row_kernel,
}
