"""Graphs: order, rewriting, updates, requirements, printing, verification, the networkx view, deep chains."""

import time

import networkx
import numpy as np
import pytest

import graphc
from graphc.graph import walk
from graphc.graph.node import Leaf, Node, placeholder
from graphc.graph.text import text
from graphc.graph.types import TensorType
from graphc.graph.verify import verify


def small(name="x", weight="w"):
    x = graphc.input(name, ("n", 3))
    w = graphc.parameter(np.ones((3, 2)), weight, "float32")
    s = graphc.state(0, "count")
    loss = graphc.tanh(x @ w + 1.5).mean()
    return graphc.Graph((x,), (loss,), ((s, s + 1), (w, w - 0.1 * loss)))


def test_nodes_come_after_their_operands_and_once():
    graph = small()
    position = {node: k for k, node in enumerate(graph.nodes())}
    assert len(position) == len(graph.nodes())
    assert all(position[operand] < position[node] for node in graph.nodes() for operand in node.inputs)
    assert [p.name for p in graph.parameters] == ["w"]
    assert [s.name for s in graph.states] == ["count"]
    assert graph.leaves("input") == graph.inputs


def test_equal_graphs_print_the_same_and_others_do_not():
    assert text(small()) == text(small("other", "names"))
    assert str(small()) != text(small())
    x = graphc.input("x", (2,))
    assert text(graphc.Graph((x,), (x + 1.0,))) != text(graphc.Graph((x,), (x + 2.0,)))


def test_printed_form():
    x = graphc.input("x", ("n", 8))
    shown = text(graphc.Graph((x,), (x.reshape(-1, 16).sum(1),)))
    assert shown == (
        "graph(%0: float32[n, 8]) requires 8 * n == 16 * ((8 * n) // (16)):\n"
        "  %1: float32[((8 * n) // (16)), 16] = reshape(%0) {shape: [((8 * n) // (16)), 16]}\n"
        "  %2: float32[((8 * n) // (16))] = sum(%1) {axes: [1]}\n"
        "  return %2"
    )
    commented = str(small())
    assert "# w test_graph.py:" in commented
    assert "update %" in commented


def test_a_rewrite_that_changes_nothing_returns_the_same_graph():
    graph = small()
    assert graph.rewrite(lambda node: node) is graph
    assert graph.rebuild({}) is graph


def test_rebuild_replaces_and_keeps_the_rest():
    x, y = graphc.input("x", (2,)), graphc.input("y", (2,))
    kept = graphc.exp(y)
    graph = graphc.Graph((x, y), (graphc.tanh(x) + kept,))
    new = graph.rebuild({x: y})
    (total,) = new.outputs
    assert total.inputs[1] is kept
    assert total.inputs[0].inputs[0] is y
    assert total.origin == graph.outputs[0].origin


def test_rewriting_keeps_requirements_of_nodes_that_vanish():
    x = graphc.input("x", ("n",))
    graph = graphc.Graph((x,), (x[:3].sum() * 0.0,))
    gone = graph.rewrite(lambda node: graphc.constant(0.0) if node.op.name == "multiply" else node)
    assert len(gone.nodes()) == 1
    assert [str(r) for r in gone.requirements] == ["n - 1 >= 2"]


def test_wrong_graphs_raise():
    x, s = graphc.input("x", (2,)), graphc.state(np.zeros(2, "float32"))
    with pytest.raises(graphc.GraphError, match="expected to update"):
        graphc.Graph((x,), (), ((x, x),))
    with pytest.raises(graphc.GraphError, match="two updates"):
        graphc.Graph((x,), (), ((s, x), (s, x)))
    with pytest.raises(graphc.GraphError, match="another type"):
        graphc.Graph((x,), (), ((s, x.sum()),))
    with pytest.raises(graphc.GraphError, match="twice"):
        graphc.Graph((x, x), (x,))
    with pytest.raises(graphc.GraphError, match="expected inputs"):
        graphc.Graph((x + 1,), (x,))


def test_the_verifier_accepts_valid_graphs_and_names_what_is_wrong():
    assert verify(small()) is not None
    x = graphc.input("x", (2,))
    y = x + 1.0
    broken = Node(y.op, y.inputs, TensorType((3,), graphc.float32), y.origin)
    with pytest.raises(graphc.VerificationError, match=r"has type float32\[3\]"):
        verify(graphc.Graph((x,), (broken,)))
    with pytest.raises(graphc.VerificationError, match="does not know"):
        verify(graphc.Graph((), (y,)))
    hole = placeholder(x.type)
    with pytest.raises(graphc.VerificationError, match="does not know"):
        verify(graphc.Graph((x,), (x + hole,)))
    ill = Node(y.op, (x, graphc.input("z", (5,))), y.type, y.origin)
    with pytest.raises(graphc.VerificationError, match="not well typed"):
        verify(graphc.Graph((x, ill.inputs[1]), (ill,)))
    sliced = graphc.input("n", ("n",))
    with pytest.raises(graphc.VerificationError, match="requirements"):
        verify(graphc.Graph((sliced,), (sliced[:3],), requirements=()))


def test_networkx_view():
    graph = small()
    view = graph.to_networkx()
    assert networkx.is_directed_acyclic_graph(view)
    assert view.number_of_nodes() == len(graph.nodes())
    names = networkx.get_node_attributes(view, "op")
    (dot,) = [k for k, name in names.items() if name == "contract"]
    assert view.nodes[dot]["type"] == "float32[n, 2]"
    assert {view.edges[edge]["operand"] for edge in view.in_edges(dot)} == {(0,), (1,)}
    x = graphc.input("x", ())
    assert graphc.Graph((x,), (x * x,)).to_networkx().edges[0, 1]["operand"] == (0, 1)


@pytest.mark.alone
def test_chains_of_ten_thousand_nodes_need_no_recursion_and_linear_time():
    x = graphc.input("x", ())
    y = x
    for _ in range(10_000):
        y = y + x
    start = time.perf_counter()
    graph = graphc.Graph((x,), (y,))
    assert len(graph.nodes()) == 10_001
    assert len(text(graph).splitlines()) == 10_002
    verify(graph)
    negated = graph.rewrite(lambda node: -node if node.op.name == "leaf" else node)
    assert negated.outputs[0].eval({x: 1.0}) == -10_001
    assert y.eval({x: 1.0}) == 10_001
    assert time.perf_counter() - start < 10


def test_walks():
    x, y = graphc.input("x", ()), graphc.input("y", ())
    a = x * y
    b = a + x
    c = graphc.exp(y)
    assert walk.topological([b]) == walk.topological([b])
    assert [node is wanted for node, wanted in zip(walk.topological([b]), (x, y, a, b), strict=True)] == [True] * 4
    found = walk.users(walk.topological([b]))
    assert [len(found[n]) for n in (x, y, a, b)] == [2, 1, 1, 0]
    assert set(walk.dependents([b, c], [x])) == {x, a, b}
    assert len(walk.topological([b], stop={a})) == 3
    assert walk.replace([b, c], {x: y})[1] is c


def test_leaf_kinds():
    assert isinstance(graphc.training().op, Leaf)
    assert graphc.Graph((), (graphc.training(),)).leaves("training") == (graphc.training(),)
