"""A graph as a networkx.DiGraph, for algorithms that networkx has and for pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.records import names_of

if TYPE_CHECKING:
    from networkx import DiGraph

    from graphc.graph.graph import Graph


def to_networkx(graph: Graph) -> DiGraph[int]:
    """Return a DiGraph whose nodes are positions in topological order.

    Node attributes: `node`, `op` (its name), `type` as text, `origin`, `leaf`, `output` and
    `update` (positions among them, or None), and the op's own attributes. Edges carry `operand`, the tuple of positions
    at which the value is read.
    """
    from networkx import DiGraph

    view: DiGraph[int] = DiGraph()
    order = list(dict.fromkeys((*graph.inputs, *graph.nodes())))
    position = {node: k for k, node in enumerate(order)}
    outputs = {node: k for k, node in enumerate(graph.outputs)}
    updates = {value: k for k, (_, value) in enumerate(graph.updates)}
    for node, k in position.items():
        attributes: dict[str, Any] = {name: getattr(node.op, name) for name in names_of(node.op)}
        attributes |= {"node": node, "op": node.op.name, "type": str(node.type), "origin": str(node.origin)}
        attributes |= {"leaf": node.is_leaf, "output": outputs.get(node), "update": updates.get(node)}
        view.add_node(k, **attributes)
        readers: dict[int, list[int]] = {}
        for at, operand in enumerate(node.inputs):
            readers.setdefault(position[operand], []).append(at)
        for source, at in readers.items():
            view.add_edge(source, k, operand=tuple(at))
    return view
