"""Modules that draw random numbers while training."""

from __future__ import annotations

from typing import Any

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
    Srivastava et al., Dropout, 2014.
    """
    node = floating(x)
    number(p, "dropout's probability p", 0.0, 1.0)
    if training is False or p == 0.0:
        return node
    return thinned(node, p, training_phase() if training is None else training)


def thinned(x: Node, p: float, training: bool | Node, site: int | None = None) -> Node:
    """Return x after dropout; `site`: that of an earlier draw, to zero the same elements again."""
    kept = fraction(x.shape, x.dtype, site=site) >= p
    dropped = where(kept, x * (1.0 / (1.0 - p) if p < 1.0 else 0.0), 0.0)
    return dropped if training is True else where(expand(as_node(training), x.shape), dropped, x)


class Dropout(Module):
    """Zero elements with probability p while training; see `dropout`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = number(p, "Dropout's probability p", 0.0, 1.0)

    def forward(self, x: Any, training: bool | Node | None = None) -> Node:
        return dropout(x, self.p, training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
