"""Control flow: cond; and scan, map, fori_loop and item by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from graphc.chain import batch, forward, reverse
from graphc.dtypes import bool_
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph import bodies
from graphc.graph.graph import Graph
from graphc.graph.node import Node, builder, call, make, placeholder, trace_start
from graphc.graph.op import inherit
from graphc.graph.reference import run
from graphc.graph.structure import leaves, match, paths, rebuild
from graphc.graph.types import TensorType, TupleType
from graphc.ops.iteration import fori_loop, map, scan
from graphc.ops.nested import Item, Nested, adopt, capture, enclose, item, needed, reached, zeros
from graphc.ops.operands import as_node, expand
from graphc.ops.scan import Scan
from graphc.records import record

__all__ = ["Cond", "Item", "Scan", "cond", "fori_loop", "item", "map", "scan"]

Several = tuple["Node | None", ...]


@record
class Cond(Nested):
    """One of two graphs of the same inputs (operands 1 and on), by operand 0, a boolean scalar."""

    then: Graph
    otherwise: Graph
    name: ClassVar[str] = "cond"

    def infer(self, condition: TensorType, *inputs: TensorType) -> TupleType:
        if condition != TensorType((), bool_):
            error = ShapeError if condition.shape else DTypeError
            raise error(f"cond: expected a boolean scalar to choose by, got {condition}; use where for arrays")
        for branch in (self.then, self.otherwise):
            for k, (given, inner) in enumerate(zip(inputs, branch.inputs, strict=True)):
                if given != inner.type:
                    raise ShapeError(f"cond: expected {inner.type} for operand {k} of a branch, got {given}")
            inherit(branch.requirements or ())
        for k, (yes, no) in enumerate(zip(self.then.outputs, self.otherwise.outputs, strict=True)):
            if yes.type != no.type:
                raise ShapeError(f"cond: result {k} is {yes.type} in one branch and {no.type} in the other")
        return TupleType(tuple(node.tensor for node in self.then.outputs))

    def numpy(self, condition: Any, *inputs: Any) -> tuple[Any, ...]:
        branch = self.then if condition else self.otherwise
        return tuple(run(branch.outputs, dict(zip(branch.inputs, inputs, strict=True))))

    def vjp(self, node: Node, cotangent: Several) -> tuple[Node | None, ...]:
        arriving = [(k, placeholder(given.type), given) for k, given in enumerate(cotangent) if given is not None]
        seeds = [inner for _, inner, _ in arriving]
        yes, no = (
            reverse([branch.outputs[k] for k, _, _ in arriving], seeds, branch.inputs)
            for branch in (self.then, self.otherwise)
        )
        more = [(inner, given) for _, inner, given in arriving]
        return (None, *_choose(node, yes, no, lambda branch, k: zeros(branch.inputs[k].tensor), more))

    def jvp(self, node: Node, tangents: Several) -> Several:
        inner = [None if given is None else placeholder(given.type) for given in tangents[1:]]
        yes, no = (forward(branch.outputs, branch.inputs, inner) for branch in (self.then, self.otherwise))
        more = [(i, t) for i, t in zip(inner, tangents[1:], strict=True) if i is not None and t is not None]
        return _choose(node, yes, no, lambda branch, k: zeros(branch.outputs[k].tensor), more)

    def vmap(self, node: Node, batched: Several) -> Several:
        size = next(operand.shape[0] for operand in batched if operand is not None)
        pairs = {
            o: (placeholder(g.type), g) for o, g in zip(self.then.inputs, batched[1:], strict=True) if g is not None
        }
        inner = {outer: pair[0] for outer, pair in pairs.items()}
        yes, no = (batch(branch.outputs, inner) for branch in (self.then, self.otherwise))

        def repeated(branch: Graph, k: int) -> Node:
            return expand(branch.outputs[k], (size, *branch.outputs[k].shape))

        if batched[0] is None:
            # Results that are equal for all examples are repeated: this node itself still needs one example's operands.
            full = [or_else(new, repeated, self.then, k) for k, new in enumerate(yes)]
            return _choose(node, full, no, repeated, list(pairs.values()))
        # Each example chooses for itself: both branches are computed, and each element is taken from the chosen one.
        operands = {**dict(zip(self.then.inputs, node.inputs[1:], strict=True)), **dict(pairs.values())}
        results: list[Node] = []
        for k, output in enumerate(self.then.outputs):
            pair = (or_else(yes[k], repeated, self.then, k), or_else(no[k], repeated, self.otherwise, k))
            chosen = call("reshape", batched[0], (size, *(1,) * output.ndim))
            results.append(call("where", chosen, *enclose(pair, operands)))
        return tuple(results)

    def operands_of(self, node: Node, result: int) -> tuple[Node, ...]:
        read = [reached([branch.outputs[result]]) for branch in (self.then, self.otherwise)]
        pairs = zip(self.then.inputs, self.otherwise.inputs, node.inputs[1:], strict=True)
        return (node.inputs[0], *(x for yes, no, x in pairs if yes in read[0] or no in read[1]))

    def lower(self, out: Any, *inputs: TensorType) -> bodies.Body:
        return bodies.Branch(self.then, self.otherwise)


def branches(
    condition: Node, then: Sequence[Node], otherwise: Sequence[Node], operands: Sequence[tuple[Node, Node]]
) -> Node:
    """Return a cond of these outputs on pairs of placeholder and operand, less those that neither branch reads."""
    outputs, brought = adopt((*then, *otherwise))
    read = needed([*operands, *brought], outputs)
    inputs = tuple(inner for inner, _ in read)
    op = Cond(Graph(inputs, outputs[: len(then)]), Graph(inputs, outputs[len(then) :]))
    return make(op, condition, *(operand for _, operand in read))


def or_else(node: Node | None, default: Callable[[Graph, int], Node], branch: Graph, k: int) -> Node:
    """Return the node, or `default(branch, k)` where it is None."""
    return default(branch, k) if node is None else node


def _choose(
    node: Node,
    yes: Sequence[Node | None],
    no: Sequence[Node | None],
    lacking: Callable[[Graph, int], Node],
    more: Sequence[tuple[Node, Node]],
) -> Several:
    """Return what a cond derived from `node` chooses, one for each entry; None where neither branch has one."""
    op = node.op
    assert isinstance(op, Cond)
    places = [k for k, (a, b) in enumerate(zip(yes, no, strict=True)) if a is not None or b is not None]
    made = branches(
        node.inputs[0],
        [or_else(yes[k], lacking, op.then, k) for k in places],
        [or_else(no[k], lacking, op.otherwise, k) for k in places],
        [*zip(op.then.inputs, node.inputs[1:], strict=True), *more],
    )
    found = {k: item(made, place) for place, k in enumerate(places)}
    return tuple(found.get(k) for k in range(len(yes)))


@builder("cond")
def cond(condition: Any, then: Callable[..., Any], otherwise: Callable[..., Any], *operands: Any) -> Any:
    """Return what `then(*operands)` returns where `condition` (a boolean scalar) holds, else `otherwise(*operands)`.

    Only the chosen branch runs. Both return the same nesting of tuples, lists and dicts of nodes, of equal shapes and
    dtypes, and may read nodes from outside; what they build is inside. Raises GraphError, ShapeError or DTypeError
    where they differ.

    Shape: that of what `then` returns, which `otherwise` shares.
    Formula: then(*operands) if condition else otherwise(*operands).
    Gradient: the chosen branch's, by the chain rule; the other one gives 0.
    Source: `jax.lax.cond`.
    """
    if not callable(then) or not callable(otherwise):
        raise GraphError(
            "cond: expected two functions, as in cond(p, lambda: x, lambda: y); for nodes use graphc.where"
        )
    start = trace_start()
    yes, no = then(*operands), otherwise(*operands)
    match(yes, no, "cond: the second branch must return what the first does")
    outputs = [[as_node(value) for value in leaves(branch)] for branch in (yes, no)]
    for (path, _), a, b in zip(paths(yes), *outputs, strict=True):
        if a.type != b.type:
            kind = ShapeError if a.shape != b.shape else DTypeError
            raise kind(f"cond: result{path} differs\n  in one branch: {a.describe()}\n  in the other: {b.describe()}")
    outside, inner = capture([*outputs[0], *outputs[1]], {}, start, hoist=False)
    closed = enclose([*outputs[0], *outputs[1]], dict(zip(outside, inner, strict=True)))
    half = len(outputs[0])
    made = branches(as_node(condition), closed[:half], closed[half:], list(zip(inner, outside, strict=True)))
    return rebuild(yes, [item(made, k) for k in range(half)])
