"""Forms of a graph: the same computation with numbers in the place of some symbols, so that its kernels are simpler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphc import dims
from graphc.dims import Atom, Dim, Symbol
from graphc.errors import GraphError
from graphc.graph.graph import Graph
from graphc.ops.contraction import Contract
from graphc.ops.families import LARGE, open_families, roots
from graphc.ops.nested import resize_graph
from graphc.records import record
from graphc.requirements import Requirement

# Scalar operations that the contractions of one sample take, from which on a form for it pays: 2 us, at eight a nanosecond.
SINGLE_WORK = 16_000


@record
class Bench:
    """Where tilings are measured: on which processor and so many threads, at these sizes of symbols."""

    processor: str
    threads: int
    sizes: tuple[tuple[str, int], ...]


def checked(graph: Graph, sizes: Any) -> dict[str, int]:
    """Return what `specialize` gives, {name of a symbol: number}; GraphError if there is no such symbol or number."""
    if not isinstance(sizes, Mapping):
        raise GraphError(f"specialize: expected {{name of a dimension: number}}, got {sizes!r}")
    known = symbols_of(graph)
    given: dict[str, int] = {}
    for key, size in sizes.items():  # pyright: ignore[reportUnknownVariableType]
        name = str(key)  # pyright: ignore[reportUnknownArgumentType]
        if name not in known:
            has = f"the inputs have {', '.join(known)}" if known else "all sizes of the inputs are numbers"
            raise GraphError(f"specialize: there is no dimension {name!r}; {has}")
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise GraphError(f"specialize: expected a whole number of 0 or more for {name!r}, got {size!r}")
        given[name] = size
    if (requirement := _broken(graph, given)) is not None:
        raise GraphError(f"specialize: {requirement.reason} needs {requirement} ({requirement.origin}); got {given}")
    return given


def _broken(graph: Graph, sizes: Mapping[str, int]) -> Requirement | None:
    """Return what a graph requires that these sizes do not meet, None where others may decide."""
    for requirement in graph.requirements or ():
        needed = dims.symbols(requirement.left) | dims.symbols(requirement.right)
        if needed <= sizes.keys() and not requirement.holds(sizes):
            return requirement
    return None


def specialized(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """Return the graph with these numbers for symbols: same leaves, inputs and outputs in the same order."""
    replacement: dict[Atom, Dim] = {Symbol(name): size for name, size in sizes.items()}
    new = resize_graph(Graph(graph.inputs, graph.roots, (), ()), replacement)
    count = len(graph.outputs)
    targets = (target for target, _ in graph.updates)
    updates = tuple(zip(targets, new.outputs[count:], strict=True))
    return Graph(new.inputs, new.outputs[:count], updates, graph.requirements)


def sizes_of_one(graph: Graph) -> dict[str, int] | None:
    """Return the sizes of a form for one sample, None where it would not pay.

    Predicting for one sample is common, and its products are of a vector with a matrix: a tile of several rows, or a copy of the
    matrix that serves many, would cost more than the product itself.
    """
    known = symbols_of(graph)
    if graph.updates or len(known) != 1:
        return None
    sizes = dict.fromkeys(known, 1)
    if _broken(graph, sizes) is not None:
        return None
    work = 0
    for node in graph.nodes():
        if isinstance(node.op, Contract):
            work += 2 * dims.evaluate(dims.product(axis.extent for axis in node.op.domain), sizes)
    return sizes if work >= SINGLE_WORK else None


def many_states(graph: Graph) -> tuple[tuple[Requirement, ...], dict[str, Dim]] | None:
    """Return what sizes must meet for states to be made again where only they decide, and the symbols of their roots.

    None where nothing is left to decide: see `ops.families`.
    """
    found = open_families(graph)
    if not found:
        return None
    total: Dim = 0
    for family in found:
        total = total + family.nbytes
    need = Requirement(total, ">=", LARGE + 1, "a form for many states", "graphc")
    return (need,), roots([family.length for family in found])


def symbols_of(graph: Graph) -> list[str]:
    """Return the names of the symbols in the shapes of the inputs."""
    return sorted({name for node in graph.inputs for dim in node.shape for name in dims.symbols(dim)})
