"""Adam."""

from __future__ import annotations

import math
from collections.abc import Mapping

from graphc.errors import GraphError
from graphc.graph.node import Node
from graphc.ops.exponential import exp, sqrt
from graphc.optim.optimizer import Optimizer


class Adam(Optimizer):
    """Steps scaled by running moments of the gradient.

    Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015.
    As in PyTorch, epsilon is added to sqrt(second moment) / sqrt(its bias correction). weight_decay adds that multiple
    of the parameter to the gradient.
    """

    slots = ("first", "second")

    def __init__(
        self,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        if not all(0 <= beta < 1 for beta in betas):
            raise GraphError(f"Adam: expected betas from 0 to below 1, got {betas}")
        if eps < 0 or weight_decay < 0:
            raise GraphError(f"Adam: expected eps and weight_decay of 0 or more, got {eps}, {weight_decay}")
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def scales(self, count: Node) -> dict[str, Node]:
        # Scalars, once a step and in float64: 1 - beta^t loses half its digits in float32 at the first steps.
        first, second = (1.0 - _power(beta, count) for beta in self.betas)
        return {"rate": self.learning_rate / first, "spread": 1.0 / sqrt(second)}

    def step(
        self, parameter: Node, gradient: Node, slots: Mapping[str, Node], scales: Mapping[str, Node]
    ) -> tuple[Node, dict[str, Node]]:
        if self.weight_decay:
            gradient = gradient + parameter * self.weight_decay
        first = slots["first"] + (gradient - slots["first"]) * (1 - self.betas[0])
        second = slots["second"] * self.betas[1] + gradient * gradient * (1 - self.betas[1])
        new = parameter - scales["rate"] * first / (sqrt(second) * scales["spread"] + self.eps)
        return new, {"first": first, "second": second}


def _power(base: float, count: Node) -> Node:
    """Return base ** count for a count of 1 or more."""
    exponent = count.astype("float64")
    return exponent * 0.0 if base == 0 else exp(exponent * math.log(base))
