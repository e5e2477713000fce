"""Writes the page on promotion, casting and ties; every entry of its tables is computed."""

import numpy as np

import graphc
from graphc.errors import GraphcError
from graphc.ops import arithmetic, comparison, conversion, exponential, reduction
from graphc.runtime.arguments import InputSpec, convert
from tests.docs.reference import prose

DTYPES = [graphc.bool_, graphc.uint8, graphc.int32, graphc.uint32, graphc.int64, graphc.float32, graphc.float64]
# Functions at points where they have no derivative, or calculus alone does not say which: the value of x, and f.
TIES = {
    "maximum(x, 1) at x = 1": (1.0, lambda x: graphc.maximum(x, 1.0)),
    "minimum(x, 1) at x = 1": (1.0, lambda x: graphc.minimum(x, 1.0)),
    "max(x) at x = [2, 2, 1]": ([2.0, 2.0, 1.0], graphc.max),
    "min(x) at x = [2, 1, 1]": ([2.0, 1.0, 1.0], graphc.min),
    "sum(sort(x) * [1, 2, 3]) at x = [5, 5, 4]": ([5.0, 5.0, 4.0], lambda x: graphc.sort(x) * np.array([1.0, 2, 3])),
    "median(x) at x = [1, 2, 4, 8]": ([1.0, 2.0, 4.0, 8.0], graphc.median),
    "prod(x) at x = [0, 2, 3]": ([0.0, 2.0, 3.0], graphc.prod),
    "clip(x, 0, 1) at x = 1": (1.0, lambda x: graphc.clip(x, 0.0, 1.0)),
    "abs(x) at x = 0": (0.0, graphc.abs),
    "relu(x) at x = 0": (0.0, graphc.relu),
    "sign(x) at x = 0": (0.0, graphc.sign),
    "floor(x) at x = 1.5": (1.5, graphc.floor),
    "remainder(x, 2) at x = 4": (4.0, lambda x: graphc.remainder(x, 2.0)),
    "sqrt(x) at x = 0": (0.0, graphc.sqrt),
    "log(x) at x = 0": (0.0, graphc.log),
    "x**2 at x = 0": (0.0, lambda x: x**2),
    "x**x at x = 0": (0.0, lambda x: x**x),
    "global_norm(x) at x = [0, 0]": ([0.0, 0.0], graphc.global_norm),
    "std(x) at x = [1, 1]": ([1.0, 1.0], graphc.std),
    "atan2(x, x) at x = 0": (0.0, lambda x: graphc.atan2(x, x)),
    "where(x > 0, x, 0) at x = 0": (0.0, lambda x: graphc.where(x > 0, x, 0.0)),
    "where(x > 0, log(x), 0) at x = 0": (0.0, lambda x: graphc.where(x > 0, graphc.log(x), 0.0)),
}


def promotion():
    """Return what two arrays of each pair of dtypes have together, as rows of a table."""
    return [[graphc.result_type(a, b).name for b in DTYPES] for a in DTYPES]


def with_numbers():
    """Return what an array of each dtype has together with a Python bool, int and float."""
    return [[graphc.result_type(a, number).name for number in (True, 1, 1.0)] for a in DTYPES]


def at_calls():
    """Return what a call does with an array of one dtype (row) for an input of another (column)."""
    return [[_given(array, wanted) for wanted in DTYPES] for array in DTYPES]


def _given(array, wanted):
    value = np.ones(2, array.numpy)
    try:
        result = convert(value, InputSpec("x", wanted, (2,)))
    except GraphcError as error:
        return type(error).__name__
    if result is value:
        return "as it is"
    extreme = (
        np.array([np.iinfo(array.numpy).min, np.iinfo(array.numpy).max], array.numpy) if array.kind in "iu" else value
    )
    try:
        convert(extreme, InputSpec("x", wanted, (2,)))
    except GraphcError:
        return "if it fits"
    return "converted"


def slope(point, function):
    """Return the gradient at a point, of the sum of what a function of it gives."""
    x = graphc.input("x", np.shape(point), "float64")
    with np.errstate(all="ignore"):
        return graphc.grad(graphc.sum(function(x)), x, disconnected="zeros").eval({x: np.array(point)})


def page():
    """Write the page as Markdown."""
    names = [dtype.name for dtype in DTYPES]
    ties = [
        [f"`{name}`", f"`{np.array2string(np.asarray(slope(*case)), separator=', ')}`"] for name, case in TIES.items()
    ]
    parts = [
        "# Promotion, casting and ties\n\nEvery table on this page is computed when the tests run.\n",
        "## Two arrays\n\nOperands of different dtypes are converted to one, as in PyTorch: floats absorb integers whatever "
        "their width.\n",
        _table(["", *names], [[a, *row] for a, row in zip(names, promotion(), strict=True)]),
        "## An array and a Python number\n\nA number never widens an array's dtype within its kind. `graphc.result_type` "
        "answers for any operands. A float64 array that turns a float32 node into float64 warns once, at its line.\n",
        _table(["", "bool", "int", "float"], [[a, *row] for a, row in zip(names, with_numbers(), strict=True)]),
        "## Arrays given to a call\n\nRows: the array's dtype; columns: that of the input. Integers are converted if every "
        "value fits, which is checked at the call. Nothing becomes an integer or a boolean that was a float.\n",
        _table(["", *names], [[a, *row] for a, row in zip(names, at_calls(), strict=True)]),
        "## Conversion in a graph\n",
        prose(conversion.__doc__) + "\n",
        "## Ties, and points without a derivative\n\nThe gradient of the function's sum:\n",
        _table(["function", "gradient"], ties),
        *(prose(module.__doc__) + "\n" for module in (arithmetic, comparison, exponential, reduction)),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
