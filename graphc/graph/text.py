"""The printed form of a graph: typed A-normal form.

    graph(%0: float32[batch, 3]) requires 4 divides batch:
      %1: parameter float32[3, 2]
      %2: float32[batch, 2] = contract(%0, %1) {domain: ..., ...}
      return %2
      update %1 <- %7

Names are positions, so graphs that are equal up to their leaves' names print the same.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.dims import Axis
from graphc.graph.node import Constant, Leaf, Node
from graphc.graph.op import Op
from graphc.graph.types import NodeType, TensorType
from graphc.origin import Origin
from graphc.records import is_left_out, names_of

if TYPE_CHECKING:
    from graphc.graph.graph import Graph


def text(graph: Graph, comments: bool = False) -> str:
    """Return the printed form; with `comments`, leaf names and the user's lines follow as comments."""
    return "\n".join(_lines(graph, "graph", comments))


def _lines(graph: Graph, title: str, comments: bool) -> list[str]:
    names: dict[Node, str] = {}

    def name(node: Node) -> str:
        return names.setdefault(node, f"%{len(names)}")

    def remark(node: Node) -> str:
        if not comments:
            return ""
        called = f"{node.op.label} " if isinstance(node.op, Leaf) and node.op.label else ""
        return f"  # {called}{_written(node.origin)}"

    inputs = ", ".join(f"{name(node)}: {_written(node.type)}" for node in graph.inputs)
    needs = f" requires {', '.join(str(r) for r in graph.requirements)}" if graph.requirements else ""
    lines = [f"{title}({inputs}){needs}:"]
    if comments and graph.inputs:
        lines += [f"  # {names[node]}:{remark(node)[3:]}" for node in graph.inputs]
    targets = [target for target, _ in graph.updates]
    for node in dict.fromkeys((*graph.nodes(), *targets)):
        if isinstance(node.op, Leaf):
            if node not in names:
                lines.append(f"  {name(node)}: {node.op.kind} {_written(node.type)}{remark(node)}")
            continue
        operands = ", ".join(names[operand] for operand in node.inputs)
        plain, nested = _attributes(node.op)
        lines.append(f"  {name(node)}: {_written(node.type)} = {node.op.name}({operands}){plain}{remark(node)}")
        for field, inner in nested:
            lines += ["    " + line for line in _lines(inner, field, comments)]
    if graph.outputs:
        lines.append(f"  return {', '.join(names[node] for node in graph.outputs)}")
    lines += [f"  update {names[target]} <- {names[value]}" for target, value in graph.updates]
    return lines


def fingerprint(graph: Graph) -> str:
    """Return a hash of the printed form with its comments: what the plan cache knows a graph by.

    What a node is apart from its operands is written once for all nodes that have it alike, as nodes copied from others do.
    """
    kinds: dict[str, int] = {}
    known: dict[tuple[int, int, int], int] = {}
    numbers: dict[Node, int] = {}
    words = array("Q", (len(graph.inputs), len(graph.outputs)))
    for node in dict.fromkeys((*graph.inputs, *graph.nodes(), *(target for target, _ in graph.updates))):
        parts = id(node.op), id(node.type), id(node.origin)
        kind = known.get(parts)
        if kind is None:
            kind = known[parts] = kinds.setdefault(_kind(node), len(kinds))
        numbers[node] = len(numbers)
        words.append(kind)
        words.append(len(node.inputs))
        words.extend([numbers[operand] for operand in node.inputs])
    words.extend([numbers[node] for node in graph.outputs])
    words.extend([numbers[node] for update in graph.updates for node in update])
    digest = hashlib.sha256("\n".join((*map(str, graph.requirements or ()), "", *kinds)).encode())
    digest.update(words.tobytes())
    return digest.hexdigest()


def _kind(node: Node) -> str:
    """Return all of a node but its operands."""
    if isinstance(node.op, Leaf):
        return f"{node.op.kind} {node.op.label!r} {_written(node.type)} {_written(node.origin)}"
    plain, nested = _attributes(node.op)
    inner = "".join(f" {field} {fingerprint(graph)}" for field, graph in nested)
    return f"{node.op.name}{plain}{inner} {_written(node.type)} {_written(node.origin)}"


@lru_cache(maxsize=4096)
def _written(value: NodeType | Origin) -> str:
    """Return the text of what many nodes of a graph have alike."""
    return str(value)


def _attributes(op: Op) -> tuple[str, list[tuple[str, Graph]]]:
    if isinstance(op, Constant):
        return f" {{{op.digest} {_short(op.value)}}}", []
    plain: list[str] = []
    nested: list[tuple[str, Graph]] = []
    for name in names_of(op):
        value: Any = getattr(op, name)
        if hasattr(value, "with_roots"):
            nested.append((name, value))
        elif not is_left_out(op, name):
            plain.append(f"{name}: {attribute_text(value)}")
    return (f" {{{', '.join(plain)}}}" if plain else ""), nested


def _short(array: Any) -> str:
    if array.ndim == 0:
        return str(array[()])
    return np.array2string(array, threshold=4, edgeitems=1, separator=", ").replace("\n", "")


def attribute_text(value: Any) -> str:
    """Return the printed form of an op's attribute."""
    match value:
        case tuple():
            return f"[{', '.join(attribute_text(item) for item in value)}]"  # pyright: ignore
        case Axis(axis, extent):
            return f"{axis} < {extent}"
        case TensorType():
            return _written(value)
        case FunctionType():
            digest = hashlib.sha256("\n".join(_function_parts(value, set())).encode()).hexdigest()[:16]
            return f"{value.__module__}.{value.__qualname__} {digest}"
        case _:
            return repr(value)


def function_name(function: Callable[..., Any], prefix: str) -> str:
    """Return the name by which kernels call a function: equal code has equal names, so objects can be cached."""
    return f"{prefix}_{hashlib.sha256(attribute_text(function).encode()).hexdigest()[:16]}"


def _function_parts(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    """Yield all that decides what a function computes: its code, and the values that it takes from around it."""
    if function in seen:
        return
    seen.add(function)
    yield from _code_parts(function.__code__)
    names = [name for code in _codes(function.__code__) for name in code.co_names]
    around = [cell.cell_contents for cell in function.__closure__ or ()]
    around += [function.__globals__[name] for name in names if name in function.__globals__]
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *around):
        # What Numba compiled holds the function it came from.
        value = getattr(value, "py_func", value)
        match value:
            case FunctionType():
                yield from _function_parts(value, seen)
            case ModuleType():
                numbers = {name: vars(value).get(name) for name in names}
                held = [f"{name} {number!r}" for name, number in numbers.items() if isinstance(number, int | float)]
                yield f"{value.__name__} {held}"
            case np.ndarray():
                array: Any = value  # pyright: ignore[reportUnknownVariableType]
                yield f"{array.dtype} {array.shape} {array.tobytes().hex()}"
            case _:
                yield f"{type(value).__qualname__} {value!r}"


def _code_parts(code: CodeType) -> Iterator[str]:
    for one in _codes(code):
        yield f"{one.co_code.hex()} {one.co_names}"
        # The repr of a nested code object holds its address, which changes from run to run.
        yield from (repr(constant) for constant in one.co_consts if not isinstance(constant, CodeType))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a function's code and that of the functions written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
