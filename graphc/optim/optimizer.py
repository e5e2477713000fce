"""What optimizers share: a learning rate and a step count that are states, slots beside each parameter, and updates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from graphc.derivatives import grad
from graphc.errors import GraphError
from graphc.graph import walk
from graphc.graph.node import Node, Parameter, State, state

Updates = dict[Node, Node]


class Optimizer:
    """A training rule. A subclass names its slots and says what a gradient does to a parameter and to them.

    `learning_rate` (float64) and `step_count` (int64, the number of steps taken) are states: read their `.value` and
    change them by `.set`, while running too.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, learning_rate: float) -> None:
        if not isinstance(learning_rate, int | float | np.number):  # pyright: ignore[reportUnnecessaryIsInstance]
            advice = "a number as the learning rate; parameters are given to minimize(loss, parameters)"
            raise GraphError(f"expected {advice}, got a {type(learning_rate).__name__}")
        if not learning_rate >= 0:
            raise GraphError(f"expected a learning rate of 0 or more, got {learning_rate}")
        self.learning_rate: State = state(np.float64(learning_rate), "learning_rate")
        self.step_count: State = state(np.int64(0), "step_count")
        self._slots: dict[Parameter, dict[str, State]] = {}

    def minimize(self, loss: Node, parameters: Iterable[Parameter] | None = None) -> Updates:
        """Return the updates of one step down the gradient of a scalar.

        parameters: those to train; all that the loss depends on, unless given.
        """
        if parameters is None:
            chosen = [node for node in walk.topological([loss]) if isinstance(node, Parameter)]
        else:
            chosen = list(dict.fromkeys(parameters))
        if not chosen:
            raise GraphError(f"the loss depends on no parameter\n  {loss.describe()}")
        return self.apply(dict(zip(chosen, grad(loss, chosen), strict=True)))

    def apply(self, gradients: Mapping[Parameter, Node]) -> Updates:
        """Return the updates of one step with these gradients: {parameter, slot or count: its new value}."""
        for parameter, gradient in gradients.items():
            if not isinstance(parameter, Parameter):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise GraphError(f"expected a parameter to train, got {parameter!r}")
            if gradient.type != parameter.type:
                raise GraphError(f"the gradient has another type: {gradient.describe()}\n  {parameter.describe()}")
        count = self.step_count + 1
        updates: Updates = {self.step_count: count}
        scales = self.scales(count)
        for parameter, gradient in gradients.items():
            slots = self.slots_of(parameter)
            of_dtype = {name: scale.astype(parameter.dtype) for name, scale in scales.items()}
            new, changed = self.step(parameter, gradient, slots, of_dtype)
            updates[parameter] = new
            updates |= {slots[name]: value for name, value in changed.items()}
        return updates

    def slots_of(self, parameter: Parameter) -> dict[str, State]:
        """Return the states that stand beside a parameter, by name; made of zeros when first asked for."""
        if parameter not in self._slots:
            zeros = np.zeros(parameter.value.shape, parameter.value.dtype)
            self._slots[parameter] = {name: state(zeros, f"{parameter.name}.{name}") for name in self.slots}
        return self._slots[parameter]

    @property
    def states(self) -> dict[str, State]:
        """Every state by name, for saving and loading: the learning rate, the count, and the slots in order of use."""
        found = {"learning_rate": self.learning_rate, "step_count": self.step_count}
        for position, slots in enumerate(self._slots.values()):
            found |= {f"{position}.{name}": slot for name, slot in slots.items()}
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of every state as an array, by name."""
        return {name: slot.value.copy() for name, slot in self.states.items()}

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Copy arrays into the states of these names; GraphError, before anything changes, if the names differ."""
        states = self.states
        if states.keys() != arrays.keys():
            raise GraphError(f"load_state_dict: expected {sorted(states)}, got {sorted(arrays)}")
        for name, slot in states.items():
            slot.set(arrays[name])

    def scales(self, count: Node) -> dict[str, Node]:
        """Return the scalars that all parameters share in a step, as float64; `count` is the step's number, from 1."""
        return {"rate": self.learning_rate}

    def step(
        self, parameter: Node, gradient: Node, slots: Mapping[str, Node], scales: Mapping[str, Node]
    ) -> tuple[Node, dict[str, Node]]:
        """Return the parameter's new value and those of its slots."""
        raise NotImplementedError
