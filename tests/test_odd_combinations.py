"""Ops fused with each other, at odd sizes, on buffers beside protected pages: what rows of the catalogue do not hold alone.

Each group is one graph with symbolic sizes, compiled once. Values are those of the reference run, and equal to the bit for
any number of threads and wherever the buffers lie.
"""

import numpy as np
import pytest

import graphc
from graphc.compiler import passed, plan_of
from graphc.emit import build
from graphc.emit.loader import Loader
from graphc.graph.graph import Graph
from graphc.graph.reference import run
from graphc.schedule.natives import natives
from graphc.simd.levels import host_level
from tests.interpreter import Interpreter, compiled

SIZES = [(1, 1, 1), (2, 3, 1), (15, 16, 17), (16, 15, 33), (31, 17, 15), (33, 1, 31), (37, 13, 19), (64, 2, 65)]
EMPTY = [(0, 3, 2), (3, 0, 2), (2, 3, 0), (17, 0, 16)]


def chains(a, b, c, index, u, q):
    """Pads, slices, transposes and joins of one another."""
    yield graphc.concat(
        [graphc.pad(a, ((1, 2), (0, 1))), graphc.pad(graphc.exp(-a), ((3, 0), (0, 1)), constant_values=1.0)], axis=1
    )
    yield graphc.tanh(a.T)[::-1, ::2].reshape(-1) * 2.0
    yield graphc.pad(a.T[::2], ((1, 1), (0, 2)), interior=(2, 1))
    yield graphc.roll(graphc.flip(c, axis=1), 1, axis=2)[:, ::3, :]
    yield graphc.concat([a[::2], a[1::2]], axis=0) + 1.0
    yield graphc.stack([a, a * a, -a], axis=1).reshape(-1)
    yield graphc.tile(a, (2, 3))[1::2, ::-1]
    yield graphc.pad(a, ((0, 0), (17, 18)))[:, ::17]
    yield graphc.diagonal(c, axis1=1, axis2=2)


def narrow(a, b, c, index, u, q):
    """Elements of one byte, beside wider ones."""
    yield graphc.where(u > graphc.flip(u, axis=1), u, u * 3)
    yield graphc.concat([q, ~q[::-1], q], axis=0)
    yield graphc.sum(graphc.astype(u, "int32"), axis=0)
    yield graphc.max(graphc.pad(u, ((0, 1), (1, 0))), axis=1)
    yield graphc.argmax(graphc.pad(u, ((0, 0), (0, 1)), constant_values=3), axis=1)
    yield graphc.astype(u, a.dtype)[:, ::-1] * 0.5
    yield graphc.bitwise_xor(u.T[::2], u.T[::2] << 1)
    yield graphc.where(q[None], a, 0.0).T
    yield graphc.cumulative_sum(graphc.astype(u, "int64"), axis=1)[:, ::-1]
    yield graphc.all(u > 3, axis=0)
    yield (graphc.astype(a, "float64") + graphc.astype(graphc.flip(a, axis=0), "float32")) * 2.0


def gathers(a, b, c, index, u, q):
    """Rows by indices inside of sums, products and scatters."""
    rows = graphc.take(a, index, axis=0)
    yield graphc.sum(rows * a, axis=1)
    yield graphc.sum(graphc.take(c, index, axis=1) * a, axis=1)
    yield graphc.sum(graphc.take(a.T[::-1], index, axis=1) ** 2.0, axis=0)
    yield graphc.scatter_add(index, graphc.tanh(rows), a.shape[0])
    yield graphc.grad(graphc.sum(graphc.tanh(rows @ b)), a)
    yield graphc.one_hot(graphc.remainder(index, 3), 3, a.dtype).T @ a
    yield graphc.sum(graphc.where(graphc.take(u, index, axis=0) > 9, 1.0, 2.0), axis=1)


def contractions(a, b, c, index, u, q):
    """Products of slices, transposes and pads, also in batches."""
    yield graphc.einsum("nmk,kp->npm", c, b)
    yield graphc.einsum("nmk,npk->nmp", c, c[:, ::-1])
    yield graphc.einsum("nmk,mk->nk", c, a)
    yield a[::-1] @ b[:, ::2]
    yield graphc.matmul(graphc.permute_dims(c, (2, 0, 1)), graphc.permute_dims(c, (2, 1, 0)))
    yield graphc.pad(a, ((0, 0), (1, 2)))[:, 1:] @ graphc.pad(b, ((0, 2), (0, 0)))
    yield graphc.grad(graphc.sum(graphc.tanh(graphc.einsum("nmk,kp->nmp", c, b) * 0.1)), b)
    yield graphc.sum(graphc.relu(a @ b + b.sum(axis=0)), axis=0) @ b.T


def loops(a, b, c, index, u, q):
    """Loops over rows, and running sums of what was moved."""
    zeros = graphc.zeros((a.shape[1],), a.dtype)
    yield graphc.cumulative_sum(graphc.pad(a, ((0, 1), (1, 0))), axis=1)[::-1]
    yield graphc.sum(graphc.cumulative_sum(c, axis=1), axis=0)
    yield graphc.scan(lambda h, r: (graphc.tanh(h * 0.5 + r[::-1]), graphc.concat([h, r])), zeros, a)[1]
    yield graphc.scan(lambda h, r: (h + (r * r).sum(), h), graphc.zeros((), a.dtype), a, reverse=True)[1]
    yield graphc.grad(graphc.sum(graphc.square(graphc.concat([a[::2].T, a[::2].T * 2.0], axis=1)[::-1])), a)
    wide = graphc.pad(a, ((0, 0), (2, 2)))
    yield sum(wide[:, j : j + a.shape[1]] * (j + 1.0) for j in range(5))
    yield graphc.grad(graphc.sum(graphc.square(graphc.max_pool1d(wide[:, :, None], 3, stride=2))), a)


@pytest.mark.parametrize("group", [chains, narrow, gathers, contractions, loops])
def test_beside_protected_pages(group):
    a, b = graphc.input("a", ("m", "k")), graphc.input("b", ("k", "n"))
    c, index = graphc.input("c", ("n", "m", "k")), graphc.input("index", ("m",), "int64")
    inputs = (a, b, c, index, graphc.input("u", ("m", "n"), "uint8"), graphc.input("q", ("k",), "bool"))
    graph = Graph(inputs, tuple(group(*inputs)))
    ready = passed(graph, training=False)
    plan = plan_of(ready, host_level())
    kernel_of = compiled(Loader(build.objects(plan.kernels, host_level(), lambda: natives(ready))))
    for m, k, n in SIZES + EMPTY:
        sizes = {"m": m, "k": k, "n": n}
        if (m, k, n) in EMPTY and not all(requirement.holds(sizes) for requirement in ready.requirements):
            continue
        rng = np.random.default_rng([m, k, n])
        shapes = [(m, k), (k, n), (n, m, k)]
        arrays = [rng.normal(size=shape).astype("float32") for shape in shapes]
        arrays += [rng.integers(-m, m, m) if m else np.zeros(0, "int64")]
        arrays += [rng.integers(0, 256, (m, n)).astype("uint8"), rng.random(k) < 0.5]
        wanted = run(graph.outputs, dict(zip(inputs, arrays, strict=True)))
        runs = [
            Interpreter(plan, arrays, [], sizes, kernel_of, threads=threads, begins=begins).result("output")
            for threads, begins in ((1, False), (3, False), (2, True))
        ]
        for number, (expected, *got) in enumerate(zip(wanted, *runs, strict=True)):
            assert len({one.tobytes() for one in got}) == 1, f"output {number} at {sizes}"
            bound = 2000 * np.finfo("float32").eps if np.asarray(expected).dtype.kind == "f" else 0
            scale = max(1.0, np.abs(np.asarray(expected, "float64")).max(initial=0.0))
            np.testing.assert_allclose(
                got[0], expected, rtol=bound, atol=bound * scale, err_msg=f"output {number} at {sizes}"
            )
