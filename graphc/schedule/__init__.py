"""Scheduling: from a graph to a plan of kernels and the buffers they use."""

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.schedule.draft import Draft
from graphc.schedule.region import Region
from graphc.simd.levels import Level


def schedule(graph: Graph, level: Level) -> Draft:
    """Return the kernels, buffers and steps of a graph that the passes have left.

    Buffers of inputs and outputs come in the graph's order; those of leaves in the order of `leaves(graph)`.
    """
    leaf_buffers: dict[Node, int] = {}
    draft = Draft(level, leaf_buffers)
    bound: dict[Node, int] = {}
    for position, node in enumerate(graph.inputs):
        bound[node] = draft.buffer(node.op.label, node.tensor, "input", position)  # type: ignore[attr-defined]
    for position, node in enumerate(leaves(graph)):
        leaf_buffers[node] = bound[node] = draft.buffer(node.op.label, node.tensor, "leaf", position)  # type: ignore[attr-defined]
    destinations = [
        (node, draft.buffer(f"output_{position}", node.tensor, "output", position))
        for position, node in enumerate(graph.outputs)
    ]
    updates = [(value, bound[target]) for target, value in graph.updates]
    draft.steps = tuple(Region(draft, graph, bound, destinations, updates).steps())
    draft.requirements = graph.requirements or ()
    return draft


def leaves(graph: Graph) -> tuple[Node, ...]:
    """Return the leaves with storage, in the order of a plan's leaf buffers."""
    return (*graph.parameters, *graph.states)
