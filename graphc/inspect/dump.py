"""A graph or an executable as a file: .txt to read, .json for programs, .dot for Graphviz."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from graphc.compiler import Executable
from graphc.errors import GraphError
from graphc.graph.graph import Graph
from graphc.graph.node import Leaf, Node, Stored
from graphc.graph.operators import located
from graphc.graph.text import attribute_text
from graphc.inspect.plan_text import plan_text
from graphc.records import names_of

_COLOURS = {"input": "#cfe8ff", "parameter": "#ffe2b8", "state": "#e8dcff"}


@located("dump")
def dump(graph_or_executable: Any, path: str | os.PathLike[str]) -> None:
    """Write a graph, or what an executable was compiled from and its plan, to a file.

    The ending chooses the form: `.txt` (typed A-normal form; for an executable also the plan and the kernels' source),
    `.json` (nodes, edges, updates; for an executable also the plan), `.dot` (Graphviz). Raises GraphError for others.
    """
    given: Any = graph_or_executable
    if isinstance(given, Executable):
        graph, executable = given.graph, given
    elif isinstance(given, Graph):
        graph, executable = given, None
    else:
        raise GraphError(f"dump: expected a Graph or an Executable, got {type(given).__name__}")
    ending = os.path.splitext(path)[1]
    writers: dict[str, Callable[[Graph, Executable | None], str]] = {".txt": _txt, ".json": _json, ".dot": _dot}
    if ending not in writers:
        raise GraphError(f"dump: expected a path that ends in {', '.join(writers)}; got {str(path)!r}")
    text = writers[ending](graph, executable)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _txt(graph: Graph, executable: Executable | None) -> str:
    parts = [str(graph) + "\n"]
    if executable is not None:
        parts += [plan_text(executable.plan), executable.source()]
    return "\n".join(parts)


def _json(graph: Graph, executable: Executable | None) -> str:
    numbers = {node: number for number, node in enumerate(_nodes(graph))}
    data: dict[str, Any] = {
        "nodes": [_node(node, numbers) for node in numbers],
        "inputs": [numbers[node] for node in graph.inputs],
        "outputs": [numbers[node] for node in graph.outputs],
        "updates": [[numbers[target], numbers[value]] for target, value in graph.updates],
        "requirements": [str(r) for r in graph.requirements or ()],
    }
    if executable is not None:
        data["plan"] = json.loads(executable.plan.to_json())
    return json.dumps(data, indent=1) + "\n"


def _node(node: Node, numbers: dict[Node, int]) -> dict[str, Any]:
    return {
        "id": numbers[node],
        "op": node.op.kind if isinstance(node.op, Leaf) else node.op.name,
        "name": node.op.label if isinstance(node.op, Leaf) else "",
        "type": str(node.type),
        "inputs": [numbers[operand] for operand in node.inputs],
        "attributes": {} if isinstance(node.op, Leaf) else _attributes(node),
        "origin": str(node.origin),
    }


def _attributes(node: Node) -> dict[str, str]:
    found = {name: getattr(node.op, name) for name in names_of(node.op)}
    return {name: str(value) if isinstance(value, Graph) else attribute_text(value) for name, value in found.items()}


def _dot(graph: Graph, executable: Executable | None) -> str:
    numbers = {node: number for number, node in enumerate(_nodes(graph))}
    lines = [
        "digraph graphc {",
        '  rankdir=LR; node [shape=box, style="rounded,filled", fillcolor=white, fontname=Helvetica];',
    ]
    for node, number in numbers.items():
        leaf = node.op if isinstance(node.op, Leaf) else None
        title = (leaf.label or leaf.kind) if leaf else node.op.name
        colour = f', fillcolor="{_COLOURS[leaf.kind]}"' if leaf and leaf.kind in _COLOURS else ""
        label = _quoted(f"{title}\\n{node.type}")
        lines.append(f'  n{number} [label="{label}", tooltip="{_quoted(str(node.origin))}"{colour}];')
        lines += [f"  n{numbers[operand]} -> n{number};" for operand in node.inputs]
    for k, node in enumerate(graph.outputs):
        lines += [f'  out{k} [label="output {k}", shape=plaintext, fillcolor=none];', f"  n{numbers[node]} -> out{k};"]
    lines += [
        f'  n{numbers[value]} -> n{numbers[target]} [style=dashed, label="update"];' for target, value in graph.updates
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return text.replace('"', '\\"')


def _nodes(graph: Graph) -> list[Node]:
    targets = [target for target, _ in graph.updates if isinstance(target, Stored)]
    return list(dict.fromkeys((*graph.inputs, *graph.nodes(), *targets)))
