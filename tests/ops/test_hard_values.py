"""NaN, infinities, signed zeros, denormals and the ends of the integers, in ops that look along axes or move elements."""

import itertools

import numpy as np
import pytest

import graphc

TINY = {"float32": 1e-42, "float64": 5e-324}


def triples(dtype):
    """Every row of three hard values."""
    if np.dtype(dtype).kind == "f":
        # None so large that sums overflow, and none that cancel: what is left then depends on the order.
        values = [0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, TINY[dtype], -TINY[dtype], 2.0**40]
    else:
        limits = np.iinfo(dtype)
        values = [0, 1, 2, int(limits.max), int(limits.min), int(limits.max) - 1]
    return np.array(list(itertools.product(values, repeat=3)), dtype)


def logsumexp(x):
    top = np.max(x, 1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    return np.log(np.sum(np.exp(x - top), 1)) + top[:, 0]


def softmax(x):
    grown = np.exp(x - np.max(x, 1, keepdims=True))
    return grown / np.sum(grown, 1, keepdims=True)


def log_softmax(x):
    below = x - np.max(x, 1, keepdims=True)
    return below - np.log(np.sum(np.exp(below), 1, keepdims=True))


ALONG = {
    "sum": lambda x: np.sum(x, 1),
    "prod": lambda x: np.prod(x, 1),
    "max": lambda x: np.max(x, 1),
    "min": lambda x: np.min(x, 1),
    "argmax": lambda x: np.argmax(x, 1),
    "argmin": lambda x: np.argmin(x, 1),
    "cumulative_sum": lambda x: np.cumsum(x, 1),
    "cumulative_prod": lambda x: np.cumprod(x, 1),
    "sort": lambda x: np.sort(x, 1),
    "argsort": lambda x: np.argsort(x, 1, kind="stable"),
}
OF_FLOATS = {
    "mean": lambda x: np.mean(x, 1),
    "var": lambda x: np.var(x, 1),
    "std": lambda x: np.std(x, 1),
    "median": lambda x: np.median(x, 1),
    "logsumexp": logsumexp,
    "softmax": softmax,
    "log_softmax": log_softmax,
}


def run_both(x, nodes, array):
    """What the reference run gives, and what compiled kernels give."""
    return graphc.evaluate(nodes, {x: array}), graphc.compile([x], nodes)(array)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_along_an_axis_as_numpy(dtype):
    array = triples(dtype)
    x = graphc.input("x", ("n", 3), dtype)
    meanings = ALONG | (OF_FLOATS if np.dtype(dtype).kind == "f" else {})
    nodes = [getattr(graphc, name)(x, axis=1) for name in meanings]
    for results in run_both(x, nodes, array):
        for (name, meaning), got in zip(meanings.items(), results, strict=True):
            with np.errstate(all="ignore"):
                wanted = meaning(array).astype(got.dtype)
            if name == "prod" and got.dtype.kind == "f":
                # The product of two denormals is 0, and 0 times infinity NaN: that depends on the order, too.
                known = ~(np.abs(array) == np.asarray(TINY[dtype], dtype)).any(1)
                got, wanted = got[known], wanted[known]
            if got.dtype.kind == "f":
                tolerance = 8 * np.finfo(got.dtype).eps
                np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=0, err_msg=name)
            else:
                np.testing.assert_array_equal(got, wanted, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_moving_keeps_every_bit(dtype):
    array = triples(dtype)[:200]
    x = graphc.input("x", array.shape, dtype)
    at = np.arange(200)[::-3].copy()
    pairs = [
        (graphc.flip(x, 0), np.flip(array, 0)),
        (x.T, array.T),
        (x.reshape(3, 200), array.reshape(3, 200)),
        (x[5:190:4, ::-1], array[5:190:4, ::-1]),
        (graphc.concat([x, x[:7]], axis=0), np.concatenate([array, array[:7]])),
        (graphc.pad(x, ((1, 2), (0, 1))), np.pad(array, ((1, 2), (0, 1)))),
        (graphc.roll(x, 5, 0), np.roll(array, 5, 0)),
        (graphc.repeat(x, 2, 1), np.repeat(array, 2, 1)),
        (graphc.tile(x, (1, 2)), np.tile(array, (1, 2))),
        (graphc.take(x, at, axis=0), array[at]),
        (graphc.broadcast_to(x[:, None], (200, 2, 3)), np.broadcast_to(array[:, None], (200, 2, 3))),
        (graphc.stack([x, x], axis=1), np.stack([array, array], 1)),
        (graphc.tril(x), np.where(np.tril(np.ones(array.shape, bool)), array, 0)),
    ]
    for results in run_both(x, [node for node, _ in pairs], array):
        for k, (got, (_, wanted)) in enumerate(zip(results, pairs, strict=True)):
            assert np.asarray(got).tobytes() == np.ascontiguousarray(wanted).astype(dtype).tobytes(), k


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_matrices_keep_what_is_not_finite(dtype):
    values = [0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, TINY[dtype], -3.0]
    left = np.array(list(itertools.product(values, repeat=2)), dtype)
    right = left.T.copy()
    x, y = graphc.input("x", left.shape, dtype), graphc.input("y", right.shape, dtype)
    with np.errstate(all="ignore"):
        wanted = left[:, :1] * right[:1] + left[:, 1:] * right[1:]
    for got in ((x @ y).eval({x: left, y: right}), graphc.compile([x, y], x @ y)(left, right)):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=0)


def test_a_scatter_adds_what_is_not_finite():
    index = np.array([0, 1, 1, 2, 2, 3], "int64")
    updates = np.array([np.nan, np.inf, -np.inf, np.inf, 1.0, -0.0], "float32")
    i, u = graphc.input("i", (6,), "int64"), graphc.input("u", (6,))
    node = graphc.scatter_add(i, u, 5)
    wanted = np.zeros(5, "float32")
    with np.errstate(all="ignore"):
        np.add.at(wanted, index, updates)
    for got in (node.eval({i: index, u: updates}), graphc.compile([i, u], node)(index, updates)):
        np.testing.assert_array_equal(got, wanted)
