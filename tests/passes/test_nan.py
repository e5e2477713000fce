"""A NaN that stands in an operand stays one, through every rule and pass; what may lose one that overflow made is named."""

from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc.graph import walk
from graphc.graph.node import Input
from graphc.passes import PASSES, run_passes
from tests.passes.rule_cases import CASES, operands
from tests.passes.test_algebra import RULES, each
from tests.passes.test_exponentials import CASES as BY_HAND

# Rules that give a number where the formula as written is infinite: exp(x) or x * x overflows on the way. That of
# softmax, sigmoid and their kin, where it is NaN, is the pass `exponentials` alone.
LOSE_AN_INFINITY = {"log_exp", "sqrt_square"}
ALONE = [case for case in each("fires") if case.values[0] != "moved_number"]  # that one reads no operand


def harmless(values, seed=5):
    """Values of the same types, none of which overflows or is NaN."""
    generator = np.random.default_rng(seed)
    return {x: generator.uniform(0.5, 2.0, a.shape) if a.dtype.kind == "f" else a for x, a in values.items()}


def spoiled(values, of):
    """The values with NaN at every third place of one operand, or at its only one."""
    array = values[of].copy()
    array.reshape(-1)[::3] = np.nan
    return {**values, of: array}


def floats_under(*nodes):
    return [x for x in walk.topological(nodes) if isinstance(x, Input) and x.op.kind == "input" and x.dtype.is_float]


def same_nans(before, after):
    for old, new in zip(before, after, strict=True):
        if old.dtype.kind == "f":
            np.testing.assert_array_equal(np.isnan(new), np.isnan(old))
        else:
            np.testing.assert_array_equal(new, old)


def flat(result):
    return [np.asarray(one) for one in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize(("name", "k"), ALONE)
def test_every_rule_keeps_nan(name, k):
    names, values = operands()
    node = CASES[name].fires[k](names)
    new = RULES[name](node)
    values = harmless(values)
    for operand in floats_under(node):
        feeds = spoiled(values, operand)
        before, after = (flat(graphc.evaluate(one, feeds)) for one in (node, new))
        same_nans(before, after)


def test_only_the_rules_that_say_so_make_numbers_of_infinities_and_none_of_nan():
    names, values = operands()
    found = {"of infinity": set(), "of NaN": set()}
    for name, case in CASES.items():
        for build in case.fires:
            node = build(names)
            pairs = zip(*(flat(graphc.evaluate(one, values)) for one in (node, RULES[name](node))), strict=True)
            for before, after in pairs:
                if before.dtype.kind == "f":
                    found["of infinity"] |= {name} if (np.isinf(before) & ~np.isinf(after)).any() else set()
                    found["of NaN"] |= {name} if (np.isnan(before) & ~np.isnan(after)).any() else set()
    assert found == {"of infinity": LOSE_AN_INFINITY, "of NaN": set()}
    docs = (Path(__file__).parents[2] / "docs" / "passes.md").read_text()
    section = docs.split("## What a pass may change")[1].split("\n## ")[0]
    assert {name for name in RULES if f"`{name}`" in section} == LOSE_AN_INFINITY
    assert {step.__name__ for step in PASSES if f"`{step.__name__}`" in section} == {"exponentials"}


X, V = graphc.input("x", (4, 3), "float64"), graphc.input("v", (4, 3), "float64")
WHOLE = {name: build for name, (build, _, _) in BY_HAND.items()} | {
    "a difference without x": lambda x: (1.0 + graphc.exp(x)) - graphc.exp(x),
    "a quotient without x": lambda x: (1.0 + graphc.exp(x)) / (1.0 + graphc.exp(x)),
    "slices": lambda x: graphc.concat([x[1:] * 2.0, x[:1] + 1.0]),
    "a contraction and transposes": lambda x: ((x.T * 2.0).T @ V.T) @ x,
    "a sum of products": lambda x: x * graphc.sum(x[:, None, :] @ V[:, :, None], axis=0),
    "a loop": lambda x: graphc.scan(lambda c, r: (c + r[0], (r[0] - c) * r[1]), graphc.zeros((3,), "float64"), (x, V))[
        1
    ],
}


@pytest.mark.parametrize("name", WHOLE)
def test_all_passes_keep_the_nan_of_each_operand(name):
    value = WHOLE[name](X) * V
    plain = graphc.Graph((X, V), (value, *graphc.grad(value.sum(), [X, V])))
    passed = run_passes(plain)
    values = harmless({X: np.zeros((4, 3)), V: np.zeros((4, 3))})
    assert not any(np.isnan(one).any() for one in graphc.evaluate(plain.outputs, values))
    for operand in (X, V):
        feeds = spoiled(values, operand)
        same_nans(graphc.evaluate(plain.outputs, feeds), graphc.evaluate(passed.outputs, feeds))
