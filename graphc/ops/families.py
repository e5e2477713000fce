"""Families of scans, those that walk the states of one another: a scan and its derivatives.

The reverse derivative of a scan walks the states that entered each step. Where they are too many to be stored, the whole
family is cut into pieces (`passes.pieces`), and `checkpoint="auto"` leaves that to their number: from `LARGE` bytes on, all
steps together, about the square root of them is kept. Where a size is a symbol, both are planned for, and a call's sizes decide.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from graphc import dims
from graphc.dims import Dim
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node
from graphc.ops.nested import Item
from graphc.ops.scan import Scan
from graphc.records import structure

LARGE = 32 * 2**20


@structure
class Family:
    """Scans that are cut into pieces together, and the arrays of states that they walk of one another."""

    members: list[Node]
    length: Dim
    piece: Dim | str | None
    states: dict[Node, None]

    @property
    def nbytes(self) -> Dim:
        """The bytes of these states."""
        total: Dim = 0
        for array in self.states:
            total = total + dims.product(array.shape) * array.dtype.itemsize
        return total

    @property
    def is_open(self) -> bool:
        """Whether sizes that are not known decide."""
        return self.piece == "auto" and not isinstance(self.nbytes, int)

    def size(self, large: bool) -> Dim | None:
        """Return how many steps a piece has, None for no pieces; what is open is, or is not, taken to be large."""
        if not isinstance(self.piece, str):
            return self.piece
        is_large = large if self.is_open else dims.is_nonnegative(self.nbytes - LARGE - 1)
        return square_root(self.length) if is_large else None


def families(graph: Graph) -> list[Family]:
    """Return the families of more than one scan that stand in a graph, not those in graphs inside ops."""
    found: dict[Node, Family] = {}
    for node in graph.nodes():
        if not isinstance(node.op, Scan) or node.op.piece is None:
            continue
        mine = found[node] = Family([node], node.op.length, node.op.piece, {})
        for array in dict.fromkeys(node.op.parts(node).arrays):
            other = found.get(array.inputs[0]) if is_history(array) else None
            if other is None or (other.length, other.piece) != (mine.length, mine.piece):
                continue
            if other is not mine:
                mine.members += other.members
                mine.states |= other.states
                found |= dict.fromkeys(other.members, mine)
            mine.states[array] = None
    return [family for family in dict.fromkeys(found.values()) if family.states]


def is_history(array: Node) -> bool:
    """Whether an array holds what entered each step of a scan as one of its carries."""
    if not isinstance(array.op, Item) or not isinstance(array.inputs[0].op, Scan):
        return False
    scan = array.inputs[0].op
    result = scan.step.outputs[array.op.index]
    return array.op.index >= scan.carries and any(result is carry for carry in scan.step.inputs[: scan.carries])


def square_root(length: Dim) -> Dim:
    """Return about the square root of a length, rounded up: a number, or the symbol that `roots` tells the meaning of."""
    if isinstance(length, int):
        return math.isqrt(max(length, 1) - 1) + 1
    text = str(length)
    return dims.symbol(f"_root_{text if text.isidentifier() else hashlib.sha256(text.encode()).hexdigest()[:8]}")


def open_families(graph: Graph) -> list[Family]:
    """Return the families whose sizes decide, in graphs inside ops too."""
    found = [family for family in families(graph) if family.is_open]
    for node in graph.nodes():
        for _, inner in subgraphs(node.op):
            found += open_families(inner)
    return found


def roots(lengths: Sequence[Dim]) -> dict[str, Dim]:
    """Return the symbols that stand for square roots of these lengths, by name, with the lengths."""
    return {str(square_root(length)): length for length in lengths if not isinstance(length, int)}
