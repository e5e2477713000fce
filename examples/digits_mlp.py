"""Train a small network on scikit-learn's handwritten digits: the whole of graphc in one page.

python examples/digits_mlp.py            # trains, prints the held-out accuracy
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
    images = (digits.data / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target, test_size=0.2, random_state=0, stratify=digits.target
    )

    # 1. The graph: nothing is computed here, but every shape and dtype is checked, at this line.
    x = graphc.input("x", ("batch", 64))
    y = graphc.input("y", ("batch",), "int64")
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 10))
    logits = net(x)
    loss = nn.cross_entropy(logits, y)

    # 2. Two executables from it. The first one's gradients come from the chain rule, applied to the graph.
    step = graphc.compile([x, y], {"loss": loss}, updates=optim.Adam(2e-3).minimize(loss))
    predict = graphc.compile([x], graphc.argmax(logits, axis=-1))

    # 3. Whole epochs run natively, minibatches gathered on the way.
    start = time.perf_counter()
    history = graphc.fit(step, {x: train_x, y: train_y}, batch_size=32, epochs=epochs, verbose=verbose)
    seconds = time.perf_counter() - start

    accuracy = float(np.mean(predict(test_x) == test_y))
    print(f"trained in {seconds:.1f} s")
    print(f"loss {history.history['loss'][0]:.3f} -> {history.history['loss'][-1]:.3f}")
    print(f"held-out accuracy: {accuracy:.2%} of {len(test_y)} digits")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training digits (default 60)")
    main(parser.parse_args().epochs)
