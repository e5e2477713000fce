"""Each rule of algebra fires where it says so, keeps the value to the bit it promises, and keeps away from near misses."""

import inspect

import numpy as np
import pytest

import graphc
from graphc.passes.algebra import THEMES, rules_of
from tests.passes.rule_cases import CASES, operands

RULES = {rule.__name__: rule for theme in THEMES for table in theme.RULES.values() for rule in table}


def each(what):
    return [
        pytest.param(name, k, id=f"{name}-{k}") for name, case in CASES.items() for k in range(len(getattr(case, what)))
    ]


def test_every_rule_has_cases_and_a_line_that_says_when_it_is_legal():
    assert RULES.keys() == CASES.keys()
    for name, rule in RULES.items():
        assert inspect.getdoc(rule).count("\n") == 0, name
        assert CASES[name].misses or name == "stop_gradient_passed", name


@pytest.mark.parametrize(("name", "k"), each("fires"))
def test_a_rule_keeps_the_value(name, k):
    case, (names, values) = CASES[name], operands()
    node = case.fires[k](names)
    rule = RULES[name]
    assert rule in rules_of(type(node.op))
    new = rule(node)
    assert new is not None
    assert new is not node
    assert new.type == node.type
    before, after = graphc.evaluate((node, new), values)
    if isinstance(before, tuple):
        for old, now in zip(before, after, strict=True):
            np.testing.assert_array_equal(now, old)
        return
    if case.truth is not None:
        with np.errstate(all="ignore"):
            truth = np.asarray(case.truth(*(np.longdouble(values[x]) for x in (names.x, names.y))))
            exact = truth.astype(before.dtype)
        np.testing.assert_allclose(after, exact, rtol=4 * np.finfo(before.dtype).eps)
        np.testing.assert_array_equal(np.isnan(after), np.isnan(exact))
        agree = np.isclose(before, exact, rtol=1e-6) & (np.abs(exact) > 1e-3)
        assert agree.sum() > 20
        return
    if case.rtol == 0:
        np.testing.assert_array_equal(after, before)
        numbers = ~np.isnan(before) if before.dtype.kind == "f" else np.ones(before.shape, bool)
        np.testing.assert_array_equal(
            np.signbit(after[numbers].astype(float)), np.signbit(before[numbers].astype(float))
        )
    np.testing.assert_allclose(after, before, rtol=case.rtol, atol=0 if case.rtol == 0 else 1e-307)


@pytest.mark.parametrize(("name", "k"), each("misses"))
def test_a_rule_keeps_away_from_near_misses(name, k):
    names, _ = operands()
    node = CASES[name].misses[k](names)
    assert RULES[name] in rules_of(type(node.op))
    new = RULES[name](node)
    assert new is None or new.type != node.type
