"""Derivatives as nodes: they are optimised, fused, printed and differentiated again like anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.chain import batch, forward, reverse
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph import walk
from graphc.graph.node import Node, builder, call, constant, located, placeholder
from graphc.graph.reference import evaluate
from graphc.graph.structure import leaves, map_leaves, paths, rebuild
from graphc.graph.structure import match as require_match
from graphc.graph.types import TensorType
from graphc.ops.gradient_control import of_phase

__all__ = ["evaluate", "grad", "hessian", "hvp", "jacobian", "jvp", "substitute", "vjp", "vmap"]


@builder("grad")
def grad(output: Node, wrt: Any, cotangent: Any = None, disconnected: str = "error") -> Any:
    """Return d output / d wrt, in the structure of `wrt`.

    wrt: any nodes (not only leaves), floating, in any nesting of tuples, lists and dicts.
    cotangent: what weighs the elements of an output that is not a scalar; of its shape.
    disconnected: "error", or "zeros" for those of `wrt` that the output does not depend on.
    Raises GraphError or DTypeError.
    """
    _nodes(output, "output")
    if cotangent is None and (not isinstance(output.type, TensorType) or output.shape):
        raise GraphError(
            f"expected a scalar to differentiate, got {output.type}; reduce it (sum, mean), give cotangent=, "
            f"or use graphc.jacobian\n  {output.describe()}"
        )
    return vjp(output, wrt, constant(1, output.dtype) if cotangent is None else cotangent, disconnected)


@builder("vjp")
def vjp(outputs: Any, wrt: Any, cotangents: Any, disconnected: str = "error") -> Any:
    """Return the vector-Jacobian product: cotangent * d output / d wrt, summed over outputs, in the structure of `wrt`.

    cotangents: as `outputs`, each of its output's shape and dtype, or None where one does not count.
    wrt, disconnected: as in `grad`.
    """
    if disconnected not in ("error", "zeros"):
        raise GraphError(f'expected disconnected="error" or "zeros", got {disconnected!r}')
    ends, sources = _nodes(outputs, "outputs"), _nodes(wrt, "wrt")
    for path, source in zip((path for path, _ in paths(wrt)), sources, strict=True):
        _demand_float(source, f"wrt{path}")
    weights = _like(outputs, ends, cotangents, "cotangents")
    for end, weight in zip(ends, weights, strict=True):
        if weight is not None:
            _demand_float(end, "an output")
    found = of_phase(reverse(ends, weights, sources))
    if disconnected == "error":
        for (path, source), share in zip(paths(wrt), found, strict=True):
            if share is None:
                made = f"wrt{path}: {source.describe()}"
                raise GraphError(
                    f"the output does not depend on {made} in a way that can be differentiated; "
                    'pass disconnected="zeros" to get zeros'
                )
    return rebuild(wrt, [_zeros_like(s) if f is None else f for s, f in zip(sources, found, strict=True)])


@builder("jvp")
def jvp(outputs: Any, wrt: Any, tangents: Any) -> Any:
    """Return the Jacobian-vector product: d output / d wrt * tangent, summed over wrt, in the structure of `outputs`.

    tangents: as `wrt`, each of its shape and dtype, or None for zero. An output that does not depend on them is zeros.
    """
    ends, sources = _nodes(outputs, "outputs"), _nodes(wrt, "wrt")
    for path, source in zip((path for path, _ in paths(wrt)), sources, strict=True):
        _demand_float(source, f"wrt{path}")
    found = of_phase(forward(ends, sources, _like(wrt, sources, tangents, "tangents")))
    return rebuild(outputs, [_zeros_like(end) if f is None else f for end, f in zip(ends, found, strict=True)])


@builder("hvp")
def hvp(loss: Node, wrt: Any, vectors: Any) -> Any:
    """Return the Hessian of a scalar times vectors, in the structure of `wrt`, at the cost of about two gradients.

    The forward derivative of the gradient (Pearlmutter, Fast Exact Multiplication by the Hessian, 1994).
    """
    return jvp(grad(loss, wrt, disconnected="zeros"), wrt, vectors)


@builder("jacobian")
def jacobian(output: Node, wrt: Any) -> Any:
    """Return d output / d wrt in the structure of `wrt`, each of shape (*output.shape, *wrt.shape).

    Zeros where the output does not depend on one.
    One reverse walk, batched over the elements of the output.
    """
    _nodes(output, "output")
    sources = _nodes(wrt, "wrt")
    weight = placeholder(output.tensor)
    shares = vjp(output, sources, weight, disconnected="zeros")
    rows = _batched(shares, weight)
    return rebuild(
        wrt,
        [call("reshape", row, (*output.shape, *x.shape)) for row, x in zip(rows, sources, strict=True)],
    )


@builder("hessian")
def hessian(loss: Node, wrt: Any) -> Any:
    """Return the second derivatives of a scalar: for each of `wrt` a structure like `wrt`.

    Each is of shape (*first.shape, *second.shape); zeros where the scalar does not depend on both.
    """
    sources = _nodes(wrt, "wrt")
    gradients = grad(loss, sources, disconnected="zeros")
    blocks: list[list[Node]] = []
    for second in sources:
        vector = placeholder(second.tensor)
        columns = _batched(jvp(gradients, [second], [vector]), vector)
        blocks.append(
            [
                call("reshape", call("moveaxis", column, 0, -1), (*first.shape, *second.shape))
                for column, first in zip(columns, sources, strict=True)
            ]
        )
    return rebuild(wrt, [rebuild(wrt, [column[k] for column in blocks]) for k in range(len(sources))])


@located("vmap")
def vmap(function: Callable[..., Any], in_axes: Any = 0, out_axes: int = 0) -> Callable[..., Any]:
    """Return `function` of one example as a function of a batch of them.

    in_axes: the axis that holds the examples, one for all arguments or one for each; None for an argument that all
    examples share. out_axes: where the results get it. Arguments and results are nodes in any nesting.
    """
    if not callable(function):
        raise GraphError(f"expected a function of nodes, as in vmap(function)(batch); got {function!r:.80}")

    @located(f"vmap({getattr(function, '__name__', 'function')})")
    def mapped(*arguments: Any) -> Any:
        several = isinstance(in_axes, tuple | list)
        axes: list[int | None] = list(in_axes) if several else [in_axes] * len(arguments)
        if len(axes) != len(arguments):  # pyright: ignore[reportUnknownArgumentType]
            raise GraphError(f"vmap: expected one of in_axes for each argument, got {in_axes} for {len(arguments)}")
        batched: dict[Node, Node] = {}

        def enter(value: Any, axis: int | None) -> Any:
            if axis is None:
                return value
            array = call("moveaxis", value if isinstance(value, Node) else constant(value), axis, 0)
            one = placeholder(TensorType(array.shape[1:], array.dtype))
            batched[one] = array
            return one

        entered = [
            map_leaves(lambda value, axis=axis: enter(value, axis), argument)
            for argument, axis in zip(arguments, axes, strict=True)  # pyright: ignore[reportUnknownArgumentType]
        ]
        if not batched:
            raise GraphError("vmap: expected an argument with an axis to map over, got none")
        sizes = [array.shape[0] for array in batched.values()]
        if any(isinstance(size, int) and isinstance(sizes[0], int) and size != sizes[0] for size in sizes):
            raise ShapeError(f"vmap: expected batches of one size, got {', '.join(map(str, sizes))}")
        result = function(*entered)
        outputs = _nodes(result, "results of vmap")
        many = batch(outputs, batched)
        full = [
            call("broadcast_to", output, (sizes[0], *output.shape)) if new is None else new
            for output, new in zip(outputs, many, strict=True)
        ]
        return rebuild(result, [call("moveaxis", node, 0, out_axes) for node in full])

    return mapped


@builder("substitute")
def substitute(nodes: Any, new: Mapping[Node, Any]) -> Any:
    """Return the nodes, in their structure, computed from other nodes in the place of some.

    new: {node: what replaces it, of the same type}. What does not depend on a replaced node stays the same object.
    """
    if not isinstance(new, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise GraphError(f"expected {{node: what replaces it}}, got {new!r}")
    replacement: dict[Node, Node] = {}
    _nodes(list(new), "what is replaced")
    for old, value in new.items():
        node = value if isinstance(value, Node) else constant(value, old.dtype)
        if node.type != old.type:
            raise ShapeError(f"expected {old.type} to stand for {old.describe()}\n  got {node.describe()}")
        replacement[old] = node
    return rebuild(nodes, walk.replace(_nodes(nodes, "nodes"), replacement))


def _batched(nodes: Sequence[Node], one: Node) -> list[Node]:
    """Return nodes for each unit vector in the place of the placeholder `one`, along a new leading axis."""
    size = one.tensor.size
    units = call("reshape", call("eye", size, dtype=one.dtype), (size, *one.shape))
    return [
        call("broadcast_to", node, (size, *node.shape)) if many is None else many
        for node, many in zip(nodes, batch(nodes, {one: units}), strict=True)
    ]


def _nodes(structure: Any, what: str) -> list[Node]:
    found = leaves(structure)
    if structure is None:
        raise GraphError(f"expected nodes in {what}, got None")
    for leaf in found:
        if not isinstance(leaf, Node):
            advice = "; give its parameters()" if hasattr(leaf, "parameters") else ""
            raise GraphError(f"expected nodes in {what}, got {type(leaf).__name__}{advice}")
    return found


def _like(structure: Any, nodes: Sequence[Node], values: Any, what: str) -> list[Node | None]:
    """Return the nodes of `values`, checked to stand where those of `structure` do and to have their types."""
    entries = _aligned(structure, values, what)
    result: list[Node | None] = []
    for node, value in zip(nodes, entries, strict=True):
        given = value if value is None or isinstance(value, Node) else constant(value, node.dtype)
        if given is not None and given.type != node.type:
            kind = ShapeError if given.shape != node.shape else DTypeError
            raise kind(f"{what}: expected {node.type} for {node.describe()}\n  got {given.describe()}")
        result.append(given)
    return result


def _aligned(structure: Any, values: Any, what: str) -> list[Any]:
    """Return the entries of `values` at the leaves of `structure`; there, None is an entry."""
    if isinstance(structure, Node):
        return [values]
    pairs: list[tuple[Any, Any]] = []
    match structure, values:
        case dict(), dict() if structure.keys() == values.keys():  # pyright: ignore[reportUnknownMemberType]
            pairs = [(inner, values[key]) for key, inner in structure.items()]  # pyright: ignore
        case ((tuple() | list()), (tuple() | list())) if len(structure) == len(values):  # pyright: ignore
            pairs = list(zip(structure, values, strict=True))  # pyright: ignore
        case _:
            return require_match(structure, values, what)
    return [entry for inner, value in pairs for entry in _aligned(inner, value, what)]


def _demand_float(node: Node, what: str) -> None:
    if not node.dtype.is_float:
        raise DTypeError(f"{what}: expected floats, derivatives by {node.dtype} do not exist\n  {node.describe()}")


def _zeros_like(node: Node) -> Node:
    return call("broadcast_to", constant(0, node.dtype), node.shape)
