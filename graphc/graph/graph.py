"""Graphs: what a compilation starts from, what passes rewrite, and what a loop repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING

from graphc.errors import GraphError
from graphc.graph import walk
from graphc.graph.networkx_view import to_networkx
from graphc.graph.node import Input, Leaf, Node, Parameter, State, Stored
from graphc.graph.op import Op
from graphc.graph.text import text
from graphc.records import annotations_of, names_of, record
from graphc.requirements import Requirement

if TYPE_CHECKING:
    from networkx import DiGraph


@record
class Graph:
    """Inputs, outputs, updates (what each parameter or state becomes), and requirements on sizes.

    Without `requirements`, they are those of the nodes; a rewrite hands them on, so none is lost with a node.
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    updates: tuple[tuple[Node, Node], ...] = ()
    requirements: tuple[Requirement, ...] | None = None

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(
        self,
        inputs: tuple[Node, ...],
        outputs: tuple[Node, ...],
        updates: tuple[tuple[Node, Node], ...] = (),
        requirements: tuple[Requirement, ...] | None = None,
    ) -> None:
        for name, value in zip(names_of(self), (inputs, outputs, updates, requirements), strict=True):
            object.__setattr__(self, name, value)
        targets: set[Node] = set()
        for target, value in self.updates:
            if not isinstance(target, Stored):
                raise GraphError(f"expected to update a parameter or a state, got {target.describe()}")
            if target in targets:
                raise GraphError(f"two updates of one leaf: {target.describe()}")
            if target.type != value.type:
                raise GraphError(f"the update of {target.describe()} has another type: {value.describe()}")
            targets.add(target)
        for node in self.inputs:
            if not isinstance(node, Input):
                raise GraphError(f"expected inputs made by graphc.input, got {node.describe()}")
        if len(set(self.inputs)) != len(self.inputs):
            raise GraphError("an input is listed twice")
        if self.requirements is None:
            found = dict.fromkeys(r for node in self.nodes() for r in node.requirements)
            object.__setattr__(self, "requirements", tuple(found))

    @property
    def roots(self) -> tuple[Node, ...]:
        """The outputs, then the values of the updates."""
        return (*self.outputs, *(value for _, value in self.updates))

    @cached_property
    def _order(self) -> tuple[Node, ...]:
        return tuple(walk.topological(self.roots))

    def nodes(self) -> tuple[Node, ...]:
        """Return every node that is needed, operands first, in an order fixed by the graph's structure."""
        return self._order

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters, read or updated, in order of first appearance."""
        return tuple(node for node in self._stored() if isinstance(node, Parameter))

    @property
    def states(self) -> tuple[State, ...]:
        """The states, likewise."""
        return tuple(node for node in self._stored() if isinstance(node, State))

    def leaves(self, kind: str) -> tuple[Node, ...]:
        """Return the leaves of one kind that are read."""
        return tuple(node for node in self.nodes() if isinstance(node.op, Leaf) and node.op.kind == kind)

    @property
    def stored(self) -> tuple[Stored, ...]:
        """The parameters, then the states."""
        return (*self.parameters, *self.states)

    def _stored(self) -> Iterator[Stored]:
        for node in dict.fromkeys((*self.nodes(), *(target for target, _ in self.updates))):
            if isinstance(node, Stored):
                yield node

    def with_roots(self, roots: tuple[Node, ...]) -> Graph:
        """Return this graph with other outputs and update values (in the order of `roots`); itself if none differs."""
        if all(a is b for a, b in zip(roots, self.roots, strict=True)):
            return self
        count = len(self.outputs)
        updates = tuple((target, new) for (target, _), new in zip(self.updates, roots[count:], strict=True))
        return Graph(self.inputs, roots[:count], updates, self.requirements)

    def rebuild(self, new: Mapping[Node, Node]) -> Graph:
        """Put other nodes in the place of some."""
        return self.with_roots(walk.replace(self.roots, new))

    def rewrite(self, visit: Callable[[Node], Node]) -> Graph:
        """Replace each node, operands first, by what `visit` returns for it (see `walk.rewrite`)."""
        return self.with_roots(walk.rewrite(self.roots, visit))

    def on(self, operands: Iterable[Node]) -> tuple[Node, ...]:
        """Return the outputs on operands in the place of the inputs."""
        done: dict[Node, Node] = dict(zip(self.inputs, operands, strict=True))
        for node in self.nodes():
            if node not in done:
                done[node] = node.on(tuple([done[operand] for operand in node.inputs]))
        return tuple(done[output] for output in self.outputs)

    def to_networkx(self) -> DiGraph[int]:
        """Return a networkx.DiGraph: nodes numbered in topological order, with op, type and origin as attributes."""
        return to_networkx(self)

    def __str__(self) -> str:
        return text(self, comments=True)

    def __repr__(self) -> str:
        return f"<Graph of {len(self.nodes())} nodes, {len(self.outputs)} outputs, {len(self.updates)} updates>"


def subgraphs(op: Op) -> Iterator[tuple[str, Graph]]:
    """Yield the graphs among an op's fields, with the fields' names."""
    for name in _graph_fields(type(op)):
        yield name, getattr(op, name)


@cache
def _graph_fields(kind: type[Op]) -> tuple[str, ...]:
    """Return the fields of a kind of op that are graphs, as its annotations say: few kinds have one, and all are asked."""
    return tuple(name for name, annotation in annotations_of(kind).items() if annotation == "Graph")
