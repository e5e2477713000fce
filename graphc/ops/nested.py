"""What ops with inner graphs share: closing a traced function over what it reads, `item`, and the loop index.

A function is traced once, on placeholders. What it made is cut where it leaves the trace: the nodes there become
operands of the op and placeholders of the inner graph. Constants, and views (free where they are read), stay inside.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Self

from graphc.dims import Atom, Dim
from graphc.errors import GraphError
from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Input, Leaf, Node, Stored, builder, constant, make, placeholder
from graphc.graph.op import Op
from graphc.graph.types import TensorType, TupleType, resize
from graphc.ops.operands import expand
from graphc.records import record, replace

VIEWS = frozenset({"broadcast_to", "reshape", "permute_dims", "expand_dims", "squeeze", "slice"})


@record
class Nested(Op):
    """An op that holds graphs: their sizes are its own."""

    def resize(self, sizes: dict[Atom, Dim]) -> Self:
        new = super().resize(sizes)
        old = dict(subgraphs(new))
        changed = {name: resized for name, graph in old.items() if (resized := resize_graph(graph, sizes)) is not graph}
        return replace(new, **changed) if changed else new

    def operands_of(self, node: Node, result: int) -> tuple[Node, ...]:
        """Return the operands of a node of this op that one of its results may depend on."""
        return node.inputs


@record
class Item(Op):
    """One result of an op with several."""

    index: int
    name: ClassVar[str] = "item"

    def infer(self, several: Any) -> TensorType:
        if not isinstance(several, TupleType):
            raise GraphError(f"expected a node with several results, got {several}")
        if not 0 <= self.index < len(several.items):
            raise GraphError(f"result {self.index} does not exist: there are {len(several.items)}")
        items: tuple[TensorType, ...] = several.items
        return items[self.index]

    def numpy(self, several: tuple[Any, ...]) -> Any:
        return several[self.index]

    def vjp(self, node: Node, cotangent: Node) -> tuple[Any, ...]:
        type = node.inputs[0].type
        assert isinstance(type, TupleType)
        return (tuple(cotangent if k == self.index else None for k in range(len(type.items))),)

    def jvp(self, node: Node, tangents: tuple[Any, ...]) -> Node | None:
        return tangents[0][self.index]

    def vmap(self, node: Node, batched: tuple[Any, ...]) -> Node | None:
        return batched[0][self.index]


@builder("item")
def item(several: Node, index: int) -> Node:
    """Return result number `index` of a node with several results.

    Shape: that of the result.
    Formula: several[index].
    Gradient: g for this result, 0 for the others.
    Source: Python's own indexing of tuples.
    """
    if not isinstance(several, Node):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise GraphError(f"expected a node with several results, got {several!r}")
    return make(Item(index), several)


def capture(outputs: Sequence[Node], own: Collection[Node], start: int, hoist: bool) -> tuple[list[Node], list[Node]]:
    """Return the nodes where a trace that began at serial number `start` reads the outside, and placeholders for them.

    own: the placeholders of the trace (a set or dict). With `hoist`, what does not depend on them counts as outside.
    """
    recent: dict[Node, None] = {}
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node not in recent:
            recent[node] = None
            if node.serial >= start or _is_view(node):
                stack.extend(node.inputs)
    dependent: set[Node] = set()
    fixed: set[Node] = set()
    inside: set[Node] = set()
    # A node is made after its operands, so the order of serial numbers is topological.
    for node in sorted(recent, key=lambda node: node.serial):
        if node in own or not dependent.isdisjoint(node.inputs):
            dependent.add(node)
        elif _is_fixed(node, fixed):
            fixed.add(node)
        traced = not hoist and node.serial >= start and all(_is_single(x) or x in inside for x in node.inputs)
        if node in dependent or node in fixed or traced or _is_view(node):
            inside.add(node)
    outside: dict[Node, None] = {}
    seen: set[Node] = set()
    stack = list(reversed(outputs))
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in own:
            continue
        if node not in inside or isinstance(node, Stored | Input):
            outside[node] = None
        else:
            stack.extend(reversed(node.inputs))
    return list(outside), [placeholder(node.tensor) for node in outside]


def enclose(outputs: Sequence[Node], new: Mapping[Node, Node]) -> tuple[Node, ...]:
    """Return the outputs on placeholders in place of what they read from outside."""
    return walk.replace(outputs, new) if new else tuple(outputs)


def adopt(outputs: Sequence[Node]) -> tuple[tuple[Node, ...], list[tuple[Node, Node]]]:
    """Return the outputs on placeholders in place of the states that they read themselves, and pairs of both.

    A rule for a derivative may bring in a state that the step it is derived from does not have.
    """
    pairs: list[tuple[Node, Node]] = [
        (placeholder(node.type), node) for node in walk.topological(outputs) if isinstance(node, Stored)
    ]
    return enclose(outputs, {state: inner for inner, state in pairs}), pairs


def used(inputs: Sequence[Node], outputs: Sequence[Node]) -> list[bool]:
    """Return, for each input, whether the outputs need it."""
    needed = set(walk.topological(outputs))
    return [node in needed for node in inputs]


def depend(outputs: Sequence[Node], sources: Set[Node]) -> bool:
    """Whether a value among the outputs depends on a source; results that nobody reads do not count."""
    return not sources.isdisjoint(reached(outputs))


def reached(outputs: Sequence[Node]) -> set[Node]:
    """Return the nodes that the outputs depend on, themselves included; of ops with several results by those that are read."""
    seen: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        several = node.inputs[0] if isinstance(node.op, Item) else node
        inner = isinstance(node.op, Item) and isinstance(several.op, Nested)
        stack.extend(several.op.operands_of(several, node.op.index) if inner else node.inputs)  # pyright: ignore
    return seen


def needed(pairs: Sequence[tuple[Node, Node]], outputs: Sequence[Node]) -> list[tuple[Node, Node]]:
    """Return the pairs of placeholder and operand whose placeholder the outputs need."""
    return [pair for pair, need in zip(pairs, used([inner for inner, _ in pairs], outputs), strict=True) if need]


def zeros(type: TensorType) -> Node:
    """Return zeros of a type."""
    return expand(constant(0, type.dtype), type.shape)


_index: ContextVar[Node | None] = ContextVar("_index", default=None)


def loop_index() -> Node | None:
    """Return the number of the present step of the loop being traced (uint32, unique in nested loops); None outside."""
    return _index.get()


@contextmanager
def inside_loop(index: Node) -> Generator[None]:
    """Make `index` the loop index of what is built in this block."""
    token = _index.set(index)
    try:
        yield
    finally:
        _index.reset(token)


def resize_graph(graph: Graph, sizes: dict[Atom, Dim]) -> Graph:
    """Return the graph with symbols replaced; itself if it holds none of them."""
    done: dict[Node, Node] = {}
    for node in (*graph.inputs, *graph.nodes()):
        if node in done:
            continue
        op, type = node.op.resize(sizes), resize(node.type, sizes)
        inputs = tuple(done[operand] for operand in node.inputs)
        if op is node.op and type == node.type and all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
            done[node] = node
        else:
            assert not isinstance(node, Stored)
            kind = Input if isinstance(node, Input) else Node
            done[node] = kind(op, inputs, type, node.origin)  # pyright: ignore[reportArgumentType]
    if all(old is new for old, new in done.items()):
        return graph
    return Graph(tuple(done[node] for node in graph.inputs), tuple(done[node] for node in graph.outputs), (), ())


def _is_view(node: Node) -> bool:
    return node.op.name in VIEWS and not isinstance(node.op, Leaf)


def _is_single(node: Node) -> bool:
    return isinstance(node.type, TensorType)


def _is_fixed(node: Node, fixed: set[Node]) -> bool:
    """Whether a node is a constant, the training flag, positions, or made of such alone."""
    if isinstance(node.op, Leaf):
        return node.op.kind == "training"
    return all(operand in fixed for operand in node.inputs)
