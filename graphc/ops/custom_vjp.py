"""Derivatives of a user's own: a function with the rule that replaces what the chain rule would do with it.

The rule is traced at the call, on placeholders, into a graph that the node carries. What the function computes stands
before the node as ordinary nodes, so a pass only has to take the node away: all of it is fused like anything else, and
what the rule makes can be differentiated again.

Shape: `(...) -> (...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from graphc.chain import batch, reverse
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph.graph import Graph
from graphc.graph.node import Node, builder, located, make, placeholder, trace_start
from graphc.graph.structure import leaves, rebuild
from graphc.graph.types import TensorType, TupleType
from graphc.ops.arithmetic import clip
from graphc.ops.gradient_control import clip_by_norm, global_norm
from graphc.ops.nested import Nested, capture, depend, enclose, item, zeros
from graphc.ops.operands import as_node, cast, expand
from graphc.records import record, replace

Rule = Callable[[tuple[Node, ...], Any, Any], Any]


@record
class CustomVjp(Nested):
    """The first `results` operands unchanged; their cotangents go to the arguments after them, by a rule.

    `backward` maps (arguments, results, cotangents, captured) to the cotangents of the arguments at `places`. The operands are
    results, arguments, captured.
    """

    backward: Graph
    results: int
    arguments: int
    places: tuple[int, ...]
    name: ClassVar[str] = "custom_vjp"

    def infer(self, *inputs: TensorType) -> TupleType:
        return TupleType(inputs[: self.results])

    def numpy(self, *inputs: Any) -> tuple[Any, ...]:
        return inputs[: self.results]

    def vjp(self, node: Node, cotangent: tuple[Node | None, ...]) -> tuple[Node | None, ...]:
        given = [zeros(x.tensor) if c is None else c for c, x in zip(cotangent, node.inputs, strict=False)]
        shares: list[Node | None] = [None] * len(node.inputs)
        for place, share in zip(self.places, self._shares(node, given), strict=True):
            shares[self.results + place] = share
        return tuple(shares)

    def tangents_read(self, node: Node) -> tuple[Node, ...]:
        # Not the results': what they are made of may have no forward derivative.
        return tuple(node.inputs[self.results + place] for place in self.places)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> tuple[Node | None, ...]:
        # The rule is linear in the cotangents, so its own derivative by them, transposed, carries tangents forward.
        seeds = [placeholder(x.type) for x in node.inputs[: self.results]]
        along = [tangents[self.results + place] for place in self.places]
        found = reverse(self._shares(node, seeds), along, seeds)
        if depend([one for one in found if one is not None], set(seeds)):
            raise GraphError(
                "forward derivatives (jvp, hvp, hessian) need a custom_vjp whose rule is linear in the cotangent; "
                "use grad of grad instead"
            )
        # Results of a scan that nobody reads may still be made from the seeds.
        tangents = enclose([one for one in found if one is not None], {seed: zeros(seed.tensor) for seed in seeds})
        rest = iter(tangents)
        return tuple(None if one is None else next(rest) for one in found)

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> tuple[Node, ...]:
        size = next(operand.shape[0] for operand in batched if operand is not None)
        pairs = zip(node.inputs, batched, strict=True)
        operands = [expand(x, (size, *x.shape)) if each is None else each for x, each in pairs]
        old = self.backward.inputs
        new = {x: placeholder(TensorType((size, *x.shape), x.dtype)) for x in old}
        shares = zip(self.backward.outputs, batch(self.backward.outputs, new), strict=True)
        outputs = tuple(expand(x, (size, *x.shape)) if many is None else many for x, many in shares)
        made = make(replace(self, backward=Graph(tuple(new.values()), outputs)), *operands)
        return tuple(item(made, k) for k in range(self.results))

    def _shares(self, node: Node, cotangents: Sequence[Node]) -> tuple[Node, ...]:
        # The results as this node gives them: where the rule reads them, it holds for them in turn.
        results = [item(node, k) for k in range(self.results)]
        end = self.results + self.arguments
        operands = [*node.inputs[self.results : end], *results, *cotangents, *node.inputs[end:]]
        return self.backward.on(operands)


@record
class ClipGradient(CustomVjp):
    """The identity whose rule, clipping, is not linear; forward derivatives are those of the identity."""

    name: ClassVar[str] = "clip_gradient"

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> tuple[Node | None, ...]:
        return (tangents[self.results],)


class CustomFunction:
    """What `custom_vjp` returns: call it with nodes; `defvjp` sets its rule."""

    def __init__(self, function: Callable[..., Any], rule: Rule | None = None) -> None:
        self._function = function
        self._rule = rule
        self.__name__ = getattr(function, "__name__", "function")
        self.__doc__ = function.__doc__

    def defvjp(self, rule: Rule) -> Rule:
        """Set the rule; usable as a decorator."""
        self._rule = rule
        return rule

    def __call__(self, *operands: Any) -> Any:
        """Build the function's nodes, with the rule in the place of their derivatives."""
        return _ruled(self._function, self._rule, operands, CustomVjp)


@builder("custom_vjp")
def custom_vjp(function: Callable[..., Any], rule: Rule | None = None) -> CustomFunction:
    """Return a function of nodes whose derivative is a rule of yours.

    `function(*operands)` returns a node, or nodes in any nesting. `rule(inputs, output, cotangent)` gets the tuple of
    operands, and what the function returned with its cotangent in the same nesting; it returns the cotangent of each
    operand as a tuple (or one node for a single operand), None for zero. What either reads from outside is a constant
    to the first derivative. Usable as a decorator, with the rule given by `@f.defvjp`.

    The rule is made of nodes, so it can be differentiated again and batched. Forward derivatives transpose it, which
    needs it to be linear in the cotangent. Raises GraphError, ShapeError or DTypeError where the rule does not fit.

    Shape: that of what `function` returns.
    Formula: function(*operands).
    Gradient: rule(operands, out, g); it replaces the chain rule's.
    Source: `jax.custom_vjp`.
    """
    if not callable(function) or not (rule is None or callable(rule)):
        raise GraphError(f"custom_vjp: expected a function and a rule to call, got {function!r} and {rule!r}")
    return CustomFunction(function, rule)


@builder("clip_gradient")
def clip_gradient(
    x: Any, low: float | None = None, high: float | None = None, *, max_norm: float | None = None
) -> Node:
    """Return x; the gradient that comes back through it is clipped to [low, high], or scaled to a norm of at most `max_norm`.

    max_norm: see `clip_by_norm`.

    Formula: `x`.
    Gradient: by x `clip(g, low, high)`, or g * min(1, max_norm / (norm(g) + 1e-6)); it replaces the chain rule's.
    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013.
    """
    if (max_norm is None) == (low is None and high is None):
        raise GraphError("clip_gradient: expected bounds (low, high), or max_norm")

    def rule(inputs: tuple[Node, ...], output: Node, cotangent: Node) -> Node:
        return clip(cotangent, low, high) if max_norm is None else clip_by_norm(cotangent, max_norm)

    return _ruled(as_node, rule, (x,), ClipGradient)


@builder("watch_gradient")
def watch_gradient(x: Any, probe: Any) -> Node:
    """Return x; the derivative by `probe`, a floating scalar, is the norm of the gradient that comes back through x.

    The value does not depend on the probe. In a scan that walks zeros (time,) as probes, `grad(loss, probes)` is the norm
    of dL/dh_t for every t, from the same backward pass as the other gradients. Forward derivatives pass through x.

    Shape: `(...), () -> (...)`.
    Formula: `x`.
    Gradient: by x `g`, by probe `sqrt(sum(g * g))`.
    Source: graphc's own.
    """
    node, watched = as_node(x), as_node(probe)
    if watched.shape or not watched.dtype.is_float:
        raise ShapeError(f"watch_gradient: expected a floating scalar as the probe, got {watched.describe()}")

    def rule(inputs: tuple[Node, ...], output: Node, cotangent: Node) -> tuple[Node, Node]:
        return cotangent, cast(global_norm([cotangent]), watched.dtype)

    return _ruled(_first, rule, (node, watched), ClipGradient)


def _first(x: Node, probe: Node) -> Node:
    return x


@located("custom_vjp")
def _ruled(function: Callable[..., Any], rule: Rule | None, operands: tuple[Any, ...], kind: type[CustomVjp]) -> Any:
    what = getattr(function, "__name__", "function")
    if rule is None:
        raise GraphError(f"custom_vjp: {what} has no rule; give custom_vjp(function, rule), or one by {what}.defvjp")
    inputs = tuple(as_node(operand) for operand in operands)
    structure = function(*inputs)
    results = [as_node(value) for value in leaves(structure)]
    if not results:
        raise GraphError(f"custom_vjp: expected {what} to return nodes, got {structure!r}")
    start = trace_start()
    own = [placeholder(node.type) for node in (*inputs, *results, *results)]
    arguments, outputs, cotangents = own[: len(inputs)], own[len(inputs) : -len(results)], own[-len(results) :]
    made = rule(tuple(arguments), rebuild(structure, outputs), rebuild(structure, cotangents))
    shares: list[Any] = list(made) if isinstance(made, tuple | list) else [made]  # pyright: ignore[reportUnknownArgumentType]
    if len(shares) != len(inputs):
        raise GraphError(
            f"the rule of {what}: expected a cotangent (or None) for each of {len(inputs)} operands, got {len(shares)}"
        )
    chosen: dict[int, Node] = {}
    for place, (share, operand) in enumerate(zip(shares, inputs, strict=True)):
        if share is None or not operand.dtype.is_float:
            continue
        node = as_node(share, operand.dtype)
        if node.type != operand.type:
            error = ShapeError if node.shape != operand.shape else DTypeError
            raise error(f"the rule of {what}: expected {operand.type} for operand {place}, got {node.describe()}")
        chosen[place] = node
    outside, inner = capture(list(chosen.values()), set(own), start, hoist=False)
    backward = Graph((*own, *inner), enclose(list(chosen.values()), dict(zip(outside, inner, strict=True))))
    made = make(kind(backward, len(results), len(inputs), tuple(chosen)), *results, *inputs, *outside)
    return rebuild(structure, [item(made, k) for k in range(len(results))])
