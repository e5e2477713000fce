"""Contractions as register tiles: where their operands lie, and whether a tile fits.

A register tile needs a lane axis (last in the output and contiguous in an operand), a row axis (in the output and the
other operand only) and something to sum over.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.graph.bodies import Contract
from graphc.graph.node import Node
from graphc.loops.expr import Expr
from graphc.loops.kernels import flat_offset
from graphc.records import record


@record
class Operand:
    """An operand of a contraction: the array that it is read from, the flat offset there, and where that is inside.

    Outside of an array, in the margins of one that nobody stores, all is zero.
    """

    source: Node
    offset: Dim
    guard: Expr | None = None

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


def scalar_operand(
    body: Contract, operands: Sequence[Operand], lasting: Set[int] = frozenset(), *, is_added: bool = False
) -> int | None:
    """Return which operand a register tile reads by elements (0 or 1), given where both lie; None where none fits.

    lasting: the operands that stay as they are through all steps of a loop. is_added: whether the result is added to another
    array and read by nobody else: then it may be one term of a longer sum, and is not rounded by itself.
    """
    plain = [_plain_axis(d) for d in body.out]
    used = [a for a in plain if a is not None]
    if None in plain or len(set(used)) != len(used) or not used or not _is_affine(body):
        return None
    lane, reduced = used[-1], set(body.domain) - set(used)
    # A tile of a single column would have one lane of sixteen; where one product is all of the sum there is nothing to share.
    if lane.extent == 1 or (all(a.extent == 1 for a in reduced) and not is_added):
        return None
    slopes = [dims.linear(one.offset, lane)[0] for one in operands]
    if not any(all(a in dims.axes(one.offset) for one in operands) for a in reduced):
        return None
    for scalar in (0, 1):
        one, other = operands[scalar], operands[1 - scalar]
        found = dims.axes(other.offset)
        rows = [a for a in used[:-1] if a in dims.axes(one.offset) and a not in found]
        # A single row shares nothing of what it reads with others: as a reduction it needs no copy, and fuses. But where lanes
        # lie apart and a copy serves all steps of a loop, numbers are not added across a vector for each column.
        is_alone = all(a.extent == 1 for a in rows)
        is_copied_once = 1 - scalar in lasting and slopes[1 - scalar] != 1
        if lane not in found or not rows or (is_alone and not is_copied_once):
            continue
        if slopes[scalar] != 0 and slopes != [1, 1]:
            continue
        # What is not contiguous along the lanes is copied, unless windows overlap in it.
        read = dims.product(a.extent for a in found)
        if slopes[1 - scalar] == 1 or dims.is_nonnegative(other.size - read):
            return scalar
    return None


def _plain_axis(dim: Dim) -> Axis | None:
    if isinstance(dim, DimExpr) and len(dim.terms) == 1:
        (monomial, count) = dim.terms[0]
        if count == 1 and len(monomial) == 1 and monomial[0][1] == 1 and isinstance(monomial[0][0], Axis):
            return monomial[0][0]
    return None


def _is_affine(body: Contract) -> bool:
    return all(dims.linear(d, a)[0] is not None for d in (*body.left, *body.right) for a in dims.axes(d))
