"""Modules that hold modules.

Shape: that of what the modules make.
Gradient: the chain rule's, through the modules.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any

from graphc.errors import GraphError, ShapeError
from graphc.graph.node import Node
from graphc.nn.arguments import differ
from graphc.nn.module import Module


class Sequential(Module):
    """Modules, or functions of a node, one after another.

    Slices are a Sequential of the same modules; `append` adds one at the end.

    Formula: for module in modules: x = module(x).
    Source: `torch.nn.Sequential`.
    """

    def __init__(self, *modules: Any) -> None:
        self.steps: tuple[Any, ...] = ()
        for module in modules:
            self.append(module)

    def append(self, module: Any) -> Sequential:
        """Add a module or a function at the end, and return this module."""
        position = len(self.steps)
        if not callable(module):
            raise GraphError(
                f"Sequential: expected modules or functions, as in Sequential(first, second); "
                f"got a {type(module).__name__} at position {position}"
            )
        if isinstance(module, type) and issubclass(module, Module):
            raise GraphError(
                f"Sequential: expected a module, got the class {module.__name__} at position {position}; "
                f"write {module.__name__}(...)"
            )
        if isinstance(module, Module):
            setattr(self, str(position), module)
        self.steps = (*self.steps, module)
        return self

    def forward(self, x: Node) -> Node:
        for step in self.steps:
            x = step(x)
        return x

    def _parts(self) -> Iterator[tuple[str, Any]]:
        for position, step in enumerate(self.steps):
            yield str(position), step if isinstance(step, Module) else getattr(step, "__name__", repr(step))

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, position: int | slice) -> Any:
        return Sequential(*self.steps[position]) if isinstance(position, slice) else self.steps[position]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.steps)


class Residual(Module):
    """body(x) + shortcut(x), or body(x) + x: both must give one shape.

    shortcut: a module or a function, such as a convolution of one element that changes the number of channels.

    Formula: body(x) + shortcut(x).
    Source: He et al., Deep Residual Learning for Image Recognition, 2016.
    """

    def __init__(self, body: Any, shortcut: Any = None) -> None:
        for what, part in (("body", body), ("shortcut", shortcut)):
            if not callable(part) and part is not None:
                raise GraphError(f"Residual: expected a module or a function as {what}, got a {type(part).__name__}")
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Node) -> Node:
        inner = self.body(x)
        outer = x if self.shortcut is None else self.shortcut(x)
        if inner.ndim != outer.ndim or any(map(differ, inner.shape, outer.shape)):
            raise ShapeError(f"Residual: expected one shape, got {inner.type} of the body and {outer.type} beside it")
        return inner + outer


class ModuleList(Module):
    """Modules in a list, registered under their positions."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end, and return this one."""
        setattr(self, str(len(self)), _checked(module, "ModuleList"))
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add modules at the end, and return this one."""
        if not isinstance(modules, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GraphError(
                "ModuleList: expected a list of modules, as in ModuleList([first, second]); "
                f"got a {type(modules).__name__}"
            )
        for module in modules:
            self.append(module)
        return self

    def __iter__(self) -> Iterator[Module]:
        return iter(self.children())

    def __len__(self) -> int:
        return len(self.children())

    def __getitem__(self, position: int | slice) -> Any:
        chosen = self.children()[position]
        return ModuleList(chosen) if isinstance(chosen, list) else chosen


class ModuleDict(Module):
    """Modules in a dict, registered under their keys."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        try:
            named = dict(modules)
        except (TypeError, ValueError):
            kind = type(modules).__name__
            raise GraphError(f"ModuleDict: expected modules by name, as {{'name': module}}, got a {kind}") from None
        for name, module in named.items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(name, str) or not name or "." in name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GraphError(f"ModuleDict: expected a name without dots, got {name!r}")
        # No attribute, so that a key may be called like a method.
        self._members[name] = _checked(module, "ModuleDict")

    def __getitem__(self, name: str) -> Module:
        return self._held[name]

    def __delitem__(self, name: str) -> None:
        del self._members[name]

    @property
    def _held(self) -> dict[str, Module]:
        return dict(zip(self._members, self.children(), strict=True))

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._held.keys()

    def values(self) -> ValuesView[Module]:
        """Return the modules."""
        return self._held.values()

    def items(self) -> ItemsView[str, Module]:
        """Return names with modules."""
        return self._held.items()

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __len__(self) -> int:
        return len(self._members)


def _checked(module: Any, what: str) -> Module:
    if not isinstance(module, Module):
        raise GraphError(f"{what}: expected modules, got a {type(module).__name__}")
    return module
