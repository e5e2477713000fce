"""truncate and checkpoint of scan, fori_loop and while_loop, against loops unrolled in Python and plain numbers."""

import numpy as np
import pytest

import graphc
from graphc.errors import CallError, DTypeError, GraphError, IndexOutOfRangeError, ShapeError
from graphc.graph.graph import Graph
from graphc.graph.structure import leaves
from graphc.ops.control import Scan
from graphc.passes import run_passes

RNG = np.random.default_rng(3)
W = graphc.parameter(RNG.normal(size=(3, 3)) * 0.5, "W")
H0 = graphc.parameter(RNG.normal(size=3) * 0.5, "H0")
C0 = graphc.parameter(RNG.normal(size=3) * 0.5, "C0")
A0 = graphc.input("a", (), "float64")
INIT = {"h": H0, "c": C0, "count": graphc.constant(np.int64(0))}


def step(carry, x):
    gate = graphc.sigmoid(carry["h"] @ W + x)
    cell = gate * carry["c"] + (1.0 - gate) * x
    return {"h": graphc.tanh(cell) * gate, "c": cell, "count": carry["count"] + 1}, (gate, cell * x)


def unrolled(xs, length, reverse, cut):
    """The loop as the textbook has it: the carry that enters steps cut, 2 cut, ... is a constant to the gradient."""
    carry, results = INIT, [None] * length
    for n, t in enumerate(reversed(range(length)) if reverse else range(length)):
        if cut and n and n % cut == 0:
            carry = {k: graphc.stop_gradient(v) if v.dtype.is_float else v for k, v in carry.items()}
        carry, results[t] = step(carry, xs[t])
    return carry, [graphc.stack(list(column)) for column in zip(*results, strict=True)]


def scalar(outputs):
    rng = np.random.default_rng(1)
    floats = [o for o in leaves(outputs) if o.dtype.is_float]
    terms = [(graphc.tanh(o) * rng.normal(size=o.shape[-1])).sum() for o in floats]
    return sum(terms[1:], terms[0])


def to_second_order(loss, xs):
    wrt = [W, H0, C0, xs]
    first = graphc.grad(loss, wrt)
    return [loss, *first, *graphc.grad(sum((g * g).sum() for g in first), wrt)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cut", [1, 2, 3, 9])
def test_truncated_gradients_are_those_of_an_unrolled_graph_with_stop_gradient(cut, reverse):
    xs = graphc.input("xs", (7, 3), "float64")
    feeds = {xs: np.random.default_rng(cut).normal(size=(7, 3))}
    got = to_second_order(scalar(graphc.scan(step, INIT, xs, reverse=reverse, truncate=cut)), xs)
    expected = to_second_order(scalar(unrolled(xs, 7, reverse, cut)), xs)
    for a, b in zip(graphc.evaluate(got, feeds), graphc.evaluate(expected, feeds), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_recomputed_states_change_nothing(k, reverse):
    xs = graphc.input("xs", (7, 3), "float64")
    feeds = {xs: np.random.default_rng(k).normal(size=(7, 3))}
    stored = graphc.scan(step, INIT, xs, reverse=reverse, checkpoint=None)
    again = graphc.scan(step, INIT, xs, reverse=reverse, checkpoint=k)
    for a, b in zip(graphc.evaluate(leaves(again), feeds), graphc.evaluate(leaves(stored), feeds), strict=True):
        np.testing.assert_array_equal(a, b)
    got, expected = (to_second_order(scalar(made), xs) for made in (again, stored))
    passed = run_passes(Graph((xs,), tuple(got)))
    for a, b in zip(graphc.evaluate(list(passed.outputs), feeds), graphc.evaluate(expected, feeds), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_checkpoint_and_truncate_serve_every_length():
    xs = graphc.input("xs", ("time", 3), "float64")
    made = graphc.scan(step, INIT, xs, checkpoint=3, truncate=2)
    passed = run_passes(Graph((xs,), tuple(graphc.grad(scalar(made), [W, H0]))))
    for length in (0, 1, 3, 5):
        whole = graphc.input("xs", (length, 3), "float64")
        feed = np.random.default_rng(length).normal(size=(length, 3))
        got = graphc.evaluate(list(passed.outputs), {xs: feed})
        expected = graphc.scan(step, INIT, whole, checkpoint=None, truncate=2)
        for a, b in zip(got, graphc.evaluate(graphc.grad(scalar(expected), [W, H0]), {whole: feed}), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("length", "lengths"), [(64, {64}), (81, {9})])
def test_auto_recomputes_only_where_states_are_large(length, lengths):
    start = graphc.parameter(np.zeros((1024, 128), "float32"), "start")
    last, _ = graphc.scan(lambda h, _: (graphc.tanh(h), None), start, length=length)
    graph = run_passes(Graph((), tuple(graphc.grad(last.sum(), [start]))))
    # 64 states of 512 KiB are 32 MiB, still stored.
    assert {node.op.length for node in graph.nodes() if isinstance(node.op, Scan)} == lengths


def test_checkpointed_kernels_give_the_same_bits():
    xs = graphc.input("xs", (7, 5, 3), "float32")
    w = graphc.parameter(RNG.normal(size=(3, 3)).astype("float32") * 0.5, "w")

    def gradients(k):
        def one(h, x):
            h = graphc.tanh(h @ w + x)
            return h, h

        last, rows = graphc.scan(one, graphc.zeros((5, 3)), xs, checkpoint=k)
        return [last, rows, graphc.grad((last * last).sum() + (rows * xs).sum(), xs)]

    feed = RNG.normal(size=(7, 5, 3)).astype("float32")
    run = graphc.compile([xs], [*gradients(None), *gradients(3)])
    results = run(feed)
    for a, b in zip(results[:3], results[3:], strict=True):
        np.testing.assert_array_equal(a, b)


# What each step returns, and the sum of that outside of the loop: without pieces the first moves out of the loop, too.
OUTSIDE = {
    "sum of sums": (lambda h, w: (h * h).sum(axis=-1), lambda y: y.sum()),
    "sum of means": (lambda h, w: (h * h).mean(axis=-1), lambda y: y.mean()),
    "sum of a product": (lambda h, w: h @ w, lambda y: y.sum()),
    "squares of a product": (lambda h, w: h @ w, lambda y: (y * y).sum()),
    "sum of what is turned": (lambda h, w: graphc.permute_dims(h * h, (1, 0)), lambda y: y.sum()),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_checkpoints_give_the_same_bits_where_results_are_summed_outside(name, dtype):
    made, total = OUTSIDE[name]
    xs, w = graphc.input("xs", (9, 4, 24), dtype), graphc.input("w", (24, 24), dtype)

    def results(k):
        def one(h, x):
            h = graphc.tanh(h * 0.5 + x)
            return h, made(h, w)

        _, rows = graphc.scan(one, graphc.zeros((4, 24), dtype), xs, checkpoint=k)
        loss = total(rows)
        return [loss, *graphc.grad(loss, [xs, w], disconnected="zeros")]

    fed = [RNG.normal(size=shape).astype(dtype) for shape in ((9, 4, 24), (24, 24))]
    whole = graphc.compile([xs, w], results(None))(*fed)
    for k in (2, 3, "auto"):
        for one, other in zip(graphc.compile([xs, w], results(k))(*fed), whole, strict=True):
            np.testing.assert_array_equal(one, other, f"checkpoint={k}")


def test_fori_loop_hands_the_index_on():
    x = graphc.input("x", (), "float64")
    product = graphc.fori_loop(2, 6, lambda i, total: total * i.astype("float64") + x, graphc.constant(1.0, "float64"))
    total = 1.0
    for i in range(2, 6):
        total = total * i + 0.5
    assert graphc.evaluate(product, {x: 0.5}) == total
    # The derivative of ((((1*2 + x)*3 + x)*4 + x)*5 + x) by x is 60 + 20 + 5 + 1.
    assert graphc.evaluate(graphc.grad(product, x), {x: 0.5}) == 86
    for lower, upper in ((3, 3), (4, 2)):
        assert graphc.evaluate(graphc.fori_loop(lower, upper, lambda i, c: c * 0.0, x), {x: 0.5}) == 0.5


def test_fori_loop_over_a_symbolic_range():
    x = graphc.input("x", ("n",), "float64")
    total = graphc.fori_loop(1, x.shape[0], lambda i, c: c + i, graphc.constant(0))
    assert graphc.evaluate(total, {x: np.zeros(7)}) == sum(range(1, 7))


def collatz(n, **options):
    return graphc.while_loop(
        lambda c: c[0] != 1,
        lambda c: (graphc.where(c[0] % 2 == 0, c[0] // 2, 3 * c[0] + 1), c[1] + 1),
        (n, graphc.constant(0)),
        **options,
    )[1]


def root(a, **options):
    """Newton's method for the square root: its derivative at the fixed point is 1 / (2 sqrt a)."""
    return graphc.while_loop(lambda s: abs(s * s - a) > 1e-9 * a, lambda s: 0.5 * (s + a / s), a + 0.0, **options)


def test_while_loop_runs_as_long_as_its_condition_holds():
    n = graphc.input("n", (), "int64")
    outputs = [collatz(n), collatz(n, max_steps=200), collatz(n, max_steps=5)]
    run = graphc.compile([n], outputs)
    for start, steps in ((1, 0), (2, 1), (27, 111)):
        expected = [steps, steps, min(steps, 5)]
        assert [int(v) for v in run(start)] == expected
        assert [int(v) for v in graphc.evaluate(outputs, {n: start})] == expected


def test_while_loop_and_its_derivatives():
    a = graphc.input("a", (), "float64")
    tangent = graphc.ones((), "float64")
    outputs = [
        graphc.grad(root(a, max_steps=40), a),
        graphc.grad(graphc.grad(root(a, max_steps=40), a), a),
        graphc.jvp(root(a), [a], [tangent]),
    ]
    first, second, forward = graphc.evaluate(outputs, {a: 3.0})
    assert first == pytest.approx(0.5 * 3**-0.5)
    assert second == pytest.approx(-0.25 * 3**-1.5)
    assert forward == pytest.approx(0.5 * 3**-0.5)


def test_vmap_of_a_while_loop_ends_each_example_at_its_own_step():
    n = graphc.input("n", (4,), "int64")
    run = graphc.compile([n], graphc.vmap(collatz)(n))
    assert run(np.array([1, 27, 2, 7])).tolist() == [0, 111, 1, 16]


def test_reverse_mode_without_a_bound_names_the_loop():
    a = graphc.input("a", (), "float64")
    with pytest.raises(GraphError, match=r"while_loop at .*test_iteration\.py:\d+ needs .* max_steps"):
        graphc.grad(root(a), a)


@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_truncate_and_checkpoint_below_one(value):
    xs = graphc.input("xs", (4, 3), "float64")
    with pytest.raises(GraphError, match=r"truncate must be a number of steps from 1 on"):
        graphc.scan(step, INIT, xs, truncate=value)
    with pytest.raises(GraphError, match=r"checkpoint must be"):
        graphc.scan(step, INIT, xs, checkpoint=value)


def test_unequal_leading_lengths_are_told_by_place():
    a, b = graphc.input("a", (4, 3)), graphc.input("b", (5, 3))
    with pytest.raises(ShapeError, match=r"(?s)that of xs\['a'\]: .*'a'.*got 5 at xs\['b'\]: .*'b'.*test_iteration"):
        graphc.scan(lambda c, x: (c, None), H0, {"a": a, "b": b})
    with pytest.raises(ShapeError, match=r"expected length = 3"):
        graphc.scan(lambda c, x: (c, None), H0, a, length=3)


# What a user may get wrong of each loop, and what the error says; lines of carries are those of the step.
MISTAKES = {
    "fori_loop, shape": (
        lambda: graphc.fori_loop(0, 3, lambda i, c: {"h": c["h"].sum()}, {"h": H0}),
        ShapeError,
        r"^fori_loop: carry\['h'\] enters the body as float64\[3\] and leaves it as float64\[\] made by sum at .*test_iteration",
    ),
    "fori_loop, dtype": (
        lambda: graphc.fori_loop(0, 3, lambda i, c: c.astype("float32"), H0),
        DTypeError,
        r"^fori_loop: carry enters the body as float64\[3\] and leaves it as float32\[3\] made by astype at .*test_iteration",
    ),
    "fori_loop, structure": (
        lambda: graphc.fori_loop(0, 3, lambda i, c: {"g": c["h"]}, {"h": H0}),
        GraphError,
        r"^fori_loop: the carry that the body returns: expected .* \['h'\], got leaves at \['g'\]",
    ),
    "map, lengths": (
        lambda: graphc.map(lambda x: x["a"].sum(), {"a": graphc.zeros((4, 3)), "b": graphc.zeros((5, 3))}),
        ShapeError,
        r"(?s)^map: the arrays it walks must have one leading size.*that of xs\['a'\].*got 5 at xs\['b'\]",
    ),
    "map, scalar": (
        lambda: graphc.map(lambda x: x, graphc.constant(1.0)),
        ShapeError,
        r"^map: expected arrays to walk in xs, got a scalar at xs: float32\[\] made by constant at .*test_iteration",
    ),
    "map, nothing": (
        lambda: graphc.map(lambda x: x, None),
        GraphError,
        r"^map: expected arrays to walk in xs, got None",
    ),
    "while_loop, shape": (
        lambda: graphc.while_loop(lambda c: c["h"].sum() > 0, lambda c: {"h": c["h"].sum()}, {"h": H0}),
        ShapeError,
        r"^while_loop: carry\['h'\] enters the body as float64\[3\] and leaves it as float64\[\] made by sum at .*test_iter",
    ),
    "while_loop of bounded length, shape": (
        lambda: graphc.while_loop(lambda c: c.sum() > 0, lambda c: c.sum(), H0, max_steps=3),
        ShapeError,
        r"^while_loop: carry enters the body as float64\[3\] and leaves it as float64\[\] made by sum at .*test_iteration",
    ),
    "while_loop of bounded length, structure": (
        lambda: graphc.while_loop(lambda c: c["h"].sum() > 0, lambda c: [c["h"]], {"h": H0}, max_steps=3),
        GraphError,
        r"^while_loop: the carry that the body returns: expected .* \['h'\], got leaves at \[0\]",
    ),
    "while_loop, no end in reverse": (
        lambda: graphc.grad(graphc.while_loop(lambda c: c[0] > 0, lambda c: (c[1] - 1.0, c[0] * 0.5), (A0, A0))[1], A0),
        GraphError,
        r"(?s)^the gradient through while_loop at .*test_iteration.*max_steps=.*\n"
        r"  carry 1, float64\[\], of which the body makes float64\[\] made by multiply at .*test_iteration",
    ),
    "cond, shape": (
        lambda: graphc.cond(A0 > 0, lambda: {"h": H0}, lambda: {"h": H0.sum()}),
        ShapeError,
        r"(?s)^cond: result\['h'\] differs.*float64\[3\].*float64\[\] made by sum at .*test_iteration",
    ),
    "cond, structure": (
        lambda: graphc.cond(A0 > 0, lambda: [H0], lambda: H0),
        GraphError,
        r"^cond: the second branch must return what the first does: expected .* \[0\], got leaves at the top",
    ),
    "cond, what it chooses by": (
        lambda: graphc.cond(A0, lambda: H0, lambda: H0),
        DTypeError,
        r"^cond: expected a boolean scalar to choose by, got float64\[\]",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_errors_name_the_function_that_was_called(name):
    build, error, message = MISTAKES[name]
    with pytest.raises(error, match=message) as caught:
        build()
    assert "scan" not in str(caught.value).partition("use graphc.scan")[0]


def test_what_lengths_must_be_equal_names_the_function_too():
    a, b = graphc.input("a", ("n",)), graphc.input("b", ("m",))
    step = graphc.compile([a, b], graphc.map(lambda x: x[0] * x[1], (a, b)))
    with pytest.raises(
        CallError, match=r"^map: the arrays that it walks must be as long as it needs m == n .*test_iter"
    ):
        step(np.ones(3, "float32"), np.ones(4, "float32"))


def test_bad_bodies_and_bounds():
    with pytest.raises(ShapeError, match=r"carry\['h'\] enters the body as float64\[3\] and leaves it as float64\[\]"):
        graphc.while_loop(lambda c: c["h"].sum() > 0, lambda c: {"h": c["h"].sum()}, {"h": H0})
    with pytest.raises(DTypeError, match="boolean scalar"):
        graphc.while_loop(lambda c: c.sum(), lambda c: c, H0)
    with pytest.raises(ShapeError, match="boolean scalar"):
        graphc.while_loop(lambda c: c > 0, lambda c: c, H0, max_steps=3)
    with pytest.raises(GraphError, match="max_steps of 0 or more"):
        graphc.while_loop(lambda c: c.sum() > 0, lambda c: c, H0, max_steps=-1)
    with pytest.raises(GraphError, match=r"upper must be known .* graphc\.while_loop"):
        graphc.fori_loop(0, graphc.constant(3), lambda i, c: c, H0)


@pytest.mark.parametrize("length", [0, "n"])
def test_what_no_step_reads_need_not_be_in_range(length):
    table, index = graphc.input("table", (3, 2), "float64"), graphc.input("index", (), "int64")
    xs = graphc.input("xs", (length, 2), "float64")

    def step(carry, x):
        row = graphc.take(table, index * 2, 0) * 2.0
        return carry + row + x * graphc.take(row, index, 0), row.sum()

    last, rows = graphc.scan(step, graphc.zeros((2,), "float64"), xs)
    run = graphc.compile([table, index, xs], [last, rows, *graphc.grad((last * last).sum() + rows.sum(), [table, xs])])
    feeds = np.arange(6.0).reshape(3, 2), np.int64(5), np.zeros((0, 2))
    for found, shape in zip(run(*feeds), ((2,), (0,), (3, 2), (0, 2)), strict=True):
        np.testing.assert_array_equal(found, np.zeros(shape))
    if length == "n":
        with pytest.raises(IndexOutOfRangeError, match="index 10 is out of range for an axis of size 3"):
            run(feeds[0], feeds[1], np.ones((1, 2)))
        found = run(feeds[0], np.int64(1), np.ones((1, 2)))
        np.testing.assert_array_equal(found[0], np.array([8.0, 10.0]) + 10.0)
