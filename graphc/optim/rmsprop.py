"""RMSprop."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.graph.node import Node, State
from graphc.ops.exponential import sqrt
from graphc.optim.optimizer import Optimizer


class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient; with `centered`, by its standard deviation.

    Hinton, Neural Networks for Machine Learning, lecture 6, 2012; centered: Graves, Generating Sequences With Recurrent
    Neural Networks, 2013. As in PyTorch, epsilon is added to the root. weight_decay adds that multiple of the parameter to
    the gradient.
    """

    def __init__(
        self,
        learning_rate: float | State = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm, clip_value)
        self.alpha, self.eps, self.weight_decay = alpha, eps, weight_decay
        self.momentum, self.centered = momentum, centered
        self.check()

    def check(self) -> None:
        super().check()
        self.demand(0, "alpha", "eps", "weight_decay", "momentum")

    @property
    def slots(self) -> dict[str, float]:
        optional = {"mean": self.centered, "momentum": self.momentum}
        return {"square": 0.0} | {name: 0.0 for name, wanted in optional.items() if wanted}

    def update(
        self, parameter: Node, gradient: Node, slots: Mapping[str, Node], scales: Mapping[str, Node]
    ) -> tuple[Node, dict[str, Node]]:
        gradient = self.decayed(parameter, gradient)
        square = slots["square"] * self.alpha + gradient * gradient * (1 - self.alpha)
        changed = {"square": square}
        if self.centered:
            mean = changed["mean"] = slots["mean"] + (gradient - slots["mean"]) * (1 - self.alpha)
            square = square - mean * mean
        move = gradient / (sqrt(square) + self.eps)
        if self.momentum:
            move = changed["momentum"] = slots["momentum"] * self.momentum + move
        return parameter - scales["rate"] * move, changed
