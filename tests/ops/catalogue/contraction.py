"""Sums of products: matrices and einsum."""

from __future__ import annotations

import numpy as np

import graphc
from graphc.graph.node import make
from graphc.ops.contraction import Backwards, Contract, Forwards, InOrder, Reduced
from tests.ops.catalogue.row import FINITE, NAN, SPOILS, Row, f, ints, misread, node


def _einsum(text: str, *shapes: tuple[int, ...], spoils: tuple[float, ...] = SPOILS) -> Row:
    return Row(
        f"einsum {text} {' '.join(str(shape) for shape in shapes)}",
        lambda *x: graphc.einsum(text, *x),
        tuple(f(*shape) for shape in shapes),
        lambda *x: np.einsum(text, *x),
        spoils=spoils,
    )


def _of(kind: type[Contract], a: graphc.Node, b: graphc.Node) -> graphc.Node:
    """The product of a kind that passes make: its sums in the order of a loop, say."""
    op = graphc.matmul(a, b).op
    assert isinstance(op, Contract)
    return make(kind(op.domain, op.left, op.right, op.out, op.shape), a, b)


ROWS = (
    Row("matmul forwards", lambda a, b: _of(Forwards, a, b), (f(3, 4), f(4, 5)), np.matmul),
    Row("matmul backwards", lambda a, b: _of(Backwards, a, b), (f(3, 4), f(4, 5)), np.matmul),
    Row("matmul in order", lambda a, b: _of(InOrder, a, b), (f(3, 4), f(4, 5)), np.matmul),
    Row("matmul in order of one row", lambda a, b: _of(InOrder, a, b), (f(1, 24), f(24, 5)), np.matmul),
    Row("matmul in order of one column", lambda a, b: _of(InOrder, a, b), (f(3, 24), f(24, 1)), np.matmul),
    Row("matmul reduced", lambda a, b: _of(Reduced, a, b), (f(3, 4), f(4, 5)), np.matmul),
    *(
        Row(f"matmul {a} {b}", graphc.matmul, (f(*a), f(*b)), np.matmul)
        for a, b in (
            ((3, 4), (4, 5)),
            ((4,), (4, 5)),
            ((3, 4), (4,)),
            ((4,), (4,)),
            ((2, 1, 3, 4), (5, 4, 2)),
            ((2, 3, 4), (4,)),
            ((1, 3, 4), (2, 4, 1)),
            ((3, 0), (0, 2)),
        )
    ),
    Row(
        "matmul int",
        graphc.matmul,
        (ints(3, 4, low=-9, high=9), ints(4, 2, low=-9, high=9)),
        np.matmul,
        derivable=False,
        raises=(
            (lambda: graphc.matmul(node(2, 3), node(2, 3)), graphc.ShapeError, "to match .*, got 3 and 2"),
            (lambda: graphc.matmul(node(), node(3)), graphc.ShapeError, "1 or more dimensions"),
            (
                lambda: graphc.matmul(node(2, 2, dtype="bool"), node(2, 2, dtype="bool")),
                graphc.DTypeError,
                "of one number dtype",
            ),
        ),
    ),
    *(
        _einsum(text, *shapes)
        for text, *shapes in (
            ("bij,kj->kbi", (2, 3, 4), (5, 4)),
            ("ii,j->i", (3, 3), (4,)),
            ("ij,jk", (2, 3), (3, 4)),
            ("ba", (2, 3)),
            ("ii", (3, 3)),
            ("...ii->...i", (2, 3, 3)),
            ("iij,jkk->ik", (2, 2, 3), (3, 4, 4)),
            ("a...,...b->b...a", (2, 3, 4), (1, 4, 5)),
            ("ai,bi,ci,i->abc", (2, 3), (3, 3), (2, 3), (3,)),
            ("ij,jk", (2, 0), (0, 3)),
        )
    ),
    # What is summed before it meets an infinity decides its sign, where the sum of all products has both.
    *(
        _einsum(text, *shapes, spoils=(*FINITE, NAN))
        for text, *shapes in (
            ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
            ("ij,kl->", (2, 3), (4, 2)),
            ("ij,jk", (2, 1), (3, 4)),
        )
    ),
    Row(
        "einsum int",
        lambda x, y, z: graphc.einsum("ij,jk,k->i", x, y, z),
        (ints(2, 3, low=-9, high=9), ints(3, 2, low=-9, high=9), ints(2, low=-9, high=9)),
        lambda x, y, z: np.einsum("ij,jk,k->i", x, y, z),
        derivable=False,
        raises=(
            (
                lambda: graphc.einsum("ij,jk", node(2, 3), node(4, 5)),
                graphc.ShapeError,
                r"'j' has size 3 in operand 0, float32\[2, 3\], and size 4 in operand 1, float32\[4, 5\]",
            ),
            (lambda: graphc.einsum("ij,jk", node(2, 3)), graphc.ShapeError, "names 2 operands, 1 are given"),
            (lambda: graphc.einsum("ijk", node(2, 3)), graphc.ShapeError, "'ijk' names 3 axes of operand 0"),
            (lambda: graphc.einsum("i->ij", node(2)), graphc.ShapeError, "'j' is an axis of no operand"),
            (lambda: graphc.einsum("i->ii", node(2)), graphc.ShapeError, "names 'i' twice"),
            (lambda: graphc.einsum("i1->i", node(2, 2)), graphc.ShapeError, "got '1'"),
            (lambda: graphc.einsum("...i->i", node(2, 2)), graphc.ShapeError, "the result has not"),
            (lambda: graphc.einsum(node(2), "i"), graphc.ShapeError, "expected subscripts"),
            (lambda: graphc.einsum("ij,jk"), graphc.ShapeError, "expected operands"),
            (lambda: graphc.einsum("i->", node(2, dtype="bool")), graphc.DTypeError, "expected numbers"),
        ),
    ),
    *(
        Row(
            f"tensordot {axes}",
            lambda x, y, axes=axes: graphc.tensordot(x, y, axes),
            (f(*left), f(*right)),
            lambda x, y, axes=axes: np.tensordot(x, y, axes),
        )
        for axes, left, right in (
            (2, (2, 3, 4), (3, 4, 5)),
            (0, (2,), (3, 2)),
            (([0, -1], [1, 0]), (2, 3, 4), (4, 2, 3)),
            ((0, 1), (3, 2), (2, 3)),
        )
    ),
    Row(
        "tensordot int",
        graphc.tensordot,
        (ints(2, 3, low=-9, high=9), ints(2, 3, low=-9, high=9)),
        np.tensordot,
        derivable=False,
        raises=(
            (lambda: graphc.tensordot(node(2, 3), node(4, 5), 1), graphc.ShapeError, "size 3, axis 0 of .* size 4"),
            (lambda: graphc.tensordot(node(2), node(2), 2), graphc.ShapeError, "cannot sum over 2 axes"),
            (lambda: graphc.tensordot(node(2), node(2), "ij,"), graphc.ShapeError, "a number or a pair"),
            (lambda: graphc.tensordot(node(2, 2), node(2), ((0, 1), 0)), graphc.ShapeError, "as many different axes"),
        ),
    ),
    Row(
        "outer",
        graphc.outer,
        (f(2, 3), f(4)),
        np.outer,
        raises=(
            *misread("outer", lambda x: graphc.outer(x, node(2))),
            *misread("outer", lambda y: graphc.outer(node(2), y)),
        ),
    ),
    Row(
        "vecdot",
        graphc.vecdot,
        (f(2, 1, 3), f(4, 3)),
        lambda x, y: (x * y).sum(-1),
        raises=(
            (lambda: graphc.vecdot(node(3), node(4)), graphc.ShapeError, "got 3 of .* and 4 of"),
            (lambda: graphc.vecdot(node(), node(4)), graphc.ShapeError, "1 or more dimensions"),
        ),
    ),
    Row("vecdot axis", lambda x, y: graphc.vecdot(x, y, 0), (f(3, 2), f(3, 2)), lambda x, y: (x * y).sum(0)),
    Row(
        "kron",
        graphc.kron,
        (f(2, 3), f(3, 2)),
        np.kron,
        raises=(
            *misread("kron", lambda x: graphc.kron(x, node(2))),
            *misread("kron", lambda y: graphc.kron(node(2), y)),
            (
                lambda: graphc.kron(node(2, dtype="bool"), node(2, dtype="bool")),
                graphc.DTypeError,
                r"expected .*, got bool.*; use astype(.|\n)*in kron at",
            ),
        ),
    ),
    Row("kron of ranks", graphc.kron, (f(2, 2, 3), f(2)), np.kron),
    Row(
        "trace",
        graphc.trace,
        (f(2, 3, 4),),
        lambda x: np.trace(x, axis1=-2, axis2=-1),
        raises=((lambda: graphc.trace(node(3)), graphc.ShapeError, "2 or more dimensions"),),
    ),
    *(
        Row(f"trace {k}", lambda x, k=k: graphc.trace(x, k), (f(3, 5),), lambda x, k=k: np.trace(x, k))
        for k in (2, -1, -3)
    ),
)
