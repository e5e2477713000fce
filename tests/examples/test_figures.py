"""What the examples print, held against computations of another kind."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))


def test_digits_reach_97_percent():
    import digits_mlp

    assert digits_mlp.main(verbose=False) >= 0.97


def test_descent_reaches_the_solutions_of_all_regressions():
    import regression

    distances = regression.main()
    assert list(distances) == ["linear", "logistic", "polynomial"]
    assert max(distances.values()) < 1e-6


def xor_in_numpy(seed, limit):
    """The paper's rule in plain double precision: sweeps to a solution of XOR by two hidden units, or None."""
    rng = np.random.default_rng(seed)
    weights = [rng.uniform(-1.0, 1.0, shape) for shape in [(2, 2), (2,), (1, 2), (1,)]]
    changes = [np.zeros_like(weight) for weight in weights]
    x, d = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]), np.array([[0], [1], [1], [0.0]])
    for sweep in range(limit):
        hidden = 1 / (1 + np.exp(-(x @ weights[0].T + weights[1])))
        y = 1 / (1 + np.exp(-(hidden @ weights[2].T + weights[3])))
        if np.abs(y - d).max() < 0.4:
            return sweep
        of_output = (y - d) * y * (1 - y)
        of_hidden = of_output @ weights[2] * hidden * (1 - hidden)
        slopes = [of_hidden.T @ x, of_hidden.sum(0), of_output.T @ hidden, of_output.sum(0)]
        changes = [-0.25 * slope + 0.9 * change for slope, change in zip(slopes, changes, strict=True)]
        weights = [weight + change for weight, change in zip(weights, changes, strict=True)]
    return None


def test_sweeps_are_those_of_the_rule_of_1986_in_plain_numpy():
    import rumelhart1986

    found = [run.sweeps for run in rumelhart1986.runs_of(rumelhart1986.experiments()[0], seeds=8, sweeps=500)]
    expected = [xor_in_numpy(seed, 500) for seed in range(8)]
    assert [sweeps is None for sweeps in found] == [sweeps is None for sweeps in expected]
    solved = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None]
    assert 3 <= len(solved) < 8
    for a, b in solved:
        assert a == pytest.approx(b, abs=1)


def test_symmetry_is_found_with_mirrored_weights_that_cancel():
    import rumelhart1986

    symmetry = rumelhart1986.experiments()[2]
    assert symmetry.targets.sum() == 8  # three bits choose a symmetric word
    solved = [run for run in rumelhart1986.runs_of(symmetry, seeds=20, sweeps=5000) if run.sweeps is not None]
    assert len(solved) >= 10
    assert rumelhart1986.cancellation(solved) < 0.01
    powers = [run for run in solved if np.allclose(rumelhart1986.ratios(run), [1, 2, 4], rtol=0.02)]
    assert len(powers) >= len(solved) // 3


def test_the_exact_solution_solves_burgers_equation():
    import pinn

    x, t = np.meshgrid(np.linspace(-0.9, 0.9, 19), np.linspace(0.1, 1, 10))
    step = 1e-3
    u, right, left = (pinn.exact(x + move, t) for move in (0, step, -step))
    slope = (pinn.exact(x, t + step) - pinn.exact(x, t - step)) / (2 * step)
    residual = slope + u * (right - left) / (2 * step) - pinn.VISCOSITY * (right - 2 * u + left) / step**2
    assert np.abs(residual).max() < 2e-3 * np.abs(u * (right - left) / (2 * step)).max()
    np.testing.assert_allclose(pinn.exact(x, 1e-9 + 0 * x), -np.sin(np.pi * x), atol=1e-4)
    np.testing.assert_allclose(pinn.exact(np.array([-1.0, 1.0]), np.array([0.7, 0.7])), 0, atol=1e-12)


def test_the_distance_of_distributions_is_that_of_a_shift():
    import gan

    # The mean of |cos| over all directions is 2 / pi.
    points = np.random.default_rng(0).normal(size=(500, 2))
    assert gan.distance(points, points + np.array([3.0, 0.0])) == pytest.approx(6 / np.pi, rel=1e-3)
    assert gan.distance(points, points[::-1]) == 0


def test_the_picture_is_a_png_of_the_digits(tmp_path):
    import struct
    import zlib

    import autoencoder

    image = np.linspace(-0.5, 1.5, 12).reshape(3, 4)
    autoencoder.write_png(str(tmp_path / "picture.png"), image, zoom=2)
    content = (tmp_path / "picture.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (8, 6, 8, 0, 0, 0, 0)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(6, 9)
    assert not lines[:, 0].any()
    grey = (255 * np.clip(image, 0, 1)).astype(np.uint8)
    np.testing.assert_array_equal(lines[::2, 1::2], grey)
    np.testing.assert_array_equal(lines[1::2, 2::2], grey)
