"""A small residual network on scikit-learn's handwritten digits, with and without augmentation.

python examples/resnet.py                # trains both, prints accuracies on held-out digits in evaluation mode

Shifts and noise are nodes of the graph, drawn anew in each step by the counter-based generator; compiled for evaluation they
fold away, and batch norm takes its running statistics. He et al., Deep Residual Learning for Image Recognition, 2016.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import graphc
from graphc import nn, optim


class Block(nn.Module):
    """Two convolutions, each with batch norm, and a way around both."""

    def __init__(self, channels: int, filters: int, stride: int = 1) -> None:
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.around = nn.Identity()
        if stride != 1 or channels != filters:
            self.around = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x: graphc.Node) -> graphc.Node:
        inner = nn.relu(self.bn1(self.conv1(x)))
        return nn.relu(self.bn2(self.conv2(inner)) + self.around(x))


def augmented(images: graphc.Node, noise: float = 0.02) -> graphc.Node:
    """Return images (N, H, W, C) each shifted by up to one element, with noise, in training; as they are otherwise."""
    count, height, width, channels = images.shape
    wide = graphc.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    corners = graphc.randint(0, 3, (count, 2))

    def cut(image: graphc.Node, corner: graphc.Node) -> graphc.Node:
        return graphc.dynamic_slice(image, (corner[0], corner[1], 0), (height, width, channels))

    moved = graphc.vmap(cut)(wide, corners) + noise * graphc.normal(images.shape)
    return graphc.where(graphc.training(), moved, images)


def train(data: tuple[np.ndarray, ...], augment: bool, epochs: int, verbose: bool) -> tuple[float, float]:
    """Train one network, and return its accuracy on the held-out digits: as they are, and shifted by one element."""
    graphc.seed(0)
    train_x, test_x, train_y, test_y = data
    x = graphc.input("x", ("batch", 8, 8, 1))
    y = graphc.input("y", ("batch",), "int64")
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16, 16),
        Block(16, 32, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    logits = net(augmented(x) if augment else x)
    loss = nn.cross_entropy(logits, y)

    # The running statistics are updated by the training step alone, for only it is compiled for training.
    optimizer = optim.Adam(3e-3)
    step = graphc.compile([x, y], {"loss": loss}, updates=optimizer.minimize(loss))
    predict = graphc.compile([x], graphc.argmax(logits, axis=-1))
    start = time.perf_counter()
    for rate, share in ((3e-3, 0.75), (3e-4, 0.25)):
        optimizer.learning_rate.set(rate)
        graphc.fit(step, {x: train_x, y: train_y}, batch_size=32, epochs=max(round(epochs * share), 1), verbose=verbose)
    seconds = time.perf_counter() - start

    sides = [np.roll(test_x, step, axis) for axis in (1, 2) for step in (-1, 1)]
    plain, shifted = (float(np.mean([predict(images) == test_y for images in tests])) for tests in ([test_x], sides))
    name = "with augmentation" if augment else "without"
    print(f"{name} in {seconds:.1f} s")
    print(f"{name:20} {plain:8.2%} of {len(test_y)} held-out digits, {shifted:.2%} of them shifted by one")
    return plain, shifted


def main(epochs: int = 16, verbose: bool = True) -> dict[bool, tuple[float, float]]:
    """Return the held-out accuracies with augmentation and without."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[..., None]
    data = train_test_split(images, digits.target, test_size=0.2, random_state=0, stratify=digits.target)
    return {augment: train(data, augment, epochs, verbose) for augment in (True, False)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=16, help="passes over the training digits (default 16)")
    main(parser.parse_args().epochs)
