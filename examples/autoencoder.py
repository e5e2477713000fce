"""A convolutional autoencoder on scikit-learn's handwritten digits, beside principal components of equal width.

python examples/autoencoder.py [--picture FILE]   # trains, prints both errors, and may draw the reconstructions

Principal components are the best that any linear code of so many numbers can do. Filters and their adjoints go beyond it on
digits that neither has seen. The picture is written as PNG with the standard library alone.
"""

import argparse
import struct
import time
import zlib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

import graphc
from graphc import nn, optim


def main(epochs: int = 20, width: int = 8, picture: str | None = None, verbose: bool = True) -> tuple[float, float]:
    """Train, and return the mean squared errors on held-out digits: of the network and of the principal components."""
    graphc.seed(0)
    images = (load_digits().images / 16).astype(np.float32)[..., None]
    train, test = train_test_split(images, test_size=0.2, random_state=0)

    x = graphc.input("x", ("batch", 8, 8, 1))
    encoder = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, width),
    )
    expand = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 32 * 4 * 4), nn.ReLU())
    decoder = nn.Sequential(
        nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 1, 3, padding=1),
        nn.Sigmoid(),
    )
    rebuilt = decoder(expand(encoder(x)).reshape(-1, 4, 4, 32))
    loss = nn.mse_loss(rebuilt, x)

    parameters = [*encoder.parameters(), *expand.parameters(), *decoder.parameters()]
    optimizer = optim.Adam(3e-3)
    step = graphc.compile([x], {"loss": loss}, updates=optimizer.minimize(loss, parameters))
    predict = graphc.compile([x], rebuilt)

    start = time.perf_counter()
    graphc.fit(step, {x: train}, batch_size=32, epochs=epochs, verbose=verbose)
    print(f"trained in {time.perf_counter() - start:.1f} s")

    ours = predict(test)
    linear = PCA(width).fit(train.reshape(-1, 64))
    theirs = linear.inverse_transform(linear.transform(test.reshape(-1, 64))).reshape(test.shape)
    errors = [float(np.mean((rebuilt - test) ** 2)) for rebuilt in (ours, theirs)]
    print(f"mean squared error on {len(test)} held-out digits, of codes of {width} numbers:")
    print(f"convolutional autoencoder  {errors[0]:.4f}")
    print(f"principal components       {errors[1]:.4f}")
    if picture:
        rows = [np.concatenate(list(digits[:16, :, :, 0]), axis=1) for digits in (test, ours, theirs)]
        write_png(picture, np.concatenate(rows))
        print(f"{picture}: digits, as the autoencoder rebuilds them, as the components do")
    return errors[0], errors[1]


def write_png(path: str, image: np.ndarray, zoom: int = 6) -> None:
    """Write an array of brightness from 0 to 1 as a PNG of grey, each element `zoom` dots wide."""
    dots = (255 * np.clip(image, 0, 1)).astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)
    height, width = dots.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    # Eight bits of grey, not interlaced; each line begins with the number of its filter, 0 for none.
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = np.pad(dots, ((0, 0), (1, 0))).tobytes()
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines, 9)), chunk(b"IEND", b""))
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training digits (default 20)")
    parser.add_argument("--width", type=int, default=8, help="numbers that code a digit (default 8)")
    parser.add_argument("--picture", help="PNG to draw digits and reconstructions in")
    given = parser.parse_args()
    main(given.epochs, given.width, given.picture)
