"""Collecting updates: what `with_update` carries becomes an update of the graph, in training.

Each update that the outputs reach is collected. Two for one leaf are chained in the order of their construction: where the
second reads the leaf, it gets what the first wrote. An update inside a loop or a branch would be made several times or not
at all, so it is refused. What carried the updates stays, as a mark.
"""

from __future__ import annotations

from graphc.errors import GraphError
from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node
from graphc.ops.gradient_control import WithUpdate


def collect_updates(graph: Graph, training: bool) -> Graph:
    """Return the graph with the updates that it carries joined to its own if `training`, else as it is."""
    if not training:
        return graph
    _refuse_nested(graph)
    carried = [node for node in graph.nodes() if isinstance(node.op, WithUpdate)]
    return Graph(graph.inputs, graph.outputs, (*graph.updates, *_chained(carried, graph)), graph.requirements)


def _chained(carried: list[Node], graph: Graph) -> list[tuple[Node, Node]]:
    given = {target for target, _ in graph.updates}
    latest: dict[Node, Node] = {}
    seen: set[tuple[int, Node]] = set()
    for node in sorted(carried, key=_order):
        _, target, new = node.inputs
        if (_order(node), new) in seen:  # a copy made by batching or substitution carries the same update
            continue
        seen.add((_order(node), new))
        if target in given:
            raise GraphError(f"two updates of one leaf: with_update, and the updates given\n  {target.describe()}")
        latest[target] = walk.replace([new], {target: latest[target]})[0] if target in latest else new
    return list(latest.items())


def _order(node: Node) -> int:
    assert isinstance(node.op, WithUpdate)
    return node.op.order


def _refuse_nested(graph: Graph) -> None:
    pending = [sub for node in graph.nodes() for _, sub in subgraphs(node.op)]
    while pending:
        for node in pending.pop().nodes():
            if isinstance(node.op, WithUpdate):
                raise GraphError(f"with_update inside a loop or a branch; carry the state instead\n  {node.describe()}")
            pending.extend(sub for _, sub in subgraphs(node.op))
