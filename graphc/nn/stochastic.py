"""Modules that draw random numbers while training."""

from __future__ import annotations

from graphc.errors import GraphError
from graphc.graph.node import Node
from graphc.nn.module import Module
from graphc.ops.comparison import where
from graphc.ops.gradient_control import training as training_phase
from graphc.ops.operands import as_node, expand
from graphc.ops.random import uniform


def dropout(x: Node, p: float = 0.5, training: bool | Node | None = None) -> Node:
    """Return x with elements zeroed with probability p and the others scaled by 1 / (1 - p), while training; else x.

    training: a bool, a boolean scalar, or None for the phase that the graph is compiled for.
    Srivastava et al., Dropout, 2014.
    """
    if not 0.0 <= p <= 1.0:
        raise GraphError(f"dropout: expected a probability from 0 to 1, got {p}")
    if training is False or p == 0.0:
        return x
    kept = uniform(x.shape, dtype=x.dtype) >= p
    dropped = where(kept, x * (1.0 / (1.0 - p) if p < 1.0 else 0.0), 0.0)
    if training is True:
        return dropped
    phase = training_phase() if training is None else as_node(training)
    return where(expand(phase, x.shape), dropped, x)


class Dropout(Module):
    """Zero elements with probability p while training; see `dropout`."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise GraphError(f"Dropout: expected a probability from 0 to 1, got {p}")
        self.p = p

    def forward(self, x: Node, training: bool | Node | None = None) -> Node:
        return dropout(x, self.p, training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
