"""The reference run: feeds, sizes, conversions and what it refuses."""

import numpy as np
import pytest

import graphc


def test_structures_and_present_values():
    x, p = graphc.input("x", ("n",)), graphc.parameter([1.0, 2.0])
    one = np.ones(2)
    assert list(graphc.evaluate([x + p, p], {x: one})[0]) == [2, 3]
    assert graphc.evaluate({"a": x.sum()}, {x: one})["a"] == 2
    assert isinstance(graphc.evaluate((x,), {x: one}), tuple)
    p.set([5, 5])
    assert list((x + p).eval({x: one})) == [6, 6]
    assert list((x + p).eval({x: one, p: [0, 1]})) == [1, 2]


def test_symbolic_sizes_reach_attributes():
    x = graphc.input("x", ("n", "m"))
    array = np.arange(6.0).reshape(2, 3)
    assert float((x.mean() * graphc.size("m")).eval({x: array})) == 7.5
    assert graphc.broadcast_to(x.sum(0), ("k", "m")).op.name == "broadcast_to"
    np.testing.assert_array_equal((x * graphc.arange("m")).eval({x: array}), array * np.arange(3))
    np.testing.assert_array_equal((x.T @ x).eval({x: array}), array.T @ array)


@pytest.mark.parametrize(
    ("array", "error"),
    [(np.ones(3), graphc.CallError), (np.ones((2, 4)), graphc.CallError), (np.ones((2, 3), complex), graphc.CallError)],
)
def test_arrays_that_do_not_fit(array, error):
    x = graphc.input("x", ("n", 3))
    with pytest.raises(error, match="expected"):
        x.eval({x: array})


def test_sizes_that_contradict_and_missing_inputs():
    x, y = graphc.input("x", ("n",)), graphc.input("y", ("n",))
    with pytest.raises(graphc.CallError, match="expected shape"):
        (x + y).eval({x: np.ones(2), y: np.ones(3)})
    with pytest.raises(graphc.MissingInputError, match="'y'"):
        (x + y).eval({x: np.ones(2)})
    k = graphc.input("k", ("n",), "int32")
    with pytest.raises(graphc.CallError, match="expected int32"):
        k.eval({k: np.ones(2)})
    assert k.eval({k: np.ones(2, "int64")}).dtype == np.int32


@pytest.mark.parametrize("index", [4, -5])
def test_indices_are_checked(index):
    x, i = graphc.input("x", (4, 2)), graphc.input("i", (1,), "int64")
    for node in (graphc.take(x, i, axis=0), graphc.scatter_add(i, x[:1], 4), graphc.one_hot(i, 4)):
        with pytest.raises(IndexError, match=f"index {index} is out of range for an axis of size 4"):
            node.eval({x: np.ones((4, 2)), i: [index]})


def test_an_index_out_of_range_in_a_batch_never_reaches_a_neighbour():
    rows, i = graphc.input("rows", (2, 3, 4)), graphc.input("i", (2, 3), "int64")
    scatter = graphc.vmap(lambda index, updates: graphc.scatter_add(index, updates, 4))(i, rows)
    assert scatter.eval({rows: np.ones((2, 3, 4)), i: np.zeros((2, 3), int)}).shape == (2, 4, 4)
    for bad in (4, -5):
        with pytest.raises(IndexError):
            scatter.eval({rows: np.ones((2, 3, 4)), i: [[0, 1, bad], [0, 1, 2]]})


def test_sizes_are_checked_before_anything_is_computed():
    x = graphc.input("x", ("n", 2, 3))
    image = graphc.conv1d(x.reshape((1, -1, 6)), np.ones((3, 6, 2), "float32"))[0]
    with pytest.raises(graphc.CallError, match=r"expected n - 2 >= 1"):
        graphc.evaluate(1.0 / (1.0 + image), {x: np.ones((1, 2, 3), "float32")})
