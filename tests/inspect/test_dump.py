import json

import numpy as np
import pytest

import graphc
from graphc.graph.graph import Graph


def model():
    x = graphc.input("x", ("batch", 3))
    w = graphc.parameter(np.ones((3, 2), "float32"), "weight")
    out = graphc.tanh(x @ w)
    return x, w, out


def test_text_shows_graph_plan_and_kernels(tmp_path):
    x, w, out = model()
    f = graphc.compile([x], out, updates={w: w * 0.5})
    graphc.dump(f, tmp_path / "model.txt")
    text = (tmp_path / "model.txt").read_text()
    assert "tanh" in text
    assert "test_dump.py" in text
    assert "update" in text
    for name in f.plan.kernels:
        assert f"def {name}(" in text
    assert "(commit)" in text


def test_json_is_the_whole_graph(tmp_path):
    x, w, out = model()
    graphc.dump(Graph((x,), (out,), ((w, w * 0.5),)), tmp_path / "model.json")
    data = json.loads((tmp_path / "model.json").read_text())
    nodes = {node["id"]: node for node in data["nodes"]}
    assert nodes[data["outputs"][0]]["op"] == "tanh"
    (contract,) = nodes[data["outputs"][0]]["inputs"]
    assert [nodes[i]["name"] for i in nodes[contract]["inputs"]] == ["x", "weight"]
    ((target, value),) = data["updates"]
    assert nodes[target]["op"] == "parameter"
    assert nodes[value]["op"] == "multiply"
    assert nodes[data["inputs"][0]]["type"] == "float32[batch, 3]"


def test_json_of_ops_without_attributes(tmp_path):
    x = graphc.input("x", (3,))
    graphc.dump(Graph((x,), (graphc.relu(x),)), tmp_path / "model.json")
    assert [
        n["attributes"] for n in json.loads((tmp_path / "model.json").read_text())["nodes"] if n["op"] == "relu"
    ] == [{}]


def test_json_of_an_executable_holds_its_plan(tmp_path):
    x, _, out = model()
    f = graphc.compile([x], out)
    graphc.dump(f, str(tmp_path / "model.json"))
    data = json.loads((tmp_path / "model.json").read_text())
    assert data["plan"]["kernels"] == f.plan.kernels


def test_dot_has_every_node_and_edge(tmp_path):
    x, w, out = model()
    graph = Graph((x,), (out,), ((w, w * 0.5),))
    graphc.dump(graph, tmp_path / "model.dot")
    text = (tmp_path / "model.dot").read_text()
    edges = sum(len(node.inputs) for node in graph.nodes())
    # every operand, the output, and the update
    assert text.count("->") == edges + 2
    assert text.count("label=") == len(graph.nodes()) + 2
    assert text.startswith("digraph")
    assert text.endswith("}\n")


@pytest.mark.parametrize("path", ["model.png", "model"])
def test_unknown_ending_names_those_that_work(path, tmp_path):
    x, _, out = model()
    with pytest.raises(graphc.GraphError, match=r"\.txt, \.json, \.dot"):
        graphc.dump(Graph((x,), (out,)), tmp_path / path)


def test_dump_of_something_else(tmp_path):
    with pytest.raises(graphc.GraphError, match="expected a Graph or an Executable"):
        graphc.dump(model()[2], tmp_path / "model.txt")
