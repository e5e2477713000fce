"""Passes: each takes a valid graph and leaves a valid one that means the same. They run in the order of `PASSES`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from graphc.graph.graph import Graph
from graphc.passes.absorb import absorb, absorb_in_order
from graphc.passes.cse import cse
from graphc.passes.exponentials import exponentials
from graphc.passes.fold import fold
from graphc.passes.gather import gather
from graphc.passes.halo import halo
from graphc.passes.hoist import hoist
from graphc.passes.join_pads import join_pads
from graphc.passes.marks import drop_marks, refuse_unknown_phase
from graphc.passes.merge_scans import merge_scans
from graphc.passes.pieces import cut_scans
from graphc.passes.residuals import keep_residuals
from graphc.passes.settle import settle
from graphc.passes.simplify import simplify, simplify_in_order
from graphc.passes.unite_carries import unite_carries
from graphc.passes.unused import drop_unused
from graphc.passes.updates import collect_updates
from graphc.passes.whole import reduce_by_rows
from graphc.passes.widen import widen

__all__ = [
    "PASSES",
    "absorb",
    "absorb_in_order",
    "collect_updates",
    "cse",
    "cut_scans",
    "drop_marks",
    "drop_unused",
    "exponentials",
    "fold",
    "gather",
    "halo",
    "hoist",
    "join_pads",
    "keep_residuals",
    "merge_scans",
    "reduce_by_rows",
    "refuse_unknown_phase",
    "run_passes",
    "settle",
    "simplify",
    "simplify_in_order",
    "unite_carries",
    "widen",
]

PASSES: tuple[Callable[[Graph], Graph], ...] = (
    drop_unused,
    fold,
    simplify,
    cse,
    exponentials,
    join_pads,
    fold,
    simplify,
    cse,
    merge_scans,
    cse,
    merge_scans,
    unite_carries,
    drop_unused,
    absorb,
    reduce_by_rows,
    settle,
    cut_scans,
    drop_unused,
    keep_residuals,
    hoist,
    drop_unused,
    merge_scans,
    simplify_in_order,
    absorb_in_order,
    gather,
    halo,
    widen,
    cse,
)


def run_passes(
    graph: Graph, training: bool = False, large: bool = False, check: Callable[[Graph], object] | None = None
) -> Graph:
    """Return the graph as the scheduler wants it: updates collected, marks dropped, then every pass in order.

    training: whether updates that the graph carries are made, and what `graphc.training()` is. large: whether states of
    unknown sizes are too many to be stored. `check` is called with the graph after each step (a verifier, in tests).
    """
    left: dict[Callable[[Graph], Graph], Graph] = {}
    for step in (partial(collect_updates, training=training), partial(drop_marks, training=training), *PASSES):
        if left.get(step) is graph:
            continue  # nothing has changed since the pass ran, and it does all that it can at once
        graph = left[step] = cut_scans(graph, large) if step is cut_scans else step(graph)
        if check is not None:
            check(graph)
    return graph
