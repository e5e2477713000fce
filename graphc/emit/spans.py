"""Bounds of loops over the summed axes of a contraction: all of an axis, or its part in a round."""

from __future__ import annotations

from graphc import dims
from graphc.dims import Axis
from graphc.emit.block import Block, factor
from graphc.emit.writer import Writer
from graphc.loops.kernels import Rounds


def span_of(axis: Axis, rounds: Rounds | None, step: int, writer: Writer, block: Block) -> tuple[str, str, str]:
    """Return where a loop over a summed axis begins, where whole steps end, and where it ends; the bounds may be one name."""
    extent = writer.dim(axis.extent, block)
    steps = rounds.steps if rounds is not None and axis == rounds.axis else None
    is_round = steps is not None
    start, stop = ("first", "last") if is_round else ("0", extent)
    is_even = dims.remainder(axis.extent, step) == 0 and (steps is None or steps % step == 0)
    if is_even or step == 1:
        return start, stop, stop
    if isinstance(axis.extent, int) and not is_round:
        return start, str(axis.extent - axis.extent % step), stop
    whole = writer.fresh("whole")
    block.add(f"{whole} = {stop} - {f'({stop} - {start})' if is_round else factor(stop)} % {step}")
    return start, whole, stop


def range_text(start: str, stop: str, step: int) -> str:
    """Return the text of a range."""
    if step == 1:
        return f"range({stop})" if start == "0" else f"range({start}, {stop})"
    return f"range({start}, {stop}, {step})"
