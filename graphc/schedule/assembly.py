"""Arrays that several contractions write together.

These are the phases of a strided convolution's gradient, say, or the gradients of queries, keys and values. A join of
contractions that nothing else reads needs no kernel: each stores its result where it goes, reshaped and permuted ones
too, and so do those among them that are single products. Legal because the places of the parts are disjoint and cover the array.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.graph.bodies import Compute, Contract, Loop
from graphc.graph.node import Node
from graphc.loops.kernels import flat_offset
from graphc.ops.contraction import Contract as Contraction
from graphc.ops.joining import Concat, Interleave
from graphc.ops.movement import PermuteDims, Reshape, reshaped
from graphc.records import record
from graphc.schedule.root import Root, maker_of
from graphc.schedule.units import axes_of

JOINS = (Interleave, Concat)


@record
class Assembly:
    """Stands for the body of an array that its parts write, and of what only moves their elements on the way."""


@record
class Place:
    """Where a node's elements go: in `whole`, at an offset that is a function of the node's output axes."""

    whole: Node
    axes: tuple[Axis, ...]
    offset: Dim

    @staticmethod
    def own(node: Node) -> Place:
        """Return the place of what is no part of another array."""
        axes = axes_of(node.shape)
        return Place(node, axes, flat_offset([DimExpr.of(a) for a in axes], node.shape))

    def at(self, index: Sequence[Dim]) -> Dim:
        """Return the offset of the element at an index."""
        return dims.substitute(self.offset, dict(zip(self.axes, index, strict=True)))


def assemblies(order: Sequence[Node], bodies: Mapping[Node, object], roots: Iterable[Node]) -> dict[Node, Place]:
    """Return where parts go: contractions, and what is made of them on the way, in the outermost array that they are part of.

    `order` lists the nodes, operands first; `roots` are read besides.
    """
    readers = Counter(i for n in order for i in n.inputs) + Counter(roots)
    # What its parts can write: joins of contractions, and all of them with their elements moved.
    made: set[Node] = set()
    for node in order:
        is_shuffle = isinstance(node.op, (*JOINS, Reshape, PermuteDims)) and isinstance(bodies.get(node), Compute)
        if is_part(node) or (is_shuffle and all(readers[p] == 1 and p in made for p in node.inputs)):
            made.add(node)
    places: dict[Node, Place] = {}
    for node in reversed(order):
        if node in made and isinstance(node.op, JOINS) and node not in places:
            inside = dict(_inside(node, Place.own(node)))
            is_made = any(isinstance(bodies[part], Contract) for part in inside)
            if is_made and all(_is_writable(place) for part, place in inside.items() if is_part(part)):
                places |= inside
    return places


def in_place(root: Root, place: Place) -> Root:
    """Return the value of a part, to be stored in its place."""
    rows, lane = (root.axes, None) if root.lane is None else (root.axes[:-1], root.axes[-1])
    part = Root(root.node, root.axes, rows, lane, root.expression, root.buffer, late=False)
    part.offset, part.is_whole = place.at([DimExpr.of(a) for a in root.axes]), False
    return part


def is_part(node: Node) -> bool:
    """Whether a node can be a part that is made by a kernel."""
    return isinstance(node.op, Contraction)


def joined_results(
    order: Sequence[Node], bodies: Mapping[Node, object], roots: Iterable[Node]
) -> Iterator[tuple[Node, list[tuple[Node, int, Dim]], list[Node]]]:
    """Yield joins of what loops stack: the array, the results with their first positions, views that nobody else reads.

    Pieces of a loop and what is left over are such, and each stores its part in its place, where others may read it, too. What is
    made of the array is then made as if one loop had stored it, sums in the same order. A result has one place: what repeats it
    copies it.
    """
    kept, placed = list(roots), set[tuple[int, int]]()
    uses: Counter[tuple[int, int]] = Counter()
    for x in (*kept, *(x for n in order for x in n.inputs)):
        by, k = maker_of(x)
        uses[id(by), k] += 1
    for node in order:
        if not isinstance(node.op, Concat) or node.op.axis or any(node is root for root in kept):
            continue
        results, views, first = list[tuple[Node, int, Dim]](), list[Node](), 0
        for part in node.inputs:
            source = part
            # Pieces and their steps become one axis.
            if isinstance(part.op, Reshape) and part.inputs[0].shape[2:] == part.shape[1:]:
                views += [part] if uses[id(part), 0] == 1 else []
                (source,) = part.inputs
            loop, k = maker_of(source)
            body = bodies.get(loop)
            if isinstance(body, Loop) and k >= body.carries:
                results.append((loop, k, first))
            first = first + part.shape[0]
        own = {(id(loop), k) for loop, k, _ in results}
        if len(own) == len(node.inputs) and own.isdisjoint(placed):
            placed |= own
            yield node, results, views


def _inside(node: Node, place: Place) -> Iterator[tuple[Node, Place]]:
    """Yield the places of all nodes that an array is made of by joining and moving."""
    start: Dim = 0
    for turn, part in enumerate(node.inputs):
        axes = axes_of(part.shape)
        index: list[Dim] = [DimExpr.of(a) for a in axes]
        match node.op:
            case Interleave(axis):
                index[axis] = index[axis] * len(node.inputs) + turn
            case Concat(axis):
                index[axis] = index[axis] + start
                start = start + part.shape[axis]
            case PermuteDims(order):
                index = [index[k] for k in order]
            case Reshape(shape):
                index = list(reshaped(index, part.shape, shape))
            case _:
                return
        inner = Place(place.whole, axes, place.at(index))
        yield part, inner
        yield from _inside(part, inner)


def _is_writable(place: Place) -> bool:
    """Whether a contraction can write its result there: contiguous along the lanes, and by strides along all other axes."""
    slopes = [dims.linear(place.offset, a)[0] for a in place.axes]
    return slopes[-1] == 1 and all(slope is not None and not dims.axes(slope) for slope in slopes)
