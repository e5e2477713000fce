"""Layers of images and sequences: convolutions, pools, other sizes, dropout of channels, residual composition."""

import numpy as np
import pytest

import graphc
from graphc import nn
from tests.ops.catalogue.convolution import convolution, transposed

RNG = np.random.default_rng(7)
IMAGES, SEQUENCES = RNG.normal(size=(2, 5, 6, 4)), RNG.normal(size=(2, 7, 4))
F8 = {"dtype": "float64"}


@pytest.mark.parametrize(
    ("layer", "define"),
    [
        (nn.Conv1d(4, 6, 3, 2, 1, groups=2, **F8), convolution((2,), [(1, 1)], (1,), 2)),
        (nn.Conv2d(4, 3, (3, 2), (1, 2), "same", (2, 1), **F8), convolution((1, 2), [(2, 2), (0, 0)], (2, 1))),
        (
            nn.Conv2d(4, 4, 3, padding=((1, 0), (2, 1)), groups=4, **F8),
            convolution((1, 1), [(1, 0), (2, 1)], (1, 1), 4),
        ),
        (nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2, **F8), transposed((2,), [(1, 1)], (1,), (1,), 2)),
        (nn.ConvTranspose2d(4, 3, 2, (2, 3), dilation=2, **F8), transposed((2, 3), [(0, 0)] * 2, (0, 0), (2, 2))),
    ],
)
def test_a_convolutional_layer_is_its_sum_and_a_bias(layer, define):
    array = SEQUENCES if layer.rank == 1 else IMAGES
    x = graphc.input("x", ("n", *array.shape[1:]), "float64")
    expected = define(array, layer.weight.value) + layer.bias.value
    np.testing.assert_allclose(layer(x).eval({x: array}), expected, rtol=1e-12, atol=1e-12)
    assert list(layer.state_dict()) == ["weight", "bias"]
    bound = 1 / np.sqrt(np.prod(layer.weight.shape[:-1]))
    for values in layer.state_dict().values():
        assert 0.5 * bound < np.abs(values).max() <= bound


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_convolutions_see_what_the_padding_mode_puts_around_the_image(mode):
    layer = nn.Conv2d(4, 2, 3, padding=(1, 2), padding_mode=mode, bias=False, dtype="float64")
    x = graphc.input("x", IMAGES.shape, "float64")
    wide = np.pad(IMAGES, ((0, 0), (1, 1), (2, 2), (0, 0)), {"replicate": "edge", "circular": "wrap"}.get(mode, mode))
    expected = convolution((1, 1), [(0, 0)] * 2, (1, 1))(wide, layer.weight.value)
    np.testing.assert_allclose(layer(x).eval({x: IMAGES}), expected, rtol=1e-12, atol=1e-12)


def test_layers_say_what_they_are_and_what_does_not_fit():
    assert repr(nn.Conv2d(3, 8, 3, 2, 1, bias=False)) == (
        "Conv2d(3, 8, kernel_size=(3, 3), stride=2, padding=1, bias=False)"
    )
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=2, padding=0, dilation=1, ceil_mode=False)"
    assert repr(nn.Upsample(scale_factor=2)) == "Upsample(scale_factor=2, mode='nearest')"
    x = graphc.input("x", ("n", 5, 6, 4))
    with pytest.raises(graphc.ShapeError, match="in_channels that 3 groups divide evenly, got 4 = 1 \\* 3 \\+ 1"):
        nn.Conv2d(4, 6, 3, groups=3)
    with pytest.raises(graphc.ShapeError, match=r"Conv2d's kernel_size to be a whole number of 1 or more.*got 0"):
        nn.Conv2d(4, 6, 0)
    with pytest.raises(graphc.GraphError, match=r"padding_mode: expected 'zeros'.*got 'mirror'"):
        nn.Conv2d(4, 6, 3, padding_mode="mirror")
    with pytest.raises(
        graphc.ShapeError, match=r"Conv2d: expected a last axis of 3, got (.|\n)*in Conv2d at test_images"
    ):
        nn.Conv2d(3, 6, 3)(x)
    with pytest.raises(graphc.ShapeError, match=r"expected 7 or more, got 5(.|\n)*in Conv2d at test_images"):
        nn.Conv2d(4, 6, 7)(x)
    with pytest.raises(graphc.ShapeError, match=r"Conv1d: expected \(N, L, C\), got float32\[n, 5, 6, 4\]"):
        nn.Conv1d(4, 6, 3)(x)
    with pytest.raises(
        graphc.ShapeError, match=r"one shape, got float32\[n, 3, 4, 4\] of the body and float32\[n, 5, 6, 4\]"
    ):
        nn.Residual(nn.Conv2d(4, 4, 3))(x)
    with pytest.raises(graphc.GraphError, match="module or a function as shortcut, got a int"):
        nn.Residual(nn.ReLU(), 3)


def test_a_residual_adds_what_goes_around_its_body():
    layer = nn.Residual(nn.Conv2d(4, 3, 3, padding=1, dtype="float64"), nn.Conv2d(4, 3, 1, dtype="float64"))
    x = graphc.input("x", IMAGES.shape, "float64")
    inner, outer = (part(x).eval({x: IMAGES}) for part in (layer.body, layer.shortcut))
    np.testing.assert_allclose(layer(x).eval({x: IMAGES}), inner + outer, rtol=1e-12)
    np.testing.assert_allclose(nn.Residual(nn.Tanh())(x).eval({x: IMAGES}), np.tanh(IMAGES) + IMAGES, rtol=1e-12)
    assert [name for name, _ in layer.named_parameters()] == [
        "body.weight",
        "body.bias",
        "shortcut.weight",
        "shortcut.bias",
    ]


def test_pools_and_upsampling_are_their_builders():
    x = graphc.input("x", IMAGES.shape, "float64")
    line = graphc.input("line", SEQUENCES.shape, "float64")
    pairs = [
        (nn.MaxPool2d(3, 2, 1, ceil_mode=True)(x), graphc.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
        (nn.MaxPool1d(2, dilation=2)(line), graphc.max_pool1d(line, 2, dilation=2)),
        (nn.AvgPool2d(3, 2, 1, True, False)(x), graphc.avg_pool2d(x, 3, 2, 1, True, False)),
        (nn.AvgPool1d(3)(line), graphc.avg_pool1d(line, 3)),
        (nn.AdaptiveAvgPool2d((2, None))(x), graphc.adaptive_avg_pool2d(x, (2, 6))),
        (nn.AdaptiveAvgPool1d(3)(line), graphc.adaptive_avg_pool1d(line, 3)),
        (nn.AdaptiveMaxPool2d(2)(x), graphc.adaptive_max_pool2d(x, 2)),
        (nn.AdaptiveMaxPool1d(3)(line), graphc.adaptive_max_pool1d(line, 3)),
        (nn.Upsample(scale_factor=2, mode="bilinear")(x), graphc.interpolate(x, (10, 12), mode="bilinear")),
    ]
    for layer, built in pairs:
        got, expected = graphc.evaluate([layer, built], {x: IMAGES, line: SEQUENCES})
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("layer", [nn.Dropout1d(0.4), nn.Dropout2d(0.4)])
def test_dropout_of_channels_zeroes_whole_ones(layer):
    space = (3,) if isinstance(layer, nn.Dropout1d) else (3, 2)
    x = graphc.input("x", ("n", *space, 50))
    ones = np.ones((20, *space, 50), "float32")
    graphc.seed(3)
    dropped = layer(x, training=True).eval({x: ones})
    per_channel = dropped.reshape(20, -1, 50)
    np.testing.assert_array_equal(per_channel, np.broadcast_to(per_channel[:, :1], per_channel.shape))
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.6)}
    assert (dropped == 0).mean() == pytest.approx(0.4, abs=0.05)
    assert graphc.compile([x], layer(x))(ones) == pytest.approx(1)
    with pytest.raises(graphc.ShapeError, match=r"dropout[12]d: expected"):
        layer(x[0])


def test_one_filter_in_two_places_gathers_both_gradients():
    shared = nn.Conv2d(2, 2, 3, padding=1, bias=False, dtype="float64")
    image = RNG.normal(size=(1, 4, 5, 2))
    x = graphc.input("x", image.shape, "float64")

    def loss(first, second):
        hidden = nn.tanh(graphc.conv2d(x, first, padding=1))
        return (graphc.conv2d(hidden, second, padding=1) ** 2).sum()

    both = (shared(nn.tanh(shared(x))) ** 2).sum()
    copies = [graphc.parameter(shared.weight.value) for _ in range(2)]
    one, *apart = graphc.evaluate([graphc.grad(both, shared.weight), *graphc.grad(loss(*copies), copies)], {x: image})
    np.testing.assert_allclose(one, apart[0] + apart[1], rtol=1e-10)
    assert np.abs(apart[0] - apart[1]).max() > 0.1
    compiled = graphc.compile([x], graphc.grad(both, shared.weight))(image)
    np.testing.assert_allclose(compiled, one, rtol=1e-9, atol=1e-10)
