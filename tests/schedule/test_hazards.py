"""What fusing, ordering and naming must not break; each of these was once wrong."""

import numpy as np
import pytest

import graphc
from graphc import dims
from graphc.compiler import plan_of
from graphc.passes import run_passes
from graphc.simd.levels import LEVELS

rng = np.random.default_rng(3)


def agrees(inputs, outputs, *arrays):
    got = graphc.compile(inputs, outputs, training=False)(*arrays)
    wanted = graphc.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_epilogues_of_two_contractions_that_read_each_other():
    inputs = [graphc.input(name, (5, 5)) for name in "abcd"]
    a, b, c, d = inputs
    first, second = a @ b, c @ d
    arrays = [rng.normal(size=(5, 5)).astype("float32") for _ in inputs]
    agrees(inputs, [first + second.T, second + first.T], *arrays)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 20])
def test_running_sum_of_a_vector(length, reverse):
    x = graphc.input("x", ("n",))
    agrees([x], [graphc.cumulative_sum(x, reverse=reverse)], rng.normal(size=length).astype("float32"))


# Each of these is also the name of something in some kernel's text: an argument, a variable, a function, a keyword.
@pytest.mark.parametrize(
    "name", ["args", "threads", "row", "width", "i", "i0", "p1", "v1", "range", "load_f32", "in", "n_"]
)
def test_a_size_may_have_any_name(name):
    x = graphc.input("x", (name, 20))
    k = graphc.input("k", (name,), "int32")
    outputs = [graphc.scatter_add(k, x, 4), graphc.tanh(x), x.sum(axis=0), x.T @ x, graphc.take(x.T, k, axis=1)]
    agrees([x, k], outputs, rng.normal(size=(3, 20)).astype("float32"), np.array([0, 2, -1], "int32"))


def test_sizes_whose_names_differ_by_an_underscore():
    x, y = graphc.input("x", ("n1",)), graphc.input("y", ("n1_",))
    agrees([x, y], [graphc.expand_dims(x, 1) * y], np.arange(3, dtype="float32"), np.arange(5, dtype="float32"))


def test_a_bad_index_in_an_update_replaces_nothing():
    p, q = graphc.parameter(np.zeros(4, "float32"), "p"), graphc.parameter(np.zeros((), "float32"), "q")
    table, at = graphc.input("table", (3,)), graphc.input("at", (4,), "int32")
    step = graphc.compile([table, at], updates={p: graphc.take(table, at), q: q + table.sum()})
    with pytest.raises(graphc.IndexOutOfRangeError, match=r"index 9 .* test_hazards\.py"):
        step(np.ones(3, "float32"), np.array([0, 1, 2, 9], "int32"))
    np.testing.assert_array_equal(p.value, np.zeros(4))
    assert q.value == 0.0


def test_an_index_that_is_read_once_a_row_and_only_inside_a_pad():
    x, at = graphc.input("x", (3, 20)), graphc.input("at", ("n",), "int32")
    padded = graphc.pad(graphc.take(x, at, axis=0), [(1, 1), (0, 0)])
    agrees([x, at], [padded], rng.normal(size=(3, 20)).astype("float32"), np.array([2, -1], "int32"))


def test_constants_divide():
    n = dims.symbol("n")
    assert dims.floordiv(608 * n + 2447, 16) == 38 * n + 152
    assert dims.remainder(608 * n + 2447, 16) == 15


def test_padding_of_one_known_number():
    x = graphc.input("x", (3,))
    known = graphc.constant(np.array([2.0], "float32"))
    agrees([x], [graphc.pad(known, [(1, 1)]) + x], np.ones(3, "float32"))


def test_the_same_pad_of_two_axes_added_twice():
    x = graphc.input("x", (3, 3))
    padded = graphc.pad(x, [(1, 0), (0, 1)])
    agrees([x], [padded * graphc.ones((4, 4)) + padded * graphc.ones((4, 4))], np.ones((3, 3), "float32"))


def test_a_concatenation_of_many():
    x = graphc.input("x", (600,))
    graph = graphc.Graph((x,), (graphc.concat([x[k : k + 1] * 2.0 for k in range(0, 600, 2)]),))
    assert len(plan_of(run_passes(graph, training=False), LEVELS["x86-64-v4"]).kernels) >= 1


@pytest.mark.parametrize(
    ("build", "first", "second"),
    [(graphc.matmul, ("p", "n"), ("m", "q")), (lambda a, b: graphc.einsum("ij,ik->jk", a, b), ("n", 8), ("m", 4))],
)
def test_sizes_that_a_contraction_shares_must_be_equal(build, first, second):
    a, b = graphc.input("a", first), graphc.input("b", second)
    product = graphc.compile([a, b], build(a, b))
    with pytest.raises(graphc.CallError, match="needs m == n"):
        product(np.ones([{"p": 2, "n": 3}.get(d, d) for d in first], "float32"), np.ones((4, 4), "float32"))


@pytest.mark.parametrize("build", [graphc.max, graphc.argmin, graphc.logsumexp])
def test_the_largest_of_nothing_is_refused(build):
    x = graphc.input("x", ("n", 3))
    largest = graphc.compile([x], build(x, axis=0))
    with pytest.raises(graphc.CallError, match="needs n >= 1"):
        largest(np.ones((0, 3), "float32"))


def test_functions_of_equal_code_with_other_values_around_them():
    x = graphc.input("x", (4,))

    def times(factor):
        def fill(out, values):
            for k in range(values.shape[0]):
                out[k] = values[k] * factor

        return graphc.native(fill, x.type, x)

    agrees([x], [times(2.0), times(3.0)], np.ones(4, "float32"))


@pytest.mark.parametrize(
    "same", [lambda x: graphc.broadcast_to(x, (3, 20)), lambda x: graphc.ones((3, 20)), lambda x: x[None]]
)
def test_an_index_is_checked_where_every_index_gives_the_same(same):
    x, at = graphc.input("x", (20,)), graphc.input("at", ("n",), "int32")
    rows = graphc.compile([x, at], graphc.take(same(x), at, axis=0) * 2.0)
    rows(np.ones(20, "float32"), np.zeros(5, "int32"))
    with pytest.raises(graphc.IndexOutOfRangeError, match="index 3"):
        rows(np.ones(20, "float32"), np.array([0, 0, 3], "int32"))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_joined_parts_are_a_store_each(axis):
    """Also behind a reshape, as the gradient of splitting gates is."""
    x, y = graphc.input("x", ("n", 3, 5), "float64"), graphc.input("y", ("n", 3, 5), "float64")
    parts = [graphc.tanh(x) * y, graphc.exp(y) - x, x * y]
    run = graphc.compile([x, y], [graphc.concat(parts, axis), graphc.reshape(graphc.concat(parts, axis), (-1,))])
    rng = np.random.default_rng(axis)
    for n in (0, 1, 4):
        a, b = rng.normal(size=(2, n, 3, 5))
        expected = np.concatenate([np.tanh(a) * b, np.exp(b) - a, a * b], axis)
        found = run(a, b)
        np.testing.assert_allclose(found[0], expected, rtol=1e-12)
        np.testing.assert_allclose(found[1], expected.reshape(-1), rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_made_of_a_joined_array_does_not_take_its_place_while_a_part_is_read(threads):
    """Both loops write their rows into the joined array, whose last reader comes before the last one of a part."""
    w, x = graphc.input("w", (20, 20)), graphc.input("x", (4, 3, 20))
    first, second = (
        graphc.scan(lambda h, now, sign=sign: (graphc.tanh(h @ w + now * sign),) * 2, graphc.zeros((3, 20)), x)[1]
        for sign in (1.0, -1.0)
    )
    flat = graphc.sin(graphc.concat([first, second], 0)).reshape((24, 20))
    squares = flat.T @ flat
    step = graphc.compile([w, x], [squares, first @ squares], threads=threads)
    joined = [b for b in step.plan.buffers if b.name.startswith("concat")]
    assert sum(b.shares in {one.number for one in joined} for b in step.plan.buffers) == 2
    generator = np.random.default_rng(0)
    weights, rows = (generator.normal(size=size).astype("float32") / 4 for size in ((20, 20), (4, 3, 20)))
    made = []
    for sign in (1.0, -1.0):
        h = np.zeros((3, 20))
        made.append([h := np.tanh(h @ weights + sign * now) for now in rows])
    whole = np.sin(np.concatenate(made)).reshape(24, 20)
    found = step(weights, rows)
    np.testing.assert_allclose(found[0], whole.T @ whole, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[1], made[0] @ (whole.T @ whole), rtol=1e-4, atol=1e-4)
