"""Where several consumers want what a contraction's epilogue makes: what is made of that alone can be stored in its place.

An activation and its slope, say, are made of a layer's sums in registers; so the sums themselves, which only these two
read, are not stored, and the gradient's contraction does not compute the slope in its own epilogue. That takes as many
arrays where the activation is stored anyway, and one more where it is not: then it depends on what both have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from graphc.dims import DimExpr
from graphc.graph.bodies import Compute
from graphc.graph.node import Node
from graphc.loops.expr import Check, Load, Reduce, walk
from graphc.records import record


@record
class Branch:
    """What a value is turned into: `between` are all nodes on the way, `ends` those of them that others read.

    It takes so many arrays `more` than the value itself.
    """

    between: frozenset[Node]
    ends: frozenset[Node]
    more: int


class Branches:
    """Finds what is made element by element of one node, of known numbers, and of arrays that are there before it."""

    def __init__(self, order: Sequence[Node], bodies: Mapping[Node, object], consumers: Mapping[Node, int]) -> None:
        self.bodies, self.consumers = bodies, consumers
        self.users: dict[Node, list[Node]] = {}
        self.place = {node: n for n, node in enumerate(order)}
        self.known: set[Node] = set()
        for node in order:
            if self._is_pointwise(node) and self.known.issuperset(node.inputs):
                self.known.add(node)
            for operand in set(node.inputs):
                self.users.setdefault(operand, []).append(node)

    def of(self, node: Node, stored: Collection[Node]) -> Iterator[Branch]:
        """Yield what `node` is turned into, if that can be stored instead of it: with what is made of other arrays, and without.

        `stored` are the nodes that are stored anyway.
        """
        for alone in (False, True):
            if (found := self._of(node, stored, alone=alone)) is not None:
                yield found

    def _of(self, node: Node, stored: Collection[Node], *, alone: bool) -> Branch | None:
        def is_given(operand: Node) -> bool:
            is_there = operand in stored or operand not in self.bodies
            return operand in self.known or (not alone and is_there and self.place.get(operand, -1) < self.place[node])

        closed = {n for n in self.users.get(node, ()) if n in stored}
        while True:
            between = self._between(node, closed, is_given)
            ends = {n for n in between if n in stored or self._is_read_outside(n, between)}
            # What is stored is read from memory, which must not be in the kernel that stores it.
            wrong = {n for n in ends - closed if any(user in between for user in self.users.get(n, ()))}
            if not wrong:
                break
            closed |= wrong
        if self._is_read_outside(node, between):
            return None
        return Branch(frozenset(between), frozenset(ends), sum(n not in stored for n in ends) - 1)

    def _between(self, node: Node, closed: Collection[Node], is_given: Callable[[Node], bool]) -> set[Node]:
        between: set[Node] = set()
        waiting = [node]
        while waiting:
            source = waiting.pop()
            for user in self.users.get(source, ()):
                made_of = [x for x in user.inputs if not is_given(x)]
                is_whole = all(x is node or (x in between and x not in closed) for x in made_of)
                if user not in between and is_whole and self._is_pointwise(user) and user.shape == node.shape:
                    between.add(user)
                    waiting += [user] if user not in closed else []
        return between

    def _is_read_outside(self, node: Node, between: Collection[Node]) -> bool:
        return self.consumers.get(node, 0) > sum(user in between for user in self.users.get(node, ()))

    def _is_pointwise(self, node: Node) -> bool:
        body = self.bodies.get(node)
        if not isinstance(body, Compute) or body.ordered:
            return False
        here = tuple(DimExpr.of(a) for a in body.axes)
        for part in walk(body.value):
            if isinstance(part, Reduce | Check) or (isinstance(part, Load) and part.guard is not None):
                return False
            if isinstance(part, Load) and part.index != here and node.inputs[part.source] not in self.known:
                return False
        return True
