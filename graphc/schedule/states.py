"""Where a loop keeps its carries: each in a buffer that every step replaces or, if all its values are wanted, among these.

The value that enters each step is what a gradient reads, so it is stored for all times. A step then reads its carry there
and writes the next one's beside it, in an array with room for one more than there are steps, and nothing is copied. What
it writes replaces nothing: it may be made by the kernel that makes its operands, without waiting for who reads the old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphc import dims
from graphc.graph.bodies import Loop
from graphc.graph.node import Node
from graphc.graph.types import TensorType, TupleType
from graphc.records import replace
from graphc.schedule.draft import Draft
from graphc.schedule.plan import Step
from graphc.schedule.units import whole_copy


@dataclass
class States:
    """The carries and results of one loop: what its step reads and writes, and what is copied before it and after it."""

    read: list[int] = field(default_factory=list[int])
    stored: list[tuple[Node, int]] = field(default_factory=list["tuple[Node, int]"])
    replaced: list[tuple[Node, int]] = field(default_factory=list["tuple[Node, int]"])
    slices: list[int] = field(default_factory=list[int])
    begin: list[Step] = field(default_factory=list[Step])
    end: list[Step] = field(default_factory=list[Step])


def kept_together(draft: Draft, body: Loop, results: Sequence[int]) -> dict[Node, dict[int, int]]:
    """Return, for carries of a loop that are kept among their values, which results these are and where they begin.

    A result may hold all values that entered a step, or all that left it: the same, one position further in the order of
    the walk. No other buffer may take the place of one of them, for others are read later.
    """
    new, stacked = body.step.outputs[: body.carries], body.step.outputs[body.carries :]
    found: dict[Node, dict[int, int]] = {}
    taken: set[int] = set()
    for entering, after in zip(body.step.inputs, new, strict=False):
        parts = {
            k: int((value is after) != body.reverse)
            for k, value in enumerate(stacked)
            if (value is entering or value is after)
            and k not in taken
            and draft.buffers[results[k]].kind == "temporary"
            and draft.buffers[results[k]].shares is None
        }
        if int(body.reverse) in parts.values():
            found[entering] = parts
            taken |= parts.keys()
    return found


def all_kept_together(draft: Draft, bodies: Mapping[Node, object], places: Mapping[tuple[Node, int], int]) -> set[int]:
    """Return the results of all loops among these bodies that carries are kept in."""
    found: set[int] = set()
    for node, body in bodies.items():
        if isinstance(body, Loop) and isinstance(node.type, TupleType):
            results = [places[node, k] for k in range(body.carries, len(node.type.items))]
            found |= {results[k] for parts in kept_together(draft, body, results).values() for k in parts}
    return found


def states(
    draft: Draft,
    body: Loop,
    starts: Sequence[int],
    outputs: Sequence[int],
    items: Sequence[TensorType],
    walked: Mapping[int, int],
) -> States:
    """Return where the carries and results of a loop are, given the buffers that they begin in and end in.

    walked: the slices of what the loop walks. A result that stands in the place of such an array replaces it step by step.
    """
    made = States()
    carries, results = outputs[: body.carries], outputs[body.carries :]
    new, stacked = body.step.outputs[: body.carries], body.step.outputs[body.carries :]
    within: set[int] = set()
    together = kept_together(draft, body, results)
    for entering, after, start, last, item in zip(body.step.inputs, new, starts, carries, items, strict=False):
        parts = together.get(entering)
        if parts is None:
            made.read.append(last)
            made.replaced.append((after, last))
            made.begin += draft.steps_of(whole_copy(start, last, item))
            continue
        within |= parts.keys()
        whole = draft.temporary("states", TensorType((body.length + 1, *item.shape), item.dtype))
        for k, first in parts.items():
            draft.buffers[results[k]] = replace(draft.buffers[results[k]], shares=whole, first=first)
        here, following = (draft.slice(whole, shift=int(leaves != body.reverse)) for leaves in (False, True))
        made.read.append(here)
        made.stored.append((after, following))
        made.slices += [here, following]
        far = body.length * dims.product(item.shape)
        begin, end = (far, 0) if body.reverse else (0, far)
        made.begin += draft.steps_of(whole_copy(start, whole, item, onto=begin))
        made.end += draft.steps_of(whole_copy(whole, last, item, first=end))
    for k, (value, result) in enumerate(zip(stacked, results, strict=True)):
        if result in walked:
            made.replaced.append((value, walked[result]))
        elif k not in within:
            made.stored.append((value, draft.slice(result)))
            made.slices.append(made.stored[-1][1])
    return made
