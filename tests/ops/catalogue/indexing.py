"""Ops that index."""

from __future__ import annotations

import numpy as np

import graphc
from tests.ops.catalogue.row import Row, f, ints, node


def _scatter(indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    out = np.zeros((4, *updates.shape[1:]), updates.dtype)
    for k, at in enumerate(indices):
        out[at] += updates[k]
    return out


def _cut(x: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return x[int(i) + np.arange(2)[:, None], int(j) + np.arange(4)]


def _updated(x: np.ndarray, update: np.ndarray, i: np.ndarray) -> np.ndarray:
    out = x.copy()
    if not 0 <= i <= 3:
        raise IndexError(i)
    out[i : i + 2, 1:4] = update
    return out


LABELS = ints(6, low=-4, high=4)
MASK = np.array([[True, False, True, True], [False, False, True, False]])

ROWS = (
    Row(
        "take",
        lambda x, i: graphc.take(x, i, axis=1),
        (f(2, 4, 3), ints(2, 5, low=-4, high=4)),
        lambda x, i: np.take(x, i, 1),
        raises=(
            (lambda: graphc.take(node(3), node(2)), graphc.DTypeError, "take's indices: expected integers"),
            (lambda: graphc.take(node(3), 0, 1), graphc.ShapeError, "axis 1 does not exist"),
            (lambda: graphc.take(node(3, 2), [0]), graphc.ShapeError, "needs an axis"),
            (lambda: graphc.take(node(3), [0, -4]), graphc.IndexOutOfRangeError, "index -4 .* size 3: take"),
        ),
    ),
    Row("take int32", lambda x, i: x[i], (f(4, 3), ints(6, low=-4, high=4, kind="i32")), lambda x, i: x[i]),
    Row(
        "take_along_axis",
        lambda x, i: graphc.take_along_axis(x, i, 1),
        (f(2, 4, 3), ints(2, 5, 3, low=-4, high=4)),
        lambda x, i: np.take_along_axis(x, i, 1),
    ),
    Row(
        "take_along_axis broadcasts",
        lambda x, i: graphc.take_along_axis(x, i, 0),
        (f(3, 4), ints(2, 1, low=0, high=3)),
        lambda x, i: np.take_along_axis(x, np.broadcast_to(i, (2, 4)), 0),
        raises=(
            (lambda: graphc.take_along_axis(node(3, 4), [0]), graphc.ShapeError, "equal ranks"),
            (lambda: graphc.take_along_axis(node(3, 4), [[4]]), graphc.IndexOutOfRangeError, "take_along_axis"),
        ),
    ),
    Row(
        "gather",
        lambda x, i: graphc.gather(x, 1, i),
        (f(3, 4, 2), ints(2, 5, 1, low=0, high=4)),
        lambda x, i: np.take_along_axis(x[:2, :, :1], i, 1),
        raises=(
            (lambda: graphc.gather(node(3), 0, [-1]), graphc.IndexOutOfRangeError, "index -1 .* gather"),
            (lambda: graphc.gather(node(3, 4), 0, [1]), graphc.ShapeError, "2 dimensions"),
            (
                lambda: graphc.gather(node(3, 4), 0, [[1] * 5]),
                graphc.ShapeError,
                "at most 4 along axis 1 of .*, got 5",
            ),
        ),
    ),
    Row(
        "embedding",
        graphc.embedding,
        (f(4, 3), ints(2, 5, low=0, high=4)),
        lambda table, i: table[i],
        raises=((lambda: graphc.embedding(node(4, 3), [-1]), graphc.IndexOutOfRangeError, "index -1 .* embedding"),),
    ),
    Row("scalar index", lambda x, i: x[i, 1:], (f(4, 3), ints(low=-4, high=4)), lambda x, i: x[i, 1:]),
    Row(
        "index arrays",
        lambda x, i, j: x[:, i, j],
        (f(2, 4, 3, 2), ints(5, 1, low=-4, high=4), ints(2, low=0, high=3, kind="i32")),
        lambda x, i, j: x[:, i, j],
        raises=(
            (lambda: node(3, 4)[[0, 3], 0], graphc.IndexOutOfRangeError, "index 3 .* size 3"),
            (lambda: node(3, 4)[[0, 1], [0, 1, 2]], graphc.ShapeError, "broadcast"),
            (lambda: node(3)[node(3)], graphc.DTypeError, "expected integers"),
            (lambda: node(3)[node(3) > 0], graphc.DTypeError, "where"),
            (lambda: node(3)[np.ones(4, bool)], graphc.ShapeError, "mask"),
            (lambda: node(3)[True], graphc.ShapeError, "boolean"),
            (lambda: node(3)[node(dtype="int64") :], graphc.ShapeError, "dynamic_slice"),
            (lambda: node(3)[..., ...], graphc.ShapeError, "more than one"),
        ),
    ),
    Row(
        "index arrays apart",
        lambda x, i, j: x[i, :, j],
        (f(2, 4, 3), ints(5, low=-2, high=2), ints(5, low=0, high=3)),
        lambda x, i, j: x[i, :, j],
    ),
    Row(
        "index integer and array",
        lambda x: x[0, :, [2, 0, 2]],
        (f(2, 4, 3),),
        lambda x: x[0, :, [2, 0, 2]],
    ),
    Row("index mask", lambda x: x[MASK, 1:], (f(2, 4, 3),), lambda x: x[MASK, 1:]),
    Row(
        "dynamic_slice",
        lambda x, i, j: graphc.dynamic_slice(x, (i, j), (2, 4)),
        (f(4, 7), ints(low=0, high=3), ints(low=0, high=4, kind="i32")),
        _cut,
        raises=(
            (lambda: graphc.dynamic_slice(node(4), 2, 3), graphc.IndexOutOfRangeError, "index 2 .* dynamic_slice"),
            (lambda: graphc.dynamic_slice(node(4), -1, 3), graphc.IndexOutOfRangeError, "index -1"),
            (lambda: graphc.dynamic_slice(node(4), 0, 5), graphc.ShapeError, "does not fit"),
            (lambda: graphc.dynamic_slice(node(4, 4), (0,), (2,)), graphc.ShapeError, "each of 2 axes"),
            (lambda: graphc.dynamic_slice(node(4), node(), 3), graphc.DTypeError, "starts"),
        ),
    ),
    Row(
        "dynamic_update_slice",
        lambda x, u, i: graphc.dynamic_update_slice(x, u, (i, 1)),
        (f(5, 4), f(2, 3), ints(low=0, high=4, kind="i32")),
        _updated,
        raises=(
            (lambda: graphc.dynamic_update_slice(node(4), node(3), 2), graphc.IndexOutOfRangeError, "index 2"),
            (
                lambda: graphc.dynamic_update_slice(node(4), node(3, 1), 0),
                graphc.ShapeError,
                "a start and a size for each of 1 axes",
            ),
        ),
    ),
    Row(
        "scatter_add",
        lambda i, x: graphc.scatter_add(i, x, 4),
        (LABELS, f(6, 3)),
        _scatter,
        raises=(
            (lambda: graphc.scatter_add(node(3, dtype="int64"), node(4), 9), graphc.ShapeError, "expected 3 == 4"),
            (lambda: graphc.scatter_add([9], node(1), 9), graphc.IndexOutOfRangeError, "scatter_add"),
        ),
    ),
    Row(
        "one_hot",
        lambda i: graphc.one_hot(i, 4),
        (ints(6, low=0, high=4, kind="u"),),
        lambda i: np.eye(4, dtype="float32")[i],
        derivable=False,
        raises=((lambda: graphc.one_hot([0, -1], 4), graphc.IndexOutOfRangeError, "index -1 .* size 4: one_hot"),),
    ),
)
