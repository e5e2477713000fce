"""What steers derivatives and training: stop_gradient, with_update, the training leaf, and clipping by norm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, ClassVar

from graphc.dtypes import bool_
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph import bodies, walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Leaf, Node, Stored, builder, call, make
from graphc.graph.op import Op
from graphc.graph.structure import leaves, map_leaves
from graphc.graph.types import TensorType
from graphc.loops import expr
from graphc.ops.operands import as_node, cast, floating, promoted
from graphc.origin import Origin
from graphc.records import record

_construction = count()
_training = Node(Leaf("training"), (), TensorType((), bool_), Origin(__file__, 0))


@record
class Identity(Op):
    """The first input, unchanged."""

    def infer(self, value: TensorType, *others: Any) -> TensorType:
        return value

    def numpy(self, value: Any, *others: Any) -> Any:
        return value

    def lower(self, out: TensorType, *inputs: TensorType) -> bodies.Body:
        return bodies.compute(out, expr.load(0, bodies.output_axes(out), out.dtype))


@record
class StopGradient(Identity):
    """The identity with derivative zero."""

    name: ClassVar[str] = "stop_gradient"

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (None,)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> None:
        return None

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        return make(self, batched[0])


@record
class OfPhase(Identity):
    """The identity on a derivative that depends on the phase: what compiles it must say which phase it means."""

    name: ClassVar[str] = "of_phase"

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (cotangent,)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return tangents[0]

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        assert batched[0] is not None
        return make(self, batched[0])


@record
class WithUpdate(Identity):
    """The identity on input 0 that asks for input 1, a leaf, to become input 2. `order` counts constructions."""

    order: int
    name: ClassVar[str] = "with_update"

    def infer(self, value: TensorType, *others: TensorType) -> TensorType:
        target, new = others
        if target.shape != new.shape:
            raise ShapeError(f"expected the update to have the shape of its target, {target}; got {new}")
        if target.dtype is not new.dtype:
            raise DTypeError(f"expected the update to have the dtype of its target, {target}; got {new}")
        return value

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return cotangent, None, None

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return tangents[0]

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Node:
        value, target, new = batched
        if target is not None or new is not None:
            raise GraphError(
                "an update inside vmap differs for each example; reduce it over the batch before with_update"
            )
        assert value is not None
        return make(self, value, *node.inputs[1:])


@builder("stop_gradient")
def stop_gradient(x: Any) -> Node:
    """Return x, as a constant to every derivative.

    Shape: `(...) -> (...)`.
    Formula: `x`.
    Gradient: by x `0`.
    Source: `jax.lax.stop_gradient`, `torch.Tensor.detach`.
    """
    return make(StopGradient(), as_node(x))


@builder("with_update")
def with_update(x: Any, updates: Mapping[Any, Any]) -> Node:
    """Return x, carrying updates of states that a training step makes if it needs this node.

    updates: {Parameter or State: its new value, of the same shape and dtype}. What is compiled for training collects
    them; any other compilation drops them. Two for one state are chained in the order of
    construction: the second reads what the first wrote.

    Shape: `(...) -> (...)`.
    Formula: `x`.
    Gradient: by x `g`; the updates have none.
    Source: graphc's own.
    """
    node = as_node(x)
    if not isinstance(updates, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise GraphError(f"with_update: expected updates as {{state: its new value}}, got {updates!r}")
    for target, new in updates.items():
        if not isinstance(target, Stored):
            given = target.describe() if isinstance(target, Node) else repr(target)
            raise GraphError(f"expected a parameter or a state to update, got {given}")
        node = make(WithUpdate(next(_construction)), node, target, as_node(new, target.dtype))
    return node


@builder("global_norm")
def global_norm(nodes: Any) -> Node:
    """Return the Euclidean norm of nodes, in any nesting of tuples, lists and dicts, as if they were one vector.

    Its derivative is 0 where all are 0.

    Shape: ().
    Formula: `sqrt(sum(nodes * nodes))`, for one node.
    Gradient: by nodes `g * nodes / out`, and 0 where out is 0.
    Source: `optax.global_norm`.
    """
    found: list[Any] = leaves(nodes)
    if not found:
        raise GraphError("global_norm: expected nodes, got none")
    total: Node | None = None
    for one in promoted(*(call("sum", call("square", floating(leaf))) for leaf in found)):
        total = one if total is None else total + one
    assert total is not None
    is_zero = total == 0
    return call("where", is_zero, total, call("sqrt", call("where", is_zero, 1.0, total)))


@builder("clip_by_norm")
def clip_by_norm(nodes: Any, max_norm: Any) -> Any:
    """Return nodes, in their nesting, all scaled by one number so that their common norm is at most `max_norm`.

    As torch.nn.utils.clip_grad_norm_: the number is min(1, max_norm / (norm + 1e-6)).

    Shape: that of each node.
    Formula: `nodes * minimum(1, max_norm / (sqrt(sum(nodes * nodes)) + 1e-6))`, for one node.
    Gradient: the chain rule's, through the norm too.
    Source: `torch.nn.utils.clip_grad_norm_`; Pascanu, Mikolov and Bengio, 2013.
    """
    if isinstance(max_norm, int | float) and not max_norm > 0:
        raise GraphError(f"clip_by_norm: expected max_norm above 0, got {max_norm}")
    if as_node(max_norm).ndim:
        raise ShapeError(f"clip_by_norm: expected one number as max_norm, got {as_node(max_norm).type}")
    scale = call("minimum", max_norm / (global_norm(nodes) + 1e-6), 1.0)
    return map_leaves(lambda leaf: leaf * cast(scale, floating(leaf).dtype), nodes)


def training() -> Node:
    """Return the boolean scalar that is true in a training step and false in an evaluation.

    Shape: ().
    Formula: true in a training step, false in an evaluation.
    Gradient: none: a boolean.
    Source: graphc's own.
    """
    return _training


def of_phase(derivatives: Sequence[Node | None]) -> list[Node | None]:
    """Return derivatives, those that read the training leaf (in a loop or a branch too) marked as such."""
    found = [node for node in derivatives if node is not None]
    reading = _reading_phase(walk.topological(found), {})
    return [make(OfPhase(), node) if node is not None and node in reading else node for node in derivatives]


def _reading_phase(nodes: Iterable[Node], known: dict[Graph, bool]) -> set[Node]:
    """Return those of the nodes, operands first, that depend on the phase; `known` says of graphs inside whether they do."""
    found: set[Node] = set()
    for node in nodes:
        for _, inner in subgraphs(node.op):
            if inner not in known:
                known[inner] = bool(_reading_phase(inner.nodes(), known))
            if known[inner]:
                found.add(node)
        if node is _training or not found.isdisjoint(node.inputs):
            found.add(node)
    return found
