"""Arrays that several contractions write together: the phases of a strided convolution's gradient, each into its places.

An `Interleave` of contractions that nothing else reads needs no kernel: each stores its result where it goes. Legal
because the places of the parts are disjoint and cover the array.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from graphc.dims import Dim
from graphc.graph.bodies import Contract
from graphc.graph.node import Node
from graphc.ops.joining import Interleave
from graphc.records import record


@record
class Assembly:
    """Stands for the body of an array that its parts write."""


@record
class Place:
    """Where a part goes: in `whole`, each index of it times a stride plus a number."""

    whole: Node
    strides: tuple[int, ...]
    starts: tuple[int, ...]

    @staticmethod
    def own(node: Node) -> Place:
        """Return the place of what is no part of another array."""
        return Place(node, (1,) * node.ndim, (0,) * node.ndim)

    def index(self, at: Sequence[Dim]) -> tuple[Dim, ...]:
        """Return the index in the whole of an index of the part."""
        return tuple(s * d + o for s, d, o in zip(self.strides, at, self.starts, strict=True))


def assemblies(order: Sequence[Node], bodies: Mapping[Node, object], roots: Iterable[Node]) -> dict[Node, Place]:
    """Return where parts go: for each contraction, or assembly within another one, the outermost array that it is part of.

    `order` lists the nodes, operands first; `roots` are read besides.
    """
    readers = Counter(i for n in order for i in n.inputs) + Counter(roots)
    wholes: set[Node] = set()
    for node in order:
        parts = node.inputs
        if isinstance(node.op, Interleave) and all(
            readers[p] == 1 and (p in wholes or isinstance(bodies.get(p), Contract)) for p in parts
        ):
            wholes.add(node)
    places: dict[Node, Place] = {}
    for node in reversed(order):
        if node not in wholes:
            continue
        assert isinstance(node.op, Interleave)
        own = places.get(node) or Place.own(node)
        for turn, part in enumerate(node.inputs):
            along = [k == node.op.axis for k in range(node.ndim)]
            counts = [len(node.inputs) if a else 1 for a in along]
            starts = zip(own.strides, own.starts, along, strict=True)
            places[part] = Place(
                own.whole,
                tuple(s * c for s, c in zip(own.strides, counts, strict=True)),
                tuple(o + s * turn * a for s, o, a in starts),
            )
    return places
