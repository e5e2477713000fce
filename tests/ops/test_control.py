"""scan, map and cond against the same step unrolled in a Python loop, and against NumPy loops."""

import itertools

import numpy as np
import pytest

import graphc
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph.node import Node
from graphc.graph.structure import leaves, map_leaves
from graphc.ops.control import Scan
from graphc.passes import run_passes

RNG = np.random.default_rng(0)
W = graphc.parameter(RNG.normal(size=(3, 3)) * 0.5, "W")
B = graphc.parameter(RNG.normal(size=3) * 0.5, "B")
H0 = graphc.parameter(RNG.normal(size=3) * 0.5, "H0")


def rnn(h, x):
    h = graphc.tanh(h @ W + x + B)
    return h, h * x


def two_carries(carry, x):
    hidden, cell = carry["hidden"], carry["cell"]
    gate = graphc.sigmoid(hidden @ W + x)
    cell = gate * cell + (1.0 - gate) * graphc.tanh(x + B)
    return {"hidden": gate * graphc.tanh(cell), "cell": cell}, (cell, gate)


def swapping(carry, x):
    first, second = carry
    return (second * x, first + B), first * second


def overwriting(h, x):
    return x * B, h * x


def constant_carry(h, x):
    return B, h * h * x


def counting(carry, x):
    count, total = carry
    return (count + 1, total + x * x * count.astype("float64")), count


def passing_through(h, x):
    return h, (x, h, B, graphc.ones((2,), "float64"))


def invariant_work(h, x):
    heavy = graphc.exp(W @ W) * 0.1
    return graphc.tanh(h + x @ heavy), h.sum()


def with_cond(h, x):
    chosen = graphc.cond(x.sum() > 0.0, lambda: h * x + B, lambda: graphc.tanh(h @ W))
    return chosen, chosen * h


def nested(h, x):
    def inner(c, t):
        c = graphc.tanh(c * t + x)
        return c, c * B

    last, rows = graphc.scan(inner, h, W)
    return last, rows.sum(0) * h


def nested_over_slice(h, x):
    total, _ = graphc.scan(lambda c, t: (c * 0.5 + t * h.sum(), t), graphc.constant(0.25), x)
    return h + total, total


STEPS = {
    "rnn": (rnn, H0),
    "two_carries": (two_carries, {"hidden": H0, "cell": H0 * 2.0}),
    "swapping": (swapping, (H0, B)),
    "overwriting": (overwriting, H0),
    "constant_carry": (constant_carry, H0),
    "counting": (counting, (graphc.constant(np.int64(1)), H0)),
    "passing_through": (passing_through, H0),
    "invariant_work": (invariant_work, H0),
    "with_cond": (with_cond, H0),
    "nested": (nested, H0),
}
LENGTH = 4


def unrolled(step, init, xs, length, reverse=False):
    results = [None] * length
    carry = map_leaves(lambda v: v if isinstance(v, Node) else graphc.constant(v), init)
    for t in reversed(range(length)) if reverse else range(length):
        carry, results[t] = step(carry, None if xs is None else xs[t])
    columns = zip(*(leaves(result) for result in results), strict=True)
    return leaves(carry), [graphc.stack(list(column)) for column in columns]


def both(name, reverse=False):
    """A scalar over all floating results: of the scan and of the unrolled loop, and the input."""
    step, init = STEPS[name]
    xs = graphc.input("xs", (LENGTH, 3), "float64")
    carry, results = graphc.scan(step, init, xs, reverse=reverse)
    return xs, leaves(carry) + leaves(results), [*itertools.chain(*unrolled(step, init, xs, LENGTH, reverse))]


def scalar(outputs):
    rng = np.random.default_rng(1)
    terms = [(graphc.tanh(o) * rng.normal(size=o.shape)).sum() for o in outputs if o.dtype.is_float]
    return sum(terms[1:], terms[0])


def agree(got, expected, feeds, tolerance=1e-10):
    for a, b in zip(graphc.evaluate(leaves(got), feeds), graphc.evaluate(leaves(expected), feeds), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


CASES = [(name, reverse) for name in STEPS for reverse in (False, True)]
FEED = RNG.normal(size=(LENGTH, 3))


@pytest.mark.parametrize(("name", "reverse"), CASES)
def test_values(name, reverse):
    xs, got, expected = both(name, reverse)
    agree(got, expected, {xs: FEED})


@pytest.mark.parametrize(("name", "reverse"), CASES)
def test_gradients_to_second_order(name, reverse):
    xs, got, expected = both(name, reverse)
    wrt = [xs, W, B, H0]
    vectors = [np.random.default_rng(2).normal(size=x.shape) for x in wrt]
    first = [graphc.grad(scalar(outputs), wrt, disconnected="zeros") for outputs in (got, expected)]
    agree(*first, {xs: FEED})
    reverse_twice = [
        graphc.grad(scalar(gradients), wrt, disconnected="zeros")
        for gradients in ([g * v for g, v in zip(f, vectors, strict=True)] for f in first)
    ]
    agree(*reverse_twice, {xs: FEED})
    agree(*(graphc.hvp(scalar(outputs), wrt, vectors) for outputs in (got, expected)), {xs: FEED})


@pytest.mark.parametrize(("name", "reverse"), CASES)
def test_jvp(name, reverse):
    xs, got, expected = both(name, reverse)
    for wrt in ([xs], [W], [H0], [xs, B]):
        tangents = [np.random.default_rng(2).normal(size=x.shape) for x in wrt]
        pairs = [(g, e) for g, e in zip(got, expected, strict=True) if g.dtype.is_float]
        agree(*(graphc.jvp([pair[k] for pair in pairs], wrt, tangents) for k in (0, 1)), {xs: FEED})


@pytest.mark.parametrize(("name", "reverse"), CASES)
def test_vmap_over_slices_and_closed_over_values(name, reverse):
    step, init = STEPS[name]
    batch = graphc.input("batch", ("n", LENGTH, 3), "float64")
    weights = graphc.input("weights", ("n", 3), "float64")

    def run(xs, b):
        return [leaves(part) for part in graphc.scan(step, graphc.substitute(init, {H0: b}), xs, reverse=reverse)]

    got = graphc.vmap(run)(batch, weights)
    feeds = {batch: RNG.normal(size=(5, LENGTH, 3)), weights: RNG.normal(size=(5, 3))}
    values = graphc.evaluate(leaves(got), feeds)
    one, weight = graphc.input("one", (LENGTH, 3), "float64"), graphc.input("weight", (3,), "float64")
    single = leaves(run(one, weight))
    for k in range(5):
        for a, b in zip(
            values, graphc.evaluate(single, {one: feeds[batch][k], weight: feeds[weights][k]}), strict=True
        ):
            np.testing.assert_allclose(a[k], b, rtol=1e-10, atol=1e-12)


def test_vmap_of_the_gradient_is_the_gradient_of_each():
    one, batch = graphc.input("one", (LENGTH, 3), "float64"), graphc.input("batch", (5, LENGTH, 3), "float64")

    def gradient(xs):
        return graphc.grad(scalar(leaves(graphc.scan(rnn, H0, xs))), [xs, W])

    data = RNG.normal(size=(5, LENGTH, 3))
    many = graphc.evaluate(graphc.vmap(gradient)(batch), {batch: data})
    for k in range(5):
        for a, b in zip(many, graphc.evaluate(gradient(one), {one: data[k]}), strict=True):
            np.testing.assert_allclose(a[k], b, rtol=1e-10, atol=1e-12)


def test_a_numpy_loop_gives_the_same():
    xs = graphc.input("xs", ("T", 3), "float64")
    last, results = graphc.scan(rnn, H0, xs)
    h, rows = H0.value, []
    for x in FEED:
        h = np.tanh(h @ W.value + x + B.value)
        rows.append(h * x)
    got = graphc.evaluate([last, results], {xs: FEED})
    np.testing.assert_allclose(got[0], h, rtol=1e-12)
    np.testing.assert_allclose(got[1], rows, rtol=1e-12)


def test_the_gradient_agrees_with_finite_differences():
    xs = graphc.input("xs", ("T", 3), "float64")
    loss = scalar([graphc.scan(rnn, H0, xs)[0]])
    gradient = graphc.grad(loss, xs)
    at = graphc.evaluate(gradient, {xs: FEED})
    for k in np.ndindex(FEED.shape):
        step = np.zeros_like(FEED)
        step[k] = 1e-5
        low, high = (graphc.evaluate(loss, {xs: FEED + sign * step}) for sign in (-1, 1))
        assert at[k] == pytest.approx((high - low) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("length", [0, 1, 2, 7])
def test_one_graph_serves_every_length(length):
    xs = graphc.input("xs", ("T", 3), "float64")
    last, results = graphc.scan(rnn, H0, xs)
    loss = (last * last).sum() + results.sum()
    wrt = [xs, W, H0]
    first = graphc.grad(loss, wrt)
    second = graphc.hvp(loss, wrt, [xs, np.ones((3, 3)), np.ones(3)])
    data = RNG.normal(size=(length, 3))
    got = graphc.evaluate([last, results, *first, *second], {xs: data})
    assert got[1].shape == (length, 3)
    if length == 0:
        np.testing.assert_array_equal(got[0], H0.value)
        np.testing.assert_array_equal(got[3], 0)
        np.testing.assert_allclose(got[4], 2 * H0.value)
    else:
        fixed = graphc.input("xs", (length, 3), "float64")
        carry, rows = unrolled(rnn, H0, fixed, length)
        expected = graphc.grad((carry[0] * carry[0]).sum() + rows[0].sum(), [fixed, W, H0])
        for a, b in zip(got[2:5], graphc.evaluate(expected, {fixed: data}), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_length_without_arrays():
    last, powers = graphc.scan(lambda c, _: (c * 2.0, c), graphc.constant(np.float64(1)), length=5)
    assert graphc.evaluate(last) == 32
    np.testing.assert_array_equal(graphc.evaluate(powers), [1, 2, 4, 8, 16])


def test_arrays_of_different_symbolic_lengths_become_a_requirement():
    a, b = graphc.input("a", ("m", 2)), graphc.input("b", ("n", 2))
    _, total = graphc.scan(lambda c, x: (c, x[0] + x[1]), None, (a, b))
    with pytest.raises(GraphError.__mro__[1], match="as long as"):
        graphc.evaluate(total, {a: np.ones((2, 2), "f"), b: np.ones((3, 2), "f")})


def test_requirements_inside_a_step_reach_the_graph():
    x, y = graphc.input("x", ("t", "m")), graphc.input("y", ("n",))
    total = graphc.scan(lambda c, row: (c + (row + y).sum(), None), graphc.constant(0.0), x)[0]
    assert any("m" in str(r) and "n" in str(r) for r in graphc.Graph((x, y), (total,)).requirements)


def test_map_is_a_loop_over_the_leading_axis():
    xs = graphc.input("xs", ("n", 3), "float64")
    got = graphc.map(lambda x: {"square": x * x, "sum": (x @ W).sum()}, xs)
    values = graphc.evaluate(got, {xs: FEED})
    np.testing.assert_allclose(values["square"], FEED**2)
    np.testing.assert_allclose(values["sum"], (FEED @ W.value).sum(1))
    np.testing.assert_allclose(
        graphc.evaluate(graphc.grad(got["sum"].sum(), W), {xs: FEED}), np.outer(FEED.sum(0), np.ones(3))
    )


def test_nested_scan_walks_a_slice_of_the_outer_one():
    xs = graphc.input("xs", (LENGTH, 3))
    h0 = graphc.constant(np.full(2, 0.3, "f"))
    last, totals = graphc.scan(nested_over_slice, h0, xs)
    carry, rows = unrolled(nested_over_slice, h0, xs, LENGTH)
    agree([last, totals], [carry[0], rows[0]], {xs: FEED.astype("f")}, 1e-5)
    agree(graphc.grad(last.sum(), xs), graphc.grad(carry[0].sum(), xs), {xs: FEED.astype("f")}, 1e-4)


def test_jacobian_and_hessian_through_a_scan():
    xs = graphc.input("xs", (LENGTH, 3), "float64")
    last = graphc.scan(rnn, H0, xs)[0]
    expected = unrolled(rnn, H0, xs, LENGTH)[0][0]
    agree(graphc.jacobian(last, [W, xs]), graphc.jacobian(expected, [W, xs]), {xs: FEED})
    agree(graphc.hessian(last.sum(), [B, H0]), graphc.hessian(expected.sum(), [B, H0]), {xs: FEED})


# Random draws


def draws(outputs):
    return graphc.evaluate(outputs)


def test_each_step_draws_anew_and_a_closed_over_draw_stays():
    outside = graphc.uniform((3,))
    _, (inside, kept) = graphc.scan(lambda c, _: (c, (graphc.uniform((3,)), outside)), None, length=4)
    a, b = draws([inside, kept])
    assert len(np.unique(a)) == 12
    assert len(np.unique(b)) == 3


def test_nested_steps_draw_anew():
    def outer(c, _):
        return c, graphc.scan(lambda d, _: (d, graphc.uniform((2,))), None, length=3)[1]

    (a,) = draws([graphc.scan(outer, None, length=4)[1]])
    assert a.shape == (4, 3, 2)
    assert len(np.unique(a)) == 24


def test_the_gradient_sees_the_draws_of_the_forward_pass():
    x = graphc.input("x", (), "float64")
    last, noise = graphc.scan(lambda c, _: (lambda u: (c * u, u))(graphc.uniform((), dtype="float64")), x, length=4)
    value, u, gradient = graphc.evaluate([last, noise, graphc.grad(last, x)], {x: 2.0})
    assert value == pytest.approx(2 * np.prod(u))
    assert gradient == pytest.approx(np.prod(u))


def test_draws_in_a_branch_inside_a_loop_differ_by_step():
    def step(c, _):
        return c, graphc.cond(graphc.constant(True), lambda: graphc.uniform(()), lambda: graphc.constant(0.0))

    (a,) = draws([graphc.scan(step, None, length=5)[1]])
    assert len(np.unique(a)) == 5


# What is closed over


def scans_of(*nodes):
    return [n for n in graphc.Graph((), tuple(nodes)).nodes() if isinstance(n.op, Scan)]


def test_work_that_does_not_recur_is_done_outside():
    xs = graphc.constant(FEED)
    (node,) = scans_of(graphc.scan(invariant_work, H0, xs)[0])
    assert "exp" not in {n.op.name for n in node.op.step.nodes()}


def test_views_and_constants_stay_inside():
    xs = graphc.constant(FEED)
    (node,) = scans_of(graphc.scan(lambda h, x: (h @ W.T + x * 2.0 + B, None), H0, xs)[0])
    inner = node.inputs[node.op.carries + node.op.slices :]
    assert {id(n) for n in inner} == {id(W), id(B)}


# Errors


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (lambda c, x: ({"h": c["h"].sum()}, None), ShapeError, r"carry\['h'\] enters the step as float64\[3\]"),
        (lambda c, x: ({"h": c["h"].astype("float32")}, None), DTypeError, r"carry\['h'\].*\n?.*float32"),
        (lambda c, x: ({"g": c["h"]}, None), GraphError, r"expected a structure with leaves at \['h'\]"),
        (lambda c, x: c, GraphError, r"expected the step to return \(carry, result\)"),
    ],
)
def test_a_carry_that_changes_is_named(step, error, message):
    with pytest.raises(error, match=message) as caught:
        graphc.scan(step, {"h": H0}, graphc.constant(FEED))
    assert "test_control.py" in str(caught.value)


def test_scan_needs_a_length():
    with pytest.raises(GraphError, match="xs or length"):
        graphc.scan(lambda c, x: (c, x), H0)
    with pytest.raises(ShapeError, match="scalar"):
        graphc.scan(lambda c, x: (c, x), H0, graphc.constant(1.0))


# cond


def branches(p, x):
    return graphc.cond(p, lambda a: (graphc.tanh(a @ W), a.sum()), lambda a: (a * B, (a * a).sum()), x)


@pytest.mark.parametrize("choice", [True, False])
def test_cond_and_its_derivatives_are_those_of_the_branch(choice):
    p, x = graphc.input("p", (), "bool"), graphc.input("x", (3,), "float64")
    got = branches(p, x)
    expected = (graphc.tanh(x @ W), x.sum()) if choice else (x * B, (x * x).sum())
    feeds = {p: choice, x: FEED[0]}
    agree(got, expected, feeds)
    wrt, vectors = [x, W, B], [np.ones(3), np.ones((3, 3)), np.ones(3)]
    agree(*(graphc.grad(scalar(o), wrt, disconnected="zeros") for o in (got, expected)), feeds)
    agree(*(graphc.jvp(list(o), wrt, vectors) for o in (got, expected)), feeds)
    agree(*(graphc.hvp(scalar(o), wrt, vectors) for o in (got, expected)), feeds)
    agree(*(graphc.hessian(scalar(o), x) for o in (got, expected)), feeds)


def test_vmap_of_cond():
    ps, xs = graphc.input("ps", (4,), "bool"), graphc.input("xs", (4, 3), "float64")
    p, x = graphc.input("p", (), "bool"), graphc.input("x", (3,), "float64")
    feeds = {ps: np.array([True, False, False, True]), xs: FEED}
    for function, arguments, axes in [
        (branches, (ps, xs), 0),
        (branches, (p, xs), (None, 0)),
        (branches, (ps, x), (0, None)),
        (lambda p, x: graphc.grad(scalar(branches(p, x)), [x, W], disconnected="zeros"), (ps, xs), 0),
    ]:
        everything = {**feeds, p: True, x: FEED[1]}
        used = {node: everything[node] for node in (*arguments, p, x)}
        many = graphc.evaluate(leaves(graphc.vmap(function, axes)(*arguments)), used)
        for k in range(4):
            at = {p: used[arguments[0]] if arguments[0] is p else feeds[ps][k]}
            at[x] = used[arguments[1]] if arguments[1] is x else feeds[xs][k]
            for a, b in zip(many, graphc.evaluate(leaves(function(p, x)), at), strict=True):
                np.testing.assert_allclose(a[k], b, rtol=1e-10, atol=1e-12)


def test_only_the_chosen_branch_runs():
    x = graphc.input("x", (3,), "float64")
    got = graphc.cond(x[0] > 0.0, lambda: x * 2.0, lambda: graphc.take(x, graphc.constant([7])).sum() + x)
    np.testing.assert_allclose(graphc.evaluate(got, {x: [1.0, 2.0, 3.0]}), [2, 4, 6])


def test_branches_must_agree():
    p, x = graphc.input("p", (), "bool"), graphc.input("x", (3,))
    with pytest.raises(ShapeError, match="differs"):
        graphc.cond(p, lambda: x, lambda: x.sum())
    with pytest.raises(DTypeError, match="differs"):
        graphc.cond(p, lambda: x, lambda: x.astype("float64"))
    with pytest.raises(GraphError, match="second branch"):
        graphc.cond(p, lambda: (x, x), lambda: x)
    with pytest.raises(ShapeError, match="boolean scalar"):
        graphc.cond(x, lambda: x, lambda: x)


def test_a_result_number_that_does_not_exist():
    (node,) = scans_of(graphc.scan(rnn, H0, graphc.constant(FEED))[0])
    with pytest.raises(GraphError, match="result 9"):
        graphc.item(node, 9)
    with pytest.raises(GraphError, match="several results"):
        graphc.item(H0, 0)


# Passes


@pytest.mark.parametrize(("name", "reverse"), CASES)
def test_passes_keep_values_and_derivatives(name, reverse):
    xs, got, _ = both(name, reverse)
    wrt = [xs, W, B, H0]
    loss = scalar(got)
    outputs = [*got, *graphc.grad(loss, wrt, disconnected="zeros")]
    outputs += graphc.hvp(loss, wrt, [np.ones(x.shape) for x in wrt])
    graph = graphc.Graph((xs,), tuple(outputs))
    agree(list(run_passes(graph).outputs), outputs, {xs: FEED})
