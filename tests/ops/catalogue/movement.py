"""Ops that move elements, or make them from positions."""

from __future__ import annotations

import numpy as np

import graphc
from tests.ops.catalogue.row import Row, f, node


def _interior(x: np.ndarray) -> np.ndarray:
    out = np.full((1 + 7, 2 + 3 + 1), 1.5, x.dtype)
    out[1:8:3, 2:5:2] = x
    return out


ROWS = (
    Row(
        "broadcast_to",
        lambda x: graphc.broadcast_to(x, (4, 3, 2, 5)),
        (f(3, 1, 5),),
        lambda x: np.broadcast_to(x, (4, 3, 2, 5)),
        raises=(
            (lambda: graphc.broadcast_to(node(3), (4,)), graphc.ShapeError),
            (lambda: graphc.broadcast_to(node(2, 3), (3,)), graphc.ShapeError),
        ),
    ),
    Row("broadcast_to scalar", lambda x: graphc.broadcast_to(x, (2, 3)), (f(),), lambda x: np.broadcast_to(x, (2, 3))),
    Row(
        "reshape",
        lambda x: x.reshape(2, -1, 5),
        (f(4, 3, 5),),
        lambda x: x.reshape(2, -1, 5),
        raises=(
            (lambda: node(6).reshape(4, -1), graphc.ShapeError),
            (lambda: node(6).reshape(-1, -1), graphc.ShapeError),
            (lambda: node(6).reshape(5), graphc.ShapeError),
        ),
    ),
    Row(
        "permute_dims",
        lambda x: graphc.permute_dims(x, (2, 0, 1)),
        (f(2, 3, 4),),
        lambda x: x.transpose(2, 0, 1),
        raises=(
            (lambda: graphc.permute_dims(node(2, 3), (0, 0)), graphc.ShapeError),
            (lambda: graphc.permute_dims(node(2), (1,)), graphc.ShapeError),
        ),
    ),
    Row("T", lambda x: x.T, (f(2, 3),), lambda x: x.T),
    Row("expand_dims", lambda x: graphc.expand_dims(x, (0, 2)), (f(2, 3),), lambda x: np.expand_dims(x, (0, 2))),
    Row(
        "squeeze",
        graphc.squeeze,
        (f(2, 1, 3, 1),),
        np.squeeze,
        raises=((lambda: graphc.squeeze(node(2), 0), graphc.ShapeError),),
    ),
    Row(
        "slice",
        lambda x: x[1:7:2, ::-1, -2],
        (f(9, 4, 3),),
        lambda x: x[1:7:2, ::-1, -2],
        raises=(
            (lambda: node(3)[3], graphc.IndexOutOfRangeError, "index 3"),
            (lambda: node(3)[0, 0], graphc.ShapeError),
            (lambda: node(3)[::0], graphc.ShapeError),
        ),
    ),
    Row(
        "slice negative step",
        lambda x: x[7:1:-3, None, ..., 2:0:-1],
        (f(9, 4),),
        lambda x: x[7:1:-3, None, ..., 2:0:-1],
    ),
    Row("slice empty", lambda x: x[5:2], (f(9, 2),), lambda x: x[5:2]),
    Row(
        "pad",
        lambda x: graphc.pad(x, ((1, 2), (0, 3))),
        (f(3, 2),),
        lambda x: np.pad(x, ((1, 2), (0, 3))),
        raises=((lambda: graphc.pad(node(3), -1), graphc.ShapeError),),
    ),
    Row(
        "pad interior",
        lambda x: graphc.pad(x, ((1, 0), (2, 1)), 1.5, interior=(2, 1)),
        (f(3, 2),),
        lambda x: _interior(x),
    ),
    Row(
        "concat",
        lambda *x: graphc.concat(x, axis=1),
        (f(2, 3), f(2, 1), f(2, 4)),
        lambda *x: np.concatenate(x, 1),
        raises=(
            (lambda: graphc.concat([node(2, 3), node(3, 3)], 1), graphc.ShapeError),
            (lambda: graphc.concat([]), graphc.ShapeError),
        ),
    ),
    Row("stack", lambda *x: graphc.stack(x, axis=1), (f(2, 3), f(2, 3)), lambda *x: np.stack(x, 1)),
    Row("concat flat", lambda *x: graphc.concat(x, None), (f(2, 3), f(4)), lambda *x: np.concatenate(x, None)),
    Row(
        "split",
        lambda x: graphc.concat([part * (k + 1) for k, part in enumerate(graphc.split(x, 3, 1))], 0),
        (f(2, 6),),
        lambda x: np.concatenate([part * (k + 1) for k, part in enumerate(np.split(x, 3, 1))], 0),
        raises=((lambda: graphc.split(node(5), 2), graphc.ShapeError, "equal parts"),),
    ),
    Row(
        "split at positions",
        lambda x: graphc.concat([part.sum(0, keepdims=True) for part in graphc.split(x, [1, 4, 3, -1])]),
        (f(7, 2),),
        lambda x: np.stack([part.sum(0) for part in np.split(x, [1, 4, 3, -1])]),
    ),
    Row(
        "unstack",
        lambda x: graphc.concat([part * (k + 1) for k, part in enumerate(graphc.unstack(x, 1))], 0),
        (f(2, 3),),
        lambda x: np.concatenate([x[:, k] * (k + 1) for k in range(3)]),
        raises=((lambda: graphc.unstack(graphc.input("x", ("n",))), graphc.ShapeError, "known size"),),
    ),
    Row("roll", lambda x: graphc.roll(x, 2, 1), (f(3, 5),), lambda x: np.roll(x, 2, 1)),
    Row("roll back", lambda x: graphc.roll(x, -7, 0), (f(5, 2),), lambda x: np.roll(x, -7, 0)),
    Row(
        "roll axes",
        lambda x: graphc.roll(x, (1, 2), (0, -1)),
        (f(3, 5),),
        lambda x: np.roll(x, (1, 2), (0, -1)),
        raises=((lambda: graphc.roll(node(2, 2), (1, 2, 3), (0, 1)), graphc.ShapeError, "one shift for each axis"),),
    ),
    Row("roll flat", lambda x: graphc.roll(x, 4), (f(3, 2),), lambda x: np.roll(x, 4)),
    Row("tile", lambda x: graphc.tile(x, (2, 1, 3)), (f(3, 2),), lambda x: np.tile(x, (2, 1, 3))),
    Row("tile last", lambda x: graphc.tile(x, 2), (f(3, 2),), lambda x: np.tile(x, 2)),
    Row("repeat flat", lambda x: graphc.repeat(x, 2), (f(3, 2),), lambda x: np.repeat(x, 2)),
    Row(
        "repeat counts",
        lambda x: graphc.repeat(x, [2, 0, 3], 0),
        (f(3, 2),),
        lambda x: np.repeat(x, [2, 0, 3], 0),
        raises=((lambda: graphc.repeat(node(3), [1, 2]), graphc.ShapeError),),
    ),
    Row("flip", lambda x: graphc.flip(x, 1), (f(2, 4),), lambda x: np.flip(x, 1)),
    Row("moveaxis", lambda x: graphc.moveaxis(x, 0, -1), (f(2, 3, 4),), lambda x: np.moveaxis(x, 0, -1)),
    Row("repeat", lambda x: graphc.repeat(x, 3, 1), (f(2, 4),), lambda x: np.repeat(x, 3, 1)),
    Row(
        "positions",
        lambda x: x * graphc.arange(2, 11, 3, dtype=x.dtype) + graphc.size(5, x.dtype),
        (f(3),),
        lambda x: x * np.arange(2, 11, 3, x.dtype) + np.asarray(5, x.dtype),
    ),
    Row(
        "arange of floats",
        lambda x: x * graphc.arange(1.5, -1.0, -0.25, x.dtype),
        (f(10),),
        lambda x: x * np.arange(1.5, -1.0, -0.25, x.dtype),
        raises=(
            (lambda: graphc.arange(1, 2, 0), graphc.ShapeError, "other than 0"),
            (lambda: graphc.arange("n", step=0.5), graphc.ShapeError, "expected numbers"),
        ),
    ),
    Row(
        "linspace",
        lambda x: graphc.concat([x * graphc.linspace(-1, 0.3, n, x.dtype) for n in (1, 2, 7)], None),
        (f(1),),
        lambda x: np.concatenate([x * np.linspace(-1, 0.3, n).astype(x.dtype) for n in (1, 2, 7)]),
        raises=((lambda: graphc.linspace(node(2), 3, 4), graphc.ShapeError, "expected numbers"),),
    ),
    Row(
        "linspace of nodes",
        lambda a, b: graphc.linspace(a, b, 5, a.dtype, endpoint=False),
        (f(), f()),
        lambda a, b: np.linspace(a, b, 5, endpoint=False).astype(a.dtype),
    ),
    Row(
        "diagonal",
        lambda x: graphc.diagonal(x, 1),
        (f(3, 5, 2),),
        lambda x: np.diagonal(x, 1),
        raises=((lambda: graphc.diagonal(node(2)), graphc.ShapeError, "2 or more dimensions"),),
    ),
    Row("diagonal below", lambda x: graphc.diagonal(x, -2, 2, 0), (f(5, 2, 4),), lambda x: np.diagonal(x, -2, 2, 0)),
    Row("diagonal empty", lambda x: graphc.diagonal(x, 4), (f(3, 4),), lambda x: np.diagonal(x, 4)),
    Row("swapaxes", lambda x: graphc.swapaxes(x, 0, -1), (f(2, 3, 4),), lambda x: np.swapaxes(x, 0, -1)),
    Row(
        "moveaxis several",
        lambda x: graphc.moveaxis(x, (0, 3), (-1, 0)),
        (f(2, 3, 4, 5),),
        lambda x: np.moveaxis(x, (0, 3), (-1, 0)),
        raises=((lambda: graphc.moveaxis(node(2, 3), (0, 1), 0), graphc.ShapeError, "as many places"),),
    ),
    Row("full_like", lambda x: x + graphc.full_like(x, 2.5), (f(2, 3),), lambda x: x + 2.5),
    Row("eye above", lambda x: x * graphc.eye(3, 4, x.dtype, 2), (f(3, 4),), lambda x: x * np.eye(3, 4, 2, x.dtype)),
    Row("tril", lambda x: graphc.tril(x, -1) + graphc.triu(x, 1), (f(3, 4),), lambda x: np.tril(x, -1) + np.triu(x, 1)),
    Row("eye", lambda x: x * graphc.eye(3, 4, x.dtype), (f(3, 4),), lambda x: x * np.eye(3, 4, dtype=x.dtype)),
    Row(
        "constant",
        lambda x: x + graphc.constant(np.arange(6).reshape(2, 3), x.dtype),
        (f(2, 3),),
        lambda x: x + np.arange(6).reshape(2, 3).astype(x.dtype),
    ),
)
