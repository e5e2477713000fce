"""The adding problem: two marked numbers among a hundred are to be added, however far apart they stand.

Hochreiter and Schmidhuber, Long Short-Term Memory, 1997. A network that always answers 1 has a squared error of 0.167. A plain
recurrent network hardly does better, for its gradients vanish on the way back to the marks; an LSTM's do not.

python examples/adding.py                # prints the squared error of an LSTM and of a plain network on new sequences
"""

import argparse

import numpy as np

import graphc
from graphc import nn, optim

BATCH, RATE = 64, 5e-3


def task(rng, count, length):
    """Return sequences (length, count, 2) of numbers from 0 to 1 and marks, and the sums of the two marked numbers."""
    numbers = rng.uniform(size=(length, count)).astype(np.float32)
    marks = np.zeros((length, count), np.float32)
    columns = np.arange(count)
    first, second = rng.integers(0, length // 2, count), rng.integers(length // 2, length, count)
    marks[first, columns] = marks[second, columns] = 1
    return np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=0)


def trained(layer, steps, length):
    """Train a recurrent layer with a linear one on its last output; return the squared error of the last 100 steps.

    No sequence comes twice, so this is the error on new ones.
    """
    x, y = graphc.input("x", (length, "batch", 2)), graphc.input("y", ("batch",))
    head = nn.Linear(layer.hidden_size, 1)
    outputs, _ = layer(x)
    loss = nn.mse_loss(head(outputs[-1])[:, 0], y)
    step = graphc.compile([x, y], loss, updates=optim.Adam(RATE, clip_norm=1.0).minimize(loss))
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(steps // 100):
        batches = [task(rng, BATCH, length) for _ in range(100)]
        losses = step.repeat(100, [np.stack(side) for side in zip(*batches, strict=True)], [0, 1]).run()
    return float(np.mean(losses))


def main(steps: int = 1200, length: int = 100, hidden: int = 64) -> dict[str, float]:
    """Train both, and return their squared errors."""
    graphc.seed(0)
    lstm, rnn = nn.LSTM(2, hidden), nn.RNN(2, hidden)
    # Gates that keep a memory for 1 to `length` times from the beginning (Tallec and Ollivier, Can recurrent neural networks
    # warp time?, 2018): the biases of the gates i and f.
    spans = np.log(np.random.default_rng(0).uniform(1, length - 1, hidden))
    lstm.bias_ih_l0.set(np.concatenate([-spans, spans, np.zeros(2 * hidden)]))
    lstm.bias_hh_l0.set(np.zeros(4 * hidden))
    answers = task(np.random.default_rng(1), 10000, length)[1]
    print(f"always 1: squared error {np.mean((answers - 1) ** 2):.4f}")
    errors = {}
    for name, layer in (("LSTM", lstm), ("tanh RNN", rnn)):
        errors[name] = trained(layer, steps, length)
        bound = next(b for b in (0.01, 0.02, 0.05, 0.1, np.inf) if errors[name] < b)
        print(f"{name}: squared error {errors[name]:.4f}" if bound > 0.1 else f"{name}: squared error below {bound}")
    return errors


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200, help="training steps of each network (default 1200)")
    parser.add_argument("--length", type=int, default=100, help="numbers in a sequence (default 100)")
    parser.add_argument("--hidden", type=int, default=64, help="units of each network (default 64)")
    options = parser.parse_args()
    main(options.steps, options.length, options.hidden)
