"""Modules that draw random numbers while training.

Shape: `(...) -> (...)`.
Gradient: by x, g * (u >= p) / (1 - p) with the same draw; none by the draw.
Source: `torch.nn.{name}`; Srivastava et al., Dropout, 2014.
"""

from __future__ import annotations

from typing import Any

from graphc.dims import Dim
from graphc.errors import ShapeError
from graphc.graph.node import Node, builder
from graphc.nn.arguments import number
from graphc.nn.module import Module
from graphc.ops.comparison import where
from graphc.ops.gradient_control import training as training_phase
from graphc.ops.operands import as_node, expand, floating
from graphc.ops.random import fraction


@builder("nn.dropout")
def dropout(x: Any, p: float = 0.5, training: bool | Node | None = None) -> Node:
    """Return x with elements zeroed with probability p and the others scaled by 1 / (1 - p), while training; else x.

    training: a bool, a boolean scalar, or None for the phase that the graph is compiled for.

    Formula: x * (u >= p) / (1 - p) while training, u uniform in [0, 1) for each element; else x.
    Source: `torch.nn.functional.dropout`; Srivastava et al., Dropout, 2014.
    """
    return _dropped(floating(x), None, p, training, "dropout")


@builder("nn.dropout1d")
def dropout1d(x: Any, p: float = 0.5, training: bool | Node | None = None) -> Node:
    """Return sequences (N, L, C) with whole channels zeroed with probability p, as `dropout` does elements.

    Formula: x * (u >= p) / (1 - p) while training, u uniform in [0, 1) for each channel of each example; else x.
    """
    return _dropped(floating(x), 3, p, training, "dropout1d")


@builder("nn.dropout2d")
def dropout2d(x: Any, p: float = 0.5, training: bool | Node | None = None) -> Node:
    """Return images (N, H, W, C) with whole channels zeroed with probability p, as `dropout` does elements.

    Formula: x * (u >= p) / (1 - p) while training, u uniform in [0, 1) for each channel of each example; else x.
    Source: `torch.nn.functional.dropout2d`; Tompson et al., Efficient Object Localization Using Convolutional
    Networks, 2015.
    """
    return _dropped(floating(x), 4, p, training, "dropout2d")


def _dropped(x: Node, rank: int | None, p: float, training: bool | Node | None, name: str) -> Node:
    """Return x after dropout of elements or, given the rank that x must have, of channels."""
    number(p, f"{name}'s probability p", 0.0, 1.0)
    if rank is not None and x.ndim != rank:
        raise ShapeError(f"{name}: expected {'(N, L, C)' if rank == 3 else '(N, H, W, C)'}, got {x.type}")
    if training is False or p == 0.0:
        return x
    shape = x.shape if rank is None else (x.shape[0], *(1,) * (rank - 2), x.shape[-1])
    return thinned(x, p, training_phase() if training is None else training, shape=shape)


def thinned(
    x: Node, p: float, training: bool | Node, site: int | None = None, shape: tuple[Dim, ...] | None = None
) -> Node:
    """Return x after dropout; `site`: that of an earlier draw, to zero the same elements again; `shape`: of the draw."""
    kept = expand(fraction(x.shape if shape is None else shape, x.dtype, site=site) >= p, x.shape)
    dropped = where(kept, x * (1.0 / (1.0 - p) if p < 1.0 else 0.0), 0.0)
    return dropped if training is True else where(expand(as_node(training), x.shape), dropped, x)


class Dropout(Module):
    """Zero elements with probability p while training; see `dropout`.

    Formula: `dropout(x, p, training)`.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = number(p, f"{type(self).__name__}'s probability p", 0.0, 1.0)

    def forward(self, x: Any, training: bool | Node | None = None) -> Node:
        return dropout(x, self.p, training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout1d(Dropout):
    """Zero whole channels of sequences (N, L, C) with probability p while training; see `dropout1d`.

    Formula: `dropout1d(x, p, training)`.
    """

    def forward(self, x: Any, training: bool | Node | None = None) -> Node:
        return dropout1d(x, self.p, training)


class Dropout2d(Dropout):
    """Zero whole channels of images (N, H, W, C) with probability p while training; see `dropout2d`.

    Formula: `dropout2d(x, p, training)`.
    """

    def forward(self, x: Any, training: bool | Node | None = None) -> Node:
        return dropout2d(x, self.p, training)
