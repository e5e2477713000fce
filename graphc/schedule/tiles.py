"""Register tiles: what a step of one costs on a CPU level, and which fit a result."""

from __future__ import annotations

from collections.abc import Callable

from graphc import dims
from graphc.dims import Dim, DimExpr
from graphc.loops.kernels import OWNED, USUAL
from graphc.records import record
from graphc.schedule.nest import magnitude
from graphc.simd.levels import Level

# Cycles from a product to the next one that adds to it, and those that a load was measured to add.
LATENCY, LOAD = 4, 0.13
# Cycles that each row of the left operand was measured to add where both are read by vectors: it begins on other lines.
START = 1
# Bytes of the vector operand that stay in the first-level cache, and cycles in which the second one gives a vector.
NEAR, FETCH = 1 << 15, 2
# How much more a tile takes if a part of the rows is left over.
UNEVEN = 1.02


@record
class Steps:
    """What a step of a tile's sum costs on a CPU level: `count` positions of it at once, in logical vectors of `lanes`.

    `both`: both operands are read by vectors. `reads` gives the different elements of the scalar operand, by rows; `depth`
    is the length of the sum in the vector operand.
    """

    level: Level
    lanes: int
    both: bool
    count: int
    reads: Callable[[int], int]
    depth: int

    @property
    def parts(self) -> int:
        """Registers of a logical vector."""
        return max(1, 512 // self.level.register_bits)

    def most_rows(self, vectors: int) -> int:
        """Rows for which the accumulators, the vector operand and one spread element fit the registers."""
        budget = self.level.registers // self.parts - 1
        return min(24, (budget - vectors * self.count) // vectors)

    def cycles(self, rows: int, vectors: int) -> float:
        """Products, two a cycle, or what they wait for (those before them, vectors from afar), and a part of the loads."""
        fetched = vectors * self.count * self.parts
        products = rows * fetched
        is_far = self.depth * vectors * 64 > NEAR
        reads = self.reads(rows) * (vectors * self.parts if self.both else 1)
        waits = max(products / 2, LATENCY * self.count, FETCH * fetched if is_far else 0)
        starts = START * self.reads(rows) if self.both else 0
        return (waits + LOAD * (reads + fetched) + starts) / self.count if rows else 0


def tile_shapes(steps: Steps, rows: Dim, lanes: Dim, *, owned: bool) -> list[tuple[float, tuple[int, int]]]:
    """Return register tiles, the best first: their cost for a vector of products, in cycles, and their rows and vectors.

    If rows are `owned`, a thread has a multiple of OWNED of them, which the tile's should divide. So it should where they
    may be few: sizes of batches mostly are such multiples, and rows that do not fill a tile are made one by one.
    """
    extent, width = max(magnitude(rows), 1), max(magnitude(lanes), 1)
    are_few = not isinstance(rows, int) and _factor(rows) < USUAL
    found: list[tuple[float, int, int, int]] = []
    # Few registers: one vector, for wider tiles leave no room for rows. Tiles of 3 vectors spill.
    for vectors in (1, 2, 4) if steps.parts == 1 else (1,):
        if vectors > 1 and (vectors - 1) * steps.lanes >= width:
            break
        whole, rest = divmod(width, vectors * steps.lanes)

        def cycles(count: int, vectors: int = vectors, whole: int = whole, rest: int = rest) -> float:
            return whole * steps.cycles(count, vectors) + -(-rest // steps.lanes) * steps.cycles(count, 1)

        most = steps.most_rows(vectors)
        for count in range(1, min(max(most, 1 if vectors == 1 else 0), extent) + 1):
            if (owned or are_few) and OWNED % count:
                continue
            if isinstance(rows, int):
                total = extent // count * cycles(count) + cycles(extent % count)
            else:
                total = extent / count * cycles(count) * (UNEVEN if dims.remainder(rows, count) != 0 else 1)
            # Among equals two vectors, then many rows: fewer loads, fewer pieces.
            cost = round(total / extent / -(-width // steps.lanes), 3)
            found.append((cost, abs(vectors - 2), -count, vectors))
    return [(cost, (-count, vectors)) for cost, _, count, vectors in sorted(found)]


def _factor(dim: Dim) -> int:
    """Return the number that a product of symbols is multiplied by; 1 for a sum."""
    return dim.terms[0][1] if isinstance(dim, DimExpr) and len(dim.terms) == 1 else 1
