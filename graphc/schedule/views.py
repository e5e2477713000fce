"""Operands that only move the elements of another array: a contraction reads them there.

The heads of a query, say, lie side by side in the result of one projection: copied apart they would be written and read
once more. A view is taken where it costs the contraction nothing: what was contiguous in the copy is so in the array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc import dims
from graphc.dims import Axis, Dim
from graphc.graph.bodies import Compute
from graphc.graph.node import Node
from graphc.loops.expr import Load, Loaded
from graphc.loops.kernels import flat_offset
from graphc.ops.movement import Reshape
from graphc.records import record


@record
class Operand:
    """An operand of a contraction: the array that it is read from, and the flat offset there."""

    source: Node
    offset: Dim

    @staticmethod
    def of(node: Node, index: Sequence[Dim]) -> Operand:
        """Return the elements of a node at an index, read from its own array."""
        return Operand(node, flat_offset(index, node.shape))

    @property
    def size(self) -> Dim:
        """The number of elements of the array."""
        return dims.product(self.source.shape)

    def slopes(self) -> dict[Axis, Dim | None]:
        """Return how far apart neighbours along each axis lie; None where that is no one number."""
        return {axis: dims.linear(self.offset, axis)[0] for axis in dims.axes(self.offset)}


def viewed(node: Node, index: Sequence[Dim], bodies: Mapping[Node, object]) -> Operand:
    """Return an operand as a view of the array that its elements come from, or of its own one where that is no gain."""
    own = found = Operand.of(node, index)
    while isinstance(body := bodies.get(node), Compute) and not body.ordered and isinstance(body.value, Load):
        load = body.value
        if load.guard is not None or any(isinstance(atom, Loaded) for d in load.index for atom in dims.atoms(d)):
            break
        is_reshaped, flat = isinstance(node.op, Reshape), flat_offset(index, node.shape)
        at = dict(zip(body.axes, index, strict=True))
        node, index = node.inputs[load.source], tuple(dims.substitute(d, at) for d in load.index)
        # Another shape leaves the offset alone, where the index in it may take divisions.
        found = Operand(node, flat) if is_reshaped else Operand.of(node, index)
    before, after = own.slopes(), found.slopes()
    is_affine = all(slope is not None and not dims.axes(slope) for slope in after.values())
    is_as_dense = before.keys() == after.keys() and all((before[a] == 1) == (after[a] == 1) for a in before)
    return found if is_affine and is_as_dense else own
