"""Functions of nodes that build once and copy: what they return is what building it again would give."""

import itertools
import math

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.compiler import passed
from graphc.graph.copies import built_once
from graphc.graph.text import fingerprint, text
from graphc.nn import channels, normalization
from graphc.ops import gradient_control
from graphc.ops.custom_vjp import custom_vjp
from graphc.optim import adam


class Scaled:
    """A function that builds once, and how often it did."""

    def __init__(self):
        self.count = 0

        @built_once
        def function(x, factor, bias):
            self.count += 1
            return {"scaled": x * factor, "all": (x * factor + bias, None)}

        self.function = function

    def each(self, *calls):
        """Call it from one line."""
        return [self.function(*arguments) for arguments in calls]


def _inputs(*shapes):
    return [graphc.input(f"x{k}", shape) for k, shape in enumerate(shapes)]


def test_equal_types_build_once_and_the_copy_reads_its_own_operands():
    a, b, c, d = _inputs(*[("n", 3)] * 4)
    scaled = Scaled()
    made, copied = scaled.each((a, 2.0, b), (c, 2.0, d))
    assert scaled.count == 1
    texts = [
        text(graphc.Graph(inputs, (one["scaled"], one["all"][0]))) for inputs, one in (((a, b), made), ((c, d), copied))
    ]
    assert texts[0] == texts[1]
    assert copied["all"][1] is None
    assert copied["scaled"] is not made["scaled"]


@pytest.mark.parametrize(("first", "second"), [(2.0, 3.0), (2, 2.0), (0.0, -0.0), (1, True), (math.inf, math.nan)])
def test_other_numbers_build_anew(first, second):
    a, b = _inputs((3,), (3,))
    scaled = Scaled()
    _, other = scaled.each((a, first, b), (a, second, b))
    assert scaled.count == 2
    x = np.float32([1, -2, 0])
    with np.errstate(invalid="ignore"):
        expected = x * second
        np.testing.assert_array_equal(np.signbit(other["scaled"].eval({a: x})), np.signbit(expected))
        np.testing.assert_array_equal(other["scaled"].eval({a: x}), expected)


def test_other_types_and_operands_that_are_one_build_anew():
    a, b, c, d = _inputs((3,), (3,), (4,), (4,))
    scaled = Scaled()
    scaled.each((a, 2.0, b), (a, 2.0, a), (c, 2.0, d), (a.astype("float64"), 2.0, b.astype("float64")))
    assert scaled.count == 4


def test_nodes_have_the_line_of_their_own_call():
    x, _ = _inputs(("n", 3), (1,))
    made = nn.layer_norm(x, 3)
    other = nn.layer_norm(x, 3)
    lines = [
        {node.origin.line for node in graphc.Graph((x,), (one,)).nodes()} - {x.origin.line} for one in (made, other)
    ]
    assert [len(found) for found in lines] == [1, 1]
    assert lines[0] != lines[1]


def test_the_default_dtype_counts():
    @built_once
    def half(x):
        return graphc.constant(0.5).reshape(1), x

    (x,), found = _inputs((3,)), []
    for dtype in ("float32", "float64"):
        graphc.set_default_dtype(dtype)
        try:
            found.append(half(x)[0].dtype)
        finally:
            graphc.set_default_dtype("float32")
    assert found == [graphc.float32, graphc.float64]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_constant_that_a_graph_inside_keeps_is_that_of_the_call(wrapped):
    @built_once
    def ruled(x, factor):
        return custom_vjp(lambda x: x * 1.0, lambda inputs, output, cotangent: cotangent * factor)(x)

    for number in (2.0, 3.0):
        x, factor = graphc.input("x", (3,)), graphc.constant(np.float32([number] * 3))
        # A view of a constant is kept inside together with it.
        factor = factor.reshape(3, 1).reshape(3) if wrapped else factor
        slope = graphc.grad(ruled(x, factor).sum(), x)
        np.testing.assert_array_equal(slope.eval({x: np.zeros(3, np.float32)}), np.float32([number] * 3))


def test_what_reads_a_node_that_is_no_argument_is_built_each_time():
    kept, count = [graphc.state(np.float32(number)) for number in (1.0, 2.0)], []

    @built_once
    def read(x):
        count.append(x)
        return x + kept[len(count) - 1]

    (x,) = _inputs((3,))
    found = [one.eval({x: np.zeros(3, np.float32)})[0] for one in [read(x) for _ in range(2)]]
    assert found == [1.0, 2.0]


def _model(monkeypatch):
    monkeypatch.setattr(gradient_control, "_construction", itertools.count())  # updates are counted in a process
    x, y = graphc.input("x", ("batch", 4, 4, 3)), graphc.input("y", ("batch",), "int64")
    layers = [
        layer
        for _ in range(3)
        for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.LayerNorm(3), nn.RMSNorm(3))
    ]
    loss = nn.cross_entropy(nn.Sequential(*layers, nn.Flatten(), nn.Linear(48, 2))(x), y)
    return graphc.Graph((x, y), (loss,), tuple(optim.AdamW(1e-3, amsgrad=True).minimize(loss).items()))


def test_a_model_of_copies_is_the_model_built_anew(monkeypatch):
    copied = [_model(monkeypatch) for _ in range(2)]
    shared = {channels: ("_by_batch", "_following"), normalization: ("_of_layer", "_of_scale"), adam: ("_moved",)}
    for module, names in shared.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name).__wrapped__)
    anew = _model(monkeypatch)
    # Those of copies have constants in common, which the passes give to all.
    texts = {text(passed(graph, training=True), comments=True) for graph in (*copied, anew)}
    assert len(texts) == 1
    assert fingerprint(copied[0]) == fingerprint(copied[1])


def test_a_fingerprint_tells_what_the_text_tells():
    def built(factor=2.0, name="x", swap=False, update=0, outputs=2):
        a, b = graphc.input(name, (3,)), graphc.input("b", (3,))
        states = [graphc.state(np.zeros(3, np.float32), label) for label in ("first", "second")]
        made = (b - a if swap else a - b) * factor
        found = (made, made + states[0] + states[1])
        return graphc.Graph((a, b), found[:outputs], ((states[update], made),))

    changes = [{"factor": 3.0}, {"name": "z"}, {"swap": True}, {"update": 1}, {"outputs": 1}]
    graphs = [built(), built(), *(built(**change) for change in changes)]
    found = [fingerprint(graph) for graph in graphs]
    assert found[0] == found[1]
    assert len(set(found)) == len(found) - 1
