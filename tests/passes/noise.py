"""Comparison of two graphs that mean the same: as close as rounding lets them be, NaN and infinities in the same places.

How far rounding may carry a result is found by evaluating the first graph again with each float on the way moved by one
unit in its last place. What then jumps (a comparison, an index, an infinity) is not compared where it jumps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

from graphc import dims
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Constant, Leaf, Node, Stored
from graphc.graph.reference import solve_sizes
from graphc.ops import control, scan
from graphc.ops.contraction import Contract

DRAWS, MANY_DRAWS = 3, 100
# Their terms may cancel, and be added in another order: what they lose goes by the size of the terms.
ACCUMULATING = {"sum", "contract", "cumulative_sum"}
# What decides by a number whether to be one thing or another, so that a NaN that became a number shows elsewhere.
DECIDING = {
    "astype",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "not_equal",
    "isnan",
    "isfinite",
    "isinf",
}
CORRECTED = {"exp", "exp2", "expm1", "log", "log1p", "sqrt", "sigmoid", "softplus", "logaddexp"}


def evaluate(
    graph: Graph,
    feeds: dict[Any, Any],
    rng: np.random.Generator | None = None,
    seen: Callable[[Node, list[Any]], None] | None = None,
) -> list[Any]:
    """Return the outputs by the ops' meanings; with `rng`, each float is moved by up to one unit in its last place.

    `seen` is called with each node and the values of its inputs.
    """
    sizes = dict[str, int]()
    for node, array in feeds.items():
        solve_sizes(node.shape, array.shape, sizes, "")

    def run(roots: Any, feeds: Any) -> list[Any]:
        return _values(Graph(tuple(feeds), tuple(roots), requirements=()), feeds, {}, rng, seen)

    # Loops and branches run their own graphs: what these lose on the way counts too.
    with np.errstate(all="ignore"), mock.patch.object(scan, "run", run), mock.patch.object(control, "run", run):
        return _values(graph, feeds, sizes, rng, seen)


def _values(
    graph: Graph,
    feeds: dict[Any, Any],
    sizes: dict[str, int],
    rng: np.random.Generator | None,
    seen: Callable[[Node, list[Any]], None] | None,
) -> list[Any]:
    values = dict(feeds)
    for node in graph.nodes():
        if node in values:
            continue
        if isinstance(node, Stored):
            result = node.value
        elif isinstance(node.op, Constant):
            result = node.op.value
        else:
            assert not isinstance(node.op, Leaf)
            if seen is not None:
                seen(node, [values[x] for x in node.inputs])
            result = node.op.bind(sizes).numpy(*(values[x] for x in node.inputs))
            if rng is not None:
                size = None
                if node.op.name in ACCUMULATING:
                    size = node.op.bind(sizes).numpy(*(np.abs(values[x]) for x in node.inputs))
                several = isinstance(result, tuple)
                result = tuple(_moved(r, rng) for r in result) if several else _moved(result, rng, size)
        values[node] = result
    return [values[output] for output in graph.outputs]


def _moved(value: Any, rng: np.random.Generator, size: Any = None) -> Any:
    """Return a float array moved by a unit in its last place, or in that of the `size` of the terms that it was added from."""
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return array
    with np.errstate(all="ignore"):
        near = array + (np.spacing(array if size is None else size) * rng.integers(-1, 2, array.shape)).astype(
            array.dtype
        )
    return np.where(np.isfinite(array), near, array)


def difference(graph: Graph, passed: Graph, feeds: dict[Any, Any]) -> str:
    """Return where `passed` means something else than `graph`, "" if nowhere."""
    return unlike(graph, feeds, evaluate(passed, feeds))


def is_open(graph: Graph, feeds: dict[Any, Any]) -> bool:
    """Return whether the graph means more than one thing on these feeds, for one of the causes in docs/passes.md.

    A number that is not finite meets a contraction that the pass gather may rewrite. Or, in a graph with exponentials, whose
    stable forms are numbers where the formula as written overflows, a NaN decides something, or something is divided by
    an infinity. Or an exponential underflows, which loses what the stable form keeps.
    """
    found = list[Node]()
    may_correct = any(name in CORRECTED for name in _names(graph))

    def seen(node: Node, inputs: list[Any]) -> None:
        arrays = [np.asarray(x) for x in inputs if not isinstance(x, tuple)]
        floats = [x for x in arrays if x.dtype.kind == "f"]
        if isinstance(node.op, Contract) and any(len(dims.axes(index)) > 1 for index in node.op.out):
            found.extend([node] * (not all(np.isfinite(x).all() for x in floats)))
        elif may_correct and node.op.name in DECIDING:
            found.extend([node] * any(np.isnan(x).any() for x in floats))
        elif node.op.name in ("exp", "exp2"):
            (x,), floor = floats, np.finfo(node.dtype.numpy).tiny
            found.extend([node] * bool((np.isfinite(x) & (node.op.numpy(x) < floor)).any()))
        elif may_correct and node.op.name == "divide":
            found.extend([node] * any(np.isinf(x).any() for x in floats[1:]))

    evaluate(graph, feeds, seen=seen)
    return bool(found)


def unlike(graph: Graph, feeds: dict[Any, Any], after: list[Any]) -> str:
    """Return where these values of its outputs are not what `graph` means, "" if nowhere."""
    before = evaluate(graph, feeds)
    return _compared(graph, feeds, before, after, DRAWS) and _compared(graph, feeds, before, after, MANY_DRAWS)


def _compared(graph: Graph, feeds: dict[Any, Any], before: list[Any], after: list[Any], draws: int) -> str:
    rng = np.random.default_rng(0)
    near = [evaluate(graph, feeds, rng) for _ in range(draws)]
    may_correct = any(name in CORRECTED for name in _names(graph))
    for k, (old, new) in enumerate(zip(before, after, strict=True)):
        old, new = np.atleast_1d(old), np.atleast_1d(new)
        if old.dtype != new.dtype or old.shape != new.shape:
            return f"output {k}: {old.dtype}{old.shape} became {new.dtype}{new.shape}"
        others = np.stack([np.atleast_1d(values[k]) for values in near])
        if old.dtype.kind != "f":
            wrong = (old != new) & (others == old).all(0)
        else:
            with np.errstate(all="ignore"):
                spread = np.abs(others - old).max(0)
                bound = 32 * spread + 64 * np.finfo(old.dtype).eps * np.abs(old) + 64 * np.finfo(old.dtype).tiny
                far = ~(np.abs(new - old) <= bound)
            is_same = (np.isnan(old) & np.isnan(new)) | (old == new)
            steady = (np.isfinite(others) == np.isfinite(old)).all(0) & (np.isnan(others) == np.isnan(old)).all(0)
            steady &= np.isfinite(old) | np.isnan(old) | (others == old).all(0)
            # A stable form may have a value where the formula as written overflows; nothing else may.
            corrected = ~np.isfinite(old) & (np.isfinite(new) | np.isnan(old)) & may_correct
            wrong = far & ~is_same & steady & ~corrected
        if wrong.any():
            at = tuple(int(i[0]) for i in np.nonzero(wrong))
            return f"output {k}{list(at)}: {old[at]!r} became {new[at]!r}, nearby {others[(slice(4), *at)]!r}"
    return ""


def _names(graph: Graph) -> set[str]:
    names: set[str] = set()
    for node in graph.nodes():
        names.add(node.op.name)
        for _, sub in subgraphs(node.op):
            names |= _names(sub)
    return names
