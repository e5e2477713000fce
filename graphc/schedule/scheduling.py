"""The scheduler's entry: from a graph to a draft of its plan."""

from collections.abc import Sequence

from graphc.graph.graph import Graph
from graphc.graph.node import Node, Stored
from graphc.schedule.draft import Draft
from graphc.schedule.region import Region
from graphc.schedule.trial import Choose
from graphc.simd.levels import Level


def schedule(graph: Graph, level: Level, stored: Sequence[Stored] | None = None, choose: Choose | None = None) -> Draft:
    """Return the kernels, buffers and steps of a graph that the passes have left.

    Buffers of inputs and outputs come in the graph's order; those of leaves in the order of `stored`, which holds all that
    the graph has, and perhaps more (`graph.stored` unless given). `choose` picks the tilings of contractions.
    """
    leaf_buffers: dict[Node, int] = {}
    draft = Draft(level, leaf_buffers, choose=choose)
    bound: dict[Node, int] = {}
    for position, node in enumerate(graph.inputs):
        bound[node] = draft.buffer(node.op.label, node.tensor, "input", position)  # type: ignore[attr-defined]
    for position, node in enumerate(graph.stored if stored is None else stored):
        leaf_buffers[node] = bound[node] = draft.buffer(node.name, node.tensor, "leaf", position)
    destinations = [
        (node, draft.buffer(f"output_{position}", node.tensor, "output", position))
        for position, node in enumerate(graph.outputs)
    ]
    updates = [(value, bound[target]) for target, value in graph.updates]
    draft.steps = tuple(Region(draft, graph, bound, destinations, updates).steps())
    draft.requirements = graph.requirements or ()
    return draft
