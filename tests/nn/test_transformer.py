"""Encodings of positions, attention layers and transformer layers against their definitions."""

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.inspect.plan_text import plan_text

RNG = np.random.default_rng(34)
X = RNG.normal(size=(2, 5, 6))


def test_sinusoidal_positions():
    expected = np.zeros((5, 6))
    for position in range(5):
        for i in range(3):
            angle = position / 100.0 ** (2 * i / 6)
            expected[position, 2 * i : 2 * i + 2] = np.sin(angle), np.cos(angle)
    np.testing.assert_allclose(nn.sinusoidal_positions(5, 6, 100.0, "float64").eval(), expected, rtol=1e-12, atol=1e-15)
    x = graphc.input("x", ("n", "time", 6), "float64")
    np.testing.assert_allclose(nn.SinePositionEncoding(100.0)(x).eval({x: X}), X + expected)
    with pytest.raises(ShapeError, match="expected an even number of features, got 5"):
        nn.sinusoidal_positions(5, 5)


def test_position_embedding_adds_a_trained_row_to_each_time():
    layer, x = nn.PositionEmbedding(8, 6, "float64"), graphc.input("x", ("n", "time", 6), "float64")
    value, slope = graphc.evaluate([layer(x), graphc.grad(layer(x).sum(), layer.weight)], {x: X})
    np.testing.assert_allclose(value, X + layer.weight.value[:5])
    np.testing.assert_array_equal(slope, np.repeat([2.0, 0.0], [5, 3])[:, None] * np.ones(6))
    with pytest.raises(ShapeError, match=r"expected at most 8 times, got float32\[9, 6\]"):
        layer(graphc.input("x", (9, 6)))
    with pytest.raises(graphc.CallError, match="7 >= time - 1"):
        layer(x).eval({x: np.zeros((1, 9, 6))})


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_embedding_turns_pairs(interleaved):
    order = np.arange(6).reshape(3, 2) if interleaved else np.arange(6).reshape(2, 3).T
    speeds = 50.0 ** (-np.arange(3) / 3)

    def define(x, positions):
        result = np.zeros_like(x)
        for time, position in enumerate(positions):
            turned = (x[..., time, order[:, 0]] + 1j * x[..., time, order[:, 1]]) * np.exp(1j * position * speeds)
            result[..., time, order[:, 0]], result[..., time, order[:, 1]] = turned.real, turned.imag
        return result

    x = graphc.input("x", ("n", "time", 6), "float64")
    turned = nn.rotary_embedding(x, base=50.0, interleaved=interleaved)
    np.testing.assert_allclose(turned.eval({x: X}), define(X, range(5)), rtol=1e-12)
    places = np.array([7, 3, 100, 0, 2])
    turned = nn.rotary_embedding(x, places, 50.0, interleaved)
    np.testing.assert_allclose(turned.eval({x: X}), define(X, places), rtol=1e-12)
    # Products of queries and keys do not change when both move on.
    q, k = X[0], X[1]
    products = [(define(q, np.arange(5) + by) @ define(k, np.arange(5) + by).T) for by in (0, 13)]
    np.testing.assert_allclose(*products)


def test_swiglu():
    layer, x = nn.SwiGLU(6, 8, 3, bias=True, dtype="float64"), graphc.input("x", ("n", "time", 6), "float64")
    w = layer.state_dict()
    gate, up = (X @ w[f"{name}_proj.weight"].T + w[f"{name}_proj.bias"] for name in ("gate", "up"))
    hidden = gate / (1 + np.exp(-gate)) * up
    expected = hidden @ w["down_proj.weight"].T + w["down_proj.bias"]
    np.testing.assert_allclose(layer(x).eval({x: X}), expected, rtol=1e-12)
    assert nn.SwiGLU(6, 8)(x).shape[-1] == 6


class Tied(nn.Module):
    """A head that shares the table of an embedding."""

    def __init__(self):
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def test_tied_weights_are_one_parameter_with_two_names():
    net = Tied()
    assert [name for name, _ in net.named_parameters()] == ["embedding.weight"]
    assert list(net.state_dict()) == ["embedding.weight", "head.weight"]
    tokens = np.array([0, 2, 2])
    loss = net(graphc.constant(tokens)).sum()
    table = net.embedding.weight.value.astype("float64")
    expected = np.tile(table[tokens].sum(0), (5, 1))
    np.add.at(expected, tokens, table.sum(0))
    np.testing.assert_allclose(graphc.grad(loss, net.embedding.weight).eval(), expected, rtol=1e-4, atol=1e-6)
    graphc.compile([], loss, updates=optim.SGD(0.1).minimize(loss))()
    assert net.head.weight.value is net.embedding.weight.value or np.array_equal(
        net.head.weight.value, net.embedding.weight.value
    )
    np.testing.assert_allclose(net.head.weight.value, table - 0.1 * expected, rtol=1e-4, atol=1e-6)
    other = Tied()
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(other.head.weight.value, net.head.weight.value)


def test_weights_of_attention_cost_nothing_where_nobody_reads_them():
    layer, x = nn.MultiheadAttention(6, 2, batch_first=True), graphc.input("x", ("n", 5, 6))
    plans = [plan_text(graphc.compile([x], layer(x, x, x, need_weights=needed)[0]).plan) for needed in (True, False)]
    assert plans[0] == plans[1]
    _, weights = layer(x, x, x, is_causal=True)
    assert weights.shape == (x.shape[0], 5, 5)
    np.testing.assert_allclose(weights.eval({x: X.astype("f")}).sum(-1), 1, rtol=1e-6)
    assert not np.triu(weights.eval({x: X.astype("f")})[0], 1).any()
    bare = nn.MultiheadAttention(6, 2, bias=False)
    assert [name for name, _ in bare.named_parameters()] == ["in_proj_weight", "out_proj.weight"]


def test_dropout_of_a_layer_is_of_the_phase():
    layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=1.0, batch_first=True, norm_first=True, dtype="float64")
    plain = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True, norm_first=True, dtype="float64")
    plain.load_state_dict(layer.state_dict())
    x = graphc.input("x", ("n", 5, 6), "float64")
    trained, known = (graphc.evaluate(layer(x), {x: X, graphc.training(): np.array(p)}) for p in (True, False))
    np.testing.assert_array_equal(trained, X)
    np.testing.assert_array_equal(known, plain(x).eval({x: X}))
    assert np.abs(known - X).max() > 0.1


def test_what_does_not_fit():
    layer, x = nn.MultiheadAttention(6, 2), graphc.input("x", ("time", "n", 6))
    with pytest.raises(ShapeError, match="expected an embed_dim that num_heads divides, got 6 and 4"):
        nn.MultiheadAttention(6, 4)
    with pytest.raises(ShapeError, match=r"all of 3 dimensions, or of 2 without a batch, got float32\[time"):
        layer(x, graphc.input("k", (6,)), x)
    with pytest.raises(ShapeError, match=r"MultiheadAttention's key: expected a last axis of 6"):
        layer(x, graphc.input("k", ("s", "n", 5)), x)
    with pytest.raises(
        ShapeError, match=r"expected an attn_mask \[time, time\] or \[2 \* n, time, time\], got bool\[4\]"
    ):
        layer(x, x, x, attn_mask=np.ones(4, "?"))
    with pytest.raises(ShapeError, match=r"expected a key_padding_mask \[n, time\], got bool\[4\]"):
        layer(x, x, x, key_padding_mask=np.ones(4, "?"))
    with pytest.raises(DTypeError, match="expected masks of booleans or floats, got int64"):
        layer(x, x, x, attn_mask=graphc.input("m", ("time", "time"), "int64"))
    with pytest.raises(GraphError, match="activation: expected 'relu' or 'gelu', got 'swish'"):
        nn.TransformerEncoderLayer(6, 2, activation="swish")
    with pytest.raises(ShapeError, match=r"rotary_embedding: expected positions of shape \(time,\)"):
        nn.rotary_embedding(x, np.ones((2, 2), "int64"))
