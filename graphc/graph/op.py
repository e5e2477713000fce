"""What to compute: the base of every op, and how an op asks for something of symbolic sizes.

An op's attributes are dataclass fields; equal fields make equal ops. Its type rule, meaning, derivatives, batching and
lowering are its methods, so everything about one op stands together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self

from graphc import dims
from graphc.dims import Atom, Dim, Symbol
from graphc.errors import GraphError, ShapeError
from graphc.graph.operators import called
from graphc.graph.types import resize
from graphc.origin import here
from graphc.records import names_of, record, replace
from graphc.requirements import Requirement

if TYPE_CHECKING:
    from graphc.graph.bodies import Body
    from graphc.graph.node import Node

_collected: ContextVar[list[Requirement] | None] = ContextVar("_collected", default=None)


@record
class Op:
    """The base of all ops.

    Ops with several results have a `TupleType`; for them arrays, cotangents and tangents are tuples, with None for a
    cotangent or tangent that is zero. Ops demand equal shapes and dtypes; builders insert what makes them equal.
    Methods take as many inputs as the op has; `**_` in the signatures here only lets type checkers accept that.
    """

    name: ClassVar[str] = "op"
    pure: ClassVar[bool] = True
    is_native: ClassVar[bool] = False

    def infer(self, *inputs: Any, **_: Any) -> Any:
        """Return the type of the result; raise ShapeError or DTypeError, or call `require`, where inputs do not fit."""
        raise NotImplementedError(self.name)

    def numpy(self, *inputs: Any, **_: Any) -> Any:
        """Return the result on arrays: the meaning of the op. Sizes in its fields are integers by then (see `bind`)."""
        raise NotImplementedError(self.name)

    def vjp(self, node: Node, cotangent: Any) -> tuple[Node | None, ...]:
        """Return the cotangent of each input, None where it is zero or the input is no float."""
        raise GraphError(f"{self.name} has no derivative")

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Any:
        """Return the tangent of the result, None if it is zero; at least one tangent is given."""
        raise GraphError(f"{self.name} has no derivative")

    def tangents_read(self, node: Node) -> tuple[Node, ...]:
        """Return the operands whose tangents `jvp` reads; what leads to no others gets no tangent."""
        return node.inputs

    def vmap(self, node: Node, batched: tuple[Node | None, ...]) -> Any:
        """Return the op over a batch: `batched[k]` is input k with a new leading axis, None if it is the same for all.

        At least one input is batched. The result has the new axis first.
        """
        raise GraphError(f"{self.name} cannot be batched; write it with graphc.map")

    def lower(self, out: Any, *inputs: Any, **_: Any) -> Body:
        """Return how it computes."""
        raise GraphError(f"{self.name} cannot be lowered")

    def bind(self, sizes: Mapping[str, int]) -> Self:
        """Return the same op with its symbols replaced by sizes."""
        return self.resize({Symbol(name): size for name, size in sizes.items()})

    def resize(self, sizes: dict[Atom, Dim]) -> Self:
        """Return the same op with atoms in its fields replaced."""
        if not sizes:
            return self
        old = {name: getattr(self, name) for name in names_of(self)}
        changed = {name: new for name, value in old.items() if (new := resize(value, sizes)) is not value}
        return replace(self, **changed) if changed else self


def require(left: Dim, relation: str, right: Dim, reason: str | Callable[[], str]) -> None:
    """Demand `left` RELATION `right` (==, >=, divides) of the sizes: an error if it cannot hold, else a requirement.

    `reason` says which operation needs it, or is a function that does, called where that is of use to somebody. Called in
    `Op.infer`; the requirement goes to the node that is being made, and is checked when sizes are known.
    """
    if relation == "divides":
        if dims.remainder(right, left) == 0 and left != 0:
            return
        impossible = isinstance(left, int) and isinstance(right, int)
    elif relation == "==":
        if left == right:
            return
        difference = left - right
        impossible = (
            isinstance(difference, int)
            or dims.is_nonnegative(difference - 1)
            or dims.is_nonnegative(-1 * difference - 1)
        )
    else:
        difference = left - right
        if dims.is_nonnegative(difference):
            return
        impossible = dims.is_nonnegative(-1 * difference - 1)
    why = reason if isinstance(reason, str) else reason()
    if impossible:
        raise ShapeError(f"{why}: expected {left} {relation} {right}")
    collected = _collected.get()
    if collected is not None:
        builder = called()
        named = why if builder is None or why.startswith(builder) else f"{builder}: {why}"
        collected.append(Requirement(left, relation, right, named, str(here())))


def inherit(requirements: tuple[Requirement, ...]) -> None:
    """Hand on, in the `infer` of an op that holds a graph, what that graph requires."""
    collected = _collected.get()
    if collected is not None:
        collected.extend(requirements)


def infer(op: Op, types: tuple[Any, ...]) -> tuple[Any, tuple[Requirement, ...]]:
    """Return the type of an op on inputs of these types, and what it requires of the sizes."""
    collected: list[Requirement] = []
    token = _collected.set(collected)
    try:
        return op.infer(*types), tuple(dict.fromkeys(collected))
    finally:
        _collected.reset(token)
