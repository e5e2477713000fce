"""Adagrad."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.graph.node import Node, State
from graphc.ops.exponential import sqrt
from graphc.optim.optimizer import Optimizer


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients so far.

    Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, 2011.
    The rate falls as rate / (1 + lr_decay * (steps before this one)). weight_decay adds that multiple of the parameter to
    the gradient; the sum starts at initial_accumulator_value.
    """

    def __init__(
        self,
        learning_rate: float | State = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm, clip_value)
        self.lr_decay, self.weight_decay, self.eps = lr_decay, weight_decay, eps
        self.initial_accumulator_value = initial_accumulator_value
        self.check()

    def check(self) -> None:
        super().check()
        self.demand(0, "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    @property
    def slots(self) -> dict[str, float]:
        return {"square": self.initial_accumulator_value}

    def scales(self, count: Node) -> dict[str, Node]:
        return {"rate": self.rate / (1.0 + (count - 1).astype("float64") * self.lr_decay)}

    def update(
        self, parameter: Node, gradient: Node, slots: Mapping[str, Node], scales: Mapping[str, Node]
    ) -> tuple[Node, dict[str, Node]]:
        gradient = self.decayed(parameter, gradient)
        square = slots["square"] + gradient * gradient
        return parameter - scales["rate"] * gradient / (sqrt(square) + self.eps), {"square": square}
