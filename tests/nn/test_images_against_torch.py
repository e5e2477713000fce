"""Layers of images with PyTorch's weights: values, gradients, running statistics; LeNet-5 and a small ResNet whole."""

import numpy as np
import pytest

import graphc
from graphc import nn

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(3)
IMAGES, SEQUENCES = RNG.normal(size=(3, 8, 7, 4)).astype("f"), RNG.normal(size=(3, 9, 4)).astype("f")

LAYERS = {
    "Conv1d": [(4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}],
    "Conv2d": [(4, 6, (3, 2)), {"padding": (2, 1), "dilation": 2, "padding_mode": "reflect"}],
    "Conv2d same": [(4, 4, 4), {"padding": "same", "groups": 4, "bias": False}],
    "ConvTranspose1d": [(4, 6, 3), {"stride": 2, "output_padding": 1}],
    "ConvTranspose2d": [(4, 6, 3), {"stride": (2, 3), "padding": 1, "groups": 2, "dilation": 2}],
    "MaxPool1d": [(3, 2, 1), {"ceil_mode": True}],
    "MaxPool2d": [((3, 2),), {"padding": 1}],
    "AvgPool1d": [(3,), {"ceil_mode": True}],
    "AvgPool2d": [(3, 2, 1), {"ceil_mode": True}],
    "AvgPool2d without": [(3, 2, 1), {"ceil_mode": True, "count_include_pad": False}],
    "AdaptiveAvgPool1d": [(4,), {}],
    "AdaptiveAvgPool2d": [((3, None),), {}],
    "AdaptiveMaxPool1d": [(4,), {}],
    "AdaptiveMaxPool2d": [(5,), {}],
    "BatchNorm1d": [(4,), {"eps": 1e-3}],
    "BatchNorm2d": [(4,), {"momentum": 0.3}],
    "GroupNorm": [(2, 4), {}],
    "InstanceNorm1d": [(4,), {"affine": True}],
    "InstanceNorm2d": [(4,), {"track_running_stats": True}],
    "Upsample": [(), {"scale_factor": 1.7}],
    "Upsample bilinear": [((5, 13),), {"mode": "bilinear"}],
    "Upsample corners": [((5, 13),), {"mode": "bilinear", "align_corners": True}],
}


def first(array):
    return torch.tensor(np.moveaxis(array, -1, 1).copy())


def last(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def load(ours, theirs):
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()}, layout="pytorch")


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_layers(name):
    arguments, options = LAYERS[name]
    kind = name.split()[0]
    theirs, ours = getattr(torch.nn, kind)(*arguments, **options), getattr(nn, kind)(*arguments, **options)
    load(ours, theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    array = SEQUENCES if "1d" in kind else IMAGES
    tensor = first(array).requires_grad_()
    expected = theirs(tensor)
    weights = RNG.normal(size=expected.shape).astype("f")
    wrt = list(theirs.parameters())
    slope, *by_weights = torch.autograd.grad((expected * torch.tensor(weights)).sum(), [tensor, *wrt])
    x = graphc.input("x", array.shape)
    y = ours(x)
    slopes = graphc.grad((y * np.moveaxis(weights, 1, -1)).sum(), [x, *ours.parameters()])
    got = graphc.compile([x], [y, *slopes], training=True)(array)
    wanted = [last(expected), last(slope)]
    wanted += [ours.converted(key, g.numpy()) for (key, _), g in zip(ours.named_parameters(), by_weights, strict=True)]
    for value, reference in zip(got, wanted, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-4, atol=2e-5)
    for key, value in ours.state_dict().items():
        np.testing.assert_allclose(value, ours.converted(key, theirs.state_dict()[key].numpy()), rtol=1e-5, atol=1e-6)
    theirs.eval()
    np.testing.assert_allclose(graphc.compile([x], y)(array), last(theirs(tensor)), rtol=1e-4, atol=1e-5)


def lenet(of):
    return of.Sequential(
        *(of.Conv2d(1, 6, 5, padding=2), of.Tanh(), of.AvgPool2d(2), of.Conv2d(6, 16, 5), of.Tanh(), of.AvgPool2d(2)),
        *(of.Flatten(), of.Dropout(0.2), of.Linear(400, 120), of.BatchNorm1d(120), of.Tanh()),
        *(of.Linear(120, 84), of.Tanh(), of.Linear(84, 10)),
    )


def block(of, relu):
    """A residual block of channels, written for either framework: `of` is its modules."""

    class Block(of.Module):
        def __init__(self, channels, filters, stride):
            super().__init__()
            self.conv1 = of.Conv2d(channels, filters, 3, stride, 1, bias=False)
            self.bn1 = of.BatchNorm2d(filters)
            self.conv2 = of.Conv2d(filters, filters, 3, 1, 1, bias=False)
            self.bn2 = of.BatchNorm2d(filters)
            self.downsample = of.Identity()
            if stride != 1:
                shortcut = of.Conv2d(channels, filters, 1, stride, bias=False)
                self.downsample = of.Sequential(shortcut, of.BatchNorm2d(filters))

        def forward(self, x):
            return relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))) + self.downsample(x))

    return Block


def resnet(of):
    build = block(of, torch.relu if of is torch.nn else nn.relu)
    return of.Sequential(
        *(of.Conv2d(1, 8, 3, 1, 1, bias=False), of.BatchNorm2d(8), of.ReLU(), of.MaxPool2d(3, 2, 1)),
        *(build(8, 8, 1), build(8, 16, 2), of.AdaptiveAvgPool2d(1), of.Flatten(), of.Linear(16, 10)),
    )


@pytest.mark.parametrize("built_first", [False, True])
@pytest.mark.parametrize("network", [lenet, resnet])
def test_logits_of_whole_networks(network, built_first):
    torch.manual_seed(0)
    theirs, ours = network(torch.nn), network(nn)
    digits = RNG.normal(size=(6, 28, 28, 1)).astype("f")
    for _ in range(3):
        theirs(first(digits))  # moves the running statistics
    theirs.eval()
    x = graphc.input("x", ("batch", 28, 28, 1))
    before = ours(x) if built_first else None
    load(ours, theirs)
    logits = before if built_first else ours(x)
    expected = theirs(first(digits)).detach().numpy()
    np.testing.assert_allclose(graphc.compile([x], logits)(digits), expected, rtol=1e-5, atol=1e-5)
    load(ours, theirs)
    np.testing.assert_allclose(graphc.compile([x], logits)(digits), expected, rtol=1e-5, atol=1e-5)
