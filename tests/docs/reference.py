"""Writes the reference: every public name with its signature and its docstring, by the module that defines it."""

import importlib
import inspect
import re
from functools import cache

import graphc
from graphc import data, linalg, nn, optim
from graphc.nn import init
from tests.docs.facts import NO_OPS, OPS, facts, split

# Each page: its title, and its sections, each with the modules whose public names it shows.
PAGES = {
    "graphs": (
        "Graphs, compiling and training",
        {
            "Nodes and leaves": ["graphc.graph.node", "graphc.ops.gradient_control"],
            "Types and sizes": ["graphc.graph.types", "graphc.dims", "graphc.dtypes"],
            "Graphs": ["graphc.graph.graph", "graphc.graph.reference", "graphc.inspect.dump"],
            "Compiling": ["graphc.compiler"],
            "Data sets and series (`graphc.data`)": ["graphc.data.idx", "graphc.data.cifar", "graphc.data.stream"],
            "Training": ["graphc.train.fit", "graphc.train.history", "graphc.flat"],
        },
    ),
    "derivatives": (
        "Derivatives, control flow and functions of your own",
        {
            "Derivatives": ["graphc.derivatives"],
            "Rules of your own": ["graphc.ops.custom_vjp"],
            "Control flow": [
                "graphc.ops.control",
                "graphc.ops.iteration",
                "graphc.ops.while_loop",
                "graphc.ops.nested",
            ],
            "Functions of your own": ["graphc.ops.user", "graphc.ops.native", "graphc.ops.callback"],
        },
    ),
    "elements": (
        "Functions of elements",
        {
            "Shapes and dtypes": ["graphc.ops.elementwise"],
            "Arithmetic": ["graphc.ops.arithmetic"],
            "Exponentials, logarithms, powers": ["graphc.ops.exponential"],
            "Trigonometry": ["graphc.ops.trigonometric"],
            "Activations and the error function": ["graphc.ops.activation"],
            "Comparison, logic, choice": ["graphc.ops.comparison"],
            "Bits": ["graphc.ops.bitwise"],
            "Rounding and conversion": ["graphc.ops.conversion"],
        },
    ),
    "arrays": (
        "Shapes, indexing and joining",
        {
            "Making arrays": ["graphc.ops.creation", "graphc.ops.positions"],
            "Moving axes": ["graphc.ops.movement"],
            "Slices and padding": ["graphc.ops.slicing", "graphc.ops.dynamic"],
            "Joining and repeating": ["graphc.ops.joining"],
            "Indexing": ["graphc.ops.indexing"],
        },
    ),
    "sums": (
        "Sums, products, sorting and linear algebra",
        {
            "Reductions": ["graphc.ops.reduction"],
            "Running sums": ["graphc.ops.cumulative"],
            "Sorting": ["graphc.ops.sorting"],
            "Products of arrays": ["graphc.ops.contraction", "graphc.ops.einsum"],
            "Linear algebra (`graphc.linalg`)": ["graphc.ops.solving", "graphc.ops.decompositions"],
        },
    ),
    "images": (
        "Images and sequences",
        {
            "Convolutions": ["graphc.ops.convolution"],
            "Pooling": ["graphc.ops.pooling"],
            "Other sizes": ["graphc.ops.resampling"],
            "Windows": ["graphc.ops.windows"],
        },
    ),
    "random": ("Random numbers", {"Draws": ["graphc.ops.random"], "Distributions": ["graphc.ops.distributions"]}),
    "nn": (
        "`graphc.nn`: networks",
        {
            "Modules": ["graphc.nn.module", "graphc.nn.containers", "graphc.nn.shape"],
            "Layers": ["graphc.nn.linear", "graphc.nn.embedding", "graphc.nn.normalization", "graphc.nn.stochastic"],
            "Layers of images and sequences": ["graphc.nn.convolution", "graphc.nn.pooling", "graphc.nn.channels"],
            "Recurrent layers": ["graphc.nn.recurrent", "graphc.nn.cells"],
            "Attention": [
                "graphc.nn.attention",
                "graphc.nn.multihead",
                "graphc.nn.transformer",
                "graphc.nn.positional",
            ],
            "Activations": ["graphc.nn.activation"],
            "Losses": [
                "graphc.nn.loss",
                "graphc.nn.ctc",
                "graphc.nn.regression",
                "graphc.nn.similarity",
                "graphc.nn.criterion",
            ],
            "Initial values (`nn.init`)": ["graphc.nn.init"],
        },
    ),
    "optim": (
        "`graphc.optim`: optimizers",
        {
            "Rules": ["graphc.optim.sgd", "graphc.optim.adam", "graphc.optim.adagrad", "graphc.optim.rmsprop"],
            "What they share": ["graphc.optim.optimizer", "graphc.optim.updates"],
        },
    ),
}
# What the facts of ops are written in, above every page that has some.
NOTATION = (
    "Of each op: the shapes of operands and result (`...` broadcasts), its formula, the gradient by its operands, and where "
    "it comes from. g is the gradient by the result, and `out` the result; where axes were reduced, both have size 1 there. "
    "What an operand got by broadcasting is summed in its gradient. Code is NumPy's, or graphc's where NumPy has no such name, "
    "and tests run it: formulas against the ops, gradients against finite differences.\n"
)
# Classes that functions make: nobody calls them.
MADE = {graphc.Node, graphc.Input, graphc.Parameter, graphc.State, graphc.Executable, graphc.DType, graphc.FlatFunction}
# Modules about how something is made, which says nothing to its user.
INTERNAL = {"graphc.graph.node", "graphc.compiler", "graphc.dims", "graphc.graph.types", "graphc.ops.nested"}
INTERNAL |= {"graphc.ops.windows", "graphc.ops.callback", "graphc.graph.graph", "graphc.ops.gradient_control"}


def public():
    """Return {qualified name: object} of every public function and class but the errors, each under its first name."""
    found = {}
    spaces = {"graphc": graphc, "graphc.linalg": linalg, "graphc.data": data, "nn": nn, "nn.init": init, "optim": optim}
    for space, module in spaces.items():
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            listed = inspect.isfunction(value) or inspect.isclass(value)
            is_error = inspect.isclass(value) and issubclass(value, Exception)
            if listed and not name.startswith("_") and not is_error and not any(value is one for one in found.values()):
                found[f"{space}.{name}"] = value
    return found


@cache
def ops():
    """Return {qualified name: function or class} of what stands for an op: all that makes nodes of nodes."""
    return {name: value for name, value in public().items() if value.__module__.startswith(OPS) and name not in NO_OPS}


def page(name):
    """Write one page as Markdown."""
    title, sections = PAGES[name]
    names = public()
    text = [
        f"# {title}\n",
        "Made from the docstrings; [conventions](conventions.md) has promotion, casting and ties.\n",
    ]
    shown = {module for group in sections.values() for module in group}
    if any(key in ops() for key, value in names.items() if value.__module__ in shown):
        text.append(NOTATION)
    for section, modules in sections.items():
        text.append(f"## {section}\n")
        text += [prose(importlib.import_module(one).__doc__) + "\n" for one in modules if one not in INTERNAL]
        for module in modules:
            text += [entry(key, value) for key, value in names.items() if value.__module__ == module]
    return "\n".join(text)


def entry(name, value):
    """Write one function, or one class with its public methods."""
    is_called = value not in MADE and value.__init__ is not object.__init__
    # `__new__`, which Python asks first, takes anything.
    form = "()" if value.__init__ is nn.Module.__init__ else str(signature(value)) if is_called else ""
    text = f"### `{name}{form}`\n\n{prose(inspect.getdoc(value), parameters(value))}\n"
    if name in ops():
        text += "\n" + "".join(f"- {label}: {escaped(said)}\n" for label, said in facts(value).items())
    if inspect.isclass(value):
        own = [line for key, member in vars(value).items() if not key.startswith("_") and (line := method(key, member))]
        text += "\n" + "\n".join(own) + "\n" if own else ""
    return text


def method(name, member):
    """Write a method or a property as one line: how it is used, and the first paragraph of what it says."""
    if isinstance(member, staticmethod):  # the function that a loss keeps the options of
        return ""
    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    if not inspect.isfunction(function) or not inspect.getdoc(function):
        return ""
    form = "" if isinstance(member, property) else str(signature(function, bound=True))
    first = inspect.getdoc(function).split("\n\n")[0]
    return f"- `.{name}{form}`: {escaped(' '.join(first.split()))}"


def signature(value, bound=False):
    """Return names and defaults, without types, which the text gives where they say something."""
    given = list(inspect.signature(value).parameters.values())[bound:]
    return inspect.Signature([one.replace(annotation=inspect.Parameter.empty) for one in given])


def parameters(value):
    """Return the names of the arguments."""
    return set(inspect.signature(value).parameters)


def prose(docstring, names=frozenset()):
    """Turn a docstring into Markdown: paragraphs, indented blocks, and a list of what it says of arguments."""
    blocks = []
    for block in split(docstring)[0].split("\n\n"):
        lines = block.splitlines()
        if all(line.startswith("    ") for line in lines):
            blocks.append(f"```text\n{inspect.cleandoc(block)}\n```")
            continue
        text = ""
        for line in lines:
            start = re.match(r"(\w+(?:, \w+)*): ", line)
            if start and set(start[1].split(", ")) <= names:
                line = f"- `{start[1]}`: {escaped(line[start.end() :])}"
                text += "\n" + ("\n" if text and not text.rpartition("\n")[2].startswith("- ") else "") + line
            else:
                # After what is said of an argument, a sentence on a line of its own is about the whole again.
                is_new = text.rpartition("\n")[2].startswith("- ") and text.endswith(".") and line[0].isupper()
                text += ("\n\n" if is_new else "\n" if text else "") + escaped(line)
        blocks.append(text.strip("\n"))
    return "\n\n".join(blocks)


def escaped(text):
    """Keep stars, and what looks like a tag, as they are; code stays untouched."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<])", r"\\\1", part) for part in parts)


def index():
    """Write the page that lists all others, with the names on each."""
    names = public()
    text = ["# Reference\n", "Each page is made from the docstrings of the code.\n"]
    text.append("- [Promotion, casting and ties](conventions.md)")
    for key, (title, sections) in PAGES.items():
        modules = [module for group in sections.values() for module in group]
        shown = [name for name, value in names.items() if value.__module__ in modules]
        text.append(f"- [{title}]({key}.md): {', '.join(f'`{name}`' for name in shown)}")
    return "\n".join(text) + "\n"
