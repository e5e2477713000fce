"""What the tests of modules and losses share: comparison with a definition, and its slopes by finite differences."""

import numpy as np

import graphc


def nodes_of(arrays):
    """An input for each array, of its dtype; the first axis of each is symbolic."""
    return [
        graphc.input(f"x{k}", (f"n{k}" if len(set(array.shape[:1])) else None, *array.shape[1:]), array.dtype)
        if array.ndim
        else graphc.input(f"x{k}", (), array.dtype)
        for k, array in enumerate(arrays)
    ]


def value_and_slopes(build, arrays, seed=0):
    """The value of build(*nodes) and the gradient of a fixed weighted sum of it by each floating array."""
    nodes = nodes_of(arrays)
    value = build(*nodes)
    shape = graphc.evaluate([value], dict(zip(nodes, arrays, strict=True)))[0].shape
    weights = np.random.default_rng(seed).normal(size=shape).astype(value.dtype.numpy)
    floating = [node for node in nodes if node.dtype.is_float]
    slopes = graphc.grad((value * weights).sum(), floating, disconnected="zeros")
    results = graphc.evaluate([value, *slopes], dict(zip(nodes, arrays, strict=True)))
    return results[0], results[1:], weights


def check(build, define, *arrays, smooth=True, rtol=1e-9):
    """Hold build(*nodes) against define(*arrays) in both floating dtypes, and its slopes against differences of it."""
    wide = [array.astype("float64") if array.dtype.kind == "f" else array for array in map(np.asarray, arrays)]
    value, slopes, weights = value_and_slopes(build, wide)
    np.testing.assert_allclose(value, define(*wide), rtol=rtol, atol=1e-12)
    floating = [k for k, array in enumerate(wide) if array.dtype.kind == "f"]
    for k, slope in zip(floating, slopes, strict=True) if smooth else ():
        expected = np.zeros_like(wide[k])
        step = 1e-6
        for at in np.ndindex(wide[k].shape):
            sides = []
            for sign in (1, -1):
                moved = [array.copy() for array in wide]
                moved[k][at] += sign * step
                sides.append((define(*moved) * weights).sum())
            expected[at] = (sides[0] - sides[1]) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-7)
    narrow = [array.astype("float32") if array.dtype.kind == "f" else array for array in wide]
    got, _, _ = value_and_slopes(build, narrow)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, define(*wide), rtol=2e-5, atol=1e-5)
