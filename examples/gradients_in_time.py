"""How gradients vanish and explode on their way back through time, and what keeps them alive.

For recurrent networks on 100 random inputs, the norm of the derivative of a loss at the last time by the state at every
time before. Bengio, Simard and Frasconi, Learning Long-Term Dependencies with Gradient Descent is Difficult, 1994; Pascanu,
Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013.

python examples/gradients_in_time.py                    # prints the norms, and a plot of letters
python examples/gradients_in_time.py --svg norms.svg    # writes the plot as a picture, too
"""

import argparse
import math
from pathlib import Path

import numpy as np

import graphc
from graphc import nn

TIMES, BATCH, INPUTS, HIDDEN = 100, 8, 4, 32


def gradient_norms(step, start, truncate=None):
    """Return the norm of dL/d(state at time t) for every t; L is a fixed weighted sum of the last state.

    step: (states, x) -> states, each a tuple. To every state zeros are added, and the derivative by these is taken.
    """
    rng = np.random.default_rng(1)
    x = graphc.constant(rng.normal(size=(TIMES, BATCH, INPUTS)))
    zeros = tuple(graphc.constant(np.zeros((TIMES, *state.shape))) for state in start)

    def moved(states, xs):
        new = step(states, xs[0])
        return tuple(one + zero for one, zero in zip(new, xs[1], strict=True)), None

    last, _ = graphc.scan(moved, tuple(graphc.constant(state) for state in start), (x, zeros), truncate=truncate)
    loss = sum(graphc.sum(one * rng.normal(size=one.shape)) for one in last)
    slopes = graphc.evaluate(graphc.grad(loss, list(zeros)))
    return np.sqrt(sum((slope**2).sum(axis=(1, 2)) for slope in slopes))


def of_rnn(weight, clip=None, truncate=None):
    """Return the norms for h' = tanh(W_ih x + W_hh h) with this W_hh; clip: of the gradient at every step."""
    cell = nn.RNNCell(INPUTS, HIDDEN, bias=False, dtype="float64")
    cell.weight_hh.set(weight)

    def step(states, x):
        h = cell(0.1 * x, states[0])
        return (h if clip is None else graphc.clip_gradient(h, max_norm=clip),)

    return gradient_norms(step, (np.zeros((BATCH, HIDDEN)),), truncate)


def of_linear(rho):
    """Return the norms for h' = x @ U + rho * h @ Q, where Q is orthogonal: each is exactly rho times the next."""
    q, u = nn.init.orthogonal((HIDDEN, HIDDEN), dtype="float64"), nn.init.normal((INPUTS, HIDDEN), dtype="float64")
    return gradient_norms(lambda states, x: (x @ u + rho * (states[0] @ q),), (np.zeros((BATCH, HIDDEN)),))


def of_lstm(forget_bias):
    """Return the norms for an LSTM; forget_bias: what is added to the bias of its forget gate."""
    cell = nn.LSTMCell(INPUTS, HIDDEN, dtype="float64")
    bias = cell.bias_ih.value.copy()
    bias[HIDDEN : 2 * HIDDEN] += forget_bias
    cell.bias_ih.set(bias)
    return gradient_norms(lambda states, x: cell(x, states), (np.zeros((BATCH, HIDDEN)),) * 2)


def curves():
    """Return {name: norms} of all networks."""
    uniform = nn.init.uniform((HIDDEN, HIDDEN), -(HIDDEN**-0.5), HIDDEN**-0.5, dtype="float64")
    orthogonal, large = (nn.init.orthogonal((HIDDEN, HIDDEN), gain, dtype="float64") for gain in (1.0, 1.5))
    return {
        "linear, 0.9 times orthogonal": of_linear(0.9),
        "tanh, uniform weights": of_rnn(uniform),
        "tanh, orthogonal weights": of_rnn(orthogonal),
        "tanh, truncated after 25": of_rnn(orthogonal, truncate=25),
        "tanh, 1.5 times orthogonal": of_rnn(large),
        "  the same, clipped at 30": of_rnn(large, clip=30.0),
        "LSTM": of_lstm(0.0),
        "LSTM, forget bias 5": of_lstm(5.0),
    }


def plot(found, low=-12, high=4, width=64):
    """Return a plot in letters: time to the right, the logarithm of the norm upwards, one letter for each network."""
    rows = [[" "] * width for _ in range(high - low + 1)]
    for letter, norms in zip("abcdefgh", found.values(), strict=False):
        for column in range(width):
            norm = norms[column * (TIMES - 1) // (width - 1)]
            if norm > 0 and low <= round(math.log10(norm)) <= high:
                rows[high - round(math.log10(norm))][column] = letter
    lines = [f"1e{high - k:+03d} |{''.join(row)}" for k, row in enumerate(rows)]
    return "\n".join([*lines, f"      +{'-' * width}", f"       time 1{' ' * (width - 16)}time {TIMES}"])


def picture(found, low=-12, high=4):
    """Return the same plot as SVG."""
    colours = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5"]

    def place(time, norm):
        height = min(max(math.log10(max(norm, 1e-300)), low), high)
        return f"{60 + 6 * time:.0f},{20 + 20 * (high - height):.1f}"

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="390" font-family="sans-serif" font-size="12">'
    ]
    for power in range(low, high + 1, 4):
        y = 20 + 20 * (high - power)
        parts.append(
            f'<line x1="60" x2="654" y1="{y}" y2="{y}" stroke="#ddd"/><text x="15" y="{y + 4}">1e{power}</text>'
        )
    for k, ((name, norms), colour) in enumerate(zip(found.items(), colours, strict=True)):
        points = " ".join(place(time, norm) for time, norm in enumerate(norms))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="670" y="{40 + 20 * k}" fill="{colour}">{name.strip()}</text>')
    parts.append(
        '<text x="60" y="375">time: the loss is at the right end, norms of dL/dh_t by powers of ten</text></svg>'
    )
    return "\n".join(parts) + "\n"


def main(svg: str | None = None) -> dict[str, np.ndarray]:
    """Print the norms, and return them for every network and time."""
    graphc.seed(0)
    found = curves()
    print(f"{'':32}{'norm of dL/dh_t, ' + 'the last as 1, back by':<28}")
    print(f"{'':32}{'25 steps':>10}{'50 steps':>10}{'99 steps':>10}")
    for letter, (name, norms) in zip("abcdefgh", found.items(), strict=True):
        print(f"{letter}  {name:29}" + "".join(f"{norms[-1 - by] / norms[-1]:10.0e}" for by in (25, 50, 99)))
    linear = found["linear, 0.9 times orthogonal"]
    away = np.abs(linear[:-1] / linear[1:] / 0.9 - 1).max()
    print(f"\n{plot(found)}\n")
    print(f"linear: each norm is 0.9 times the next, to {'1e-14' if away < 1e-14 else f'{away:.0e}'}")
    if svg is not None:
        Path(svg).write_text(picture(found))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--svg", help="a file for the plot as a picture")
    main(parser.parse_args().svg)
