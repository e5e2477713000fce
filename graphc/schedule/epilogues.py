"""Which values are made of a contraction's accumulators, in its kernel, while these are still in registers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from graphc.dims import DimExpr
from graphc.graph.bodies import Body, Contract
from graphc.graph.node import Node
from graphc.loops import expr
from graphc.loops.expr import Check, Load, Reduce
from graphc.schedule.assembly import Assembly
from graphc.schedule.root import Root, maker_of


@dataclass(eq=False)
class Epilogues:
    """The contractions of a region and what may hang on them.

    A loop's carry is replaced by the contraction that makes it, `leaves` are by a kernel that they share. `above` holds for
    each node the contractions that it depends on, as bits; `bit` says which is whose.
    """

    order: Sequence[Node]
    bodies: Mapping[Node, Body | Assembly]
    leaves: Set[int]
    above: dict[Node, int] = field(default_factory=dict[Node, int])
    bit: dict[Node, int] = field(default_factory=dict[Node, int])

    def __post_init__(self) -> None:
        for node in self.order:
            bits = 0
            for operand in node.inputs:
                bits |= self.above.get(maker_of(operand)[0], 0)
            if isinstance(self.bodies[node], Contract):
                self.bit[node] = 1 << len(self.bit)
                bits |= self.bit[node]
            self.above[node] = bits

    def chosen(self, roots: Sequence[Root], needed: set[Node]) -> Iterator[tuple[Node, list[Root], bool]]:
        """Yield the contractions, last ones first, with their epilogues and whether they are stored, too.

        `needed` are the nodes whose arrays somebody reads whole.
        """
        readers: dict[Node, list[Root]] = {}
        for root in roots:
            for source in {e.source for e in expr.walk(root.expression) if isinstance(e, Load)}:
                if isinstance(source, Node) and isinstance(self.bodies.get(source), Contract):
                    readers.setdefault(source, []).append(root)
        taken: set[int] = set()
        for node in reversed(self.order):
            if not isinstance(self.bodies[node], Contract):
                continue
            reading = readers.get(node, [])
            fused = [r for r in reading if id(r) not in taken and self._is_epilogue(node, r)]
            if len(reading) > 1 or node in needed:
                fused = [r for r in fused if not r.late]
            self._hang_on(node, fused)
            taken |= {id(r) for r in fused}
            yield node, fused, node in needed or len(fused) < len(reading)

    def _hang_on(self, node: Node, fused: Sequence[Root]) -> None:
        """Note that a contraction, and all that follows it, now waits for what its epilogues read.

        Otherwise two contractions could each wait for the other: a @ b + (c @ d).T and c @ d + (a @ b).T.
        """
        sources = {maker_of(e.source)[0] for r in fused for e in expr.walk(r.expression) if isinstance(e, Load)}
        extra = 0
        for source in sources - {node}:
            extra |= self.above.get(source, 0)
        if extra & ~self.above[node]:
            for other in self.order:
                if self.above[other] & self.bit[node]:
                    self.above[other] |= extra

    def _is_epilogue(self, node: Node, root: Root) -> bool:
        if root.ordered or [a.extent for a in root.axes] != list(node.shape):
            return False
        # At an axis of extent 1 an index may be that axis or 0.
        here = [(DimExpr.of(a), 0) if a.extent == 1 else (DimExpr.of(a),) for a in root.axes]
        if root.late and root.buffer in self.leaves:
            return False
        for inner in expr.walk(root.expression):
            match inner:
                case Reduce() | Check():
                    return False
                case Load(_, source, index, guard):
                    if source is node:
                        if guard is not None or any(i not in own for i, own in zip(index, here, strict=True)):
                            return False
                    elif self.above.get(maker_of(source)[0], 0) & self.bit[node]:
                        return False
                case _:
                    pass
        return True
