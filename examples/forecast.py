"""Forecast a real series: the passengers of international airlines in each month of 1949 to 1960, in thousands.

The series is G of Box and Jenkins, Time Series Analysis: Forecasting and Control, 1970. The last fifth is forecast month by
month from what was known the month before; the forecast to beat is the seasonal naive one, the same month of the year before.
The network sees a fixed window of twelve yearly changes and learns from the first four fifths only.

python examples/forecast.py              # prints the mean absolute error of both
"""

import argparse

import numpy as np

import graphc
from graphc import nn, optim

YEARS = """
112 118 132 129 121 135 148 148 136 119 104 118    115 126 141 135 125 149 170 170 158 133 114 140
145 150 178 163 172 178 199 199 184 162 146 166    171 180 193 181 183 218 230 242 209 191 172 194
196 196 236 235 229 243 264 272 237 211 180 201    204 188 235 227 234 264 302 293 259 229 203 229
242 233 267 269 270 315 364 347 312 274 237 278    284 277 317 313 318 374 413 405 355 306 271 306
315 301 356 348 355 422 465 467 404 347 305 336    340 318 362 348 363 435 491 505 404 359 310 337
360 342 406 396 420 472 548 559 463 407 362 405    417 391 419 461 472 535 622 606 508 461 390 432
"""
PASSENGERS = np.array(YEARS.split(), np.float64)
SEASON, WINDOW = 12, 12
HELD_OUT = len(PASSENGERS) // 5


def windows(series):
    """Return windows of yearly changes, (count, WINDOW), and the change after each; changes are of logarithms."""
    logs = np.log(series)
    changes = logs[SEASON:] - logs[:-SEASON]
    rows = np.lib.stride_tricks.sliding_window_view(changes[:-1], WINDOW)
    return rows.astype(np.float32), changes[WINDOW:].astype(np.float32)


class Forecaster(nn.Module):
    """A GRU over the window; its answer is added to the last change that was seen."""

    def __init__(self, hidden: int) -> None:
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)
        self.head.weight.set(np.zeros((1, hidden)))
        self.head.bias.set(np.zeros(1))

    def forward(self, x: graphc.Node) -> graphc.Node:
        centre = graphc.mean(x, -1, keepdims=True)
        _, state = self.gru((10.0 * (x - centre))[..., None])
        return x[:, -1] + 0.1 * self.head(state[0])[:, 0]


def main(rounds: int = 20) -> float:
    """Train, and return by how much the forecast beats the seasonal naive one."""
    graphc.seed(0)
    inputs, answers = windows(PASSENGERS)
    known = len(answers) - HELD_OUT
    x, y = graphc.input("x", ("batch", WINDOW)), graphc.input("y", ("batch",))
    net = Forecaster(16)
    forecast = net(x)
    loss = nn.mse_loss(forecast, y)
    step = graphc.compile([x, y], loss, updates=optim.Adam(3e-3).minimize(loss))
    predict = graphc.compile([x], forecast)

    # The last two known years say when to stop: with so few months a network soon learns them by heart.
    learnt, best = known - 2 * SEASON, np.inf
    for _ in range(rounds):
        step.repeat(20, [inputs[:learnt], answers[:learnt]]).run()
        error = np.abs(predict(inputs[learnt:known]) - answers[learnt:known]).mean()
        if error < best:
            best, weights = error, net.state_dict()
    net.load_state_dict(weights)

    # One month ahead: the window before each held-out month holds real passengers only.
    last_year, truth = PASSENGERS[-HELD_OUT - SEASON : -SEASON], PASSENGERS[-HELD_OUT:]
    errors = {
        "seasonal naive": np.abs(last_year - truth).mean(),
        "last change": np.abs(last_year * np.exp(inputs[known:, -1]) - truth).mean(),
        "network": np.abs(last_year * np.exp(predict(inputs[known:])) - truth).mean(),
    }
    for name, error in errors.items():
        print(f"{name + ':':15} mean absolute error {error:.1f} thousand passengers")
    gain = 1 - errors["network"] / errors["seasonal naive"]
    print(f"on {HELD_OUT} held-out months the network beats the seasonal naive forecast by {gain:.0%}")
    return float(gain)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="rounds of 20 training steps each (default 20)")
    main(parser.parse_args().rounds)
