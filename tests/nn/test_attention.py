"""Attention against its formula in NumPy, by blocks and whole; what it keeps in memory."""

import itertools

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import DTypeError, ShapeError
from graphc.nn import attention
from graphc.runtime.binding import assign_memory
from graphc.schedule.plan import Repeat
from tests.nn.checks import value_and_slopes

RNG = np.random.default_rng(31)
attend = nn.scaled_dot_product_attention


def define(q, k, v, mask=None, causal=False, scale=None):
    """Softmax of all scores at once; zeros where nothing is left to attend to."""
    scores = np.einsum("...td,...sd->...ts", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights = np.nan_to_num(weights / weights.sum(-1, keepdims=True))
    return np.einsum("...ts,...sd->...td", weights, v)


def arrays(targets, sources, heads=(2,), features=3, out=4):
    return [RNG.normal(size=(*heads, n, m)) for n, m in ((targets, features), (sources, features), (sources, out))]


MASKS = {
    "no mask": lambda t, s: None,
    "booleans": lambda t, s: np.arange(t * s).reshape(t, s) % 3 > 0,
    "a row and a first block of nothing": lambda t, s: (np.arange(t) != 1)[:, None] & (np.arange(s) > 4),
    "one for each source": lambda t, s: np.arange(s) != 2,
    "floats": lambda t, s: np.sin(np.arange(2 * t * s)).reshape(2, t, s),
    "floats that leave a row nothing": lambda t, s: np.where(np.arange(t) == 1, -np.inf, 0.3)[:, None] + np.zeros(s),
    "floats for each head": lambda t, s: np.where(np.arange(s) == 1, np.array([0.5, -np.inf])[:, None, None], 0.0),
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_attention_and_its_gradients(name, causal, monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", 4)
    for targets, sources in ((5, 3), (5, 8), (7, 10)):
        q, k, v = arrays(targets, sources)
        mask = MASKS[name](targets, sources)
        value, slopes, weights = value_and_slopes(
            lambda q, k, v: attend(q, k, v, attn_mask=mask, is_causal=causal),  # noqa: B023
            [q, k, v],
        )
        np.testing.assert_allclose(value, define(q, k, v, mask, causal), rtol=1e-12, atol=1e-14)
        for place, slope in enumerate(slopes):
            along = RNG.normal(size=slope.shape)
            ends = []
            for sign in (1, -1):
                moved = [one + sign * 1e-6 * along if n == place else one for n, one in enumerate((q, k, v))]
                ends.append((define(*moved, mask, causal) * weights).sum())
            np.testing.assert_allclose((slope * along).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sources", [3, 9])
def test_second_derivatives_by_blocks_are_those_of_the_whole(sources, monkeypatch):
    nodes = [graphc.input(n, one.shape, "float64") for n, one in zip("qkv", arrays(5, sources), strict=True)]
    mask = graphc.input("mask", (5, sources), "float64")
    feeds = dict(zip(nodes, arrays(5, sources), strict=True)) | {mask: RNG.normal(size=(5, sources))}
    directions = [graphc.constant(RNG.normal(size=one.shape)) for one in feeds]
    found = []
    for block in (4, 100):
        monkeypatch.setattr(attention, "BLOCK", block)
        loss = graphc.sin(attend(*nodes, attn_mask=mask, is_causal=True)).sum()
        slopes = graphc.grad(loss, list(feeds))
        along = sum((slope * direction).sum() for slope, direction in zip(slopes, directions, strict=True))
        seconds = [*graphc.hvp(loss, list(feeds), directions), *graphc.grad(along, list(feeds))]
        found.append(graphc.evaluate([*slopes, *seconds], feeds))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_dropout_drops_the_same_weights_in_the_derivative(monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", 4)
    q, k, v = arrays(6, 10)

    def build(training, p=0.4):
        graphc.seed(5)
        return lambda q, k, v: attend(q, k, v, dropout_p=p, training=training)

    value, slopes, weights = value_and_slopes(build(True), [q, k, v])
    # Attention is linear in the values, whatever is dropped.
    np.testing.assert_allclose((value * weights).sum(), (slopes[2] * v).sum(), rtol=1e-12)
    along = RNG.normal(size=q.shape)
    ends = [value_and_slopes(build(True), [q + sign * 1e-6 * along, k, v])[0] for sign in (1, -1)]
    np.testing.assert_allclose((slopes[0] * along).sum(), ((ends[0] - ends[1]) * weights).sum() / 2e-6, rtol=1e-6)
    # Values of one make each result the sum of the weights that are kept: on average 1.
    sums = value_and_slopes(build(True), [*arrays(100, 50)[:2], np.ones((2, 50, 1))])[0]
    assert sums.mean() == pytest.approx(1, abs=0.02)
    assert 0.05 < sums.std() < 0.4
    np.testing.assert_allclose(value_and_slopes(build(False), [q, k, v])[0], define(q, k, v), rtol=1e-12)
    known = graphc.compile([], build(None)(*map(graphc.constant, (q, k, v))))()
    np.testing.assert_allclose(known, define(q, k, v), rtol=1e-12)
    assert not value_and_slopes(build(True, 1.0), [q, k, v])[0].any()


def test_scale_leading_dimensions_and_grouped_heads(monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", 4)
    q, k, v = arrays(3, 6, heads=(2, 4))
    mask = graphc.constant(RNG.normal(size=(2, 1, 3, 6)))
    for one, other in itertools.product((slice(None), slice(1)), (slice(None), 0)):
        got = attend(q, k[:, one], v[other], attn_mask=mask, scale=0.3).eval()
        np.testing.assert_allclose(got, define(q, k[:, one], v[other], mask.eval(), scale=0.3), rtol=1e-12, atol=1e-15)
    grouped = attend(q, k[:, :2], v[:, :2], enable_gqa=True).eval()
    np.testing.assert_allclose(grouped, define(q, k[:, [0, 0, 1, 1]], v[:, [0, 0, 1, 1]]), rtol=1e-12)


def test_memory_is_linear_in_the_length_forward_and_backward():
    nodes = [graphc.input(name, (2, "time", 16)) for name in "qkv"]
    step = graphc.compile(nodes, graphc.grad(graphc.square(attend(*nodes, is_causal=True)).sum(), nodes))
    arena = {time: assign_memory(step.plan, {"time": time}, 2)[0].arena for time in (512, 1024, 2048)}
    # Beside what grows there is a block of scores.
    assert arena[2048] - arena[1024] == pytest.approx(2 * (arena[1024] - arena[512]), rel=0.02)
    assert arena[2048] < 2048 * 2048 * 4  # not even one float for each pair, of one head


def test_a_pair_of_blocks_is_four_kernels():
    """Scores, their maxima with exponentials and sums, what these shrink, and the product, which replaces all carries."""
    nodes = [graphc.input(name, (1, 4, 256, 32)) for name in "qkv"]
    plan = graphc.compile(nodes, attend(*nodes)).plan
    (outer,) = [step for step in plan.steps if isinstance(step, Repeat)]
    (inner,) = [step for step in outer.steps if isinstance(step, Repeat)]
    assert len(inner.steps) == 4
    assert sum("exp(" in plan.kernels[step.kernel] for step in inner.steps) == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_for_any_length(dtype):
    """More blocks than one, compiled once: lengths of 0, 1, around a block's and beyond, with all that may be masked."""
    nodes = [graphc.input(name, (2, length, 3), dtype) for name, length in zip("qkv", ("t", "s", "s"), strict=True)]
    mask, weights = graphc.input("mask", ("t", "s"), "bool"), graphc.input("weights", (2, "t", 3), dtype)
    for causal in (False, True):
        result = attend(*nodes, attn_mask=mask, is_causal=causal)
        step = graphc.compile(
            [*nodes, mask, weights], [result, *graphc.grad((result * weights).sum(), nodes)], threads=2
        )
        for targets, sources in ((3, 0), (0, 3), (1, 1), (1, 129), (130, 127), (5, 257)):
            q, k, v = (one.astype(dtype) for one in arrays(targets, sources, out=3))
            keep, along = RNG.uniform(size=(targets, sources)) < 0.7, RNG.normal(size=(2, targets, 3)).astype(dtype)
            keep[targets // 2 :][:1] = False
            got, *slopes = step(q, k, v, keep, along)
            exact = [one.astype("float64") for one in (q, k, v)]
            wanted = define(*exact, keep, causal) if sources else np.zeros((2, targets, 3))
            tolerance = 1e-5 if dtype == "float32" else 1e-12
            np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
            for place, slope in enumerate(slopes if sources else ()):
                direction, ends = RNG.normal(size=slope.shape), []
                for sign in (1, -1):
                    moved = [one + sign * 1e-6 * direction if n == place else one for n, one in enumerate(exact)]
                    ends.append((define(*moved, keep, causal) * along).sum())
                np.testing.assert_allclose(
                    (slope * direction).sum(), (ends[0] - ends[1]) / 2e-6, rtol=100 * tolerance, atol=2e-4
                )


def test_no_sources_give_zeros():
    q, k, v = (graphc.input(*one, "float64") for one in zip("qkv", ((2, 3, 4), (2, 0, 4), (2, 0, 5)), strict=True))
    result = attend(q, k, v)
    slopes = graphc.grad(result.sum(), [q, k, v])
    got = graphc.compile([q, k, v], [result, *slopes])(np.ones(q.shape), np.ones(k.shape), np.ones(v.shape))
    assert [one.shape for one in got] == [(2, 3, 5), (2, 3, 4), (2, 0, 4), (2, 0, 5)]
    assert not any(one.any() for one in got)


def test_what_does_not_fit():
    q, k, v = (graphc.input(name, ("n", "time", 4)) for name in "qkv")
    with pytest.raises(ShapeError, match=r"expected queries and keys of as many features, got"):
        attend(q, graphc.input("k", ("n", "time", 5)), v)
    with pytest.raises(
        ShapeError, match=r"expected as many values as keys, got float32\[n, 3, 4\] and float32\[n, 2, 4\]"
    ):
        attend(q, graphc.input("k", ("n", 2, 4)), graphc.input("v", ("n", 3, 4)))
    with pytest.raises(ShapeError, match=r"expected \(\.\.\., targets, features\) and"):
        attend(q, k, graphc.input("v", (4,)))
    with pytest.raises(DTypeError, match="expected a mask of booleans or floats, got int64"):
        attend(q, k, v, attn_mask=np.ones((3, 3), "int64"))
    with pytest.raises(ShapeError, match=r"expected a mask that broadcasts to \[n, 3, 5\], got bool\[3, 4\]"):
        attend(
            graphc.input("q", ("n", 3, 4)),
            graphc.input("k", ("n", 5, 4)),
            graphc.input("v", ("n", 5, 4)),
            np.ones((3, 4), "?"),
        )
    with pytest.raises(ShapeError, match=r"enable_gqa: expected heads \(axis -3\) that divide those of"):
        attend(graphc.input("q", (4, "t", 4)), *[graphc.input("k", (3, "t", 4))] * 2, enable_gqa=True)
    with pytest.raises(graphc.GraphError, match="dropout_p: expected a number from 0"):
        attend(q, k, v, dropout_p=2)
