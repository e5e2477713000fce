"""Windows over images: ties, what is not a number, sizes known only when the graph runs."""

import numpy as np
import pytest

import graphc
from tests.ops.catalogue.convolution import convolution
from tests.ops.catalogue.pooling import linear, pooled


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_first_of_equal_elements_has_the_gradient_of_its_pool(stride):
    rng = np.random.default_rng(stride)
    image = rng.integers(0, 2, (2, 6, 7, 2)).astype("float32")
    x = graphc.input("x", image.shape)
    y = graphc.max_pool2d(x, 3, stride, 1)
    weights = rng.normal(size=[int(n) for n in y.shape]).astype("float32")
    wanted = np.zeros_like(image)
    for n, i, j, c in np.ndindex(weights.shape):
        places = [(i * stride - 1 + k, j * stride - 1 + m) for k in range(3) for m in range(3)]
        inside = [at for at in places if 0 <= at[0] < 6 and 0 <= at[1] < 7]
        # Of equals max takes the first.
        first = max(inside, key=lambda at: image[n, at[0], at[1], c])
        wanted[n, first[0], first[1], c] += weights[n, i, j, c]
    slope = graphc.grad((y * weights).sum(), x)
    np.testing.assert_allclose(slope.eval({x: image}), wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(graphc.compile([x], slope)(image), wanted, rtol=1e-6, atol=1e-6)


def test_what_is_not_a_number_stays_in_its_windows():
    image = np.ones((1, 6, 6, 1), "float32")
    image[0, 2, 3, 0] = np.nan
    x = graphc.input("x", image.shape)
    pools = [graphc.max_pool2d(x, 2), graphc.avg_pool2d(x, 2), graphc.adaptive_avg_pool2d(x, 4)]
    bad = [np.argwhere(np.isnan(a))[:, 1:3].tolist() for a in graphc.compile([x], pools)(image)]
    assert bad == [[[1, 1]], [[1, 1]], [[1, 2]]]
    assert np.isnan(graphc.interpolate(x, 12).eval({x: image})).sum() == 4


def test_one_compilation_serves_images_of_every_size():
    x = graphc.input("x", ("batch", "height", "width", 2), "float64")
    kernel = np.random.default_rng(0).normal(size=(3, 2, 2, 3))
    outputs = [
        graphc.conv2d(x, kernel, (2, 1), 1),
        graphc.max_pool2d(x, 2, ceil_mode=True),
        graphc.adaptive_avg_pool2d(x, 1),
        graphc.interpolate(x, None, 2, "bilinear"),
    ]
    run = graphc.compile([x], [*outputs, graphc.grad(sum((y * y).sum() for y in outputs), x)])
    definitions = [
        convolution((2, 1), [(1, 1), (1, 1)], (1, 1)),
        pooled(lambda elements, _: elements.max(0), (2, 2), (2, 2), [(0, 0), (0, 0)], ceil=True),
    ]
    for shape in ((1, 2, 3, 2), (3, 5, 4, 2)):
        image = np.random.default_rng(1).normal(size=shape)
        convolved, largest, mean, doubled, slope = run(image)
        np.testing.assert_allclose(convolved, definitions[0](image, kernel), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(largest, definitions[1](image), rtol=1e-12)
        np.testing.assert_allclose(mean, image.mean((1, 2), keepdims=True), rtol=1e-12)
        np.testing.assert_allclose(doubled, linear((2 * shape[1], 2 * shape[2]), False)(image), rtol=1e-12, atol=1e-12)
        step = np.random.default_rng(2).normal(size=shape) * 1e-6
        ends = [sum((part**2).sum() for part in run(image + sign * step)[:-1]) for sign in (1, -1)]
        assert (slope * step).sum() == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("conv1d", lambda x: graphc.conv1d(x, np.ones((4, 1, 1), "float32"))),
        ("conv1d", lambda x: graphc.nn.Conv1d(1, 1, 4)(x)),
        ("conv1d", lambda x: graphc.map(lambda one: graphc.conv1d(one[None], np.ones((4, 1, 1), "float32"))[0], x)),
        ("unfold", lambda x: graphc.unfold(x, 2, dilation=3)),
        ("max_pool1d", lambda x: graphc.max_pool1d(x, 2, 1, dilation=3)),
    ],
)
def test_a_kernel_longer_than_a_sequence_is_told_at_the_call(name, build):
    x = graphc.input("x", (1, "length", 1))
    run = graphc.compile([x], build(x))
    assert run(np.ones((1, 4, 1), "float32")).shape[1] == 1
    expected = rf"^{name}: \w+ (of|over) .*needs length - 3 >= 1 \(test_windows.py:\d+\); here length = 3"
    with pytest.raises(graphc.CallError, match=expected):
        run(np.ones((1, 3, 1), "float32"))


def test_channels_of_the_same_windows_are_a_convolution():
    rng = np.random.default_rng(3)
    image, kernel = rng.normal(size=(2, 5, 4, 2)), rng.normal(size=(2, 3, 2, 4))
    windows = graphc.unfold(image, (2, 3), stride=2, padding=1).reshape(-1, 2 * 3 * 2)
    direct = graphc.conv2d(image, kernel, 2, 1)
    product = (windows @ kernel.reshape(-1, 4)).reshape(direct.shape)
    np.testing.assert_allclose(product.eval(), direct.eval(), rtol=1e-12, atol=1e-12)


def test_other_sizes_and_divisors():
    sequence, image = np.arange(8.0).reshape(1, 4, 2), np.random.default_rng(4).normal(size=(1, 3, 2, 1))
    longer = graphc.interpolate(sequence, scale_factor=1.5)
    np.testing.assert_array_equal(longer.eval(), sequence[:, [0, 0, 1, 2, 2, 3]])
    thirds = pooled(lambda elements, _: elements.sum(0) / 3, (2, 2), (1, 1), [(1, 1), (1, 1)])
    np.testing.assert_allclose(graphc.avg_pool2d(image, 2, 1, 1, divisor_override=3).eval(), thirds(image), rtol=1e-12)
