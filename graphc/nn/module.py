"""Modules: objects that own parameters and states and build a graph when called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from graphc.derivatives import substitute
from graphc.errors import GraphError
from graphc.graph.node import Node, Parameter, State


class Module:
    """A part of a network: assign parameters, states and modules to attributes in `__init__`, build nodes in `forward`.

    What is assigned is registered under the attribute's name, in the order of assignment. Whether a graph trains is no
    property of a module: `graphc.training()` is a value in the graph, which compile folds.
    """

    _members: dict[str, Parameter | State | Module]

    def __new__(cls, *args: Any, **kwargs: Any) -> Module:
        """Prepare registration, so that a subclass need not call super().__init__()."""
        self = super().__new__(cls)
        object.__setattr__(self, "_members", {})
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(value).__name__
        held: list[Any] = [*value.values()] if kind == "dict" else [*value] if kind == "list" else []
        if any(isinstance(one, Parameter | State | Module) for one in held):
            raise GraphError(
                f"{type(self).__name__}.{name}: what stands in a {kind} would be neither trained nor saved; "
                "expected nn.ModuleList([...]), or an attribute for each"
            )
        self._members.pop(name, None)
        if isinstance(value, Parameter | State | Module):
            self._members[name] = value
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._members.pop(name, None)
        object.__delattr__(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Build the graph of `forward`."""
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result's nodes; a subclass says how."""
        raise GraphError(f"{type(self).__name__} has no forward()")

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module (named by the prefix) and those inside it, each once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            inner = [(key, value) for key, value in module._members.items() if isinstance(value, Module)]
            stack.extend((f"{name}.{key}" if name else key, value) for key, value in reversed(inner))

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Yield names such as "0.weight" with parameters, each once."""
        for name, leaf in self._leaves(prefix):
            if isinstance(leaf, Parameter):
                yield name, leaf

    def named_states(self, prefix: str = "") -> Iterator[tuple[str, State]]:
        """Yield names with states (PyTorch's buffers), each once."""
        for name, leaf in self._leaves(prefix):
            if isinstance(leaf, State):
                yield name, leaf

    def parameters(self) -> list[Parameter]:
        """Return the parameters."""
        return [parameter for _, parameter in self.named_parameters()]

    def states(self) -> list[State]:
        """Return the states."""
        return [state for _, state in self.named_states()]

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of every parameter and state as an array, by name."""
        return {name: leaf.value.copy() for name, leaf in self._leaves("")}

    def load_state_dict(self, arrays: Mapping[str, Any], strict: bool = True) -> None:
        """Copy arrays into the parameters and states of these names.

        Raises GraphError, before anything is changed, if a name is missing or unknown (unless `strict` is false) or
        a shape differs, or an array holds no real numbers.
        """
        leaves = dict(self._leaves(""))
        missing, unknown = sorted(leaves.keys() - arrays.keys()), sorted(arrays.keys() - leaves.keys())
        if strict and (missing or unknown):
            raise GraphError(f"load_state_dict: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}")
        known = {name: np.asarray(array) for name, array in arrays.items() if name in leaves}
        for name, array in known.items():
            if array.shape != leaves[name].value.shape:
                raise GraphError(f"load_state_dict: {name} has shape {leaves[name].value.shape}, got {array.shape}")
            if array.dtype.kind not in "fiub":
                raise GraphError(f"load_state_dict: {name} is of {leaves[name].dtype}, got {array.dtype}")
        for name, array in known.items():
            leaves[name].set(array)

    def _leaves(self, prefix: str) -> Iterator[tuple[str, Parameter | State]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix):
            for name, value in module._members.items():
                if isinstance(value, Module) or id(value) in seen:
                    continue
                seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def __repr__(self) -> str:
        inner = [f"({name}): {value!r}" for name, value in self._members.items() if isinstance(value, Module)]
        if not inner:
            return f"{type(self).__name__}({self.extra_repr()})"
        body = "".join(f"\n  {line}" for entry in inner for line in entry.splitlines())
        return f"{type(self).__name__}({body}\n)"

    def extra_repr(self) -> str:
        """Return what stands in the brackets of the printed form."""
        return ""


class ModuleList(Module):
    """Modules in a list, registered under their positions."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.modules: tuple[Module, ...] = ()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        """Add a module at the end."""
        if not isinstance(module, Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GraphError(f"ModuleList: expected modules, got a {type(module).__name__}")
        setattr(self, str(len(self.modules)), module)
        self.modules = (*self.modules, module)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)

    def __getitem__(self, position: int) -> Module:
        return self.modules[position]


class Sequential(Module):
    """Modules (or functions of a node), one after another."""

    def __init__(self, *modules: Any) -> None:
        for position, module in enumerate(modules):
            if not callable(module):
                raise GraphError(
                    f"Sequential: expected modules or functions, as in Sequential(first, second); "
                    f"got a {type(module).__name__} at position {position}"
                )
        self.steps = modules
        for position, module in enumerate(modules):
            if isinstance(module, Module):
                setattr(self, str(position), module)

    def forward(self, x: Node) -> Node:
        for step in self.steps:
            x = step(x)
        return x

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, position: int) -> Any:
        return self.steps[position]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.steps)


def functional_call(module: Module, values: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Return what the module builds with other values in the place of its parameters and states, by name.

    values: {"0.weight": a node or an array of the same type}. The result may be any nesting of nodes.
    """
    leaves = {**dict(module.named_parameters()), **dict(module.named_states())}
    unknown = sorted(set(values) - leaves.keys())
    if unknown:
        raise GraphError(f"functional_call: no parameter or state is called {', '.join(unknown)}")
    return substitute(module(*args, **kwargs), {leaves[name]: value for name, value in values.items()})
