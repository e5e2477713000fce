"""The engine of local rewrites: one rule, applied to every node, operands first, until it changes nothing.

Graphs inside ops are rewritten with the same memo, so a node that two graphs share is still one node afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node, here, made_at
from graphc.graph.op import Op
from graphc.ops.nested import Nested
from graphc.records import replace

LIMIT = 100


def rewrite(graph: Graph, rule: Callable[[Node], Node]) -> Graph:
    """Return the graph with every node replaced by what the rule makes of it; the same graph if nothing changes.

    The rule gets a node whose operands are rewritten, and returns it or a node of the same type; what it returns is
    rewritten in turn. A replacement of another type is refused: types that differ by a requirement stay apart.
    """
    done: dict[Node, Node] = {}
    graphs: dict[Graph, Graph] = {}
    rounds: dict[Node, int] = {}  # how often a node was replaced; two rules that undo each other must not hang

    def visit(node: Node) -> Node | None:
        """Note what stands for a node whose operands are done, or return its replacement, which must be done first."""
        rebuilt = node
        if isinstance(node.op, Nested):
            for _, sub in subgraphs(node.op):
                graphs.setdefault(sub, with_roots(sub, tuple(done[root] for root in sub.outputs)))
            rebuilt = node.on(tuple([done[x] for x in node.inputs]), with_subgraphs(node.op, graphs))
        else:
            for x in node.inputs:
                if done[x] is not x:
                    rebuilt = node.on(tuple([done[x] for x in node.inputs]))
                    break
        made.at(node.origin)
        new = rule(rebuilt)
        if new is rebuilt or new.type != node.type or rounds.get(node, 0) >= LIMIT:
            done[node] = done[rebuilt] = rebuilt
        elif new in done:
            done[node] = done[new]
        else:
            rounds[new] = rounds.get(node, 0) + 1
            return new
        return None

    with made_at(here()) as made:
        for each in graph.nodes():
            # Its operands are done. Only graphs inside ops, and what the rule makes, are gone into.
            stack: list[tuple[Node, Node | None]] = [(each, None)]
            while stack:
                node, instead = stack.pop()
                if instead is not None:
                    done[node] = done[instead]
                elif node not in done:
                    if pending := [x for x in _operands(node) if x not in done]:
                        stack += [(node, None), *((x, None) for x in reversed(pending))]
                    elif (new := visit(node)) is not None:
                        stack += [(node, new), (new, None)]
    return with_roots(graph, tuple(done[root] for root in graph.roots))


def _operands(node: Node) -> tuple[Node, ...]:
    """Return what must be done before a node: its operands, and what the graphs inside it give."""
    if not isinstance(node.op, Nested):
        return node.inputs
    return (*node.inputs, *(root for _, sub in subgraphs(node.op) for root in sub.outputs))


def with_roots(graph: Graph, roots: tuple[Node, ...]) -> Graph:
    """Return the graph with other outputs and updates, its requirements joined by those of new nodes."""
    new = graph.with_roots(roots)
    if new is graph:
        return graph
    known = dict.fromkeys(graph.requirements or ())
    found = dict.fromkeys(r for node in new.nodes() for r in node.requirements)
    if found.keys() <= known.keys():
        return new
    return Graph(new.inputs, new.outputs, new.updates, tuple({**known, **found}))


def with_subgraphs(op: Op, graphs: dict[Graph, Graph]) -> Op:
    """Return the op with other graphs inside; itself if they are the same."""
    changed = {name: graphs[sub] for name, sub in subgraphs(op) if graphs[sub] is not sub}
    return replace(op, **changed) if changed else op
