"""The same kernel for the same loops: buffers numbered, and summed axes named, by their place in the kernel.

Equal layers differ in the buffers that they use and in the numbers that keep summed axes apart. Without these their kernels
are equal values, so they are written as text once, and compiled once.
"""

from __future__ import annotations

import re
from typing import Any

from graphc.dims import Axis, Dim, DimExpr
from graphc.loops.expr import Expr, Load, Rewriter, load
from graphc.loops.kernels import ACCUMULATOR, Beside, Kernel, Map, Pack, Rounds, Rows, Store, Tile, Within
from graphc.records import names_of

_SUMMED = re.compile(r"^r(\d*)_(?=[a-z]\d*$)")


def canonical(kernel: Kernel) -> tuple[Kernel, list[int] | None]:
    """Return the canonical form of a kernel, and the buffers by the numbers that they have in it (None: their own)."""
    parts = kernel.parts if isinstance(kernel, Beside) else (kernel,)
    if not all(isinstance(part, Map | Rows | Tile) for part in parts):
        return kernel, None
    form = _Form(kernel)
    return form.of(kernel), list(form.buffers)


class _Form:
    def __init__(self, kernel: Kernel) -> None:
        self.buffers: dict[int, int] = {}
        self.names: dict[str, int] = {}
        axes: dict[Axis, Dim] = {}
        for axis in _axes_of(kernel):
            new = self.axis(axis)
            if new != axis:
                axes[axis] = DimExpr.of(new)
        self.rewriter = Rewriter(axes, self.load, rename=self.name)

    def of(self, value: Any) -> Any:
        """Return the canonical form of a kernel or of a part of one."""
        match value:
            case Axis():
                return self.axis(value)
            case Expr():
                return self.rewriter(value)
            case DimExpr():
                return self.rewriter.dim(value)
            case Store(buffer, offset, stored):
                return Store(self.number(buffer), self.of(offset), self.of(stored))
            case Map() | Rows() | Tile() | Pack() | Rounds() | Within() | Beside():
                return type(value)(*(self.of(getattr(value, name)) for name in names_of(value)))
            case tuple():
                return tuple(self.of(part) for part in value)  # pyright: ignore[reportUnknownVariableType]
            case _:
                return value

    def number(self, buffer: int) -> int:
        return self.buffers.setdefault(buffer, len(self.buffers))

    def name(self, name: str) -> str:
        return _SUMMED.sub(lambda found: f"r{self.names.setdefault(found[1], len(self.names))}_", name)

    def axis(self, axis: Axis) -> Axis:
        return Axis(self.name(axis.name), axis.extent)

    def load(self, found: Load) -> Expr:
        if found.source == ACCUMULATOR:
            return found
        return load(self.number(found.source), found.index, found.dtype, found.guard)


def _axes_of(kernel: Kernel) -> list[Axis]:
    match kernel:
        case Map(rows, lane, _, ordered):
            return [*rows, *([lane] if lane else []), *(ordered[1:2] if ordered else ())]
        case Rows(maps):
            return [axis for stage in maps for axis in _axes_of(stage)]
        case Tile():
            packed = kernel.pack.axes if kernel.pack is not None else ()
            more = (kernel.panel, kernel.strip, *packed)
            return [*kernel.outer, kernel.row, kernel.lane, *kernel.reduced, *(a for a in more if a is not None)]
        case Beside():
            return [axis for part in kernel.parts for axis in _axes_of(part)]
        case _:
            return []
