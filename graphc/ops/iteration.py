"""Loops of a known number of steps, as users write them: scan, and map and fori_loop built on it.

Gradient: the chain rule's, through the steps in reverse order.
Source: `jax.lax.{name}`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.dims import Dim
from graphc.dtypes import uint32
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph import walk
from graphc.graph.node import Node, builder, call, placeholder, trace_start
from graphc.graph.structure import leaves, match, paths, rebuild
from graphc.graph.types import TensorType, as_dim
from graphc.ops.gathering import Indexing
from graphc.ops.nested import capture, enclose, inside_loop, item, loop_index, used
from graphc.ops.operands import as_node
from graphc.ops.scan import Carry, assemble

Pairs = list[tuple[Node, Node]]


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
    about the square root of the length where the carries of all steps take more than 32 MiB; sizes that are symbols are
    known, and so this is decided, when the code runs.
    truncate: cut gradients through the carry every k steps (truncated backpropagation through time, Williams and Peng
    1990), as stop_gradient on the carry that enters steps k, 2k, ... in the order of walking would.
    Raises ShapeError, DTypeError or GraphError where a carry changes, or the arrays differ in length.

    Shape: the carry's, and one step's result behind the length.
    Formula: for t in range(length): carry, out[t] = step(carry, xs[t]).
    """
    if not callable(step):
        raise GraphError(f"scan: expected a step, a function of a carry and an element, got {step!r}")
    return walk_along("scan", "step", step, init, xs, length, reverse, checkpoint, truncate)


def walk_along(
    name: str,
    noun: str,
    step: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
    checkpoint: int | str | None = "auto",
    truncate: int | None = None,
) -> tuple[Any, Any]:
    """Scan; errors call the loop and its step what their user does."""
    initial = [as_node(value) for value in leaves(init)]
    arrays = [as_node(value) for value in leaves(xs)]
    steps = _length(name, xs, arrays, length)
    piece = _piece(checkpoint)

    carries = [placeholder(node.type) for node in initial]
    slices = [placeholder(TensorType(array.shape[1:], array.dtype)) for array in arrays]
    start, index = trace_start(), placeholder(TensorType((), uint32))
    entering, flags = _truncated(carries, steps, reverse, truncate)
    with inside_loop(index):
        returned = step(rebuild(init, entering), rebuild(xs, slices))
    if not _is_pair(returned):
        raise GraphError(f"scan: expected the step to return (carry, result), got {type(returned).__name__}")
    new = match(init, returned[0], f"{name}: the carry that the {noun} returns")
    new = [as_node(value, carry.dtype) for value, carry in zip(new, carries, strict=True)]
    for (path, _), carry, after in zip(paths(init), carries, new, strict=True):
        if carry.type != after.type:
            kind = ShapeError if carry.shape != after.shape else DTypeError
            raise kind(f"{name}: carry{path} enters the {noun} as {carry.type} and leaves it as {after.describe()}")
    results = [as_node(value) for value in leaves(returned[1])]

    own = dict.fromkeys((*carries, *slices, index, *(inner for inner, _ in flags)))
    outside, inner = capture([*new, *results], own, start, hoist=True)
    closed = enclose([*new, *results], dict(zip(outside, inner, strict=True)))
    pairs = [*zip(slices, arrays, strict=True), *flags]
    if used([index], closed)[0]:
        pairs.append((index, _numbers(steps)))
    made = assemble(
        [Carry(*carry) for carry in zip(carries, initial, closed, strict=False)],
        pairs,
        list(zip(inner, _if_any(outside, steps, start), strict=True)),
        closed[len(carries) :],
        steps,
        reverse,
        lean=piece == 1,
        piece=piece,
    )
    made = [item(made, k) for k in range(len(closed))]
    return rebuild(init, made[: len(carries)]), rebuild(returned[1], made[len(carries) :])


@builder("map")
def map(function: Callable[[Any], Any], xs: Any) -> Any:
    """Apply `function` to each position of the leading axis of `xs`, one after another, and stack the results.

    Shape: one step's result, behind the leading size of xs.
    Formula: out[t] = function(xs[t]).
    """
    if not callable(function):
        raise GraphError(f"map: expected a function of one element, got {function!r}")
    return walk_along("map", "function", lambda _, x: (None, function(x)), None, xs)[1]


@builder("fori_loop")
def fori_loop(lower: Any, upper: Any, body: Callable[[Node, Any], Any], init: Any) -> Any:
    """Return the carry after `carry = body(i, carry)` for i from `lower` to `upper` - 1; `init` if there is no such i.

    lower, upper: integers, symbols' names or dims, known when the graph is bound; i is an int64 scalar. The body keeps
    the shapes and dtypes of `init`, any nesting of nodes. Differentiable to any order, like `scan`.

    Shape: that of init.
    Formula: for i in range(lower, upper): carry = body(i, carry).
    """
    if not callable(body):
        raise GraphError(f"fori_loop: expected a body, a function of the index and the carry, got {body!r}")
    first, end = _bound("lower", lower), _bound("upper", upper)
    walked = call("arange", first, end, dtype="int64")
    return walk_along("fori_loop", "body", lambda carry, i: (body(i, carry), None), init, walked)[0]


def _length(name: str, xs: Any, arrays: Sequence[Node], length: Any) -> Dim:
    places = [path for path, _ in paths(xs)]
    for path, array in zip(places, arrays, strict=True):
        if not array.shape:
            raise ShapeError(f"{name}: expected arrays to walk in xs, got a scalar at xs{path}: {array.describe()}")
    if length is None and not arrays:
        missing = "xs or length, got neither" if name == "scan" else f"arrays to walk in xs, got {xs!r}"
        raise GraphError(f"{name}: expected {missing}")
    steps = arrays[0].shape[0] if length is None else as_dim(length)
    for path, array in zip(places, arrays, strict=True):
        size = array.shape[0]
        if isinstance(size, int) and isinstance(steps, int) and size != steps:
            wanted = f"length = {steps}" if length is not None else f"that of xs{places[0]}: {arrays[0].describe()}"
            raise ShapeError(
                f"{name}: the arrays it walks must have one leading size\n"
                f"  expected {wanted}\n  got {size} at xs{path}: {array.describe()}"
            )
    return steps


def _if_any(outside: Sequence[Node], length: Dim, start: int) -> Sequence[Node]:
    """Return what a step has the same each time, made before the loop: indices of no step are in range, whatever they are.

    start: the serial number of the first node of the step.
    """
    if isinstance(length, int) and length > 0:
        return outside
    done: dict[Node, Node] = {}
    runs: Node | None = None
    for node in walk.topological(outside):
        inputs = tuple(done[operand] for operand in node.inputs)
        if node.serial >= start and isinstance(node.op, Indexing):
            runs = call("size", length, dtype="int64") > 0 if runs is None else runs
            inputs = tuple(x if x.dtype.is_float else call("where", runs, x, 0) for x in inputs)
        done[node] = node.on(inputs) if inputs else node
    return [done[node] for node in outside]


def _piece(checkpoint: int | str | None) -> int | str | None:
    """Return what `checkpoint` asks for, if it can be."""
    is_number = isinstance(checkpoint, int) and not isinstance(checkpoint, bool) and checkpoint >= 1
    if checkpoint is not None and checkpoint != "auto" and not is_number:
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
