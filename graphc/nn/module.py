"""Modules: objects that own parameters and states and build a graph when called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from graphc.derivatives import substitute
from graphc.errors import GraphcError, GraphError, OptionError
from graphc.graph.node import Node, Parameter, State
from graphc.graph.operators import located, misfit
from graphc.graph.structure import leaves
from graphc.origin import locate, refuse_attribute


class Module:
    """A part of a network: assign parameters, states and modules to attributes in `__init__`, build nodes in `forward`.

    What is assigned is registered under the attribute's name, in the order of assignment. Whether a graph trains is no
    property of a module: `graphc.training()` is a value in the graph, which compile folds.
    """

    _members: dict[str, Parameter | State | Module]

    def __init_subclass__(cls) -> None:
        """Let the errors of making one of graphc's own modules name the user's line."""
        super().__init_subclass__()
        if "__init__" in vars(cls) and cls.__module__.startswith("graphc."):
            cls.__init__ = located(None)(cls.__init__)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Prepare registration, so that a subclass need not call super().__init__()."""
        self = super().__new__(cls)
        object.__setattr__(self, "_members", {})
        return self

    @located(None)
    def __init__(self) -> None:
        """Take no arguments: a module that wants some says which."""

    @located("setting an attribute")
    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(value).__name__
        held: list[Any] = leaves(value) if kind in ("dict", "list", "tuple") else []
        known = {id(member) for member in self._members.values()}
        if any(isinstance(one, Parameter | State | Module) and id(one) not in known for one in held):
            raise GraphError(
                f"{type(self).__name__}.{name}: what stands in a {kind} would be neither trained nor saved; "
                "expected nn.ModuleList([...]) or nn.ModuleDict({...}), or an attribute for each"
            )
        self._members.pop(name, None)
        if isinstance(value, Parameter | State | Module):
            self._members[name] = value
        object.__setattr__(self, name, value)

    if not TYPE_CHECKING:  # A type checker is to report names that there are not.

        def __getattr__(self, name: str) -> NoReturn:
            refuse_attribute(self, name, ELSEWHERE)

    def __delattr__(self, name: str) -> None:
        self._members.pop(name, None)
        object.__delattr__(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Build the graph of `forward`; errors name the module and the user's line."""
        try:
            return self.forward(*args, **kwargs)
        except GraphcError as error:
            # Of modules inside one another the innermost is named: which layer of many it was.
            if not getattr(error, "in_module", False):
                self._locate(error, (*args, *kwargs.values()))
                error.in_module = True  # type: ignore[attr-defined]
            raise
        except TypeError as error:
            # One frame: forward never ran, so it is the call that is wrong.
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            refusal = OptionError(misfit(error, type(self).__name__, self.forward, kwargs))
            self._locate(refusal, (*args, *kwargs.values()))
            raise refusal from None

    def _locate(self, error: GraphcError, operands: Iterable[Any]) -> None:
        locate(error, type(self).__name__, tuple(one.describe() for one in operands if isinstance(one, Node)))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result's nodes; a subclass says how."""
        raise GraphError(f"{type(self).__name__} has no forward()")

    def children(self) -> list[Module]:
        """Return the modules that are attributes of this one."""
        return [value for value in self._members.values() if isinstance(value, Module)]

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module (named by the prefix) and those inside it, each once."""
        seen: set[int] = set()
        for name, module in self._modules(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _modules(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """Yield this module and those inside it, by every name but those that lead in a circle."""
        stack: list[tuple[str, Module, tuple[Module, ...]]] = [(prefix, self, ())]
        while stack:
            name, module, around = stack.pop()
            yield name, module
            around = (*around, module)
            inner = [(key, value) for key, value in module._members.items() if isinstance(value, Module)]
            stack.extend(
                (f"{name}.{key}" if name else key, value, around)
                for key, value in reversed(inner)
                if value not in around
            )

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

    @property
    def trainable(self) -> bool:
        """Whether optimizers train every parameter in it.

        Set it to freeze them all, or to train them again; `Parameter.trainable` does it for one.
        """
        return all(parameter.trainable for parameter in self.parameters())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for parameter in self.parameters():
            parameter.trainable = value

    def states(self) -> list[State]:
        """Return the states."""
        return [state for _, state in self.named_states()]

    def apply(self, function: Callable[[Module], object]) -> Self:
        """Call a function on each module inside this one and then on this one, and return it: for initial weights."""
        for _, module in reversed(list(self.named_modules())):
            function(module)
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of every parameter and state as an array, by name; what is shared has all its names."""
        return {name: leaf.value.copy() for name, leaf in self._named("")}

    @located("load_state_dict")
    def load_state_dict(self, arrays: Mapping[str, Any], strict: bool = True, layout: str | None = None) -> None:
        """Copy arrays into the parameters and states of these names.

        layout: "pytorch" converts the arrays of a module of PyTorch, where channels come first: filters, and the columns of
        a Linear that reads what Flatten made of images, now or when the graph is first built. Raises GraphError, before
        anything is changed, if a name is missing or unknown (unless `strict` is false) or a shape differs, or an array holds
        no real numbers.
        """
        if layout not in (None, "pytorch"):
            raise GraphError(f"expected layout to be None or 'pytorch', got {layout!r}")
        owners = {name: (module, key) for name, module, key, _ in self._owned("")}
        stored = dict(self._named(""))
        missing, unknown = sorted(stored.keys() - arrays.keys()), sorted(arrays.keys() - stored.keys())
        if strict and (missing or unknown):
            raise GraphError(f"missing {missing or 'nothing'}, unknown {unknown or 'nothing'}")
        known = {name: np.asarray(array) for name, array in arrays.items() if name in stored}
        for name, array in known.items():
            module, key = owners[name]
            known[name] = array = module.converted(key, array) if layout else array
            if array.shape != stored[name].value.shape:
                raise GraphError(f"{name} has shape {stored[name].value.shape}, got {array.shape}")
            if array.dtype.kind not in "fiub":
                raise GraphError(f"{name} is of {stored[name].dtype}, got {array.dtype}")
        for name, array in known.items():
            stored[name].set(array)
            owners[name][0].loaded(owners[name][1], layout)

    def converted(self, name: str, array: Any) -> Any:
        """Return an array that PyTorch has for one of this module's own parameters or states, as it stands here."""
        return array

    def loaded(self, name: str, layout: str | None) -> None:
        """Note that one of this module's own parameters or states was loaded."""

    def _leaves(self, prefix: str) -> Iterator[tuple[str, Parameter | State]]:
        """Yield the parameters and states under their first names, each once."""
        seen: set[int] = set()
        for name, leaf in self._named(prefix):
            if id(leaf) not in seen:
                seen.add(id(leaf))
                yield name, leaf

    def _named(self, prefix: str) -> Iterator[tuple[str, Parameter | State]]:
        """Yield the parameters and states by every name: tied weights have several."""
        for name, _, _, leaf in self._owned(prefix):
            yield name, leaf

    def _owned(self, prefix: str) -> Iterator[tuple[str, Module, str, Parameter | State]]:
        """Yield each name of a parameter or a state, the module that has it, its name there, and itself."""
        for path, module in self._modules(prefix):
            for name, value in module._members.items():
                if not isinstance(value, Module):
                    yield (f"{path}.{name}" if path else name), module, name, value

    def __repr__(self) -> str:
        return self._form(counted=False)

    def __str__(self) -> str:
        parameters = self.parameters()
        total = sum(parameter.value.size for parameter in parameters)
        frozen = sum(parameter.value.size for parameter in parameters if not parameter.trainable)
        note = f", {frozen:,} of them frozen" if frozen else ""
        return f"{self._form(counted=True)}\n{total:,} parameters{note}"

    def _form(self, counted: bool) -> str:
        count = sum(parameter.value.size for parameter in self.parameters()) if counted else 0
        note = f"  # {count:,}" if count else ""
        inner = [
            f"({name}): {part._form(counted) if isinstance(part, Module) else part}" for name, part in self._parts()
        ]
        extra, kind = self.extra_repr(), type(self).__name__
        if not inner:
            return f"{kind}({extra}){note}"
        lines = [line for entry in ([extra] if extra else []) + inner for line in entry.splitlines()]
        return "\n".join([f"{kind}({note}", *(f"  {line}" for line in lines), ")"])

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """Yield what the printed form shows inside this module, by name."""
        yield from ((name, value) for name, value in self._members.items() if isinstance(value, Module))

    def extra_repr(self) -> str:
        """Return what stands in the brackets of the printed form."""
        return ""


_PHASE = "a module has no phase: graphc.compile(..., training=...) says it, and is true where there are updates"
_STEP = "compile a step: step = graphc.compile([x, y], {'loss': loss}, updates=optimizer.minimize(loss))"
# What modules are called for in other frameworks, with what to do here.
ELSEWHERE = {
    **dict.fromkeys(("train", "eval"), _PHASE),
    **dict.fromkeys(("to", "cuda", "cpu"), "graphc computes on CPUs; dtypes are given where a module is made (dtype=)"),
    **dict.fromkeys(("float", "double", "half"), "a dtype is given where a module is made (dtype=)"),
    "zero_grad": "gradients are nodes and hold nothing: graphc.grad(loss, parameters), or optimizer.minimize(loss)",
    "requires_grad_": "set .trainable, of a module or of a parameter",
    "fit": f"{_STEP}, and then graphc.fit(step, {{x: array, y: array}})",
    **dict.fromkeys(("compile", "backward"), _STEP),
    "predict": "compile it: predict = graphc.compile([x], net(x))",
    **dict.fromkeys(("named_buffers", "buffers"), "they are states here: named_states() and states()"),
    **dict.fromkeys(
        ("register_parameter", "register_buffer"), "assign a graphc.parameter or graphc.state to an attribute"
    ),
    **dict.fromkeys(("add_module", "register_module"), "assign the module to an attribute"),
    "modules": "use named_modules()",
    "named_children": "use children() or named_modules()",
    "summary": "print(module) shows its modules with their numbers of parameters",
    "layers": "the modules inside are its children()",
    "add": "give all of them: nn.Sequential(first, second)",
    **dict.fromkeys(("weights", "trainable_weights", "variables", "trainable_variables"), "use parameters()"),
    **dict.fromkeys(
        ("get_weights", "save_weights", "save"), "state_dict() has them as arrays, for numpy.savez(path, **arrays)"
    ),
    **dict.fromkeys(
        ("set_weights", "load_weights", "load"), "load_state_dict(arrays) sets them, as from numpy.load(path)"
    ),
}


@located("functional_call")
def functional_call(module: Module, values: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Return what the module builds with other values in the place of its parameters and states, by name.

    values: {"0.weight": a node or an array of the same type}. The result may be any nesting of nodes.
    """
    stored = {**dict(module.named_parameters()), **dict(module.named_states())}
    unknown = sorted(set(values) - stored.keys())
    if unknown:
        raise GraphError(f"no parameter or state is called {', '.join(unknown)}; expected some of {', '.join(stored)}")
    return substitute(module(*args, **kwargs), {stored[name]: value for name, value in values.items()})
