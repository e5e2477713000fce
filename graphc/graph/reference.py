"""The reference run: a graph's meaning, by each op's NumPy definition, without compiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim, DimExpr, Symbol
from graphc.errors import CallError, MissingInputError, VerificationError
from graphc.graph import walk
from graphc.graph.node import Constant, Leaf, Node, Stored, builder
from graphc.graph.structure import leaves, rebuild
from graphc.graph.types import TensorType, TupleType, shape_text


def run(roots: Sequence[Node], feeds: Mapping[Node, Any], sizes: Mapping[str, int] | None = None) -> list[Any]:
    """Return the value of each root: an array, or a tuple of them.

    `feeds` gives arrays for inputs (or for any nodes); `sizes` gives symbols that no fed shape shows. Parameters and
    states that are not fed have their present values.
    """
    values: dict[Node, Any] = {}
    known = dict(sizes or {})
    for node, array in feeds.items():
        if not isinstance(node, Node):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise MissingInputError(f"feeds: expected {{input node: array}}, got the key {node!r}")
        values[node] = fed(node, array)
    for node in feeds:
        if isinstance(node.type, TensorType):
            solve_sizes(node.type.shape, values[node].shape, known, node.describe())
    order = list(walk.topological(roots, stop=values.keys()))
    # All of them first: what has a shape of these sizes may come before the node that says what they must be.
    for requirement in (requirement for node in order for requirement in node.requirements):
        if not requirement.holds(known):
            raise CallError(f"{requirement.reason}: expected {requirement} at {requirement.origin}, got {known}")
    for node in order:
        if node in values:
            continue
        if isinstance(node, Stored):
            values[node] = node.value
        elif isinstance(node.op, Leaf):
            raise MissingInputError(f"no value is given for {node.describe()}")
        elif isinstance(node.op, Constant):
            values[node] = node.op.value
        else:
            with np.errstate(all="ignore"):
                result = node.op.bind(known).numpy(*(values[operand] for operand in node.inputs))
            values[node] = _checked(node, result, known)
    return [values[root] for root in roots]


def fed(node: Node, array: Any) -> Any:
    """Return the array of a feed in its node's dtype; same-kind conversions are made, others raise CallError."""
    if isinstance(node.type, TupleType):
        return tuple(np.asarray(item) for item in array)
    new = np.asarray(array)
    kind = node.dtype.numpy
    if new.dtype != kind and not (
        np.can_cast(new.dtype, kind, "same_kind") or (new.dtype.kind in "iub" and new.ndim == 0)
    ):
        raise CallError(f"expected {node.dtype}, got {new.dtype}\n  {node.describe()}")
    return new.astype(kind, copy=False)


def solve_sizes(shape: tuple[Dim, ...], actual: tuple[int, ...], known: dict[str, int], what: str) -> None:
    """Learn symbols from an actual shape; CallError if it does not fit the declared one."""
    if len(shape) != len(actual):
        raise CallError(f"expected {len(shape)} dimensions {shape_text(shape)}, got {actual}\n  {what}")
    for dim, size in zip(shape, actual, strict=True):
        if isinstance(dim, DimExpr) and len(dim.terms) == 1:
            ((monomial, count),) = dim.terms
            if count == 1 and len(monomial) == 1 and isinstance(monomial[0][0], Symbol) and monomial[0][1] == 1:
                known.setdefault(monomial[0][0].name, size)
    for dim, size in zip(shape, actual, strict=True):
        if dims.symbols(dim) <= known.keys() and dims.evaluate(dim, known) != size:
            raise CallError(f"expected shape {shape_text(shape)}, got {actual} with sizes {known}\n  {what}")


def _checked(node: Node, result: Any, sizes: Mapping[str, int]) -> Any:
    if isinstance(node.type, TupleType):
        return tuple(_fits(item, type_, sizes, node) for item, type_ in zip(result, node.type.items, strict=True))
    return _fits(result, node.type, sizes, node)


def _fits(result: Any, expected: TensorType, sizes: Mapping[str, int], node: Node) -> Any:
    array = np.asarray(result)
    shape = tuple(dims.evaluate(dim, sizes) for dim in expected.shape)
    if array.shape != shape or array.dtype != expected.dtype.numpy:
        got = f"{array.dtype}{list(array.shape)}"
        raise VerificationError(f"{node.op.name} gave {got}, its type says {expected} = {shape}: {node.describe()}")
    return array


@builder("evaluate")
def evaluate(outputs: Any, feeds: Mapping[Node, Any] | None = None) -> Any:
    """Return the values of nodes by the reference run: each op's NumPy definition, no compiler.

    outputs: nodes in any nesting of tuples, lists and dicts; the result has it too. feeds: arrays for inputs (or for
    any nodes). Raises MissingInputError or CallError where they do not fit.
    """
    given: Mapping[Node, Any] = {} if feeds is None else feeds
    if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise MissingInputError(f"feeds: expected {{input node: array}}, got a {type(given).__name__}")
    # A parameter's value, or a view of it, would change with the next training step.
    return rebuild(outputs, [_copied(value) for value in run(leaves(outputs), given)])


def _copied(value: Any) -> Any:
    if not isinstance(value, tuple):
        return np.array(value)
    items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
    return tuple(np.array(item) for item in items)
