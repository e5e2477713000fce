"""Branches and loops inside of loops that replace carries where they lie: when they may, and that the values are right."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.compiler import plan_of
from graphc.graph.graph import Graph
from graphc.passes import run_passes
from graphc.runtime import memory, sharing
from graphc.schedule.plan import Branch, KernelCall, Repeat
from graphc.simd.levels import LEVELS
from tests.interpreter import Interpreter, unjitted

RNG = np.random.default_rng(34)
T, B, H = 6, 3, 5


def steps_of(plan, kind):
    """All steps of a kind, those inside of others too."""
    found, stack = [], list(plan.steps)
    while stack:
        step = stack.pop(0)
        found += [step] if isinstance(step, kind) else []
        stack += {Repeat: lambda s: s.steps, Branch: lambda s: (*s.then, *s.otherwise)}.get(type(step), lambda s: ())(
            step
        )
    return found


def check(monkeypatch, inputs, outputs, arrays, wanted):
    """Hold outputs against arrays, on kernels unjitted and compiled, split and verified; return the plan."""
    monkeypatch.setattr(memory, "OWNED_WORK", 0)
    monkeypatch.setattr(sharing, "RULE", sharing.FREE)
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    plan = plan_of(run_passes(Graph(tuple(inputs), tuple(outputs))), LEVELS["x86-64-v4"])
    alone = Interpreter(plan, arrays, [], {}, unjitted(plan, {}), threads=2).result("output")
    for found in (alone, *(graphc.compile(inputs, outputs, threads=n)(*arrays) for n in (1, 2))):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    return plan


# What a step makes of carries a and b where it goes on, and the kernels and branches' sides of the plan's loop.
SIDES = {
    "one": lambda f, a, b, x: (f.tanh(a + x), b),
    "both": lambda f, a, b, x: (f.tanh(a + b), b * x),
    "swapped": lambda f, a, b, x: (b + x, a),
    "from the row below": lambda f, a, b, x: (f.roll(a, 1, 0) + x, b + a),
}


@pytest.mark.parametrize("name", SIDES)
def test_the_side_that_keeps_the_carries_does_nothing(name, monkeypatch):
    step = SIDES[name]
    arrays = [RNG.normal(size=(B, H)), RNG.normal(size=(B, H)), RNG.normal(size=(T, B, H))]
    a, b = arrays[:2]
    for x in arrays[2]:
        a, b = step(np, a, b, x) if x[0, 0] > 0 else (a, b)
    inputs = [graphc.input(n, array.shape, "float64") for n, array in zip("abx", arrays, strict=True)]
    found, _ = graphc.scan(
        lambda c, x: (graphc.cond(x[0, 0] > 0, lambda: step(graphc, *c, x), lambda: c), None),
        tuple(inputs[:2]),
        inputs[2],
    )
    plan = check(monkeypatch, inputs, list(found), arrays, (a, b))
    (branch,), (loop,) = steps_of(plan, Branch), steps_of(plan, Repeat)
    assert not branch.otherwise
    assert loop.steps[-1] is branch, "nothing is copied behind it"


# What a branch makes of carry a beside others: results (a, b, of this time), from what the branch gives.
OTHERS = {
    "reads its result": lambda f, a, b, new, x: (new, b + a * new, b),
    "stores its result": lambda f, a, b, new, x: (new, b * x, new),
    "replaces what it reads": lambda f, a, b, new, x: (new, b * 0.9 + a * x, b),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_branch_whose_carries_others_need(name, monkeypatch):
    step = OTHERS[name]
    arrays = [RNG.normal(size=(B, H)), RNG.normal(size=(B, H)), RNG.normal(size=(T, B, H))]
    a, b = arrays[:2]
    rows = []
    for x in arrays[2]:
        a, b, row = step(np, a, b, np.tanh(a + b) if x[0, 0] > 0 else a, x)
        rows.append(row)
    inputs = [graphc.input(n, array.shape, "float64") for n, array in zip("abx", arrays, strict=True)]

    def traced(c, x):
        a, b = c
        a, b, row = step(graphc, a, b, graphc.cond(x[0, 0] > 0, lambda: graphc.tanh(a + b), lambda: a), x)
        return (a, b), row

    last, found = graphc.scan(traced, tuple(inputs[:2]), inputs[2])
    check(monkeypatch, inputs, [*last, found], arrays, (a, b, rows))


def test_two_branches_that_read_each_others_carries(monkeypatch):
    arrays = [RNG.normal(size=(B, H)), RNG.normal(size=(B, H)), RNG.normal(size=(T, B, H))]
    a, b = arrays[:2]
    for x in arrays[2]:
        a, b = np.tanh(a + b) if x[0, 0] > 0 else a, a * b if x[0, 1] > 0 else b
    inputs = [graphc.input(n, array.shape, "float64") for n, array in zip("abx", arrays, strict=True)]

    def step(c, x):
        a, b = c
        new = graphc.cond(x[0, 0] > 0, lambda: graphc.tanh(a + b), lambda: a)
        return (new, graphc.cond(x[0, 1] > 0, lambda: a * b, lambda: b)), None

    last, _ = graphc.scan(step, tuple(inputs[:2]), inputs[2])
    check(monkeypatch, inputs, list(last), arrays, (a, b))


def test_a_carry_decides_about_its_own_branch(monkeypatch):
    arrays = [RNG.normal(size=(T, B, H))]
    count, total = 0, np.zeros((B, H))
    for x in arrays[0]:
        count, total = (count + 1, total + x) if count < 3 else (count, total)
    x = graphc.input("x", (T, B, H), "float64")

    def step(c, x):
        return graphc.cond(c[0] < 3, lambda: (c[0] + 1, c[1] + x), lambda: c), None

    last, _ = graphc.scan(step, (graphc.constant(0, "int64"), graphc.zeros((B, H), "float64")), x)
    check(monkeypatch, [x], list(last), arrays, (count, total))
    going, _ = graphc.scan(
        lambda c, x: (graphc.cond(c, lambda: x[0, 0] > -9.0, lambda: c), None), graphc.constant(True), x
    )
    check(monkeypatch, [x], [going], arrays, (True,))


# What an inner loop makes of each row of a carry, of a sum over rows, and of what it walks.
ROWS = {
    "a row of its own": (lambda f, old, row, total, x: f.tanh(row * 0.5 + x), True),
    "with what came before": (lambda f, old, row, total, x: row + total * x, True),
    "with a row of the old array": (lambda f, old, row, total, x: row + old[1] * x, False),
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_a_loop_in_a_loop_replaces_the_carry_that_it_walks(name, backwards, monkeypatch):
    step, in_place = ROWS[name]
    arrays = [RNG.normal(size=(B, H)), RNG.normal(size=(T, B, H))]
    array, totals = arrays[0], []
    for x in arrays[1]:
        old, array, total = array, array.copy(), np.zeros(H)
        for k in reversed(range(B)) if backwards else range(B):
            array[k] = step(np, old, old[k], total, x[k])
            total = total + old[k]
        totals.append(total)
    inputs = [graphc.input(n, one.shape, "float64") for n, one in zip("ax", arrays, strict=True)]

    def outer(array, x):
        def inner(total, xs):
            return total + xs[0], step(graphc, array, xs[0], total, xs[1])

        total, new = graphc.scan(inner, graphc.zeros((H,), "float64"), (array, x), reverse=backwards)
        return new, total

    found = graphc.scan(outer, *inputs)
    plan = check(monkeypatch, inputs, list(found), arrays, (array, totals))
    _, inner = steps_of(plan, Repeat)
    walked = [plan.buffers[b].position for b in inner.slices]
    assert (len(set(walked)) == 2) == in_place, "the carry, and x"


def test_what_a_loop_inside_walks_is_made_once(monkeypatch):
    arrays = [RNG.normal(size=(B, H)), RNG.normal(size=(T, H))]
    inputs = [graphc.input(n, one.shape, "float64") for n, one in zip("ax", arrays, strict=True)]
    wanted = np.full(B, 0.5)
    for x in arrays[1]:
        for one in arrays[0].T:
            wanted = np.tanh(wanted + one)
        wanted = wanted + x[0]

    def outer(c, x):
        turned = graphc.permute_dims(inputs[0], (1, 0))
        return graphc.scan(lambda c, one: (graphc.tanh(c + one), None), c, turned)[0] + x[0], None

    for checkpoint in ("auto", 1):
        last, _ = graphc.scan(outer, graphc.constant(np.full(B, 0.5)), inputs[1], checkpoint=checkpoint)
        plan = check(monkeypatch, inputs, [last], arrays, (wanted,))
        (outermost,) = [step for step in plan.steps if isinstance(step, Repeat)]
        (inner,) = [step for step in outermost.steps if isinstance(step, Repeat)]
        made = {b for step in outermost.steps if isinstance(step, KernelCall) for b in step.writes}
        assert not made & {plan.buffers[b].position for b in inner.slices}


@pytest.mark.parametrize("leading", [(2,), (1, 2), (2, 1), (1, 1, 2, 1)])
def test_rows_are_the_same_rows_whatever_axes_of_one_there_are(leading):
    x = graphc.input("x", (*leading, 40, 64))
    largest = graphc.max(x, -1, keepdims=True)
    weights = graphc.exp(x - largest)
    outputs = [largest, weights, graphc.sum(weights, -1, keepdims=True)]
    plan = plan_of(run_passes(Graph((x,), tuple(outputs))), LEVELS["x86-64-v4"])
    assert len(plan.kernels) == 1


@pytest.mark.parametrize("backward", [False, True])
def test_causal_attention_passes_over_keys_that_come_later(backward, monkeypatch):
    monkeypatch.setattr("graphc.nn.attention.BLOCK", 8)
    nodes = [graphc.input(n, (2, 24, 4)) for n in "qkv"]
    out = nn.scaled_dot_product_attention(*nodes, is_causal=True)
    outputs = [out, *(graphc.grad((out * out).sum(), nodes) if backward else ())]
    plan = plan_of(run_passes(Graph(tuple(nodes), tuple(outputs))), LEVELS["x86-64-v4"])
    branches = steps_of(plan, Branch)
    assert len(branches) == 1 + backward
    assert not any(branch.otherwise for branch in branches)
    inside = {b for branch in branches for call in branch.then for b in call.writes}
    # Of scores there is a block for each head, and gradients are added up where they lie.
    assert max(np.prod(plan.buffers[b].shape) for b in inside) == 2 * 8 * 8
    # Values that no query of a block may see are not even multiplied by zero.
    arrays = [RNG.normal(size=(2, 24, 4)).astype("float32") for _ in nodes]
    arrays[2][:, 16:] = np.nan
    found = graphc.compile(nodes, outputs)(*arrays)
    assert np.isfinite(found[0][:, :16]).all()
    assert np.isnan(found[0][:, 16:]).all()
