"""A generative adversarial network: two optimizers that pull on one graph.

Goodfellow et al., Generative Adversarial Nets, 2014. A generator learns to turn noise into points like those of a ring
of eight clusters; a discriminator learns to tell the two apart, and its gradient is all that the generator is told.

python examples/gan.py                   # prints how far the generated points are from the ring, before and after
"""

import argparse

import numpy as np

import graphc
from graphc import nn, optim

BATCH = 256
CENTRES = 2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1).astype(np.float32)


def ring(count: int) -> graphc.Node:
    """Return random points, (count, 2), of the eight clusters; a compiled graph draws new ones in every call."""
    chosen = graphc.floor(graphc.uniform((count,)) * 8.0).astype("int32")
    return graphc.take(CENTRES, chosen, axis=0) + 0.1 * graphc.normal((count, 2))


def multilayer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))


def distance(points: np.ndarray, others: np.ndarray) -> float:
    """Return the sliced Wasserstein distance: how far points must move along a line, averaged over 64 directions."""
    angles = np.linspace(0, np.pi, 64, endpoint=False)
    lines = np.stack([np.cos(angles), np.sin(angles)])
    return float(np.mean(np.abs(np.sort(points @ lines, axis=0) - np.sort(others @ lines, axis=0))))


def main(steps: int = 5000) -> tuple[float, float]:
    """Train, and return the distance of generated points from the ring before and after."""
    graphc.seed(0)
    generator, discriminator = multilayer(4, 2), multilayer(2, 1)

    # 1. One graph. It needs no input: noise and data are drawn inside it.
    fake_score = discriminator(generator(graphc.normal((BATCH, 4))))
    real_score = discriminator(ring(BATCH))
    # softplus(-score) is -log of the probability that the discriminator gives to "real", softplus(score) that to "fake".
    mistaken = graphc.mean(graphc.softplus(-real_score)) + graphc.mean(graphc.softplus(fake_score))
    found_out = graphc.mean(graphc.softplus(-fake_score))

    # 2. Two steps from it. Each moves its own player's parameters and reads the other's, which both share; what is not
    # among the parameters given to minimize has no gradient taken, so that nothing need be detached.
    of_discriminator = optim.Adam(1e-3, betas=(0.5, 0.999)).minimize(mistaken, discriminator.parameters())
    of_generator = optim.Adam(1e-3, betas=(0.5, 0.999)).minimize(found_out, generator.parameters())
    # The players circle around the solution, and an average over the way of the generator is nearer to it than its end.
    averages = {p: graphc.state(p.value, f"average of {p.name}") for p in generator.parameters()}
    averaging = {average: 0.998 * average + 0.002 * p for p, average in averages.items()}
    train_discriminator = graphc.compile([], updates=of_discriminator)
    train_generator = graphc.compile([], updates=of_generator | averaging)

    # 3. The generator for 4096 points a call, with its averages in the place of its parameters.
    averaged = graphc.substitute(generator(graphc.normal((4096, 4))), averages)
    sample = graphc.compile([], (averaged, ring(4096)))
    before = distance(*sample())
    for _ in range(steps):
        train_discriminator()
        train_generator()
    generated, data = sample()
    after, two_draws = distance(generated, data), distance(data, sample()[1])
    away = np.linalg.norm(generated[:, None] - CENTRES, axis=2)
    shares = np.bincount(np.argmin(away, axis=1), minlength=8) / len(generated)

    print(f"distance from the ring: {before:.3f} -> {after:.3f}; between two draws of the ring {two_draws:.3f}")
    print(f"points within 0.3 of a centre: {np.mean(away.min(axis=1) < 0.3):.0%}")
    print(f"each cluster gets {shares.min():.0%} to {shares.max():.0%} of the points")
    return before, after


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000, help="steps of each player (default 5000)")
    main(parser.parse_args().steps)
