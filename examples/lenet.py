"""LeNet-5 on scikit-learn's handwritten digits: convolutions, pools and a classifier, compiled and trained natively.

python examples/lenet.py                 # trains, prints the held-out accuracy

LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document Recognition, 1998. The digits are 8 x 8 where
the paper's are 32 x 32, so its filters see a margin of zeros; there are twice as many, and units are rectified and dropped.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import graphc
from graphc import nn, optim


def main(epochs: int = 60, verbose: bool = True) -> float:
    """Train, and return the accuracy on held-out digits."""
    graphc.seed(0)
    digits = load_digits()
    images = digits.images.astype(np.float32)[..., None]  # (N, H, W, C): channels last
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target, test_size=0.2, random_state=0, stratify=digits.target
    )
    mean, deviation = train_x.mean(), train_x.std()

    x = graphc.input("x", ("batch", 8, 8, 1))
    y = graphc.input("y", ("batch",), "int64")
    net = nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(128, 120),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    logits = net((x - mean) / deviation)
    loss = nn.cross_entropy(logits, y)

    optimizer = optim.Adam(2e-3)
    step = graphc.compile([x, y], {"loss": loss}, updates=optimizer.minimize(loss))
    predict = graphc.compile([x], graphc.argmax(logits, axis=-1))

    start = time.perf_counter()
    losses: list[float] = []
    for rate, share in ((2e-3, 0.75), (5e-4, 0.25)):  # the learning rate is a state: set, not compiled in
        optimizer.learning_rate.set(rate)
        epochs_now = max(round(epochs * share), 1)
        history = graphc.fit(step, {x: train_x, y: train_y}, batch_size=32, epochs=epochs_now, verbose=verbose)
        losses += history.history["loss"]
    seconds = time.perf_counter() - start

    accuracy = float(np.mean(predict(test_x) == test_y))
    print(f"trained in {seconds:.1f} s")
    print(f"{sum(p.value.size for p in net.parameters()):,} parameters")
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    print(f"held-out accuracy: {accuracy:.2%} of {len(test_y)} digits")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training digits (default 60)")
    main(parser.parse_args().epochs)
