"""What optimizers share: a learning rate and a step count that are states, slots beside each parameter, and updates."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from numbers import Real
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from graphc.derivatives import grad
from graphc.errors import AssignmentError, GraphError, OptionError
from graphc.graph import walk
from graphc.graph.node import Node, Parameter, State, state
from graphc.graph.operators import builder, located
from graphc.graph.structure import map_leaves
from graphc.ops.arithmetic import clip
from graphc.ops.gradient_control import clip_by_norm
from graphc.optim.updates import Updates
from graphc.origin import here, refuse_attribute

WHOLE_STEP = ("learning_rate", "clip_norm", "clip_value")


class Optimizer:
    """A training rule. A subclass names its slots and says what a gradient does to a parameter and to them.

    `learning_rate` (float64) and `step_count` (int64, the number of steps taken) are states: read their `.value` and
    change them by `.set`, while running too. `clip_norm` scales all gradients of a step so that their common Euclidean
    norm is at most this (see `graphc.clip_by_norm`; Keras: global_clipnorm); `clip_value` clips each element to
    [-clip_value, clip_value].

    A subclass keeps its options in attributes called as the arguments of its `__init__`, so that groups of
    parameters can have others, and then calls `check`.
    """

    def __init_subclass__(cls) -> None:
        """Let the errors of making one of graphc's own optimizers name the user's line."""
        super().__init_subclass__()
        if "__init__" in vars(cls) and cls.__module__.startswith("graphc."):
            cls.__init__ = located(None)(cls.__init__)

    @located("making an optimizer")
    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Refuse options that the rule does not have, before `__init__` would."""
        known: Mapping[str, Any] = inspect.signature(cls).parameters if options else {}
        for name in options:
            if name not in known:
                advice = f"; {_OPTIONS[name]}" if name in _OPTIONS else ""
                raise OptionError(f"{cls.__name__} has no option {name!r}{advice}; expected {', '.join(known)}")
        return super().__new__(cls)

    @located("making an optimizer")
    def __init__(
        self, learning_rate: float | State, clip_norm: float | None = None, clip_value: float | None = None
    ) -> None:
        self.learning_rate: State = _rate_of(learning_rate, type(self).__name__)
        self.step_count: State = state(np.int64(0), "step_count")
        self.clip_norm, self.clip_value = clip_norm, clip_value
        # What `scales` reads: the learning rate, or that of a group.
        self.rate: Node = self.learning_rate
        self._slots: dict[Parameter, dict[str, State]] = {}

    if not TYPE_CHECKING:  # A type checker is to report names that there are not.

        def __getattr__(self, name: str) -> NoReturn:
            refuse_attribute(self, name, ELSEWHERE)

    def __setattr__(self, name: str, value: object) -> None:
        # A step that is compiled reads the states that were there: a number in their place would change nothing.
        if name in vars(self) and name in ("learning_rate", "step_count"):
            raise AssignmentError(f"cannot assign to {name!r}; .{name}.set(number) changes it\n  at {here()}")
        if name in ELSEWHERE and not hasattr(type(self), name):
            raise AssignmentError(f"{type(self).__name__} has no {name!r}; {ELSEWHERE[name]}\n  at {here()}")
        object.__setattr__(self, name, value)

    @property
    def slots(self) -> dict[str, float]:
        """The names of the states beside each parameter, with what they are filled with at the start."""
        return {}

    def check(self) -> None:
        """Raise GraphError where an option has no meaning."""
        for name in ("clip_norm", "clip_value"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and float(value) > 0):
                raise GraphError(f"{type(self).__name__}: expected {name} above 0, or None; got {value!r}")
        if self.clip_norm is not None and self.clip_value is not None:
            raise GraphError(f"{type(self).__name__}: expected clip_norm or clip_value, got both")

    def minimize(
        self, loss: Node, parameters: Iterable[Parameter] | Iterable[Mapping[str, Any]] | None = None
    ) -> Updates:
        """Return the updates of one step down the gradient of a scalar.

        parameters: those to train; all that the loss depends on, unless given. Or groups with options of their own:
        [{"parameters": backbone.parameters(), "learning_rate": 1e-4}, {"parameters": head.parameters()}]. The learning
        rate of a group keeps its proportion to the optimizer's when that is set; a state of your own is taken as it is.
        Frozen parameters (see `Parameter.trainable`) are left out. Raises GraphError where there is nothing to train, or
        the loss does not depend on a parameter.
        """
        return _minimize(self, loss, parameters)

    def apply(
        self,
        gradients: Mapping[Parameter, Node],
        parameters: Iterable[Parameter] | Iterable[Mapping[str, Any]] | None = None,
    ) -> Updates:
        """Return the updates of one step with these gradients: {parameter, slot or count: its new value}.

        parameters: as in `minimize`; those that have a gradient, unless given. Frozen ones are left out.
        """
        return _apply(self, gradients, parameters)

    def __repr__(self) -> str:
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        shown = [f"{name}={getattr(self, name)!r}" for name in names if name != "learning_rate"]
        return f"{type(self).__name__}({', '.join([f'learning_rate={self.learning_rate.value}', *shown])})"

    def slots_of(self, parameter: Parameter) -> dict[str, State]:
        """Return the states that stand beside a parameter, by name; made when first asked for."""
        held = self._slots.setdefault(parameter, {})
        for name, start in self.slots.items():
            if name not in held:
                held[name] = state(np.full_like(parameter.value, start), f"{parameter.name}.{name}")
        return held

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
        return {"rate": self.rate}

    def update(
        self, parameter: Node, gradient: Node, slots: Mapping[str, Node], scales: Mapping[str, Node]
    ) -> tuple[Node, dict[str, Node]]:
        """Return the parameter's new value and those of its slots."""
        raise NotImplementedError

    def decayed(self, parameter: Node, gradient: Node) -> Node:
        """Return the gradient with that of the weight decay, weight_decay / 2 * sum(p^2), added."""
        decay: float = getattr(self, "weight_decay", 0.0)
        return gradient + parameter * decay if decay else gradient

    @located("making an optimizer")
    def demand(self, low: float, *names: str, below: float = math.inf) -> None:
        """Raise GraphError unless these options, or each number of a tuple, lie from `low` to below `below`."""
        for name in names:
            value = getattr(self, name)
            for number in value if isinstance(value, tuple | list) else (value,):  # pyright: ignore[reportUnknownVariableType]
                if not isinstance(number, Real) or not low <= float(number) < below:  # a NaN is refused, too
                    bounds = f"of {low} or more" if below == math.inf else f"from {low} to below {below}"
                    raise GraphError(f"{type(self).__name__}: expected {name} {bounds}, got {value!r}")

    def member(self, options: Mapping[str, Any]) -> Self:
        """Return this rule with other options: it shares states and slots, for a group of parameters."""
        kind = type(self).__name__
        known = [name for name in inspect.signature(type(self)).parameters if name not in WHOLE_STEP]
        member = copy(self)
        for name, value in options.items():
            if name == "learning_rate":
                member.rate = self._rate_of_group(value)
            elif name in known:
                setattr(member, name, value)
            elif name != "parameters":
                expected = ", ".join(["parameters", "learning_rate", *known])
                raise GraphError(f"{kind}: a group has no option {name!r}; expected {expected}")
        member.check()
        return member

    def _rate_of_group(self, value: Any) -> Node:
        kind = type(self).__name__
        own = _rate_of(value, kind)
        if isinstance(value, State):
            return own
        base = float(self.learning_rate.value)
        if not base:
            raise GraphError(f"{kind}: a group's learning rate is kept in proportion to the optimizer's, which is 0")
        return self.learning_rate * (float(value) / base)

    def _groups(self, parameters: Any) -> list[tuple[Self, list[Parameter]]]:
        """Return the rule and the trainable parameters of each group; one group of all where none are given."""
        if isinstance(parameters, Node) or not isinstance(parameters, Iterable):
            advice = "; give its parameters()" if callable(getattr(parameters, "parameters", None)) else ""
            raise GraphError(f"expected a list of parameters or of groups, got {_shown(parameters)}{advice}")
        given: list[Any] = list(parameters)  # pyright: ignore[reportUnknownArgumentType]
        if any(isinstance(entry, Mapping) for entry in given):
            for entry in given:
                if not isinstance(entry, Mapping) or "parameters" not in entry:
                    raise GraphError(f'expected only groups {{"parameters": [...], ...}}, got {_shown(entry)}')
            groups = [(self.member(entry), list(entry["parameters"])) for entry in given]
        else:
            groups = [(self, given)]
        seen: set[Parameter] = set()
        for _, members in groups:
            for parameter in members:
                if not isinstance(parameter, Parameter):
                    raise GraphError(f"expected a parameter to train, got {_shown(parameter)}")
                if parameter in seen:
                    raise GraphError(f"a parameter is given twice: {parameter.describe()}")
                seen.add(parameter)
        return [(rule, [parameter for parameter in members if parameter.trainable]) for rule, members in groups]

    def _clipped(self, gradients: dict[Parameter, Node]) -> dict[Parameter, Node]:
        if self.clip_value is not None:
            return map_leaves(lambda gradient: clip(gradient, -self.clip_value, self.clip_value), gradients)  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
        return gradients if self.clip_norm is None else clip_by_norm(gradients, self.clip_norm)


_STEP = "the updates of a step are compiled: step = graphc.compile([x, y], loss, updates=optimizer.minimize(loss))"
# What optimizers are called for in other frameworks, with what to do here.
ELSEWHERE = {
    **dict.fromkeys(("step", "apply_gradients"), f"{_STEP}; each call of it is a step"),
    "zero_grad": "gradients are nodes and hold nothing, so leave it out; minimize(loss) makes those of each step anew",
    "param_groups": "groups are given to minimize(loss, groups); .learning_rate.set(number) changes the rate of all",
    **dict.fromkeys(
        ("lr", "lr_scheduler"), "the rate is the state .learning_rate; .learning_rate.set(number) changes it"
    ),
    "iterations": "the number of steps taken is .step_count.value",
}
_OPTIONS = {
    "lr": "it is called learning_rate",
    "params": "parameters are given to minimize(loss, parameters)",
    "epsilon": "it is called eps",
    **dict.fromkeys(("beta_1", "beta_2", "beta1", "beta2"), "both stand in betas=(0.9, 0.999)"),
    "clipnorm": "clip_norm is for all gradients together",
    "clipvalue": "it is called clip_value",
}


@builder("minimize")
def _minimize(optimizer: Optimizer, loss: Node, parameters: Any) -> Updates:
    if not isinstance(loss, Node):  # pyright: ignore[reportUnnecessaryIsInstance]
        advice = "; call it, and give the node that it returns" if callable(loss) else ""
        raise GraphError(f"minimize: expected a loss, a node without dimensions, got {_shown(loss)}{advice}")
    if parameters is None:
        parameters = [node for node in walk.topological([loss]) if isinstance(node, Parameter)]
        if not parameters:
            raise GraphError(f"the loss depends on no parameter\n  {loss.describe()}")
    groups = optimizer._groups(parameters)  # pyright: ignore[reportPrivateUsage]
    chosen = [parameter for _, members in groups for parameter in members]
    if not chosen:
        raise GraphError("expected parameters to train, got none, or only frozen ones (whose trainable is False)")
    return _stepped(optimizer, groups, dict(zip(chosen, grad(loss, chosen), strict=True)))


@builder("apply")
def _apply(optimizer: Optimizer, gradients: Mapping[Parameter, Node], parameters: Any) -> Updates:
    if not isinstance(gradients, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        advice = "as in dict(zip(parameters, graphc.grad(loss, parameters)))"
        raise GraphError(f"apply: expected {{parameter: its gradient}}, {advice}, got {_shown(gradients)}")
    groups = optimizer._groups(list(gradients) if parameters is None else parameters)  # pyright: ignore[reportPrivateUsage]
    return _stepped(optimizer, groups, gradients)


def _stepped(
    optimizer: Optimizer, groups: Sequence[tuple[Optimizer, list[Parameter]]], gradients: Mapping[Parameter, Node]
) -> Updates:
    given: dict[Parameter, Node] = {}
    for parameter in (parameter for _, members in groups for parameter in members):
        gradient = gradients.get(parameter)
        if not isinstance(gradient, Node) or gradient.type != parameter.type:
            got = gradient.describe() if isinstance(gradient, Node) else _shown(gradient)
            raise GraphError(f"expected a gradient of type {parameter.type}, got {got}\n  for {parameter.describe()}")
        given[parameter] = gradient
    given = optimizer._clipped(given)  # pyright: ignore[reportPrivateUsage]
    count = optimizer.step_count + 1
    updates: dict[Node, Node] = {optimizer.step_count: count}
    for rule, members in groups:
        scales = rule.scales(count)
        of_dtype = {
            dtype: {name: scale.astype(dtype) for name, scale in scales.items()}
            for dtype in dict.fromkeys(parameter.dtype for parameter in members)
        }
        for parameter in members:
            slots = rule.slots_of(parameter)
            updates[parameter], changed = rule.update(parameter, given[parameter], slots, of_dtype[parameter.dtype])
            updates |= {slots[name]: value for name, value in changed.items()}
    return Updates(updates)


def _rate_of(value: Any, kind: str) -> State:
    """Return the state of a learning rate that is a number of 0 or more, or a state already."""
    if isinstance(value, State) and value.dtype.is_float and not value.shape:
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        advice = "a number (or a floating scalar state) as the learning rate; parameters are given to minimize(loss, parameters)"
        raise GraphError(f"{kind}: expected {advice}, got {_shown(value)}")
    number = float(value)
    if not 0 <= number < math.inf:
        raise GraphError(f"{kind}: expected a learning rate of 0 or more, got {value}")
    return state(np.float64(number), "learning_rate")


def _shown(value: Any) -> str:
    return value.describe() if isinstance(value, Node) else f"a {type(value).__name__}: {value!r:.60}"
