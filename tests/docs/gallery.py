"""Runs the mistakes of a gallery and writes them down: title, lines, and the error that they raise."""

import ast
import inspect
import linecache
import math
import re
import textwrap
import traceback
from dataclasses import dataclass

import numpy as np

import graphc
from graphc import errors, nn, optim

FILE = "example.py"
MISTAKES = []


@dataclass(frozen=True)
class Mistake:
    """A few lines, of which the last statement raises `error` with these words in its message."""

    name: str
    title: str
    code: str
    error: type
    words: tuple[str, ...]

    def raised(self):
        """Run the lines as a file of their own; return what they raise, and its lines, outermost first."""
        linecache.cache[FILE] = (len(self.code), None, self.code.splitlines(keepends=True), FILE)
        names = {"np": np, "graphc": graphc, "nn": nn, "optim": optim, "math": math}
        try:
            exec(compile(self.code, FILE, "exec"), names)
        except Exception as error:  # every kind is compared with what is expected
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE]
            return error, lines
        return None, []

    @property
    def last_line(self):
        """The line on which the last statement starts."""
        return ast.parse(self.code).body[-1].lineno


def mistake(title, error, *words, before=""):
    """Add the body of a function to the gallery, after the lines `before`, which make what it takes as arguments."""

    def add(function):
        source = textwrap.dedent(inspect.getsource(function))
        definition = ast.parse(source).body[0]
        body = "".join(source.splitlines(keepends=True)[definition.body[0].lineno - 1 :])
        # Two empty lines behind a class, as the formatter of the pages has it at the top level.
        shown = re.sub(r"^( .*\n)\n(?=\S)", r"\1\n\n", textwrap.dedent(body), flags=re.MULTILINE)
        MISTAKES.append(Mistake(function.__name__, title, before + shown, error, words))
        return function

    return add


def page():
    """Write the gallery as Markdown: the kinds of errors, then each mistake with what it raises."""
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.GraphcError)]
    table = [f"| `{kind.__name__}` | {_builtins(kind)} | {inspect.getdoc(kind)} |" for kind in kinds]
    shown = [_shown(one) for one in MISTAKES]
    return "\n".join([HEAD, "| error | is also | meaning |", "|---|---|---|", *table, "", MIDDLE, *shown])


def _builtins(kind):
    return ", ".join(f"`{base.__name__}`" for base in kind.__bases__ if base.__module__ == "builtins")


def _shown(one):
    error, lines = one.raised()
    message = f"{FILE}:{lines[0]}: {type(error).__name__}\n{error}"
    return f"\n## {one.title}\n\n```python\n{one.code.strip()}\n```\n\n```text\n{message}\n```"


HEAD = """\
# Errors

Every error that graphc raises on purpose is a `graphc.GraphcError` and the builtin that a caller would catch. It says what
was expected, what came, where in your program, and what to do. Tracebacks of Numba and LLVM do not reach you.
"""
MIDDLE = """\
Below are mistakes that are easily made, each with what it raises; the programs begin with

```python
import math
import numpy as np
import graphc
from graphc import nn, optim
```
"""
