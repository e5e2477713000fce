"""The products of a register tile's sum: one step of it, all its rows, vectors and unrolled positions; which of them count."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.emit.block import Block
from graphc.emit.fetches import FURTHER, LINE, is_ahead, is_apart, is_walked
from graphc.emit.operands import Cells, Operand, further
from graphc.emit.writer import Writer
from graphc.loops.expr import Const, Expr, both, within
from graphc.loops.kernels import Tile, usual
from graphc.records import replace


def write_products(
    kernel: Tile,
    writer: Writer,
    block: Block,
    cells: Cells,
    at: Mapping[Atom, Dim],
    *,
    ahead: bool = True,
    again: bool = False,
) -> bool:
    """Write one step of the sum, its axes replaced as `at` says: all unrolled positions at once.

    With `ahead` the next tile's rows are asked for: each is read too briefly for the processor to foresee how it goes on.
    Products that never count are left out. Whether others do is asked `again` only; else the result is whether some may not.
    """
    kind, lanes = kernel.left.dtype.short, writer.lanes
    # Panels are whole vectors wide.
    mask = f", {block.mask}" if block.mask and kernel.panel is None else ""
    positions = list(itertools.product(*(range(count) for _, count in kernel.unrolled)))
    right = Operand.of(kernel.right, kernel, writer, block, at)
    left = Operand.of(kernel.left, kernel, writer, block, at)
    both = kernel.is_lanewise
    if not both:
        for u, position in enumerate(positions):
            for v in range(cells.vectors):
                block.add(f"b{u}_{v} = load_{kind}x{lanes}({right.address((), position, v * lanes)}{mask})")
    is_usual = cells.shape == kernel.shape and not again
    if ahead and is_usual and is_ahead(kernel, left.slopes[kernel.row]):
        for *around, t in cells.places:
            block.add(f"prefetch({left.address((*around, kernel.shape[0] + t), positions[0], 0)})")
    if kernel.strip is not None and is_usual:
        # A strip lies in the second-level cache, and its lines are read too slowly for a prefetcher to hurry.
        block.add(f"prefetch({left.base} + {FURTHER})")
    takes_part = [_mask_of(kernel, writer, block, at, position) for position in positions]
    if left.slopes[kernel.row] == 1 and is_usual and not both and kernel.strip is None and is_apart(kernel):
        # The rows of the next blocks lie on the next line, which another thread may have written last.
        block.add(f"prefetch({left.base} + {left.size * LINE})")
        if is_walked(kernel):
            for position in positions:
                block.add(f"prefetch({left.address(cells.places[0], position, 0)} + {FURTHER})")
    # An element of the left operand may serve several rows: the windows of a convolution overlap. Past the end of a row of
    # an image, where there is none, lies the next one's first.
    users: dict[tuple[Dim, Expr | None], list[tuple[int, int]]] = {}
    conditions: dict[tuple[int, int], Expr] = {}
    for t, cell in enumerate(cells.places):
        for u, position in enumerate(positions):
            place = further(kernel, at, position) | cells.at(cell)
            counts = cells.remaining(_inside(kernel), place)
            if isinstance(counts, Const):
                continue
            if counts is not None:
                conditions[t, u] = counts
            guard = cells.remaining(kernel.left.guard, place)
            users.setdefault((left.distance(cell, position), guard), []).append((t, u))
    # In the order in which it lies, if several positions are walked: then each sum is made in theirs.
    order = sorted(users.items(), key=lambda one: usual(one[0][0])) if len(kernel.unrolled) > 1 else users.items()
    held: set[int] = set()
    for (_, guard), places in order:
        # Lanes that take no part multiply zero, which is what the other operand holds there.
        for some in dict.fromkeys(takes_part[u] for _, u in places):
            own = [place for place in places if takes_part[place[1]] == some]
            (t, u), *_ = own
            if not both:
                spread = f"{kind}x{lanes}(load_{kind}({left.address(cells.places[t], positions[u], 0)}))"
                block.add(f"a = select({some}, {spread}, {kind}x{lanes}(0.0))" if some else f"a = {spread}")
            for v in range(cells.vectors):
                if both:
                    address = left.address(cells.places[t], positions[u], v * lanes)
                    block.add(f"a = {_vector(kernel, writer, block, address, guard)}")
                for row, position in own:
                    if both and position not in held:
                        for w in range(cells.vectors):
                            from_right = right.address((), positions[position], w * lanes)
                            block.add(f"b{position}_{w} = load_{kind}x{lanes}({from_right}{mask})")
                        held.add(position)
                    own_sum, total = cells.called(row, v), f"fma(a, b{position}_{v}, {cells.called(row, v)})"
                    if again and (row, position) in conditions:
                        total = f"select({writer.vector(conditions[row, position], block)}, {total}, {own_sum})"
                    block.add(f"{own_sum} = {total}")
    return bool(conditions)


def _inside(kernel: Tile) -> Expr | None:
    """Return where a product counts, None if everywhere."""
    guard: Expr | None = None
    for index, extent in kernel.inside:
        guard = both(guard, within(index, 0, extent))
    return guard


def clipped(
    kernel: Tile, axis: Axis, bound: set[Axis], span: tuple[str, str], writer: Writer, block: Block
) -> tuple[Tile, tuple[str, str]]:
    """Return the kernel without those conditions of what counts that the bounds of a loop can keep, and these bounds.

    Such go by the loop's axis and by those that have their values before it.
    """
    left: list[tuple[Dim, Dim]] = []
    start, stop = span
    for index, extent in kernel.inside:
        slope, rest = dims.linear(index, axis)
        is_known = axis in dims.axes(index) and dims.axes(index) <= {axis, *bound}
        if not is_known or not isinstance(slope, int) or slope < 1 or axis in dict(kernel.unrolled):
            left.append((index, extent))
            continue
        low, high = (dims.floordiv(number - rest + slope - 1, slope) for number in (0, extent))
        if not dims.is_nonnegative(-low):
            name = writer.fresh("start")
            block.add(f"{name} = max({start}, {writer.dim(low, block)})")
            start = name
        if not dims.is_nonnegative(high - axis.extent):
            name = writer.fresh("stop")
            block.add(f"{name} = max({start}, min({stop}, {writer.dim(high, block)}))")
            stop = name
    return replace(kernel, inside=tuple(left)), (start, stop)


def _vector(kernel: Tile, writer: Writer, block: Block, address: str, guard: Expr | None) -> str:
    """Return a vector of the left operand, zero where there is none: the guard holds for all lanes or for none."""
    kind = f"{kernel.left.dtype.short}x{writer.lanes}"
    if isinstance(guard, Const):
        return f"{kind}(0.0)"
    masks = [block.mask] if block.mask else []
    if guard is not None:
        masks.append(writer.vector(guard, block))
    return f"load_{kind}({', '.join([address, *([' & '.join(masks)] if masks else [])])})"


def _mask_of(
    kernel: Tile, writer: Writer, block: Block, at: Mapping[Atom, Dim], position: tuple[int, ...]
) -> str | None:
    """Return which lanes take part in a product at an unrolled position, None where all do."""
    if kernel.within is None:
        return None
    place = further(kernel, at, position)
    low, high = (dims.substitute(bound, place) for bound in (kernel.within.low, kernel.within.high))
    guard = within(DimExpr.of(kernel.lane), low, high)
    return None if guard is None else writer.vector(guard, block)
