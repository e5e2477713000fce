"""The formulas of gradients in the reference, against finite differences of the functions that they stand beside."""

import inspect
import math
import re

import numpy as np
import pytest

import graphc
from tests.docs.gradients import formula, gradient
from tests.docs.reference import ELEMENTS, public

FOUND = {
    name: gradient(value)
    for name, value in public().items()
    if value.__module__ in ELEMENTS and inspect.isfunction(value)
}
# Inside every domain, away from jumps.
POINTS = {"acosh": 1.7, "min": -2.0, "max": 3.0, "y": 1.3, "condition": True}


def test_functions_of_floats_have_a_formula():
    without = {name for name, text in FOUND.items() if not text}
    assert {name for name in without if name.split("_")[0] not in ("graphc.bitwise", "graphc.logical")} == {
        "graphc.clip",  # with words
        *("graphc.astype", "graphc.result_type", "graphc.isnan", "graphc.isinf", "graphc.isfinite"),
        *("graphc.equal", "graphc.not_equal", "graphc.less", "graphc.less_equal"),
        *("graphc.greater", "graphc.greater_equal"),
    }


@pytest.mark.parametrize("name", [name for name, text in FOUND.items() if text])
def test_a_formula_is_the_slope(name):
    function = getattr(graphc, name.removeprefix("graphc."))
    names = [one for one in inspect.signature(function).parameters if one not in ("dtype", "decimals")]
    at = {one: POINTS.get(name.removeprefix("graphc."), POINTS.get(one, 0.7)) for one in names}
    inputs = {one: graphc.input(one, (), "bool" if one == "condition" else "float64") for one in names}
    result = function(*inputs.values())
    known = {key: value for key, value in vars(math).items() if not key.startswith("_")}
    known |= {"g": 2.0, "where": lambda c, a, b: a if c else b, "sign": np.sign, "rsqrt": lambda x: x**-0.5}
    known |= {"sigmoid": lambda x: 1 / (1 + math.exp(-x)), "floor_divide": lambda x, y: x // y}
    known |= {"normal_cdf": lambda x: math.erfc(-x / math.sqrt(2)) / 2}
    known |= {"normal_pdf": lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi)}
    known |= {"relu": lambda x: max(x, 0.0), "logical_and": lambda a, b: a and b}
    formulas = re.findall(r"by (\w+) `([^`]*)`", FOUND[name])
    assert [one for one, _ in formulas] == [one for one in names if one != "condition"]
    for one, text in formulas:
        values = [result.eval({x: at[n] + (h if n == one else 0) for n, x in inputs.items()}) for h in (1e-6, -1e-6)]
        assert eval(text, known, dict(at)) == pytest.approx(2.0 * (values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_a_formula_has_the_brackets_that_it_needs():
    a, b, c = (graphc.input(name, (), "float64") for name in "abc")
    cases = {
        "a - (b - c)": a - (b - c),
        "a - b - c": a - b - c,
        "a / (b * c)": a / (b * c),
        "(a + b) * (-c)": (a + b) * -c,
        "-(a * b)": -(a * b),
        "-a - b": -a - b,
        "where(a > b, tanh(a + b), 0.5)": graphc.where(a > b, graphc.tanh(a + b), 0.5),
        "a * 0.333333": a * graphc.constant(np.float64(1 / 3)),
    }
    assert [formula(node) for node in cases.values()] == list(cases)
