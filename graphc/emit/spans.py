"""Loops over the summed axes of a contraction: all of an axis, its rounds, its parts that threads share."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims
from graphc.dims import Axis
from graphc.emit.block import Block, factor
from graphc.emit.writer import Writer
from graphc.loops.kernels import Rounds


def span_of(axis: Axis, rounds: Rounds | None, step: int, writer: Writer, block: Block) -> tuple[str, str, str]:
    """Return where a loop over a summed axis begins, where whole steps end, and where it ends; the bounds may be one name."""
    extent = writer.dim(axis.extent, block)
    is_round = rounds is not None and axis == rounds.axis
    start, stop = ("first", "last") if is_round else ("0", extent)
    is_even = dims.remainder(axis.extent, step) == 0
    if rounds is not None and is_round:
        is_even = is_even and rounds.steps % step == 0
        if rounds.parts > 1 and not rounds.over:
            is_even = is_even and rounds.grain % step == 0
    if is_even or step == 1:
        return start, stop, stop
    if isinstance(axis.extent, int) and not is_round:
        return start, str(axis.extent - axis.extent % step), stop
    whole = writer.fresh("whole")
    block.add(f"{whole} = {stop} - {f'({stop} - {start})' if is_round else factor(stop)} % {step}")
    return start, whole, stop


def open_round(rounds: Rounds, writer: Writer, block: Block) -> list[tuple[Block, str]]:
    """Return the blocks of a round's loops, outermost first, and their heads.

    Each makes one turn at least, so that an empty sum is stored.
    """
    chain: list[tuple[Block, str]] = []
    inner = block
    for axis in rounds.over:
        head = f"for {axis.name} in {_turns(rounds, axis, writer.dim(axis.extent, block), 1)}:"
        inner = inner.inner(axis)
        chain.append((inner, head))
    stop = stop_of(rounds, writer, block)
    head = f"for first in {_turns(rounds, rounds.axis, stop, rounds.steps)}:"
    inner = inner.inner(rounds.first)
    inner.add(f"last = min(first + {rounds.steps}, {stop})")
    return [*chain, (inner, head)]


def _turns(rounds: Rounds, axis: Axis, stop: str, step: int) -> str:
    if rounds.parts > 1 and axis == rounds.outermost:
        return range_text("begin", "max(end, begin + 1)", step)
    return range_text("0", stop if stop.isdigit() and stop != "0" else f"max({stop}, 1)", step)


def stop_of(rounds: Rounds, writer: Writer, block: Block) -> str:
    """Return where the rounds of an axis end: at once if an axis around it, or its part, is empty."""
    if rounds.parts > 1 and not rounds.over:
        return "end"
    extent, counts = writer.dim(rounds.axis.extent, block), list[str]()
    for axis in rounds.over:
        if rounds.parts > 1 and axis == rounds.outermost:
            counts.append("(end - begin)")
        elif not isinstance(axis.extent, int) or axis.extent == 0:
            counts.append(factor(writer.dim(axis.extent, block)))
    return f"min({extent}, {' * '.join([factor(extent), *counts])})" if counts else extent


def open_part(rounds: Rounds, total: str, writer: Writer, block: Block) -> tuple[Block, tuple[str, str]]:
    """Return the block of a part of the axis, and the bounds of this thread's pieces in it.

    Threads share the parts or, where there are more threads or not a position for each part, the pieces of each part.
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
    extent, grain = writer.dim(rounds.outermost.extent, block), rounds.grain
    count = extent if grain == 1 else f"({extent} + {grain - 1}) // {grain}"
    begin, end = (f"share({count}, {part}, {rounds.parts})" for part in ("part", "part + 1"))
    inner.add(f"begin = {begin}" if grain == 1 else f"begin = {begin} * {grain}")
    inner.add(f"end = {end}" if grain == 1 else f"end = min({end} * {grain}, {extent})")
    return inner, span


def close_part(rounds: Rounds, writer: Writer, outer: Block, block: Block) -> None:
    """Close the block of a part under the head of its loop."""
    if writer.alone:
        outer.close(block, f"for part in range({rounds.parts}):")
        return
    start, stop = writer.split(f"{rounds.parts} * slices", outer)
    extent = rounds.outermost.extent
    if isinstance(extent, int) and extent >= rounds.parts:
        outer.close(block, f"for slice in range({start}, {stop}):")
        return
    step = writer.fresh("step")
    outer.add(f"{step} = 1")
    few = outer.inner()
    few.add("slices = threads")
    few.add(f"{start} = thread")
    few.add(f"{stop} = {rounds.parts} * threads")
    few.add(f"{step} = threads")
    outer.close(few, f"if {writer.dim(extent, outer)} < {rounds.parts}:")
    outer.close(block, f"for slice in range({start}, {stop}, {step}):")


def close_round(chain: Sequence[tuple[Block, str]], block: Block) -> None:
    """Close the blocks of a round's loops under their heads."""
    outers = [block, *(inner for inner, _ in chain)]
    for outer, (inner, head) in reversed(list(zip(outers, chain, strict=False))):
        outer.close(inner, head)


def range_text(start: str, stop: str, step: int) -> str:
    """Return the text of a range."""
    if step == 1:
        return f"range({stop})" if start == "0" else f"range({start}, {stop})"
    return f"range({start}, {stop}, {step})"
