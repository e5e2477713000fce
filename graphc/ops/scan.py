"""Scan: a step graph run along an axis.

A scan's derivatives are scans. They reuse the placeholders of the step, so a pass can unite what they have in common
with the scan they come from. The reverse one walks time backwards, is fed the history of the carries (the value that
entered each step) as a slice, and recomputes the rest of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, ClassVar

import numpy as np

from graphc.chain import batch, forward, reverse
from graphc.dims import Dim
from graphc.errors import ShapeError
from graphc.graph import bodies
from graphc.graph.graph import Graph
from graphc.graph.node import Input, Node, call, make, placeholder
from graphc.graph.op import inherit, require
from graphc.graph.reference import run
from graphc.graph.types import TensorType, TupleType
from graphc.ops.nested import Nested, adopt, item, needed, reached, used, zeros
from graphc.ops.operands import expand
from graphc.ops.slicing import Pad
from graphc.records import record, replace

Several = tuple["Node | None", ...]


@record
class Carry:
    """One carry of a scan that is being assembled; `keep` says whether its history is among the results."""

    placeholder: Node
    initial: Node
    new: Node
    keep: bool = True


@record
class Parts:
    """A scan node taken apart: the placeholders of its step, their operands, and what the step returns."""

    carries: tuple[Node, ...]
    slices: tuple[Node, ...]
    shared: tuple[Node, ...]
    initial: tuple[Node, ...]
    arrays: tuple[Node, ...]
    operands: tuple[Node, ...]
    new: tuple[Node, ...]
    results: tuple[Node, ...]


@record
class Scan(Nested):
    """`step`, run `length` times on its own carries; see `bodies.Loop` for the order of operands and results.

    `piece`: how many steps lie between two states that a gradient keeps, None to keep what every step needs, "auto" to let
    a pass decide (`checkpoint` of the builder); derivatives hand it on. `lean`: passes must not store more of each step
    than is asked for.
    """

    step: Graph
    length: Dim
    carries: int
    slices: int
    reverse: bool = False
    lean: bool = False
    piece: Dim | str | None = None
    name: ClassVar[str] = "scan"

    def infer(self, *inputs: TensorType) -> TupleType:
        for k, (given, inner) in enumerate(zip(inputs, self.step.inputs, strict=True)):
            expected = inner.tensor
            if self.carries <= k < self.carries + self.slices:
                if not given.shape:
                    raise ShapeError(f"scan: expected an array to walk, got the scalar {given}")
                require(given.shape[0], "==", self.length, "the arrays that it walks must be as long as it")
                given = TensorType(given.shape[1:], given.dtype)
            if given != expected:
                raise ShapeError(f"scan: expected {expected} for operand {k} of the step, got {given}")
        for k, new in enumerate(self.step.outputs[: self.carries]):
            if new.type != self.step.inputs[k].type:
                raise ShapeError(f"scan: carry {k} enters as {self.step.inputs[k].type} and leaves as {new.type}")
        inherit(self.step.requirements or ())
        stacked = (node.tensor for node in self.step.outputs[self.carries :])
        results = tuple(TensorType((self.length, *type.shape), type.dtype) for type in stacked)
        return TupleType((*inputs[: self.carries], *results))

    def numpy(self, *inputs: Any) -> tuple[Any, ...]:
        assert isinstance(self.length, int)
        first, last = self.carries, self.carries + self.slices
        values, arrays, shared = list(inputs[:first]), inputs[first:last], inputs[last:]
        types = [node.tensor for node in self.step.outputs[first:]]
        shapes: list[Any] = [(self.length, *type.shape) for type in types]
        stacked: list[Any] = [np.empty(shape, type.dtype.numpy) for shape, type in zip(shapes, types, strict=True)]
        for time in reversed(range(self.length)) if self.reverse else range(self.length):
            feeds = (*values, *(array[time] for array in arrays), *shared)
            outputs = run(self.step.outputs, dict(zip(self.step.inputs, feeds, strict=True)))
            values = outputs[:first]
            for history, value in zip(stacked, outputs[first:], strict=True):
                history[time] = value
        return (*values, *stacked)

    def parts(self, node: Node) -> Parts:
        """Return the placeholders, operands and outputs of a node of this op by role."""
        first, last = self.carries, self.carries + self.slices
        return Parts(
            *(self.step.inputs[:first], self.step.inputs[first:last], self.step.inputs[last:]),
            *(node.inputs[:first], node.inputs[first:last], node.inputs[last:]),
            *(self.step.outputs[:first], self.step.outputs[first:]),
        )

    def vjp(self, node: Node, cotangent: Several) -> tuple[Node | None, ...]:
        part = self.parts(node)
        finals, received = self._of_the_last(part, cotangent)
        arriving = [
            (r, placeholder(r.type), given)
            for r, given in zip(part.results, received, strict=True)
            if given is not None
        ]
        flowing = {k: placeholder(part.carries[k].type) for k, final in enumerate(finals) if final is not None}
        wrt = (*part.carries, *part.slices, *part.shared)
        while True:  # until no further carry turns out to pass a cotangent to the step before
            outputs = [*(part.new[k] for k in flowing), *(result for result, _, _ in arriving)]
            shares = reverse(outputs, [*flowing.values(), *(inner for _, inner, _ in arriving)], wrt)
            more = [k for k in range(self.carries) if shares[k] is not None and k not in flowing]
            if not more:
                break
            flowing |= {k: placeholder(part.carries[k].type) for k in more}

        to_slices = {k: s for k, s in enumerate(shares[self.carries : self.carries + self.slices]) if s is not None}
        to_shared = {k: s for k, s in enumerate(shares[self.carries + self.slices :]) if s is not None}
        carries = [
            Carry(inner, or_zeros(finals[k], inner.tensor), or_zeros(shares[k], inner.tensor))
            for k, inner in flowing.items()
        ]
        for share in to_shared.values():
            # The sum enters linearly, so no derivative reads its history: a copy of it for every step.
            total = placeholder(share.type)
            carries.append(Carry(total, zeros(share.tensor), total + share, keep=False))
        backward = assemble(
            carries,
            [
                *histories(node, used(part.carries, [*(c.new for c in carries), *to_slices.values()])),
                *zip(part.slices, part.arrays, strict=True),
                *((inner, given) for _, inner, given in arriving),
            ],
            list(zip(part.shared, part.operands, strict=True)),
            list(to_slices.values()),
            self.length,
            not self.reverse,
            self.lean,
            self.piece,
        )
        taken = (item(backward, k) for k in count())
        found = {k: next(taken) for k in flowing}
        found |= {self.carries + self.slices + k: next(taken) for k in to_shared}
        found |= {self.carries + k: next(taken) for k in to_slices}
        return tuple(found.get(k) for k in range(len(node.inputs)))

    def _of_the_last(self, part: Parts, cotangent: Several) -> tuple[list[Node | None], list[Node | None]]:
        """Return the cotangents of finals and results; one that a result has at its last step alone is its carry's final one.

        What follows from `rows[-1]` is zero at all other times: a loop need not walk an array of that.
        """
        finals, received = list(cotangent[: self.carries]), list(cotangent[self.carries :])
        for k, new in enumerate(part.new):
            places = [place for place, result in enumerate(part.results) if result is new]
            for place in places:
                given = received[place]
                if given is not None and isinstance(given.op, Pad) and given.op == self._padding(given):
                    share = call("reshape", given.inputs[0], new.shape)
                    before = finals[k]
                    finals[k], received[place] = share if before is None else before + share, None
        return finals, received

    def _padding(self, given: Node) -> Pad:
        rest = (0,) * (given.ndim - 1)
        far, near = (self.length - 1, *rest), (0, *rest)
        return Pad(near, far, near) if self.reverse else Pad(far, near, near)

    def jvp(self, node: Node, tangents: Several) -> Several:
        part = self.parts(node)
        inner, flows = forward_through(self.step, self.carries, tangents)
        first, last = self.carries, self.carries + self.slices
        carries = [Carry(*carry, keep=False) for carry in zip(part.carries, part.initial, part.new, strict=True)]
        moving = [k for k in range(first) if inner[k] is not None]
        for k in moving:
            type = part.carries[k].tensor
            carries.append(Carry(inner[k], or_zeros(tangents[k], type), or_zeros(flows[k], type)))  # pyright: ignore
        pairs = [None if t is None or i is None else (i, t) for i, t in zip(inner, tangents, strict=True)]
        stacked = [k for k in range(first, len(flows)) if flows[k] is not None]
        both = assemble(
            carries,
            [*zip(part.slices, part.arrays, strict=True), *filter(None, pairs[first:last])],
            [*zip(part.shared, part.operands, strict=True), *filter(None, pairs[last:])],
            [*part.results, *(flow for flow in flows[first:] if flow is not None)],
            self.length,
            self.reverse,
            self.lean,
            self.piece,
        )
        found = {k: item(both, first + place) for place, k in enumerate(moving)}
        found |= {k: item(both, len(carries) + len(part.results) + place) for place, k in enumerate(stacked)}
        return tuple(found.get(k) for k in range(len(self.step.outputs)))

    def vmap(self, node: Node, batched: Several) -> Several:
        part = self.parts(node)
        size = next(operand.shape[0] for operand in batched if operand is not None)
        inner: dict[Node, Node] = {}
        for outer, given in zip(self.step.inputs, batched, strict=True):
            if given is not None:
                inner[outer] = placeholder(TensorType((size, *outer.shape), outer.dtype))
        while True:  # until no further carry turns out to differ between examples
            outputs = batch(self.step.outputs, inner)
            more = [k for k, c in enumerate(part.carries) if outputs[k] is not None and c not in inner]
            if not more:
                break
            for outer in (part.carries[k] for k in more):
                inner[outer] = placeholder(TensorType((size, *outer.shape), outer.dtype))

        first, last = self.carries, self.carries + self.slices
        carries: list[Carry] = []
        for k, outer in enumerate(part.carries):
            if outer in inner:
                shape = inner[outer].shape
                initial = expand(given if (given := batched[k]) is not None else part.initial[k], shape)
                new = expand(after if (after := outputs[k]) is not None else part.new[k], shape)
                carries.append(Carry(inner[outer], initial, new, keep=False))
            else:
                carries.append(Carry(outer, part.initial[k], part.new[k], keep=False))
        slices = [
            (outer, array) if given is None else (inner[outer], swap_leading(given))
            for outer, array, given in zip(part.slices, part.arrays, batched[first:last], strict=True)
        ]
        shared = [
            (outer, operand) if given is None else (inner[outer], given)
            for outer, operand, given in zip(part.shared, part.operands, batched[last:], strict=True)
        ]
        results = [old if new is None else new for old, new in zip(part.results, outputs[first:], strict=True)]
        many = assemble(carries, slices, shared, results, self.length, self.reverse, self.lean, self.piece)
        # What is equal for all examples is repeated: the results of this node itself still need one example's operands.
        finals = (item(many, k) if c in inner else repeat(item(many, k), size) for k, c in enumerate(part.carries))
        stacked = (
            repeat(item(many, first + k), size) if new is None else swap_leading(item(many, first + k))
            for k, new in enumerate(outputs[first:])
        )
        return (*finals, *stacked)

    def operands_of(self, node: Node, result: int) -> tuple[Node, ...]:
        wanted = {result}
        while True:  # until no further carry turns out to be read on the way
            read = reached([self.step.outputs[k] for k in wanted])
            more = {k for k in range(self.carries) if self.step.inputs[k] in read} - wanted
            if not more:
                break
            wanted |= more
        inner = self.step.inputs
        return tuple(x for k, x in enumerate(node.inputs) if inner[k] in read or (k < self.carries and k in wanted))

    def lower(self, out: Any, *inputs: TensorType) -> bodies.Body:
        return bodies.Loop(self.step, self.length, self.carries, self.slices, self.reverse)


def assemble(
    carries: Sequence[Carry],
    slices: Sequence[tuple[Node, Node]],
    shared: Sequence[tuple[Node, Node]],
    results: Sequence[Node],
    length: Dim,
    reverse: bool,
    lean: bool = False,
    piece: Dim | str | None = None,
) -> Node:
    """Return a scan of these parts: final carries, results, then the histories that are kept and not among the results.

    slices and shared: pairs of placeholder and operand; those that the step does not read are left out.
    """
    known = set(results)
    kept = (carry.placeholder for carry in carries if carry.keep and carry.placeholder not in known)
    outputs = (*(carry.new for carry in carries), *results, *kept)
    outputs, brought = adopt(outputs)
    slices, shared = needed(slices, outputs), needed([*shared, *brought], outputs)
    inputs = (*(carry.placeholder for carry in carries), *(inner for inner, _ in (*slices, *shared)))
    op = Scan(Graph(inputs, outputs), length, len(carries), len(slices), reverse, lean, piece)
    return make(op, *(carry.initial for carry in carries), *(operand for _, operand in (*slices, *shared)))


def histories(node: Node, needed: Sequence[bool]) -> list[tuple[Node, Node]]:
    """Return the placeholders of the needed carries of a scan, with all the values they had."""
    op = node.op
    assert isinstance(op, Scan)
    part = op.parts(node)
    wanted = [carry for carry, need in zip(part.carries, needed, strict=True) if need]
    missing = [carry for carry in wanted if not any(result is carry for result in part.results)]
    if missing:
        step = Graph(op.step.inputs, (*op.step.outputs, *missing), (), op.step.requirements)
        node = make(replace(op, step=step), *node.inputs)
    places = {result: k for k, result in enumerate((*part.results, *missing))}
    return [(carry, item(node, op.carries + places[carry])) for carry in wanted]


def forward_through(step: Graph, carries: int, tangents: Several) -> tuple[list[Input | None], list[Node | None]]:
    """Return the tangents that enter a step, as placeholders, and those that leave it; its first inputs are carries."""
    inner = [placeholder(x.type) if t is not None else None for x, t in zip(step.inputs, tangents, strict=True)]
    while True:  # until no further carry turns out to get a tangent
        flows = forward(step.outputs, step.inputs, inner)
        more = [k for k in range(carries) if flows[k] is not None and inner[k] is None]
        if not more:
            return inner, flows
        for k in more:
            inner[k] = placeholder(step.inputs[k].type)


def or_zeros(node: Node | None, type: TensorType) -> Node:
    """Return the node, or zeros where it is None."""
    return zeros(type) if node is None else node


def repeat(node: Node, size: Dim) -> Node:
    """Return the node with a new leading axis along which it does not change."""
    return expand(node, (size, *node.shape))


def swap_leading(node: Node) -> Node:
    """Exchange the first two axes: batch and time."""
    return call("permute_dims", node, (1, 0, *range(2, node.ndim)))
