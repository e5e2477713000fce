"""Toy speech: a network learns to write down the digits of noisy telephone tones, of which nobody says when they sound.

Each digit is a pair of tones, as on a telephone's keys, of random length, loudness and distance to the next, in noise. The
network sees a spectrum for every 16 ms; the CTC loss (Graves et al., 2006) sums over all ways to place the digits in time.

python examples/ctc_tones.py             # prints the label error rate on new recordings
"""

import argparse
import itertools

import numpy as np

import graphc
from graphc import nn, optim

RATE, FRAME = 8000, 128  # samples a second, samples a frame
LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477)
KEYS = {digit: (LOW[(digit - 1) // 3], HIGH[(digit - 1) % 3]) for digit in range(1, 10)} | {10: (LOW[3], HIGH[1])}
TIMES, LABELS, BANDS = 56, 5, 26
BLANK = 0


def recording(rng):
    """Return the digits (1 to 10, where 10 stands for 0) of a random number, its sound, and how many frames it has."""
    digits = rng.integers(1, 11, rng.integers(2, LABELS + 1))
    pieces = [np.zeros(rng.integers(0, 500))]
    for digit in digits:
        time = np.arange(rng.integers(600, 900)) / RATE
        tones = sum(np.sin(2 * np.pi * (tone * time + rng.uniform())) for tone in KEYS[int(digit)])
        pieces += [rng.uniform(0.3, 1.0) * tones, np.zeros(rng.integers(150, 500))]
    sound = np.concatenate(pieces)[: TIMES * FRAME]
    frames = -(-len(sound) // FRAME)
    noise = 0.5 * rng.normal(size=TIMES * FRAME)
    noise[: len(sound)] += sound
    return digits, noise, frames


def batch_of(rng, count):
    """Return spectra (time, count, bands), padded digits, and the numbers of frames and of digits."""
    digits, sounds, frames = zip(*(recording(rng) for _ in range(count)), strict=True)
    pieces = np.reshape(sounds, (count, TIMES, FRAME)) * np.hanning(FRAME)
    spectra = np.abs(np.fft.rfft(pieces, 2 * FRAME))[..., 20 : 20 + BANDS]
    padded = np.zeros((count, LABELS), np.int32)
    for row, one in zip(padded, digits, strict=True):
        row[: len(one)] = one
    counts = np.array([len(one) for one in digits], np.int32)
    loudness = np.log1p(np.swapaxes(spectra, 0, 1)).astype(np.float32) - 1.5
    return loudness, padded, np.array(frames, np.int32), counts


class Listener(nn.Module):
    """A bidirectional GRU over the spectra, and a score for each digit and the blank at each time."""

    def __init__(self, hidden: int) -> None:
        self.gru = nn.GRU(BANDS, hidden, bidirectional=True)
        self.head = nn.Linear(2 * hidden, 11)

    def forward(self, x: graphc.Node, frames: graphc.Node) -> graphc.Node:
        return nn.log_softmax(self.head(self.gru(x, lengths=frames)[0]))


def decoded(best, frames):
    """Return the digits of the most probable class at each time: repeats become one, then blanks go."""
    return [label for label, _ in itertools.groupby(best[:frames].tolist()) if label != BLANK]


def edits(found, wanted):
    """Return how many insertions, deletions and replacements lead from one list to another (Levenshtein, 1966)."""
    row = list(range(len(wanted) + 1))
    for i, one in enumerate(found, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(wanted, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (one != other))
    return row[-1]


def main(steps: int = 300, hidden: int = 48, shown: int = 3) -> float:
    """Train, and return the label error rate on 500 new recordings."""
    graphc.seed(0)
    x = graphc.input("x", (TIMES, "batch", BANDS))
    y = graphc.input("y", ("batch", LABELS), "int32")
    frames, counts = graphc.input("frames", ("batch",), "int32"), graphc.input("counts", ("batch",), "int32")
    logs = Listener(hidden)(x, frames)
    loss = nn.ctc_loss(logs, y, frames, counts, blank=BLANK)
    step = graphc.compile([x, y, frames, counts], loss, updates=optim.Adam(5e-3, clip_norm=1.0).minimize(loss))
    listen = graphc.compile([x, frames], graphc.argmax(logs, axis=-1))
    rng = np.random.default_rng(0)
    for _ in range(steps):
        step(*batch_of(rng, 32))

    spectra, padded, lengths, numbers = batch_of(np.random.default_rng(1), 500)
    best = listen(spectra, lengths)
    found = [decoded(best[:, row], lengths[row]) for row in range(500)]
    wanted = [padded[row, : numbers[row]].tolist() for row in range(500)]
    rate = sum(map(edits, found, wanted)) / int(numbers.sum())
    for one, other in list(zip(wanted, found, strict=True))[:shown]:
        print("said", *(digit % 10 for digit in one), " heard", *(digit % 10 for digit in other))
    bound = next(b for b in (0.05, 0.1, 0.2, 0.5, np.inf) if rate <= b)
    print(f"label error rate: at most {bound:.0%} of {numbers.sum()} digits in 500 new recordings")
    return rate


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300, help="training steps of 32 recordings (default 300)")
    parser.add_argument("--hidden", type=int, default=48, help="units of the network in each direction (default 48)")
    parser.add_argument("--shown", type=int, default=3, help="how many recordings to print (default 3)")
    options = parser.parse_args()
    main(options.steps, options.hidden, options.shown)
