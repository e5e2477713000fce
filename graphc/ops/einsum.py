"""Products of arrays by letters: einsum, and what can be said with it. All are chains of `Contract`, two arrays at a time.

Source: `numpy.{name}`.
"""

# What a user gives is a number or a sequence, of anything.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.errors import DTypeError, ShapeError
from graphc.graph.node import Node, builder, call, constant, make
from graphc.graph.types import shape_text
from graphc.ops.contraction import Map, contraction
from graphc.ops.movement import moveaxis, permute_dims, reshape
from graphc.ops.operands import as_node, normalize_axis, promoted, whole
from graphc.ops.order import pairwise_order

Term = tuple[str, ...]


@builder("einsum")
def einsum(subscripts: str, *operands: Any) -> Node:
    """Return a sum of products by NumPy's notation: "bij,jk->bik", of any number of arrays.

    Without "->" the result has the letters that occur once, in alphabetical order. "..." stands for the axes without a
    letter, which broadcast; an axis of size 1 broadcasts too. A letter that an operand repeats walks its diagonal. What
    only one operand has and the result does not is summed before; the others are contracted in pairs, in the cheapest
    order where symbols count as 1000 (Lam, Sadayappan and Wenger, On optimizing a class of multi-dimensional loops
    with reduction for parallel execution, 1997). So an infinity may stay one where the sum of all products, of both
    signs, is NaN, as with `numpy.einsum(optimize=True)`. Raises ShapeError.

    Shape: the sizes of the result's letters.
    Formula: out[letters of the result] = the sum, over all other letters, of the operands' product.
    Gradient: by each operand, the einsum of g and the other operands with the roles of result and operand exchanged.
    """
    if not isinstance(subscripts, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ShapeError(f"einsum: expected subscripts such as 'ij,jk->ik' first, got {type(subscripts).__name__}")
    if not operands:
        raise ShapeError(f"einsum: expected operands after {subscripts!r}")
    nodes = promoted(*operands)
    terms, result = _parsed(subscripts, nodes)
    return product(terms, nodes, result)


def product(terms: Sequence[Term], nodes: Sequence[Node], result: Term, what: str = "einsum") -> Node:
    """Return the sum of the products of nodes whose axes are named by `terms`; `result` names the result's axes."""
    if nodes[0].dtype.kind not in "fiu":
        raise DTypeError(f"{what}: expected numbers, got {nodes[0].type}; use astype")
    sizes = _sizes(terms, nodes, what)
    pairs = [_without_ones(term, node) for term, node in zip(terms, nodes, strict=True)]
    # What no operand walks any more is an axis that has size 1 in all of them.
    walked = {letter for term, _ in pairs for letter in term}
    pairs = [
        _presummed(
            term, node, {*result, *(one for k, (other, _) in enumerate(pairs) if k != at for one in other)}, sizes
        )
        for at, (term, node) in enumerate(pairs)
    ]
    shown = tuple(letter for letter in result if letter in walked)
    path, _ = pairwise_order([frozenset(term) for term, _ in pairs], frozenset(shown), sizes)
    alive: dict[int, tuple[Term, Node]] = dict(enumerate(pairs))
    for step, (first, second) in enumerate(path):
        left, right = alive.pop(first), alive.pop(second)
        outside = {*shown, *(letter for term, _ in alive.values() for letter in term)}
        kept = shown if not alive else tuple(one for one in dict.fromkeys((*left[0], *right[0])) if one in outside)
        alive[len(pairs) + step] = kept, _contracted(left, right, kept, sizes)
    ((term, node),) = alive.values()
    return reshape(_arranged(term, node, shown, sizes), tuple(sizes[letter] for letter in result))


def _parsed(subscripts: str, nodes: Sequence[Node]) -> tuple[list[Term], Term]:
    """Return the letters of each operand and of the result; the axes of "..." are called 0, 1, ... from the last."""
    text = subscripts.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    parts = inputs.split(",")
    if len(parts) != len(nodes):
        raise ShapeError(f"einsum: {subscripts!r} names {len(parts)} operands, {len(nodes)} are given")
    if strange := sorted(
        {c for c in text.replace("...", "").replace("->", "") if not ((c.isascii() and c.isalpha()) or c == ",")}
    ):
        raise ShapeError(f"einsum: expected letters, ',', '->' and '...', got {strange[0]!r} in {subscripts!r}")
    terms: list[Term] = []
    for number, (part, node) in enumerate(zip(parts, nodes, strict=True)):
        before, dots, after = part.partition("...")
        named = len(before) + len(after)
        if "..." in after or (named > node.ndim if dots else named != node.ndim):
            raise ShapeError(f"einsum: {part!r} names {named} axes of operand {number}, {node.type} has {node.ndim}")
        hidden = tuple(str(k) for k in reversed(range(node.ndim - named))) if dots else ()
        terms.append((*before, *hidden, *after))
    letters = [letter for term in terms for letter in term]
    most = max((int(letter) + 1 for letter in letters if letter.isdigit()), default=0)
    hidden = tuple(str(k) for k in reversed(range(most)))
    if not arrow:
        once = sorted(one for one in set(letters) if not one.isdigit() and letters.count(one) == 1)
        return terms, (*hidden, *once)
    before, dots, after = output.partition("...")
    if most and not dots:
        raise ShapeError(f"einsum: the operands have axes under '...', the result has not, in {subscripts!r}")
    result = (*before, *(hidden if dots else ()), *after)
    for letter in result:
        if result.count(letter) > 1:
            raise ShapeError(f"einsum: the result names {letter!r} twice, in {subscripts!r}")
        if letter not in letters:
            raise ShapeError(f"einsum: the result's {letter!r} is an axis of no operand, in {subscripts!r}")
    return terms, result


def _sizes(terms: Sequence[Term], nodes: Sequence[Node], what: str) -> dict[str, Dim]:
    """Return the size of each letter: integers before symbols, 1 only if all are 1."""
    found: dict[str, tuple[Dim, int]] = {}
    for number, (term, node) in enumerate(zip(terms, nodes, strict=True)):
        for letter, size in zip(term, node.shape, strict=True):
            known, owner = found.get(letter, (1, number))
            if isinstance(size, int) and isinstance(known, int) and size != known and 1 not in (size, known):
                name = f"{letter!r}" if letter.isalpha() else "an axis under '...'"
                raise ShapeError(
                    f"{what}: {name} has size {known} in operand {owner}, {nodes[owner].type}, and size {size} in "
                    f"operand {number}, {node.type}"
                )
            if known == 1 or (isinstance(size, int) and size != 1 and not isinstance(known, int)):
                found[letter] = size, number
    return {letter: size for letter, (size, _) in found.items()}


def _without_ones(term: Term, node: Node) -> tuple[Term, Node]:
    """Drop the axes of size 1: they broadcast, or all axes of their letter are 1."""
    kept = [k for k, size in enumerate(node.shape) if size != 1]
    return tuple(term[k] for k in kept), reshape(node, tuple(node.shape[k] for k in kept))


def _presummed(term: Term, node: Node, outside: Iterable[str], sizes: Mapping[str, Dim]) -> tuple[Term, Node]:
    """Sum over what no other operand and no result has."""
    wanted = set(outside)
    kept = tuple(one for one in dict.fromkeys(term) if one in wanted)
    return kept, _arranged(term, node, kept, sizes)


def _arranged(term: Term, node: Node, result: Term, sizes: Mapping[str, Dim]) -> Node:
    """Return one operand with the axes of `result`: diagonals walked, others summed, then permuted."""
    if len(set(term)) != len(term):
        return _contracted((term, node), ((), constant(1, node.dtype)), result, sizes)
    if over := tuple(k for k, letter in enumerate(term) if letter not in result):
        node = call("astype", call("sum", node, over), node.dtype)
    left = tuple(letter for letter in term if letter in result)
    return permute_dims(node, tuple(left.index(letter) for letter in result))


def _contracted(left: tuple[Term, Node], right: tuple[Term, Node], result: Term, sizes: Mapping[str, Dim]) -> Node:
    order = dict.fromkeys((*result, *left[0], *right[0]))
    axes = {letter: Axis(f"letter_{letter}", sizes[letter]) for letter in order}

    def index(letters: Term) -> Map:
        return tuple(DimExpr.of(axes[letter]) for letter in letters)

    shape = tuple(sizes[letter] for letter in result)
    op = contraction(list(axes.values()), index(left[0]), index(right[0]), index(result), shape)
    return make(op, left[1], right[1])


@builder("tensordot")
def tensordot(x: Any, y: Any, axes: Any = 2) -> Node:
    """Return the sum of products over axes of both: the last `axes` of x with the first of y, or the pair given.

    axes: a number, or a pair of axes or of sequences of axes. The result has x's other axes, then y's.

    Shape: `(n, i, j), (i, j, m) -> (n, m)`, for axes = 2: x's other axes, then y's.
    Formula: `einsum("nij,ijm->nm", x, y)`, for axes = 2.
    Gradient: by x `einsum("nm,ijm->nij", g, y)`, by y `einsum("nm,nij->ijm", g, x)`, for axes = 2.
    """
    left, right = promoted(x, y)
    first, second = _paired_axes(axes, left, right)
    for a, b in zip(first, second, strict=True):
        m, n = left.shape[a], right.shape[b]
        if isinstance(m, int) and isinstance(n, int) and m != n:
            raise ShapeError(f"tensordot: axis {a} of {left.type} has size {m}, axis {b} of {right.type} has size {n}")
    names = [f"x{k}" for k in range(left.ndim)]
    others = [f"y{k}" for k in range(right.ndim)]
    for a, b in zip(first, second, strict=True):
        others[b] = names[a]
    shared = {names[a] for a in first}
    result = tuple(name for name in (*names, *others) if name not in shared)
    return product([tuple(names), tuple(others)], [left, right], result, "tensordot")


def _paired_axes(axes: Any, left: Node, right: Node) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        if not 0 <= axes <= min(left.ndim, right.ndim):
            raise ShapeError(f"tensordot: cannot sum over {axes} axes of {left.type} and {right.type}")
        return list(range(left.ndim - axes, left.ndim)), list(range(axes))
    given: Any = axes if isinstance(axes, tuple | list) else ()
    if len(given) != 2:
        raise ShapeError(f"tensordot: expected axes to be a number or a pair, got {axes!r}")
    lists: list[list[Any]] = [list(part) if isinstance(part, tuple | list) else [part] for part in given]  # pyright: ignore
    first = [normalize_axis(axis, left.ndim) for axis in lists[0]]
    second = [normalize_axis(axis, right.ndim) for axis in lists[1]]
    if len(first) != len(second) or len({*first}) != len(first) or len({*second}) != len(second):
        raise ShapeError(f"tensordot: expected as many different axes of x as of y, got {axes!r}")
    return first, second


@builder("outer")
def outer(x: Any, y: Any) -> Node:
    """Return the products of each element of x with each of y, both flattened: shape (x.size, y.size).

    Shape: (x.size, y.size).
    Formula: `ravel(x)[:, None] * ravel(y)`.
    Gradient: by x `reshape(g @ ravel(y), x.shape)`, by y `reshape(ravel(x) @ g, y.shape)`.
    """
    left, right = (reshape(node, (-1,)) for node in promoted(x, y))
    return product([("x",), ("y",)], [left, right], ("x", "y"), "outer")


@builder("vecdot")
def vecdot(x: Any, y: Any, axis: int = -1) -> Node:
    """Return the sum of products along an axis of both; the other axes broadcast.

    Shape: x's without the axis.
    Formula: `sum(x * y, axis)`.
    Gradient: by x `expand_dims(g, axis) * y`, by y `expand_dims(g, axis) * x`.
    """
    left, right = promoted(x, y)
    if not left.ndim or not right.ndim:
        raise ShapeError(f"vecdot: expected 1 or more dimensions, got {left.type} and {right.type}")
    left, right = (moveaxis(node, normalize_axis(axis, node.ndim), -1) for node in (left, right))
    m, n = left.shape[-1], right.shape[-1]
    if isinstance(m, int) and isinstance(n, int) and m != n:
        raise ShapeError(f"vecdot: expected one size along axis {axis}, got {m} of {left.type} and {n} of {right.type}")
    return einsum("...i,...i->...", left, right)


@builder("kron")
def kron(x: Any, y: Any) -> Node:
    """Return the Kronecker product: each element of x times all of y, as blocks. Ranks may differ, as in NumPy.

    Shape: `(n, m), (p, q) -> (n * p, m * q)`, of any rank.
    Formula: `reshape(x[:, None, :, None] * y[None, :, None, :], out.shape)` of matrices.
    Gradient: by x `einsum("iajb,ab->ij", reshape(g, (len(x), len(y), -1, y.shape[1])), y)`, by y
    `einsum("iajb,ij->ab", reshape(g, (len(x), len(y), -1, y.shape[1])), x)`, of matrices.
    """
    left, right = promoted(x, y)
    rank = max(left.ndim, right.ndim)
    blocks = tuple((1,) * (rank - node.ndim) + node.shape for node in (left, right))
    rows = reshape(left, tuple(size for one in blocks[0] for size in (one, 1)))
    columns = reshape(right, tuple(size for one in blocks[1] for size in (1, one)))
    return reshape(rows * columns, tuple(a * b for a, b in zip(*blocks, strict=True)))


@builder("trace")
def trace(x: Any, offset: int = 0) -> Node:
    """Return the sum of the diagonal of the last two axes; `offset` counts to the right of the main one.

    Shape: `(..., n, m) -> (...)`.
    Formula: `sum(x * eye(*x.shape[-2:], offset), (-2, -1))`.
    Gradient: by x `g[..., None, None] * eye(*x.shape[-2:], offset)`.
    Source: `numpy.linalg.trace`.
    """
    node = as_node(x)
    if node.ndim < 2:
        raise ShapeError(f"trace: expected 2 or more dimensions, got {shape_text(node.shape)}")
    offset = whole(offset, "an offset")
    node = node[..., max(-offset, 0) :, max(offset, 0) :]
    size = dims.minimum(*node.shape[-2:])
    return einsum("...ii->...", node[..., :size, :size])
