"""Loops of a known number of steps, as users write them: scan, and map and fori_loop built on it.

With `checkpoint` a scan becomes two, one inside the other: the outer one walks pieces of `k` steps and is marked lean, so
of its steps only the states between the pieces are stored. Its reverse derivative is fed those, runs the inner scan of a
piece once more, and then that one's reverse derivative. Derivatives of any order follow without a rule of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import uint32
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph.node import Node, builder, call, placeholder
from graphc.graph.structure import leaves, match, paths, rebuild
from graphc.graph.types import TensorType, as_dim
from graphc.ops.nested import capture, enclose, inside_loop, item, loop_index, trace_start, used
from graphc.ops.operands import as_node
from graphc.ops.scan import Carry, assemble

Pairs = list[tuple[Node, Node]]

# Bytes of states, all steps together, from which on `checkpoint="auto"` recomputes instead of storing.
LARGE = 32 * 2**20


@builder("scan")
def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
    checkpoint: int | str | None = "auto",
    truncate: int | None = None,
) -> tuple[Any, Any]:
    """Run `step` along the leading axis of `xs`, handing a carry on; return the last carry and the stacked results.

    step: (carry, x) -> (new carry, result), each any nesting of tuples, lists and dicts of nodes. It is traced once; it
    may read nodes from outside. The carry keeps the shapes and dtypes of `init`.
    xs: arrays of one leading size, or None with `length` (an integer, a symbol's name or a dim). Length zero is fine.
    reverse: walk from the last position to the first; result t still stands at position t.
    checkpoint: what a gradient keeps of the forward pass. None: what it needs of every step. An integer k: the carry
    before every k-th step; what lies between is computed again. 1 keeps the carries and nothing else. "auto": None, but
    about the square root of the length where that is known and the carries of all steps are known to take more than 32 MiB.
    truncate: cut gradients through the carry every k steps (truncated backpropagation through time, Williams and Peng
    1990), as stop_gradient on the carry that enters steps k, 2k, ... in the order of walking would.
    Raises ShapeError, DTypeError or GraphError where a carry changes, or the arrays differ in length.
    """
    if not callable(step):
        raise GraphError(f"scan: expected a step, a function of a carry and an element, got {step!r}")
    initial = [as_node(value) for value in leaves(init)]
    arrays = [as_node(value) for value in leaves(xs)]
    steps = _length(xs, arrays, length)
    size = piece_of(checkpoint, steps, initial)

    carries = [placeholder(node.type) for node in initial]
    slices = [placeholder(TensorType(array.shape[1:], array.dtype)) for array in arrays]
    start, index = trace_start(), placeholder(TensorType((), uint32))
    entering, flags = _truncated(carries, steps, reverse, truncate)
    with inside_loop(index):
        returned = step(rebuild(init, entering), rebuild(xs, slices))
    if not _is_pair(returned):
        raise GraphError(f"scan: expected the step to return (carry, result), got {type(returned).__name__}")
    new = match(init, returned[0], "scan: the carry that the step returns")
    new = [as_node(value, carry.dtype) for value, carry in zip(new, carries, strict=True)]
    for (path, _), carry, after in zip(paths(init), carries, new, strict=True):
        if carry.type != after.type:
            kind = ShapeError if carry.shape != after.shape else DTypeError
            raise kind(f"scan: carry{path} enters the step as {carry.type} and leaves it as {after.describe()}")
    results = [as_node(value) for value in leaves(returned[1])]

    own = dict.fromkeys((*carries, *slices, index, *(inner for inner, _ in flags)))
    outside, inner = capture([*new, *results], own, start, hoist=True)
    closed = enclose([*new, *results], dict(zip(outside, inner, strict=True)))
    pairs = [*zip(slices, arrays, strict=True), *flags]
    if used([index], closed)[0]:
        pairs.append((index, _numbers(steps)))
    made = _assembled(
        [Carry(*carry) for carry in zip(carries, initial, closed, strict=False)],
        pairs,
        list(zip(inner, outside, strict=True)),
        closed[len(carries) :],
        steps,
        reverse,
        size,
    )
    return rebuild(init, made[: len(carries)]), rebuild(returned[1], made[len(carries) :])


@builder("map")
def map(function: Callable[[Any], Any], xs: Any) -> Any:
    """Apply `function` to each position of the leading axis of `xs`, one after another, and stack the results."""
    if not callable(function):
        raise GraphError(f"map: expected a function of one element, got {function!r}")
    return scan(lambda _, x: (None, function(x)), None, xs)[1]


@builder("fori_loop")
def fori_loop(lower: Any, upper: Any, body: Callable[[Node, Any], Any], init: Any) -> Any:
    """Return the carry after `carry = body(i, carry)` for i from `lower` to `upper` - 1; `init` if there is no such i.

    lower, upper: integers, symbols' names or dims, known when the graph is bound; i is an int64 scalar. The body keeps
    the shapes and dtypes of `init`, any nesting of nodes. Differentiable to any order, like `scan`.
    """
    if not callable(body):
        raise GraphError(f"fori_loop: expected a body, a function of the index and the carry, got {body!r}")
    first, end = _bound("lower", lower), _bound("upper", upper)
    return scan(lambda carry, i: (body(i, carry), None), init, call("arange", first, end, dtype="int64"))[0]


def _length(xs: Any, arrays: Sequence[Node], length: Any) -> Dim:
    places = [path for path, _ in paths(xs)]
    for path, array in zip(places, arrays, strict=True):
        if not array.shape:
            raise ShapeError(f"scan: expected arrays to walk in xs, got a scalar at xs{path}: {array.describe()}")
    if length is None and not arrays:
        raise GraphError("scan: expected xs or length, got neither")
    steps = arrays[0].shape[0] if length is None else as_dim(length)
    for path, array in zip(places, arrays, strict=True):
        size = array.shape[0]
        if isinstance(size, int) and isinstance(steps, int) and size != steps:
            wanted = f"length = {steps}" if length is not None else f"that of xs{places[0]}: {arrays[0].describe()}"
            raise ShapeError(
                f"scan: the arrays it walks must have one leading size\n"
                f"  expected {wanted}\n  got {size} at xs{path}: {array.describe()}"
            )
    return steps


def piece_of(checkpoint: int | str | None, length: Dim, initial: Sequence[Node]) -> int | None:
    """Return how many steps lie between two states that are kept; None to keep what every step needs."""
    if checkpoint == "auto":
        if not isinstance(length, int):
            return None
        total = length * sum(dims.product(node.shape) * node.dtype.itemsize for node in initial)
        return math.isqrt(length - 1) + 1 if isinstance(total, int) and total > LARGE else None
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, int) or isinstance(checkpoint, bool) or checkpoint < 1:
        raise GraphError(
            f'scan: checkpoint must be "auto", None, or a number of steps from 1 on between two kept states, got {checkpoint!r}'
        )
    return checkpoint


def _truncated(
    carries: Sequence[Node], length: Dim, reverse: bool, truncate: int | None
) -> tuple[Sequence[Node], Pairs]:
    """Return the carries as the step sees them, and the flags, with their placeholder, that say where gradients are cut."""
    if truncate is None:
        return carries, []
    if not isinstance(truncate, int) or isinstance(truncate, bool) or truncate < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise GraphError(
            f"scan: truncate must be a number of steps from 1 on, or None to keep all gradients, got {truncate!r}"
        )
    walked = call("arange", length, dtype="int64")
    if reverse:
        walked = call("size", length, dtype="int64") - 1 - walked
    cuts = call("logical_and", call("equal", walked % truncate, 0), walked > 0)
    cut = placeholder(TensorType((), cuts.dtype))
    entering = [
        call("where", cut, call("stop_gradient", carry), carry) if carry.dtype.is_float else carry for carry in carries
    ]
    return entering, [(cut, cuts)]


def _assembled(
    carries: list[Carry],
    slices: Pairs,
    shared: Pairs,
    results: Sequence[Node],
    length: Dim,
    reverse: bool,
    size: int | None,
) -> list[Node]:
    """Return final carries and stacked results, of one scan or of pieces of `size` steps."""
    total = len(carries) + len(results)
    if size is None or size == 1:
        made = assemble(carries, slices, shared, results, length, reverse, lean=size == 1)
        return [item(made, k) for k in range(total)]
    count = dims.floordiv(length, size)
    many, rest = count * size, length - count * size
    # The pieces come first in the order of walking, what is left over comes last.
    first, last = (rest, 0) if reverse else (0, many)

    outer = [Carry(placeholder(c.placeholder.type), c.initial, c.new) for c in carries]
    walked = [(placeholder(TensorType((size, *x.shape), x.dtype)), array) for x, array in slices]
    handed = [(placeholder(x.type), operand) for x, operand in shared]
    piece = assemble(
        [Carry(c.placeholder, o.placeholder, c.new) for c, o in zip(carries, outer, strict=True)],
        [(x, part) for (x, _), (part, _) in zip(slices, walked, strict=True)],
        [(x, same) for (x, _), (same, _) in zip(shared, handed, strict=True)],
        results,
        size,
        reverse,
    )
    made = assemble(
        [Carry(o.placeholder, o.initial, item(piece, k)) for k, o in enumerate(outer)],
        [(part, _regrouped(_part(array, first, many), (count, size))) for part, array in walked],
        handed,
        [item(piece, k) for k in range(len(carries), total)],
        count,
        reverse,
        lean=True,
    )
    finals = [item(made, k) for k in range(len(carries))]
    stacked = [_regrouped(item(made, k), (many,), 2) for k in range(len(carries), total)]
    if rest == 0:
        return [*finals, *stacked]
    tail = assemble(
        [Carry(c.placeholder, final, c.new) for c, final in zip(carries, finals, strict=True)],
        [(x, _part(array, last, rest)) for x, array in slices],
        shared,
        results,
        rest,
        reverse,
    )
    ends = (item(tail, k) for k in range(len(carries), total))
    joined = (call("concat", [end, main] if reverse else [main, end]) for main, end in zip(stacked, ends, strict=True))
    return [*(item(tail, k) for k in range(len(carries))), *joined]


def _part(array: Node, start: Dim, size: Dim) -> Node:
    if size == array.shape[0]:
        return array
    return call("slice", array, (start, *(0 for _ in array.shape[1:])), (size, *array.shape[1:]))


def _regrouped(array: Node, leading: tuple[Dim, ...], replaced: int = 1) -> Node:
    """Return the array with its first axes, so many, as others of the same elements."""
    return call("reshape", array, (*leading, *array.shape[replaced:]))


def _bound(what: str, value: Any) -> Dim:
    if isinstance(value, Node):
        raise GraphError(
            f"fori_loop: {what} must be known before the loop runs, got the node {value.describe()}; use graphc.while_loop"
        )
    return value if isinstance(value, int) else as_dim(value)


def _is_pair(returned: Any) -> bool:
    return isinstance(returned, tuple) and len(returned) == 2  # pyright: ignore[reportUnknownArgumentType]


def _numbers(length: Dim) -> Node:
    """Return the loop index at each step: distinct over all steps of the enclosing loops too, below 2**32 of them."""
    outer = loop_index()
    numbers = call("arange", length, dtype="uint32")
    return numbers if outer is None else outer * call("size", length, dtype="uint32") + numbers
