"""Parts that several kernels have: each is a kernel of its own then, written and compiled once.

A step runs such kernels one after the other, which takes a few nanoseconds for each; the small sums beside products of equal
layers, in another company each time, are a quarter of a deep network's source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from graphc.loops.canonical import canonical
from graphc.loops.kernels import Beside, Kernel, Tile


class Sharing:
    """What the kernels of a plan, each there once and in its canonical form, have in common."""

    def __init__(self, kernels: Iterable[Kernel]) -> None:
        self._count = Counter(canonical(part)[0] for kernel in kernels for part in _parts(kernel))

    def divided(self, kernel: Kernel) -> list[Kernel]:
        """Return the kernels to run in the place of one: the parts that others have too, and what is left of it."""
        parts = _parts(kernel)
        common = [part for part in parts if self._count[canonical(part)[0]] >= (2 if isinstance(part, Tile) else 3)]
        if len(parts) == 1 or not common:
            return [kernel]
        own = [part for part in parts if not any(part is one for one in common)]
        return [_together(own), *common] if own else common


def _parts(kernel: Kernel) -> list[Kernel]:
    """Return the parts of a kernel, each as a kernel that does the same alone."""
    if not isinstance(kernel, Beside):
        return [kernel]
    return [*kernel.shared, *(Beside((), (part,)) for part in kernel.single)]


def _together(parts: list[Kernel]) -> Kernel:
    if len(parts) == 1:
        return parts[0]
    single = tuple(inner for part in parts if isinstance(part, Beside) for inner in part.single)
    return Beside(tuple(part for part in parts if not isinstance(part, Beside)), single)
