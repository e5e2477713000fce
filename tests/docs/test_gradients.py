"""How formulas of gradients are written; that they hold is tested beside the other facts."""

import numpy as np

import graphc
from tests.docs.gradients import formula


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
