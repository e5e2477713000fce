"""Functions that build nodes once, and copy them for other operands of equal types.

Equal layers make equal nodes, and so does an optimizer of parameters of equal shapes. To check types and shapes of a node takes
ten times as long as to make another one like it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

from graphc.dtypes import default_dtype
from graphc.graph import walk
from graphc.graph.graph import subgraphs
from graphc.graph.node import Leaf, Node, trace_start
from graphc.graph.op import Op
from graphc.graph.structure import leaves, map_leaves, rebuild
from graphc.graph.types import NodeType
from graphc.origin import Origin, here
from graphc.requirements import Requirement

P = ParamSpec("P")
R = TypeVar("R")

# Patterns that one function remembers; a model with more kinds of layers builds those anew.
_LIMIT = 1024


class _Unknown(Exception):
    """A value that cannot be compared."""


class _Pattern(NamedTuple):
    """What was built, without its operands.

    Nodes are numbered: operands, fixed ones, then those of the steps. A step is an op, the numbers of what it reads, its type and
    what it requires; the result has numbers for leaves.
    """

    steps: tuple[tuple[Op, tuple[int, ...], NodeType, tuple[Requirement, ...]], ...]
    fixed: tuple[Node, ...]
    result: Any

    def on(self, operands: Collection[Node], origin: Origin) -> Any:
        nodes = [*operands, *self.fixed]
        for op, reads, type, requirements in self.steps:
            nodes.append(Node(op, tuple([nodes[k] for k in reads]), type, origin, requirements))
        return map_leaves(nodes.__getitem__, self.result)


def built_once(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function build nodes once for equal arguments, called from one line of the user's, and copy them for others.

    Nodes count as equal if their types are. So the function must look at nothing of its nodes but the types, read nothing
    that may change, and draw no random numbers. It takes its arguments by position.
    """
    patterns: dict[Any, _Pattern] = {}

    @wraps(function)
    def build(*args: P.args, **kwargs: P.kwargs) -> R:
        assert not kwargs
        operands: dict[Node, int] = {}
        fixed: dict[Node, None] = {}
        origin = here()
        try:
            key = origin, default_dtype(), *(_key(value, operands, fixed) for value in args)
        except _Unknown:
            return function(*args, **kwargs)
        found = patterns.get(key)
        if found is not None:
            return found.on(operands, origin)
        start = trace_start()
        result = function(*args, **kwargs)
        if (made := _pattern(result, operands, fixed, start)) is not None:
            if len(patterns) >= _LIMIT:
                patterns.clear()
            patterns[key] = made
        return result

    return build


def _key(value: Any, operands: dict[Node, int], fixed: dict[Node, None]) -> Any:
    """Return what equal arguments have alike, and note the nodes among them."""
    match value:
        case Node() if _is_fixed(value):
            fixed[value] = None
            return value.op
        case Node():
            return value.type, operands.setdefault(value, len(operands))
        case tuple():
            return tuple([_key(item, operands, fixed) for item in value])  # pyright: ignore[reportUnknownVariableType]
        case None | bool() | int() | float() | str():
            return type(value), repr(value)  # numbers of several kinds are equal, and so are both zeros
        case _:
            raise _Unknown


def _is_fixed(node: Node) -> bool:
    """Whether a graph inside may keep a node, as it does the phase."""
    return isinstance(node.op, Leaf) and node.op.kind == "training"


def _pattern(result: Any, operands: Mapping[Node, int], fixed: Collection[Node], start: int) -> _Pattern | None:
    """Return the pattern of what was built since serial number `start`; None if it holds nodes that are older."""
    found = leaves(result)
    numbers = {node: number for number, node in enumerate((*operands, *fixed))}
    steps: list[Any] = []
    for node in walk.topological(found, stop=numbers.keys()):
        if node in numbers:
            continue
        if node.__class__ is not Node or _holds_older((node,), fixed, start):
            return None
        steps.append((node.op, tuple(numbers[operand] for operand in node.inputs), node.type, node.requirements))
        numbers[node] = len(numbers)
    return _Pattern(tuple(steps), tuple(fixed), rebuild(result, [numbers[node] for node in found]))


def _holds_older(nodes: Sequence[Node], fixed: Collection[Node], start: int) -> bool:
    """Whether some of the nodes, or of those in graphs inside them, were made before and are not among the fixed ones."""
    return any(
        (node.serial < start and node not in fixed)
        or any(_holds_older(graph.nodes(), fixed, start) for _, graph in subgraphs(node.op))
        for node in nodes
    )
