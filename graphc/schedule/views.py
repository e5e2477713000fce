"""Operands that only move the elements of another array: a contraction reads them there.

The heads of a query, say, lie side by side in the result of one projection: copied apart they would be written and read
once more. A view is taken where it costs the contraction nothing: what was contiguous in the copy is so in the array.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from graphc import dims
from graphc.dims import Dim
from graphc.graph.bodies import Compute, Contract
from graphc.graph.node import Node
from graphc.graph.products import Operand
from graphc.loops.expr import Load, Loaded, both, rewrite
from graphc.loops.kernels import flat_offset
from graphc.ops.movement import Reshape
from graphc.ops.slicing import Pad


class Views:
    """Finds the arrays behind the operands of contractions. `whole` are the nodes that others need in arrays of their own."""

    def __init__(self, order: Sequence[Node], bodies: Mapping[Node, object], whole: Collection[Node]) -> None:
        self.bodies, self.whole = bodies, whole
        self.readers = Counter(i for n in order for i in set(n.inputs))

    def of(self, node: Node, index: Sequence[Dim], *, margins: bool) -> Operand:
        """Return an operand as a view of the array that its elements come from, or of its own one where that is no gain.

        With `margins` it may be the inside of a padded array.
        """
        first, guard = node, None
        own = found = Operand.of(node, index)
        while (load := self._moved(node, margins=margins)) is not None:
            is_reshaped, flat = isinstance(node.op, Reshape), flat_offset(index, node.shape)
            body = self.bodies[node]
            assert isinstance(body, Compute)
            at = dict(zip(body.axes, index, strict=True))
            position: int = load.source
            guard = both(guard, None if load.guard is None else rewrite(load.guard, at))
            node, index = node.inputs[position], tuple(dims.substitute(d, at) for d in load.index)
            # Another shape leaves the offset alone, where the index in it may take divisions.
            offset = flat if is_reshaped else flat_offset(index, node.shape)
            found = Operand(node, offset, guard)
        before, after = own.slopes(), found.slopes()
        is_affine = all(slope is not None and not dims.axes(slope) for slope in after.values())
        is_as_dense = before.keys() == after.keys() and all((before[a] == 1) == (after[a] == 1) for a in before)
        return found if is_affine and is_as_dense and self._is_stored_for_nothing(node, first) else own

    def _moved(self, node: Node, *, margins: bool) -> Load | None:
        """Return the load that a node consists of, if it only moves elements and has no array of its own.

        With `margins` that may be one inside of an array that is padded with zeros.
        """
        body = self.bodies.get(node)
        if node in self.whole or not isinstance(body, Compute) or body.ordered or not isinstance(body.value, Load):
            return None
        load = body.value
        is_margin = margins and isinstance(node.op, Pad) and node.op.is_margin
        is_known = (load.guard is None or is_margin) and not any(
            isinstance(a, Loaded) for d in load.index for a in dims.atoms(d)
        )
        return load if is_known else None

    def _is_stored_for_nothing(self, source: Node, view: Node) -> bool:
        """Whether storing the source takes no more than storing the view: not so where only a part of it would be made."""
        body = self.bodies.get(source)
        if (
            not isinstance(body, Compute)
            or source in self.whole
            or dims.product(source.shape) == dims.product(view.shape)
        ):
            return True
        # What is made in a contraction's registers is stored instead of its sums.
        operands = [x for x in source.inputs if isinstance(self.bodies.get(x), Contract)]
        return any(self.readers[x] == 1 and x.shape == source.shape for x in operands)
