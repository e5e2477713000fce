"""Loops whose number of steps is known only when they run.

A bounded one is a scan that does nothing once the condition fails, so it has all of scan's derivatives. One without a
bound has no room for the states that its reverse derivative would need: only forward ones exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from graphc.chain import batch
from graphc.dtypes import bool_
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph import bodies
from graphc.graph.graph import Graph
from graphc.graph.node import Node, builder, call, make, placeholder, trace_start
from graphc.graph.op import inherit
from graphc.graph.reference import run
from graphc.graph.structure import leaves, match, paths, rebuild
from graphc.graph.types import TensorType, TupleType
from graphc.ops.control import cond as choose
from graphc.ops.iteration import walk_along
from graphc.ops.nested import Nested, adopt, capture, enclose, item, needed
from graphc.ops.operands import as_node, expand
from graphc.ops.scan import forward_through, or_zeros
from graphc.records import record

Several = tuple["Node | None", ...]
Pairs = Sequence[tuple[Node, Node]]


@record
class While(Nested):
    """`step` on its own carries as long as `test`, a boolean of the same inputs, holds. Inputs: carries, then shared ones."""

    test: Graph
    step: Graph
    name: ClassVar[str] = "while_loop"

    def infer(self, *inputs: TensorType) -> TupleType:
        for k, (given, inner) in enumerate(zip(inputs, self.step.inputs, strict=True)):
            if given != inner.type:
                raise ShapeError(f"while_loop: expected {inner.type} for operand {k} of the body, got {given}")
        if self.test.outputs[0].type != TensorType((), bool_):
            raise DTypeError(
                f"while_loop: expected a boolean scalar from the condition, got {self.test.outputs[0].describe()}"
            )
        for k, new in enumerate(self.step.outputs):
            if new.type != self.step.inputs[k].type:
                raise ShapeError(f"while_loop: carry {k} enters as {self.step.inputs[k].type} and leaves as {new.type}")
        for graph in (self.test, self.step):
            inherit(graph.requirements or ())
        return TupleType(tuple(inputs[: len(self.step.outputs)]))

    def numpy(self, *inputs: Any) -> tuple[Any, ...]:
        values, shared = inputs[: len(self.step.outputs)], inputs[len(self.step.outputs) :]
        while True:
            feeds = dict(zip(self.step.inputs, (*values, *shared), strict=True))
            if not run(self.test.outputs, feeds)[0]:
                return tuple(values)
            values = tuple(run(self.step.outputs, feeds))

    def vjp(self, node: Node, cotangent: Several) -> tuple[Node | None, ...]:
        wanted = [k for k, given in enumerate(cotangent) if given is not None]
        carries = "".join(
            f"\n  carry {k}, {self.step.inputs[k].type}, of which the body makes {self.step.outputs[k].describe()}"
            for k in wanted
        )
        raise GraphError(
            f"the gradient through while_loop at {node.origin} needs the carries of all its steps, and nothing says how "
            f"many there can be: give while_loop(..., max_steps=...), or use graphc.scan; graphc.jvp works without{carries}"
        )

    def jvp(self, node: Node, tangents: Several) -> Several:
        carries = len(self.step.outputs)
        inner, flows = forward_through(self.step, carries, tangents)
        old = list(zip(self.step.inputs, node.inputs, strict=True))
        moving = [(k, x) for k, x in enumerate(inner[:carries]) if x is not None]
        types = [self.step.inputs[k].tensor for k, _ in moving]
        given = [or_zeros(tangents[k], type) for (k, _), type in zip(moving, types, strict=True)]
        new = [or_zeros(flows[k], type) for (k, _), type in zip(moving, types, strict=True)]
        more_shared = [(x, t) for x, t in zip(inner[carries:], tangents[carries:], strict=True) if x is not None]
        both = loop(
            self.test.outputs[0],
            [*old[:carries], *zip((x for _, x in moving), given, strict=True)],
            [*self.step.outputs, *new],
            [*old[carries:], *((x, t) for x, t in more_shared if t is not None)],
        )
        found = {k: item(both, carries + place) for place, (k, _) in enumerate(moving)}
        return tuple(found.get(k) for k in range(carries))

    def vmap(self, node: Node, batched: Several) -> Several:
        # Examples end at different steps: all go on while any does, and those that ended keep what they have.
        carries = len(self.step.outputs)
        size = next(operand.shape[0] for operand in batched if operand is not None)
        many = [
            placeholder(TensorType((size, *x.shape), x.dtype)) if k < carries or given is not None else x
            for k, (x, given) in enumerate(zip(self.step.inputs, batched, strict=True))
        ]
        inner = {x: y for x, y in zip(self.step.inputs, many, strict=True) if x is not y}
        operands = [
            expand(x, (size, *x.shape)) if k < carries and given is None else given if given is not None else x
            for k, (x, given) in enumerate(zip(node.inputs, batched, strict=True))
        ]
        (going,) = batch(self.test.outputs, inner)
        steps = batch(self.step.outputs, inner)
        full = [expand(x, (size, *x.shape)) if y is None else y for x, y in zip(self.step.outputs, steps, strict=True)]
        if going is None:
            test = self.test.outputs[0]
        else:
            test = call("any", going)
            shapes = [call("reshape", going, (size, *(1,) * (y.ndim - 1))) for y in full]
            full = [call("where", on, y, x) for on, y, x in zip(shapes, full, many, strict=False)]
        pairs = list(zip(many, operands, strict=True))
        made = loop(test, pairs[:carries], full, pairs[carries:])
        return tuple(item(made, k) for k in range(carries))

    def lower(self, out: Any, *inputs: TensorType) -> bodies.Body:
        return bodies.While(self.test, self.step)


def loop(test: Node, carries: Pairs, new: Sequence[Node], shared: Pairs) -> Node:
    """Return a while loop of these parts: pairs are placeholder and operand; shared ones that nothing reads are left out."""
    outputs, brought = adopt((*new, test))
    read = needed([*shared, *brought], outputs)
    inputs = (*(x for x, _ in carries), *(x for x, _ in read))
    op = While(Graph(inputs, outputs[-1:]), Graph(inputs, outputs[:-1]))
    return make(op, *(operand for _, operand in (*carries, *read)))


@builder("while_loop")
def while_loop(cond: Callable[[Any], Any], body: Callable[[Any], Any], init: Any, max_steps: int | None = None) -> Any:
    """Return the carry after `carry = body(carry)` as long as `cond(carry)`, a boolean scalar, holds; `init` if never.

    The carry is any nesting of nodes, whose shapes and dtypes the body keeps.
    max_steps: stop after so many steps though the condition still holds. Gradients need it: they keep the carries of all
    steps, so without it only forward derivatives (`jvp`) exist, and a gradient raises GraphError.
    Raises ShapeError, DTypeError or GraphError where a carry changes, or the condition is no boolean scalar.

    Shape: that of init.
    Formula: while cond(carry): carry = body(carry).
    Gradient: the chain rule's, through the steps in reverse order, if `max_steps` is given; else none, for their
    number is not known.
    Source: `jax.lax.while_loop`.
    """
    if not callable(cond) or not callable(body):
        raise GraphError(
            f"while_loop: expected a condition and a body, two functions of the carry, got {cond!r} and {body!r}"
        )
    initial = [as_node(value) for value in leaves(init)]
    if max_steps is not None:
        if not isinstance(max_steps, int) or isinstance(max_steps, bool) or max_steps < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GraphError(f"while_loop: expected max_steps of 0 or more, or None, got {max_steps!r}")

        def step(carry: Any, _: None) -> tuple[Any, None]:
            return choose(_tested(cond, carry), lambda: _stepped(body, init, carry), lambda: carry), None

        return walk_along("while_loop", "body", step, rebuild(init, initial), length=max_steps)[0]
    carries = [placeholder(node.type) for node in initial]
    start = trace_start()
    carry = rebuild(init, carries)
    going = _tested(cond, carry)
    new = leaves(_stepped(body, init, carry))
    own = dict.fromkeys(carries)
    outside, inner = capture([going, *new], own, start, hoist=True)
    closed = enclose([going, *new], dict(zip(outside, inner, strict=True)))
    shared = list(zip(inner, outside, strict=True))
    made = loop(closed[0], list(zip(carries, initial, strict=True)), closed[1:], shared)
    return rebuild(init, [item(made, k) for k in range(len(carries))])


def _tested(cond: Callable[[Any], Any], carry: Any) -> Node:
    going = as_node(cond(carry))
    if going.type != TensorType((), bool_):
        error = ShapeError if going.shape else DTypeError
        raise error(f"while_loop: expected a boolean scalar from the condition, got {going.describe()}")
    return going


def _stepped(body: Callable[[Any], Any], init: Any, carry: Any) -> Any:
    new = match(init, body(carry), "while_loop: the carry that the body returns")
    old = leaves(carry)
    new = [as_node(value, before.dtype) for value, before in zip(new, old, strict=True)]
    for (path, _), before, after in zip(paths(init), old, new, strict=True):
        if before.type != after.type:
            kind = ShapeError if before.shape != after.shape else DTypeError
            raise kind(f"while_loop: carry{path} enters the body as {before.type} and leaves it as {after.describe()}")
    return rebuild(init, new)
