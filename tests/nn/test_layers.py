"""Layers with parameters, other than Linear, against NumPy."""

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import DTypeError, ShapeError
from tests.nn.checks import check

RNG = np.random.default_rng(2)


def test_bilinear_is_a_sum_over_both_inputs():
    layer = nn.Bilinear(3, 4, 2, dtype="float64")
    assert layer.weight.shape == (2, 3, 4)
    assert np.abs(layer.weight.value).max() <= 3**-0.5
    w, b = layer.weight.value, layer.bias.value

    def define(x, y):
        result = np.zeros((*x.shape[:-1], 2))
        for at in np.ndindex(result.shape):
            result[at] = x[at[:-1]] @ w[at[-1]] @ y[at[:-1]] + b[at[-1]]
        return result

    x, y = RNG.normal(size=(5, 2, 3)), RNG.normal(size=(5, 2, 4))
    nodes = [graphc.input("x", ("n", 2, 3), "float64"), graphc.input("y", ("n", 2, 4), "float64")]
    feeds = dict(zip(nodes, (x, y), strict=True))
    np.testing.assert_allclose(layer(*nodes).eval(feeds), define(x, y))
    check(
        nn.bilinear,
        lambda x, y, w: np.stack([((x @ w[k]) * y).sum(-1) for k in range(len(w))], -1),
        x[:, 0],
        y[:, 0],
        w,
    )
    assert nn.Bilinear(3, 4, 2, bias=False).bias is None
    with pytest.raises(ShapeError, match="second input: expected a last axis of 4"):
        layer(nodes[0], nodes[0])
    with pytest.raises(ShapeError, match=r"in1_features: expected a whole number of 1 or more, got 0"):
        nn.Bilinear(0, 4, 2)


def test_embedding_looks_rows_up_and_trains_only_those():
    layer = nn.Embedding(5, 3)
    indices = graphc.input("i", ("n", 2), "int32")
    feeds = {indices: np.array([[0, 4], [4, 2]])}
    rows = layer(indices)
    np.testing.assert_array_equal(rows.eval(feeds), layer.weight.value[feeds[indices]])
    gradient = graphc.grad(rows.sum(), layer.weight).eval(feeds)
    np.testing.assert_array_equal(gradient, np.array([1, 0, 1, 0, 2])[:, None] * np.ones(3))
    for wrong in (5, -1):
        with pytest.raises(graphc.IndexOutOfRangeError, match=f"index {wrong} is out of range.*: embedding"):
            rows.eval({indices: np.array([[0, wrong]])})
    graphc.seed(1)
    weight = nn.Embedding(400, 50).weight.value
    assert weight.std() == pytest.approx(1, abs=0.02)
    assert weight.mean() == pytest.approx(0, abs=0.02)


def test_the_padding_row_is_zero_and_has_no_gradient():
    layer = nn.Embedding(5, 3, padding_idx=-1)
    assert layer.padding_idx == 4
    np.testing.assert_array_equal(layer.weight.value[4], np.zeros(3))
    indices = graphc.input("i", ("n",), "int64")
    feeds = {indices: np.array([1, 4, 1])}
    layer.weight.set(np.arange(15).reshape(5, 3))
    value, slope = graphc.evaluate([layer(indices), graphc.grad((layer(indices) * 2.0).sum(), layer.weight)], feeds)
    np.testing.assert_array_equal(value, np.arange(15).reshape(5, 3)[[1, 4, 1]])
    np.testing.assert_array_equal(slope, np.array([0, 4, 0, 0, 0])[:, None] * np.ones(3))
    with pytest.raises(ShapeError, match="padding_idx from -5 to 4, got 5"):
        nn.Embedding(5, 3, padding_idx=5)
    with pytest.raises(DTypeError, match=r"expected integer indices, got float32\[3\](.|\n)*in Embedding"):
        layer(graphc.input("x", (3,)))


@pytest.mark.parametrize("shape", [4, (4,), (3, 4)])
def test_layer_norm(shape):
    sizes = (shape,) if isinstance(shape, int) else shape
    axes = tuple(range(-len(sizes), 0))
    x, w, b = RNG.normal(size=(2, 3, 4)) * 3 + 1, RNG.normal(size=sizes), RNG.normal(size=sizes)

    def define(x, w=1.0, b=0.0, eps=1e-5):
        centred = x - x.mean(axes, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps) * w + b

    check(lambda x, w, b: nn.layer_norm(x, shape, w, b), define, x, w, b, rtol=1e-7)
    node = graphc.input("x", ("n", 3, 4))
    layer = nn.LayerNorm(shape, eps=0.1)
    assert layer.weight.shape == layer.bias.shape == sizes
    np.testing.assert_allclose(layer(node).eval({node: x}), define(x, eps=0.1), rtol=1e-4, atol=1e-5)
    layer.load_state_dict({"weight": w, "bias": b})
    np.testing.assert_allclose(layer(node).eval({node: x}), define(x, w, b, 0.1), rtol=1e-4, atol=1e-5)
    assert nn.LayerNorm(shape, bias=False).bias is None
    assert nn.LayerNorm(shape, elementwise_affine=False).parameters() == []


@pytest.mark.parametrize("shape", [4, (3, 4)])
def test_rms_norm(shape):
    sizes = (shape,) if isinstance(shape, int) else shape
    axes = tuple(range(-len(sizes), 0))
    x, w = RNG.normal(size=(2, 3, 4)) * 3, RNG.normal(size=sizes)

    def define(x, w=1.0, eps=2.0**-52):
        return x / np.sqrt((x**2).mean(axes, keepdims=True) + eps) * w

    check(lambda x, w: nn.rms_norm(x, shape, w), define, x, w, rtol=1e-7)
    node = graphc.input("x", ("n", 3, 4), "float64")
    layer = nn.RMSNorm(shape, eps=0.1, dtype="float64")
    np.testing.assert_allclose(layer(node).eval({node: x}), define(x, eps=0.1))
    assert nn.RMSNorm(shape, elementwise_affine=False).parameters() == []
    # The default eps is that of the dtype: it decides where everything is zero.
    tiny = graphc.input("t", (4,))
    slope = graphc.grad(nn.rms_norm(tiny, 4).sum(), tiny).eval({tiny: np.zeros(4, "f")})
    np.testing.assert_allclose(slope, 2.0**11.5, rtol=1e-6)


def test_constant_rows_are_normalised_to_zero():
    x = graphc.input("x", ("n", 4))
    feeds = {x: np.full((2, 4), 7.0, "f")}
    value, slope = graphc.evaluate([nn.layer_norm(x, 4), graphc.grad(nn.layer_norm(x, 4).sum(), x)], feeds)
    np.testing.assert_array_equal(value, np.zeros((2, 4)))
    np.testing.assert_allclose(slope, np.zeros((2, 4)), atol=1e-4)


def test_wrong_shapes_of_norms_and_flatten():
    x = graphc.input("x", ("n", 3, 4))
    with pytest.raises(
        ShapeError, match=r"expected last axes of \[2, 4\], got float32\[n, 3, 4\](.|\n)*LayerNorm|layer"
    ):
        nn.LayerNorm((2, 4))(x)
    with pytest.raises(ShapeError, match="expected a last axis of 3"):
        nn.RMSNorm(3)(x)
    with pytest.raises(
        ShapeError, match=r"expected a weight of shape \[4\], that of the normalised axes, got float32\[3\]"
    ):
        nn.rms_norm(x, 4, np.ones(3, "f"))
    with pytest.raises(ShapeError, match=r"expected a bias of shape \[3, 4\]"):
        nn.layer_norm(x, (3, 4), None, np.ones(4, "f"))
    with pytest.raises(ShapeError, match=r"normalized_shape: expected a whole number of 0 or more, got 'a'"):
        nn.LayerNorm("a")
    with pytest.raises(graphc.GraphError, match=r"eps: expected a number of 0\.0 or more, got -1"):
        nn.LayerNorm(3, eps=-1)
    with pytest.raises(ShapeError, match="expected start_dim before end_dim, got 2 and 1"):
        nn.Flatten(2, 1)(x)
    assert nn.Identity(3, anything=None)(x) is x
