"""The four facts that the reference states of every op: its shape rule, its formula, its gradient and its source.

In a docstring each is a line that begins with its name, as in `Shape: that of x.`, and may go on in the lines after. What
a docstring leaves out is that of its module's docstring, where `{name}` stands for the op. A formula that stands as code in
the first sentence need not be said again, and gradients of elements are read from their rules.
"""

import importlib
import inspect
import re

from graphc.graph.operators import BUILDERS
from tests.docs.gradients import gradient

LABELS = ("Shape", "Formula", "Gradient", "Source")
_LABEL = re.compile(rf"^({'|'.join(LABELS)}): ")
# Modules of functions whose gradients are written out, from their rules.
ELEMENTS = {
    f"graphc.ops.{name}"
    for name in ("arithmetic", "exponential", "trigonometric", "activation", "comparison", "bitwise", "conversion")
}
# Where ops are made; other modules of `graphc` have functions about graphs, and those of `nn` are made of ops.
OPS = ("graphc.ops.", "graphc.nn.")
# They make no node.
NO_OPS = {"graphc.result_type", "graphc.seed", "nn.functional_call", "nn.init.fans"}
NO_OPS |= {"nn.Module", "nn.ModuleList", "nn.ModuleDict"}


def split(docstring):
    """Return a docstring without its facts, and the facts by name."""
    kept, found = [], {}
    for block in inspect.cleandoc(docstring).split("\n\n"):
        if not _LABEL.match(block):
            kept.append(block)
            continue
        for line in block.splitlines():
            if start := _LABEL.match(line):
                name = start[1]
                found[name] = line[start.end() :]
            else:
                found[name] += f" {line}"
    return "\n\n".join(kept), found


def facts(value):
    """Return what is said of a function or a class by its docstring, its module's, and its rules: {name: text}."""
    text, own = split(inspect.getdoc(value) or "")
    _, family = split(importlib.import_module(value.__module__).__doc__)
    name = value.__name__.rstrip("_")
    if value.__module__.startswith("graphc.nn.") and inspect.isfunction(value):
        name = f"functional.{name}"
    # A layer that is a function with its options says what the function does.
    made_of = getattr(value, "function", None) or BUILDERS.get(getattr(value, "builder", None))
    found = facts(made_of) if made_of else {}
    found |= {label: said.replace("{name}", name) for label, said in family.items()} | own
    if "Formula" not in found and (first := re.search(r"`[^`]*`", text.split("\n\n")[0])):
        found["Formula"] = f"{first[0]}."
    if "Gradient" not in found and value.__module__ in ELEMENTS:
        found["Gradient"] = gradient(value)
    return {name: found[name] for name in LABELS if found.get(name)}
