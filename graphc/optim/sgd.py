"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.errors import GraphError
from graphc.graph.node import Node, State
from graphc.ops.comparison import where
from graphc.ops.operands import expand
from graphc.optim.optimizer import Optimizer


class SGD(Optimizer):
    """p - rate * g; with momentum, g is a buffer: b = momentum * b + (1 - dampening) * g, which starts as the first g.

    weight_decay adds that multiple of the parameter to the gradient; nesterov looks ahead by one step.
    """

    def __init__(
        self,
        learning_rate: float | State = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm, clip_value)
        self.momentum, self.dampening, self.weight_decay, self.nesterov = momentum, dampening, weight_decay, nesterov
        self.check()

    def check(self) -> None:
        super().check()
        self.demand(0, "momentum", "weight_decay")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise GraphError("SGD: nesterov needs a momentum and no dampening")

    @property
    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0} if self.momentum else {}

    def update(
        self, parameter: Node, gradient: Node, slots: Mapping[str, Node], scales: Mapping[str, Node]
    ) -> tuple[Node, dict[str, Node]]:
        gradient = self.decayed(parameter, gradient)
        changed: dict[str, Node] = {}
        if self.momentum:
            moved = slots["momentum"] * self.momentum + gradient * (1 - self.dampening)
            if self.dampening:  # PyTorch does not dampen the gradient that starts the buffer
                moved = where(expand(self.step_count == 0, gradient.shape), gradient, moved)
            changed["momentum"] = moved
            gradient = gradient + moved * self.momentum if self.nesterov else moved
        return parameter - gradient * scales["rate"], changed
