"""A contraction by itself, so that its tilings can be measured: a draft for each, with the copies that it wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from graphc import dims
from graphc.dims import Dim
from graphc.graph.node import Node
from graphc.loops.kernels import OWNED, Tile
from graphc.records import record, replace
from graphc.schedule.cost import owned_pieces
from graphc.schedule.draft import Draft
from graphc.schedule.nest import Nest
from graphc.schedule.panels import Panels
from graphc.schedule.parts import tile_units
from graphc.schedule.plan import Buffer, Repeat, Step
from graphc.schedule.tilings import Tiling
from graphc.simd.levels import Level

# Steps of a loop for a contraction that stands in one: copies that are made before the loop count once.
STEPS = 32


@record
class Trial:
    """A nest on buffers of its own, 0, 1, ..., and what its region says of it (see `region.Region`)."""

    nest: Nest
    buffers: tuple[Buffer, ...]
    node: Node
    invariant: frozenset[int]
    owned: Dim | None

    def size_of(self, buffer: int) -> Dim:
        """Return the number of elements of a buffer."""
        return dims.product(self.buffers[buffer].shape)

    def draft(self, tiling: Tiling, level: Level) -> Draft:
        """Return the draft of the nest in one tiling; the buffers that it reads and writes come first, as inputs."""
        draft = Draft(level, {}, list(self.buffers))
        panels = Panels(draft, self.invariant, is_shared=self.owned is None)
        own = tile_units(panels, tiling, [self.node], late=False)
        kernel = own[0].kernel
        assert isinstance(kernel, Tile)
        is_owned = kernel.row.extent == self.owned and kernel.rounds is None and OWNED % kernel.shape[0] == 0
        if is_owned:
            own[0].kernel = replace(kernel, owner=kernel.row)
        units = [*panels.units, *own]
        steps: tuple[Step, ...] = tuple(step for unit in units for step in draft.steps_of(unit))
        if panels.prologue or is_owned:
            before = [step for unit in panels.prologue for step in draft.steps_of(unit)]
            owners = owned_pieces(kernel.row.extent) if is_owned else 1
            steps = (*before, Repeat(STEPS, steps, (), owners=owners))
        draft.steps = steps
        return draft


# Says which of a nest's candidates is taken.
Choose: TypeAlias = Callable[[Trial], int]


def trial(
    nest: Nest,
    touched: Sequence[int],
    buffers: Sequence[Buffer],
    node: Node,
    invariant: frozenset[int],
    owned: Dim | None,
) -> Trial:
    """Return a nest by itself, on buffers like those that it touches: number n is like `buffers[touched[n]]`."""
    own = tuple(
        Buffer(new, f"array_{new}", buffers[old].dtype, buffers[old].shape, "input", new)
        for new, old in enumerate(touched)
    )
    unchanged = frozenset(new for new, old in enumerate(touched) if old in invariant)
    return Trial(nest, own, node, unchanged, owned)
