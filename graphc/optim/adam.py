"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Mapping

from graphc.errors import GraphError
from graphc.graph.copies import built_once
from graphc.graph.node import Node, State
from graphc.ops.arithmetic import maximum
from graphc.ops.exponential import exp, sqrt
from graphc.optim.optimizer import Optimizer


class Adam(Optimizer):
    """Steps scaled by running moments of the gradient.

    Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015.
    As in PyTorch, epsilon is added to sqrt(second moment) / sqrt(its bias correction). weight_decay adds that multiple
    of the parameter to the gradient. amsgrad divides by the largest second moment so far (Reddi, Kale and Kumar, On the
    Convergence of Adam and Beyond, 2018).
    """

    def __init__(
        self,
        learning_rate: float | State = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, clip_norm, clip_value)
        self.betas, self.eps, self.weight_decay, self.amsgrad = betas, eps, weight_decay, amsgrad
        self.check()

    def check(self) -> None:
        super().check()
        self.demand(0, "eps", "weight_decay")
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GraphError(f"{type(self).__name__}: expected two betas, as in (0.9, 0.999), got {self.betas!r}")
        self.demand(0, "betas", below=1)

    @property
    def slots(self) -> dict[str, float]:
        return {"first": 0.0, "second": 0.0} | ({"largest": 0.0} if self.amsgrad else {})

    def scales(self, count: Node) -> dict[str, Node]:
        # Scalars, once a step and in float64: 1 - beta^t loses half its digits in float32 at the first steps.
        first, second = (1.0 - _power(beta, count) for beta in self.betas)
        return {"rate": self.rate / first, "spread": 1.0 / sqrt(second), "learning_rate": self.rate}

    def update(
        self, parameter: Node, gradient: Node, slots: Mapping[str, Node], scales: Mapping[str, Node]
    ) -> tuple[Node, dict[str, Node]]:
        gradient, old = self.decayed(parameter, gradient), tuple(slots[name] for name in self.slots)
        move, new = _moved(gradient, old, scales["rate"], scales["spread"], tuple(self.betas), self.eps)
        return self.shrunk(parameter, scales) - move, dict(zip(self.slots, new, strict=True))

    def shrunk(self, parameter: Node, scales: Mapping[str, Node]) -> Node:
        """Return the parameter that the step starts from."""
        return parameter


@built_once
def _moved(
    gradient: Node, slots: tuple[Node, ...], rate: Node, spread: Node, betas: tuple[float, ...], eps: float
) -> tuple[Node, list[Node]]:
    """Return the step down the gradient, and the moments that it is made of."""
    first, second, *largest = slots
    first = first + (gradient - first) * (1 - betas[0])
    second = second * betas[1] + gradient * gradient * (1 - betas[1])
    largest = [maximum(one, second) for one in largest]
    return rate * first / (sqrt((*largest, second)[0]) * spread + eps), [first, second, *largest]


class AdamW(Adam):
    """Adam whose weight decay is no part of the gradient: the parameter is first scaled by 1 - rate * weight_decay.

    Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.
    """

    def __init__(
        self,
        learning_rate: float | State = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, betas, eps, weight_decay, amsgrad, clip_norm=clip_norm, clip_value=clip_value)

    def decayed(self, parameter: Node, gradient: Node) -> Node:
        return gradient

    def shrunk(self, parameter: Node, scales: Mapping[str, Node]) -> Node:
        return parameter * (1.0 - scales["learning_rate"] * self.weight_decay) if self.weight_decay else parameter


def _power(base: float, count: Node) -> Node:
    """Return base ** count for a count of 1 or more."""
    exponent = count.astype("float64")
    return exponent * 0.0 if base == 0 else exp(exponent * math.log(base))
