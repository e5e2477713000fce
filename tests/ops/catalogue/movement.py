"""Ops that move elements, or make them from positions."""

from __future__ import annotations

import numpy as np

import graphc
from graphc.graph import operators
from graphc.graph.node import make
from graphc.ops.joining import Interleave
from tests.ops.catalogue.row import NAN, Row, along, f, ints, misread, no_dtype, no_size, node


def _interior(x: np.ndarray) -> np.ndarray:
    out = np.full((1 + 7, 2 + 3 + 1), 1.5, x.dtype)
    out[1:8:3, 2:5:2] = x
    return out


def _dealt(*parts: np.ndarray) -> np.ndarray:
    turns = [iter(np.moveaxis(x, 1, 0)) for x in parts]
    return np.stack([next(turns[k % len(turns)]) for k in range(sum(x.shape[1] for x in parts))], 1)


ROWS = (
    Row("interleave", lambda *x: make(Interleave(1, 8), *x), (f(2, 3, 4), f(2, 3, 4), f(2, 2, 4)), _dealt),
    Row(
        "broadcast_to",
        lambda x: graphc.broadcast_to(x, (4, 3, 2, 5)),
        (f(3, 1, 5),),
        lambda x: np.broadcast_to(x, (4, 3, 2, 5)),
        raises=(
            (lambda: graphc.broadcast_to(node(3), (4,)), graphc.ShapeError, r"float32\[3\] to \[4\]"),
            (lambda: graphc.broadcast_to(node(2, 3), (3,)), graphc.ShapeError, "cannot broadcast .* fewer dimensions"),
            *misread("broadcast_to", lambda x: graphc.broadcast_to(x, (4,))),
            *no_size("broadcast_to", lambda size: graphc.broadcast_to(node(), (2, size))),
        ),
    ),
    Row("broadcast_to scalar", lambda x: graphc.broadcast_to(x, (2, 3)), (f(),), lambda x: np.broadcast_to(x, (2, 3))),
    Row(
        "reshape",
        lambda x: x.reshape(2, -1, 5),
        (f(4, 3, 5),),
        lambda x: x.reshape(2, -1, 5),
        raises=(
            (lambda: node(6).reshape(4, -1), graphc.ShapeError, r"reshape of float32\[6\]"),
            (lambda: node(6).reshape(-1, -1), graphc.ShapeError, "-1"),
            (lambda: node(6).reshape(5), graphc.ShapeError, r"float32\[6\] to \[5\]: expected 6 == 5"),
            *misread("reshape", lambda x: graphc.reshape(x, (4,))),
        ),
    ),
    Row(
        "permute_dims",
        lambda x: graphc.permute_dims(x, (2, 0, 1)),
        (f(2, 3, 4),),
        lambda x: x.transpose(2, 0, 1),
        raises=(
            (lambda: graphc.permute_dims(node(2, 3), (0, 0)), graphc.ShapeError, r"the 2 axes of .*, got \(0, 0\)"),
            (lambda: graphc.permute_dims(node(2), (1,)), graphc.ShapeError, "axis 1 does not exist"),
            (lambda: graphc.permute_dims(node(2, 3), 1), graphc.ShapeError, r"the 2 axes of .*, got \(1,\)"),
            (lambda: graphc.permute_dims(node(2, 3), "ab"), graphc.ShapeError, "expected an axis .*, got 'a'"),
            *misread("permute_dims", graphc.permute_dims),
        ),
    ),
    Row(
        "T",
        lambda x: x.T,
        (f(2, 3),),
        lambda x: x.T,
        raises=(
            (lambda: node(2, 3).transpose(0, 2), graphc.ShapeError, "axis 2 does not exist"),
            (
                lambda: graphc.matrix_transpose(node(3)),
                graphc.ShapeError,
                r"2 or more dimensions, got float32\[3\](.|\n)*in matrix_transpose at",
            ),
        ),
    ),
    Row(
        "expand_dims",
        lambda x: graphc.expand_dims(x, (0, 2)),
        (f(2, 3),),
        lambda x: np.expand_dims(x, (0, 2)),
        raises=(
            *misread("expand_dims", lambda x: graphc.expand_dims(x, 0)),
            (lambda: graphc.expand_dims(node(2), 2), graphc.ShapeError, "axis 2 does not exist"),
            (lambda: graphc.expand_dims(node(2), (0, -3)), graphc.ShapeError, "an axis is given twice"),
            (lambda: graphc.expand_dims(node(2), "a"), graphc.ShapeError, "expected an axis .*, got 'a'"),
        ),
    ),
    Row(
        "squeeze",
        graphc.squeeze,
        (f(2, 1, 3, 1),),
        np.squeeze,
        raises=(
            (lambda: graphc.squeeze(node(2), 0), graphc.ShapeError, "cannot squeeze axis 0"),
            *along("squeeze"),
        ),
    ),
    Row(
        "slice",
        lambda x: x[1:7:2, ::-1, -2],
        (f(9, 4, 3),),
        lambda x: x[1:7:2, ::-1, -2],
        raises=(
            (lambda: node(3)[3], graphc.IndexOutOfRangeError, "index 3"),
            (lambda: node(3)[0, 0], graphc.ShapeError, "too many indices"),
            (lambda: node(3)[::0], graphc.ShapeError, "step must not be 0"),
            (lambda: node(3)[1.5:], graphc.ShapeError, r"a slice's bound \(an integer\), got 1.5"),
            (lambda: node(3)[::"a"], graphc.ShapeError, r"a slice's step \(an integer\), got 'a'"),
            (lambda: node(3)[: node(dtype="int64")], graphc.ShapeError, "use graphc.dynamic_slice"),
            (
                lambda: operators.call("slice", node(3), (1,), (3,), (1,)),
                graphc.ShapeError,
                r"slice of float32\[3\](.|\n)*in slice at",
            ),
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
        raises=(
            *misread("pad", lambda x: graphc.pad(x, 1)),
            *no_size("pad", lambda width: graphc.pad(node(3), width)),
            (lambda: graphc.pad(node(3), ((1, 2), (3, 4))), graphc.ShapeError, "each of the 1 axes"),
            (
                lambda: graphc.pad(node(3), 1, constant_values="zero"),
                graphc.DTypeError,
                "a number to fill with, got 'zero'",
            ),
            (lambda: graphc.pad(node(3), 1, interior=(0.5,)), graphc.ShapeError, "between neighbours .*, got 0.5"),
            (
                lambda: graphc.pad(node(3, dtype="int64"), 1, constant_values=2**63),
                graphc.DTypeError,
                "pad: 9.*8 does not fit int64",
            ),
            (
                lambda: graphc.pad(node(3, dtype="int64"), 1, constant_values=0.5),
                graphc.DTypeError,
                "0.5 does not fit int64",
            ),
            (
                lambda: graphc.pad(node(3, dtype="uint8"), 1, constant_values=-1),
                graphc.DTypeError,
                "-1 does not fit uint8",
            ),
            (
                lambda: graphc.pad(node(3, dtype="int32"), 1, constant_values=NAN),
                graphc.DTypeError,
                "nan does not fit int32",
            ),
        ),
    ),
    Row(
        "pad of both zeros",
        lambda x: 1 / graphc.concat([graphc.pad(x, 1, constant_values=zero, interior=(1,)) for zero in (-0.0, 0.0)]),
        (f(2, low=0.5),),
        lambda x: 1 / np.array([z for zero in (-0.0, 0.0) for z in (zero, x[0], zero, x[1], zero)], x.dtype),
        derivable=False,
    ),
    Row(
        "pad of the largest integers",
        lambda x: graphc.pad(graphc.pad(x, 1, constant_values=2**63 - 1), 2, constant_values=2**53 + 1),
        (ints(3, low=-9, high=9),),
        lambda x: np.pad(np.pad(x, 1, constant_values=2**63 - 1), 2, constant_values=2**53 + 1),
        derivable=False,
    ),
    Row(
        "pad interior",
        lambda x: graphc.pad(x, ((1, 0), (2, 1)), constant_values=1.5, interior=(2, 1)),
        (f(3, 2),),
        lambda x: _interior(x),
    ),
    Row(
        "concat",
        lambda *x: graphc.concat(x, axis=1),
        (f(2, 3), f(2, 1), f(2, 4)),
        lambda *x: np.concatenate(x, 1),
        raises=(
            (lambda: graphc.concat([node(2, 3), node(3, 3)], 1), graphc.ShapeError, "concat of .* along axis 1"),
            (lambda: graphc.concat([]), graphc.ShapeError, "concat: expected at least one array"),
            (
                lambda: graphc.concat(3),
                graphc.ShapeError,
                r"expected a list of arrays, as in concat\(\[a, b\]\); got 3",
            ),
            (lambda: graphc.concat(node(2, 3)), graphc.ShapeError, r"expected a list .*; got float32\[2, 3\] made by"),
            (lambda: graphc.concat([node(), node()]), graphc.ShapeError, "use graphc.stack"),
            (lambda: graphc.concat([node(2), node(2, 2)]), graphc.ShapeError, "equal ranks"),
            (lambda: graphc.concat([node(2), node(2)], 1), graphc.ShapeError, "axis 1 does not exist"),
        ),
    ),
    Row(
        "stack",
        lambda *x: graphc.stack(x, axis=1),
        (f(2, 3), f(2, 3)),
        lambda *x: np.stack(x, 1),
        raises=(
            *misread("stack", lambda x: graphc.stack([node(2), x])),
            (lambda: graphc.stack([]), graphc.ShapeError, "stack: expected at least one array"),
            (lambda: graphc.stack(None), graphc.ShapeError, r"expected a list of arrays, as in stack\(.*; got None"),
            (lambda: graphc.stack([node(2), node(3)]), graphc.ShapeError, r"expected 2 == 3(.|\n)*in stack at"),
            (lambda: graphc.stack([node(2), node(2)], 2), graphc.ShapeError, "axis 2 does not exist"),
        ),
    ),
    Row("concat flat", lambda *x: graphc.concat(x, None), (f(2, 3), f(4)), lambda *x: np.concatenate(x, None)),
    Row(
        "split",
        lambda x: graphc.concat([part * (k + 1) for k, part in enumerate(graphc.split(x, 3, 1))], 0),
        (f(2, 6),),
        lambda x: np.concatenate([part * (k + 1) for k, part in enumerate(np.split(x, 3, 1))], 0),
        raises=(
            (lambda: graphc.split(node(5), 2), graphc.ShapeError, "equal parts"),
            (lambda: graphc.split(node(4), 0), graphc.ShapeError, "into 0 equal parts"),
            (lambda: graphc.split(node(4), "ab"), graphc.ShapeError, "how many parts, or positions .*, got 'ab'"),
            (lambda: graphc.split(node(4), None), graphc.ShapeError, "how many parts, or positions .*, got None"),
            (lambda: graphc.split(node(4), [1.5]), graphc.ShapeError, r"got 1.5(.|\n)*in split at"),
        ),
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
        raises=(
            (lambda: graphc.roll(node(2, 2), (1, 2, 3), (0, 1)), graphc.ShapeError, "one shift for each axis"),
            (lambda: graphc.roll(node(2), "a"), graphc.ShapeError, r"expected a shift \(an integer\), got 'a'"),
            (lambda: graphc.roll(node(2), 0.5, 0), graphc.ShapeError, r"expected a shift \(an integer\), got 0.5"),
            (lambda: graphc.roll(node(2), 1, 1), graphc.ShapeError, r"axis 1 does not exist(.|\n)*in roll at"),
        ),
    ),
    Row("roll flat", lambda x: graphc.roll(x, 4), (f(3, 2),), lambda x: np.roll(x, 4)),
    Row(
        "tile",
        lambda x: graphc.tile(x, (2, 1, 3)),
        (f(3, 2),),
        lambda x: np.tile(x, (2, 1, 3)),
        raises=(
            *misread("tile", lambda x: graphc.tile(x, 2)),
            *no_size("tile", lambda count: graphc.tile(node(2), (2, count))),
        ),
    ),
    Row("tile last", lambda x: graphc.tile(x, 2), (f(3, 2),), lambda x: np.tile(x, 2)),
    Row("repeat flat", lambda x: graphc.repeat(x, 2), (f(3, 2),), lambda x: np.repeat(x, 2)),
    Row(
        "repeat counts",
        lambda x: graphc.repeat(x, [2, 0, 3], 0),
        (f(3, 2),),
        lambda x: np.repeat(x, [2, 0, 3], 0),
        raises=(
            (lambda: graphc.repeat(node(3), [1, 2]), graphc.ShapeError, r"expected 3 == 2(.|\n)*in repeat at"),
            (
                lambda: graphc.repeat(node(1), [1, 2]),
                graphc.ShapeError,
                r"for each element along axis 0 of float32\[1\]",
            ),
            (lambda: graphc.repeat(node(2), [1, -2]), graphc.ShapeError, r"numbers of 0 or more, got \[1, -2\]"),
            (lambda: graphc.repeat(node(2), [1, 0.5]), graphc.ShapeError, "how often to repeat .*, got 0.5"),
            *no_size("repeat", lambda count: graphc.repeat(node(2), count)),
            (lambda: graphc.repeat(node(2), 2, 1), graphc.ShapeError, "axis 1 does not exist"),
        ),
    ),
    Row("repeat one count", lambda x: graphc.repeat(x, [3], 0), (f(2, 2),), lambda x: np.repeat(x, [3], 0)),
    Row("flip", lambda x: graphc.flip(x, 1), (f(2, 4),), lambda x: np.flip(x, 1), raises=along("flip")),
    Row("moveaxis", lambda x: graphc.moveaxis(x, 0, -1), (f(2, 3, 4),), lambda x: np.moveaxis(x, 0, -1)),
    Row("repeat", lambda x: graphc.repeat(x, 3, 1), (f(2, 4),), lambda x: np.repeat(x, 3, 1)),
    Row(
        "positions",
        lambda x: x * graphc.arange(2, 11, 3, dtype=x.dtype) + graphc.size(5, x.dtype),
        (f(3),),
        lambda x: x * np.arange(2, 11, 3, x.dtype) + np.asarray(5, x.dtype),
        raises=(
            *no_size("size", graphc.size),
            *no_dtype("size", lambda dtype: graphc.size(3, dtype)),
            *no_dtype("arange", lambda dtype: graphc.arange(3, dtype=dtype)),
            (lambda: graphc.arange("n", "m", "k"), graphc.ShapeError, r"a step \(an integer\), got 'k'"),
            (lambda: graphc.arange(None), graphc.ShapeError, r"expected a dimension.* got None(.|\n)*in arange at"),
        ),
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
        lambda x: graphc.concat([x * graphc.linspace(-1, 0.3, n, dtype=x.dtype) for n in (1, 2, 7)], None),
        (f(1),),
        lambda x: np.concatenate([x * np.linspace(-1, 0.3, n).astype(x.dtype) for n in (1, 2, 7)]),
        raises=((lambda: graphc.linspace(node(2), 3, 4), graphc.ShapeError, "expected numbers"),),
    ),
    Row(
        "linspace of integers",
        lambda x: x + graphc.linspace(-1, 2, 6, dtype="int64"),
        (ints(6, low=-9, high=9),),
        lambda x: x + np.linspace(-1, 2, 6, dtype="int64"),
        derivable=False,
    ),
    Row(
        "linspace of nodes",
        lambda a, b: graphc.linspace(a, b, 5, endpoint=False, dtype=a.dtype),
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
    Row(
        "swapaxes",
        lambda x: graphc.swapaxes(x, 0, -1),
        (f(2, 3, 4),),
        lambda x: np.swapaxes(x, 0, -1),
        raises=(
            *misread("swapaxes", lambda x: graphc.swapaxes(x, 0, 1)),
            (lambda: graphc.swapaxes(node(2, 3), 0, 2), graphc.ShapeError, r"axis 2 does not(.|\n)*in swapaxes at"),
            (lambda: node(2, 3).swapaxes(0, None), graphc.ShapeError, "expected an axis .*, got None"),
        ),
    ),
    Row(
        "moveaxis several",
        lambda x: graphc.moveaxis(x, (0, 3), (-1, 0)),
        (f(2, 3, 4, 5),),
        lambda x: np.moveaxis(x, (0, 3), (-1, 0)),
        raises=((lambda: graphc.moveaxis(node(2, 3), (0, 1), 0), graphc.ShapeError, "as many places"),),
    ),
    Row(
        "full_like",
        lambda x: x + graphc.full_like(x, 2.5),
        (f(2, 3),),
        lambda x: x + 2.5,
        raises=(
            *misread("full_like", lambda x: graphc.full_like(x, 1)),
            *misread("full_like", lambda value: graphc.full_like(node(2), value)),
            *misread("full", lambda value: graphc.full((2,), value)),
            *misread("zeros_like", graphc.zeros_like),
            *misread("ones_like", graphc.ones_like),
            *(
                wrong
                for name, call in (
                    ("zeros", graphc.zeros),
                    ("ones", graphc.ones),
                    ("full", lambda n: graphc.full(n, 1)),
                )
                for wrong in no_size(name, call)
            ),
            (lambda: graphc.full_like(node(3), node(4)), graphc.ShapeError, r"float32\[4\] to \[3\]"),
            (lambda: graphc.full_like(node(3, dtype="uint8"), 300), graphc.DTypeError, "300 does not fit uint8"),
            *no_dtype("zeros", lambda dtype: graphc.zeros((2,), dtype)),
        ),
    ),
    Row("eye above", lambda x: x * graphc.eye(3, 4, 2, x.dtype), (f(3, 4),), lambda x: x * np.eye(3, 4, 2, x.dtype)),
    Row(
        "tril",
        lambda x: graphc.tril(x, -1) + graphc.triu(x, 1),
        (f(3, 4),),
        lambda x: np.tril(x, -1) + np.triu(x, 1),
        raises=tuple(
            wrong
            for name, build in (("tril", graphc.tril), ("triu", graphc.triu))
            for wrong in (
                *misread(name, build),
                (lambda build=build: build(node(3)), graphc.ShapeError, rf"2 or more dimensions(.|\n)*in {name} at"),
                (lambda build=build: build(node(2, 2), 0.5), graphc.ShapeError, "a diagonal's number .*, got 0.5"),
                (lambda build=build: build(node(2, 2), None), graphc.ShapeError, "a diagonal's number .*, got None"),
            )
        ),
    ),
    Row(
        "eye",
        lambda x: x * graphc.eye(3, 4, dtype=x.dtype),
        (f(3, 4),),
        lambda x: x * np.eye(3, 4, dtype=x.dtype),
        raises=(
            *no_size("eye", graphc.eye),
            *no_dtype("eye", lambda dtype: graphc.eye(3, dtype=dtype)),
            (lambda: graphc.eye(3, k="upper"), graphc.ShapeError, "a diagonal's number .*, got 'upper'"),
        ),
    ),
    Row(
        "constant",
        lambda x: x + graphc.constant(np.arange(6).reshape(2, 3), x.dtype),
        (f(2, 3),),
        lambda x: x + np.arange(6).reshape(2, 3).astype(x.dtype),
        raises=(
            *(
                wrong
                for name in ("constant", "parameter", "state")
                for wrong in (
                    *misread(name, getattr(graphc, name)),
                    (
                        lambda name=name: getattr(graphc, name)(node(2)),
                        graphc.NodeUseError,
                        rf"expected a number or an array, got a node(.|\n)*in {name} at",
                    ),
                )
            ),
            *no_dtype("constant", lambda dtype: graphc.constant(1, dtype)),
            *no_dtype("input", lambda dtype: graphc.input("x", (2,), dtype)),
            *no_size("input", lambda size: graphc.input("x", (2, size))),
            (lambda: graphc.constant([1, 300], "uint8"), graphc.DTypeError, r"\[1, 300\] does not fit uint8"),
            (lambda: graphc.constant(-1, "uint32"), graphc.DTypeError, "-1 does not fit uint32"),
            (lambda: graphc.constant(1j), graphc.DTypeError, "got a complex: 1j"),
            (lambda: graphc.constant(graphc.symbol("n")), graphc.DTypeError, "graphc.size makes a number of it"),
        ),
    ),
)
