"""Kernels compiled by Numba and by graphc: the same source, the same bits."""

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.compiler import passed, plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.schedule.plan import calls
from graphc.simd.levels import host_level
from tests.interpreter import Interpreter
from tests.interpreter import compiled as loaded
from tests.simd import through_numba


def dense():
    x, y = graphc.input("x", ("n", 5)), graphc.input("y", ("n",), "int64")
    net = nn.Sequential(nn.Linear(5, 19), nn.Tanh(), nn.LayerNorm(19), nn.Dropout(0.3))
    loss = nn.cross_entropy(net(x), y)
    return (x, y), (loss,), optim.SGD(1e-2, momentum=0.9).minimize(loss)


def image():
    x = graphc.input("x", ("n", 6, 7, 2))
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    loss = graphc.sum(graphc.square(net(x)))
    return (x,), (loss,), optim.SGD(1e-2).minimize(loss)


def integers():
    x = graphc.input("x", ("n", 5), "int32")
    small = x.astype("uint8")
    outputs = (
        x * 3 - 7 // (x + 1),
        small * small + small,
        (x << 2) ^ (x >> 1),
        x.argmax(1),
        graphc.cumulative_sum(x, 1),
    )
    return (x,), outputs, {}


@pytest.mark.parametrize("model", [dense, image, integers])
def test_numba_makes_the_same_bits_of_it(model):
    graphc.seed(3)
    inputs, outputs, updates = model()
    graph = graphc.Graph(inputs, outputs, tuple(updates.items()))
    plan = plan_of(passed(graph, training=bool(updates)), host_level())
    generator = np.random.default_rng(0)
    arrays = []
    for node in inputs:
        shape = tuple(13 if not isinstance(d, int) else d for d in node.shape)
        whole = node.dtype.kind != "f"
        arrays.append(
            (generator.integers(0, 4, shape) if whole else generator.normal(size=shape)).astype(node.dtype.numpy)
        )
    leaves = [leaf.value.copy() for leaf in graph.stored]
    made = {}

    def by_numba(name):
        if name not in made:
            made[name] = through_numba.compiled(plan.kernels[name], name)
        return made[name]

    ours = loaded(Loader(build.objects(plan.kernels, host_level(), dict)))
    runs = [Interpreter(plan, arrays, leaves, {"n": 13}, kernel_of, threads=2) for kernel_of in (ours, by_numba)]
    assert set(made) == {name for call in calls(plan.steps) for name, _ in call.runs}
    for kind in ("output", "leaf"):
        for one, other in zip(runs[0].result(kind), runs[1].result(kind), strict=True):
            assert one.tobytes() == other.tobytes()
