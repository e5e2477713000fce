"""Loops over the summed axes of a contraction: all of an axis, its rounds, its parts that threads share."""

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


def open_round(rounds: Rounds, writer: Writer, block: Block) -> Block:
    """Return the block of a round; the first one is made of an empty sum, too."""
    inner = block.inner(rounds.first)
    stop = "end" if rounds.parts > 1 else writer.dim(rounds.axis.extent, inner)
    inner.add(f"last = min(first + {rounds.steps}, {stop})")
    return inner


def open_part(rounds: Rounds, total: str, writer: Writer, block: Block) -> tuple[Block, tuple[str, str]]:
    """Return the block of a part of the axis, whole rounds, and the bounds of this thread's pieces in it.

    Threads share the parts or, where there are more threads, the pieces of each part.
    """
    inner = block.inner(rounds.part)
    if writer.alone:
        span = ("0", total)
    else:
        low, high = writer.fresh("low"), writer.fresh("high")
        span = (low, high)
        block.add(f"slices = (threads + {rounds.parts - 1}) // {rounds.parts}")
        inner.add("part = slice // slices")
        inner.add(f"{low} = share({total}, slice - slices * part, slices)")
        inner.add(f"{high} = share({total}, slice - slices * part + 1, slices)")
    extent, steps = writer.dim(rounds.axis.extent, block), rounds.steps
    count = extent if steps == 1 else f"({extent} + {steps - 1}) // {steps}"
    begin, end = (f"share({count}, {part}, {rounds.parts})" for part in ("part", "part + 1"))
    inner.add(f"begin = {begin}" if steps == 1 else f"begin = {begin} * {steps}")
    inner.add(f"end = {end}" if steps == 1 else f"end = min({end} * {steps}, {extent})")
    return inner, span


def close_part(rounds: Rounds, writer: Writer, outer: Block, block: Block) -> None:
    """Close the block of a part under the head of its loop."""
    if writer.alone:
        outer.close(block, f"for part in range({rounds.parts}):")
        return
    start, stop = writer.split(f"{rounds.parts} * slices", outer)
    outer.close(block, f"for slice in range({start}, {stop}):")


def close_round(rounds: Rounds, writer: Writer, outer: Block, block: Block) -> None:
    """Close the block of a round under the head of its loop: one turn at least, so that an empty sum is stored."""
    if rounds.parts > 1:
        outer.close(block, f"for first in range(begin, max(end, begin + 1), {rounds.steps}):")
        return
    extent = writer.dim(rounds.axis.extent, outer)
    stop = extent if isinstance(rounds.axis.extent, int) and rounds.axis.extent > 0 else f"max({extent}, 1)"
    outer.close(block, f"for first in range(0, {stop}, {rounds.steps}):")


def range_text(start: str, stop: str, step: int) -> str:
    """Return the text of a range."""
    if step == 1:
        return f"range({stop})" if start == "0" else f"range({start}, {stop})"
    return f"range({start}, {stop}, {step})"
