"""The copy of a panel: the part of an operand that a block of lanes uses, made by the thread that needs it.

Where the operand is contiguous along the lanes it is copied vector by vector. Where it is contiguous along another axis,
squares of vectors are transposed in registers; what is left over there is gathered.
"""

from __future__ import annotations

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.emit.block import Block
from graphc.emit.spans import range_text, span_of
from graphc.emit.writer import Writer
from graphc.loops.expr import Load, rewrite
from graphc.loops.kernels import Pack, Rounds, Store

# Which vector of the block of lanes a square belongs to.
VECTOR = Axis("vector", dims.symbol("vectors"))


def write_pack(pack: Pack, lane: Axis, rounds: Rounds | None, writer: Writer, block: Block, vectors: int) -> None:
    """Write the copy of `vectors` vectors of lanes, and of a round; the block is one inside the loop over the lanes."""
    is_whole = block.mask is None or dims.remainder(lane.extent, writer.lanes) == 0
    across = _across(pack, lane, writer.lanes) if is_whole else None
    inner = block
    chain: list[tuple[Block, str]] = []
    if across is not None and vectors > 1:
        chain.append((inner, f"for {VECTOR.name} in range({vectors}):"))
        inner = inner.inner(VECTOR)
    for axis in pack.axes:
        if axis != across:
            start, _, stop = span_of(axis, rounds, 1, writer, inner)
            chain.append((inner, f"for {axis.name} in {range_text(start, stop, 1)}:"))
            inner = inner.inner(axis)
    if across is None:
        for v in range(vectors):
            _write_vector(_moved(pack.copy, lane, v * writer.lanes), writer, inner)
    else:
        copy = _moved(pack.copy, lane, writer.lanes * DimExpr.of(VECTOR)) if vectors > 1 else pack.copy
        _write_squares(copy, lane, across, rounds, writer, inner)
    for outer, head in reversed(chain):
        outer.close(inner, head)
        inner = outer


def _across(pack: Pack, lane: Axis, side: int) -> Axis | None:
    """Return the axis along which what is copied lies side by side, where it does not along the lanes."""
    (offset,), stored = pack.operand.index, pack.copy.offset
    if dims.linear(offset, lane)[0] in (0, 1, None):
        return None
    for axis in pack.axes:
        is_long = not isinstance(axis.extent, int) or axis.extent >= side
        if is_long and dims.linear(offset, axis)[0] == 1 and dims.linear(stored, axis)[0] is not None:
            return axis
    return None


def _moved(copy: Store, lane: Axis, by: Dim) -> Store:
    further = {lane: DimExpr.of(lane) + by}
    return Store(copy.buffer, dims.substitute(copy.offset, further), rewrite(copy.value, further))


def _write_vector(copy: Store, writer: Writer, block: Block) -> None:
    """Write the copy of a vector; a panel is whole vectors wide, and zero where there are no lanes."""
    value = writer.vector(copy.value, block)
    block.add(f"store({value}, {writer.address(copy.buffer, copy.offset, copy.value.dtype.itemsize, block)})")


def _write_squares(copy: Store, lane: Axis, across: Axis, rounds: Rounds | None, writer: Writer, block: Block) -> None:
    """Write the copy of one vector of lanes: few rows at a time, so that the processor sees that each goes on."""
    assert isinstance(copy.value, Load)
    side, (offset,), dtype = writer.lanes, copy.value.index, copy.value.dtype
    start, whole, stop = span_of(across, rounds, side, writer, block)
    source_step, target_step = (
        str(dtype.itemsize * s) if isinstance(s, int) else writer.distance(s, dtype.itemsize, block)
        for s in (dims.linear(offset, lane)[0] or 0, dims.linear(copy.offset, across)[0] or 0)
    )
    square = block.inner(across)
    source = writer.address(copy.value.source, offset, dtype.itemsize, square)
    target = writer.address(copy.buffer, copy.offset, dtype.itemsize, square)
    square.add(f"transpose_{dtype.short}x{side}({source}, {source_step}, {target}, {target_step})")
    block.close(square, f"for {across.name} in range({start}, {whole}, {side}):")
    if whole != stop:
        rest = block.inner(across)
        _write_vector(copy, writer, rest)
        block.close(rest, f"for {across.name} in range({whole}, {stop}):")
