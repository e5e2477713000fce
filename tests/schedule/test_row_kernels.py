"""Operations over rows become one kernel each way, however many reductions they hold; values as by the reference run."""

import numpy as np
import pytest

import graphc
from graphc.loops.kernels import Rows
from graphc.passes import run_passes
from graphc.schedule.scheduling import schedule
from graphc.simd.levels import host_level

X, C = graphc.input("x", ("n", 37)), graphc.input("c", ("n", 37))
SCALE, SHIFT = graphc.input("scale", (37,)), graphc.input("shift", (37,))


def layer_norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / graphc.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * SCALE + SHIFT


NORMS = {
    "softmax": lambda x: graphc.softmax(x, -1),
    "log_softmax": lambda x: graphc.log_softmax(x, -1),
    "rms_norm": lambda x: x / graphc.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * SCALE,
    "layer_norm": layer_norm,
}


@pytest.mark.parametrize("name", NORMS)
def test_one_kernel_each_way(name):
    y = NORMS[name](X)
    gradient = graphc.vjp(y, X, C)
    inputs = [X, C, SCALE, SHIFT]
    for outputs in (y, gradient, [y, gradient]):
        assert len(graphc.compile(inputs, outputs).plan.kernels) == 1
    both = graphc.compile(inputs, [y, gradient])
    generator = np.random.default_rng(0)
    for n in (0, 1, 5, 64):
        arrays = [generator.normal(size=shape).astype("float32") for shape in ((n, 37), (n, 37), (37,), (37,))]
        wanted = graphc.evaluate([y, gradient], dict(zip(inputs, arrays, strict=True)))
        for got, value in zip(both(*arrays), wanted, strict=True):
            np.testing.assert_allclose(got, value, rtol=2e-5, atol=2e-5)


def kernels_of(*outputs):
    graph = run_passes(graphc.Graph((X, C), outputs))
    return [draft.kernel for draft in schedule(graph, host_level()).kernels]


def test_what_is_read_across_rows_waits_for_all_rows():
    weight = graphc.exp(X) / graphc.sum(graphc.exp(X), axis=0)  # sums over rows
    other = graphc.softmax(graphc.flip(graphc.softmax(X, -1), 0), -1)  # another row
    assert len(kernels_of(weight, graphc.softmax(weight, -1))) > 1
    first = kernels_of(graphc.softmax(X, -1), other)
    assert len(first) > 1
    assert not any(isinstance(kernel, Rows) and len({s.buffer for s in kernel.stores}) == 4 for kernel in first)


def test_a_part_of_the_row_may_be_read():
    shares = graphc.softmax(X, -1)
    assert len(kernels_of(shares, graphc.softmax(shares[:, 3:20], -1))) == 1


def test_equal_layers_share_their_kernels():
    def kernels(layers):
        x = graphc.input("x", ("batch", 16))
        net = graphc.nn.Sequential(
            *[step for _ in range(layers) for step in (graphc.nn.Linear(16, 16), graphc.nn.Tanh())]
        )
        loss = (net(x) ** 2).mean()
        updates = graphc.optim.SGD(0.1).minimize(loss)
        return graphc.compile([x], loss, updates=updates).plan.kernels

    # Copies of weights are made several at a time, so a few more kernels may hold what is left over.
    assert len(kernels(40)) <= len(kernels(8)) + 3
