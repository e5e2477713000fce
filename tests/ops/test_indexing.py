"""Indexing against NumPy's own rules; what is out of range, named; gradients that cost one scatter."""

import numpy as np
import pytest

import graphc
from graphc.graph.graph import Graph
from graphc.passes import run_passes

X = np.arange(4 * 5 * 6, dtype="float32").reshape(4, 5, 6)
K, J = np.array([[0, 1], [2, -1]]), np.array([1, 3])
MASK, ROWS = X[:, :, 0] > 50, np.array([True, False, True, True])
KEYS = (
    np.s_[K],
    np.s_[K, J],
    np.s_[:, K, J],
    np.s_[K, :, J],
    np.s_[K, J, J],
    np.s_[K, None, J],
    np.s_[..., J],
    np.s_[J, ..., J],
    np.s_[..., None, J, 2],
    np.s_[0, :, J],
    np.s_[:, 0, J],
    np.s_[J, 0],
    np.s_[J, 1:3, 0],
    np.s_[1, [0, 2], [1, 1]],
    np.s_[:, None, J, ::2],
    np.s_[:, J, 4:1:-1],
    np.s_[[]],
    np.s_[[0, 2], ::-1],
    np.s_[MASK],
    np.s_[MASK, 1],
    np.s_[1:3, MASK[0].nonzero()[0]],
    np.s_[ROWS],
    np.s_[ROWS, :, [0, 1, 2]],
    np.s_[ROWS, ..., 0],
    np.s_[..., [True, False] * 3],
    np.s_[-1, ..., 1:3],
    np.s_[np.int64(1), np.array(2)],
    np.s_[np.array(2), :, np.array(1)],
    np.s_[None, ..., None],
    np.s_[()],
)


@pytest.mark.parametrize("key", KEYS, ids=[str(k) for k in range(len(KEYS))])
@pytest.mark.parametrize("shape", [(4, 5, 6), ("n", 5, "m")], ids=["known", "symbolic"])
def test_brackets_as_numpy(key, shape):
    x = graphc.input("x", shape)
    got = x[key].eval({x: X})
    np.testing.assert_array_equal(got, X[key])


@pytest.mark.parametrize("key", [(K, J), (slice(None), K, J), (K, slice(None), J), (K, J, 0), (K,)], ids=str)
def test_nodes_as_indices_and_their_gradient(key):
    x = graphc.input("x", X.shape)
    at = [
        part if isinstance(part, slice | int) else graphc.input(f"i{k}", part.shape, "int64")
        for k, part in enumerate(key)
    ]
    inputs = [part for part in at if isinstance(part, graphc.Node)]
    taken = x[tuple(at)]
    f = graphc.compile([x, *inputs], [taken, graphc.grad(graphc.sum(taken * taken), x)])
    value, gradient = f(X, *(part for part in key if isinstance(part, np.ndarray)))
    wanted = np.zeros_like(X)
    np.add.at(wanted, key, 2 * X[key])
    np.testing.assert_array_equal(value, X[key])
    np.testing.assert_allclose(gradient, wanted)


TABLE, WHERE = graphc.input("x", (4, 3)), graphc.input("i", (2,), "int64")


def out_of_range():
    """Yield by name: a node of x (4, 3) and i (2,), an i that is out of range, and what the error must say."""
    x, i = TABLE, WHERE
    yield "take", graphc.take(x, i, 1), [0, 3], "index 3 .* size 3: take"
    yield "take below", graphc.take(x, i, 0), [-4, -5], "index -5 .* size 4: take"
    yield "brackets", x[i, 0], [4, 0], "index 4 .* size 4: indexing"
    yield "two arrays", x[i, i], [-4, 0], "index -4 .* size 3: indexing"
    yield "scalar", x[i[0], i[1]], [0, 9], "index 9 .* size 3: indexing"
    yield "along", graphc.take_along_axis(x, i[None, :], 1), [0, -4], "index -4 .* size 3: take_along_axis"
    yield "gather", graphc.gather(x, 1, i[None, :]), [0, -1], "index -1 .* size 3: gather"
    yield "embedding", graphc.embedding(x, i), [-1, 0], "index -1 .* size 4: embedding"
    yield "one_hot", graphc.one_hot(i, 7), [6, -2], "index -2 .* size 7: one_hot"
    yield "scatter_add", graphc.scatter_add(i, x[:2], 5), [0, 5], "index 5 .* size 5: scatter_add"
    yield "dynamic_slice", graphc.dynamic_slice(x, (i[0], i[1]), (2, 2)), [3, 0], "index 3 .* size 3: dynamic_slice"
    yield "start below", graphc.dynamic_slice(x, (i[0], i[1]), (2, 2)), [0, -1], "index -1 .* size 2: dynamic_slice"
    update = graphc.dynamic_update_slice(x, graphc.ones((2, 2)), (i[0], i[1]))
    yield "update", update, [0, 2], "index 2 .* size 2: dynamic_update_slice"


CASES = {name: case for name, *case in out_of_range()}


@pytest.mark.parametrize("name", CASES)
def test_out_of_range_names_the_operation_and_the_index(name):
    node, bad, message = CASES[name]
    array = np.ones((4, 3), "float32")
    with pytest.raises(graphc.IndexOutOfRangeError, match=message):
        node.eval({TABLE: array, WHERE: np.array(bad)})
    with pytest.raises(graphc.IndexOutOfRangeError, match=rf"{message}.* at test_indexing\.py:"):
        graphc.compile([TABLE, WHERE], node)(array, np.array(bad))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("one_hot", "scatter_add")])
def test_a_gradient_without_its_value_is_checked_too(name):
    node, bad, message = CASES[name]
    f = graphc.compile([TABLE, WHERE], graphc.grad(node.sum(), TABLE))
    with pytest.raises(graphc.IndexOutOfRangeError, match=rf"{message.split(':')[0]}.* at test_indexing\.py:"):
        f(np.ones((4, 3), "float32"), np.array(bad))


def test_batched_indices_never_reach_a_neighbour():
    x, i = graphc.input("x", (3, 4)), graphc.input("i", (3, 2), "int64")
    node = graphc.vmap(lambda row, at: graphc.embedding(row, at))(x, i)
    f = graphc.compile([x, i], graphc.grad((node * node).sum(), x))
    array = np.arange(12, dtype="float32").reshape(3, 4)
    at = np.array([[0, 1], [3, 3], [2, 0]])
    wanted = np.zeros_like(array)
    np.add.at(wanted, (np.arange(3)[:, None], at), 2 * np.take_along_axis(array, at, 1))
    np.testing.assert_array_equal(f(array, at), wanted)
    for bad in (4, -1, 7):
        at[1, 0] = bad
        with pytest.raises(graphc.IndexOutOfRangeError, match=rf"index {bad} .* size 4: embedding at"):
            f(array, at)


def ops_of(x, node):
    graph = run_passes(Graph((x,), (node,)), training=False)
    return [n.op.name for n in graph.nodes() if not n.is_leaf]


@pytest.mark.parametrize(
    ("build", "scatters"),
    [
        (lambda x: x[:, [2, 0, 2]], 1),
        (lambda x: x[[0, 1], [2, 2]], 1),
        (lambda x: graphc.embedding(x, [1, 1, 3]), 1),
        (lambda x: graphc.roll(x, 2, 0), 0),
        (lambda x: graphc.roll(x, (1, -1), (0, 1)), 0),
        (lambda x: graphc.concat(graphc.split(graphc.tanh(x), 4)[::-1]), 0),
        (lambda x: graphc.tile(x, (2, 3)), 0),
        (lambda x: graphc.repeat(x, 3, 0), 0),
        (lambda x: graphc.cumulative_sum(x, 0), 0),
    ],
)
def test_gradients_cost_one_scatter_and_no_padding(build, scatters):
    x = graphc.input("x", (4, 3))
    y = build(x)
    names = ops_of(x, graphc.grad((graphc.tanh(y) * y).sum(), x))
    assert names.count("scatter_add") == scatters
    assert "pad" not in names


def test_new_inputs_in_the_place_of_old_ones():
    x, i = graphc.input("x", (4, 3)), graphc.input("i", (), "int64")
    y, j = graphc.input("y", (4, 3)), graphc.input("j", (), "int64")
    part = graphc.dynamic_slice(x, (i, 0), (2, 3))
    node = graphc.dynamic_update_slice(x, part * 2.0, (i, 0))[i, [0, 2]] + graphc.median(x.cumprod(1), 0)[:2]
    array = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    moved = graphc.substitute(node, {x: y * 2.0, i: j})
    np.testing.assert_array_equal(moved.eval({y: array, j: 1}), node.eval({x: array * 2, i: 1}))
