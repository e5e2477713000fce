"""Linear algebra beyond the catalogue: failures, batches of any size, storage, a start without SciPy or Numba."""

import os
import subprocess
import sys

import numpy as np
import pytest

import graphc
from graphc import linalg

GENERATOR = np.random.default_rng(8)


def compiled(function, *shapes, dtype="float64"):
    inputs = [graphc.input(f"x{k}", shape, dtype) for k, shape in enumerate(shapes)]
    return graphc.compile(inputs, function(*inputs))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 7, 40])
def test_large_batches_of_any_size(dtype, size):
    solve = compiled(linalg.solve, ("b", "n", "n"), ("b", "n", 2), dtype=dtype)
    bound = 3e3 * np.finfo(dtype).eps
    for batch in (0, 1, 5):
        a = GENERATOR.normal(size=(batch, size, size)).astype(dtype) + 4 * np.eye(size, dtype=dtype)
        b = GENERATOR.normal(size=(batch, size, 2)).astype(dtype)
        np.testing.assert_allclose(a @ solve(a, b), b, atol=bound)


@pytest.mark.parametrize("shape", [(50, 30), (30, 50), (64, 64), (200, 3)])
def test_factors_are_orthogonal_and_give_the_matrix_back(shape):
    a = GENERATOR.normal(size=shape)
    u, s, vh = compiled(linalg.svd, shape)(a)
    q, r = compiled(linalg.qr, shape)(a)
    k = min(shape)
    for unit in (u.T @ u, vh @ vh.T, q.T @ q):
        np.testing.assert_allclose(unit, np.eye(k), atol=1e-13)
    np.testing.assert_allclose((u * s) @ vh, a, atol=1e-12)
    np.testing.assert_allclose(q @ r, a, atol=1e-12)
    assert np.all(np.diff(s) <= 0)
    assert np.all(np.tril(r, -1) == 0)


def test_tall_matrices_of_symbolic_height():
    call = compiled(linalg.qr, ("m", 3))
    a = GENERATOR.normal(size=(9, 3))
    q, r = call(a)
    np.testing.assert_allclose(q @ r, a, atol=1e-13)
    with pytest.raises(graphc.GraphcError, match="m >= 3"):
        call(a[:2])


GOOD = np.array([[4.0, 1, 0], [1, 3, 1], [0, 1, 2]])
# name: (function, finite matrices that it fails for); none of them has an answer to what is not finite
FAILURES = {
    "solve": (lambda a: linalg.solve(a, GOOD), [np.ones((3, 3))]),
    "triangular_solve": (lambda a: linalg.triangular_solve(a, GOOD, upper=True), [np.triu(np.ones((3, 3)), 1)]),
    "cholesky": (linalg.cholesky, [-np.eye(3), np.zeros((3, 3))]),
    "inv": (linalg.inv, [np.zeros((3, 3))]),
    "qr": (linalg.qr, []),
    "slogdet": (linalg.slogdet, []),
    "eigh": (linalg.eigh, []),
    "svd": (linalg.svd, []),
}


def spoiled(value):
    bad = GOOD.copy()
    bad[1, 1] = value
    return bad


@pytest.mark.parametrize("name", FAILURES)
def test_a_matrix_that_fails_is_nan_and_its_neighbours_are_right(name):
    function, bad = FAILURES[name]
    bad = [*bad, *map(spoiled, (np.nan, np.inf, -np.inf))]
    batch = np.stack([GOOD, *bad, GOOD])
    x = graphc.input("x", batch.shape, "float64")
    outputs = function(x)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    call = graphc.compile([x], outputs)
    alone = call(np.stack([GOOD] * len(batch)))
    for run in (call(batch), graphc.evaluate(outputs, {x: batch})):
        for got, wanted in zip(run, alone, strict=True):
            assert np.isnan(got[1:-1]).all()
            np.testing.assert_allclose(np.abs(got[[0, -1]]), np.abs(wanted[[0, -1]]), rtol=1e-12, atol=1e-14)


def test_right_sides_may_hold_anything():
    x = graphc.input("x", (3, 4), "float64")
    right = np.array([[1.0, np.nan, np.inf, 0.0], [2.0, 1.0, 1.0, -0.0], [1.0, 1.0, -np.inf, 5e-324]])
    upper = np.triu(GOOD)
    outputs = [linalg.solve(GOOD, x), linalg.triangular_solve(upper, x, upper=True)]
    with np.errstate(all="ignore"):
        wanted = [np.linalg.solve(a, right) for a in (GOOD, upper)]
    for run in (graphc.compile([x], outputs)(right), graphc.evaluate(outputs, {x: right})):
        for got, values in zip(run, wanted, strict=True):
            np.testing.assert_allclose(got[:, [0, 3]], values[:, [0, 3]], rtol=1e-14, atol=1e-322)
            assert not np.isfinite(got[:, [1, 2]]).all(0).any()


def test_matrices_of_every_size_of_number_and_rank_have_factors_as_in_numpy():
    tiny, huge = np.finfo(float).smallest_normal, 1e150
    batch = np.stack([np.zeros((3, 3)), np.ones((3, 3)), GOOD * tiny, GOOD * huge, np.diag([1.0, 0.0, -0.0])])
    x = graphc.input("x", batch.shape, "float64")
    outputs = [linalg.qr(x)[1], linalg.slogdet(x)[0], linalg.slogdet(x)[1], linalg.eigh(x)[0], linalg.svd(x)[1]]
    wanted = [np.linalg.qr(batch)[1], *np.linalg.slogdet(batch), np.linalg.eigvalsh(batch), np.linalg.svd(batch)[1]]
    for run in (graphc.compile([x], outputs)(batch), graphc.evaluate(outputs, {x: batch})):
        for got, values in zip(run, wanted, strict=True):
            for one, value in zip(got, values, strict=True):
                scale = np.abs(value[np.isfinite(value)]).max(initial=0)
                np.testing.assert_allclose(one, value, rtol=1e-13, atol=1e-15 * scale)


def test_what_is_not_read_may_hold_anything():
    x = graphc.input("x", (2, 2), "float64")
    right = np.ones((2, 1))
    lower, unit = (linalg.triangular_solve(x, right, upper=False, unitriangular=each) for each in (False, True))
    for output, diagonal, wanted in ((lower, (2.0, 4.0), (0.5, 0.125)), (unit, (np.inf, np.nan), (1.0, 0.0))):
        a = np.array([[diagonal[0], np.nan], [1.0, diagonal[1]]])
        for found in (graphc.compile([x], output)(a), output.eval({x: a})):
            np.testing.assert_allclose(found[:, 0], wanted)


def test_the_determinant_of_a_singular_matrix_is_zero():
    sign, logarithm = compiled(linalg.slogdet, (2, 2))(np.ones((2, 2)))
    assert sign == 0
    assert logarithm == -np.inf
    sign, logarithm = compiled(linalg.slogdet, ("n", "n"))(np.zeros((0, 0)))
    assert sign == 1
    assert logarithm == 0


def test_derivatives_of_values_need_no_gap_and_those_of_vectors_do():
    x = graphc.input("x", (2, 2), "float64")
    values, vectors = linalg.eigh(x)
    np.testing.assert_allclose(graphc.grad(values.sum(), x).eval({x: np.eye(2)}), np.eye(2))
    assert not np.isfinite(graphc.grad((vectors * [[1.0, 2.0], [3.0, 5.0]]).sum(), x).eval({x: np.eye(2)})).all()


def test_a_filter_in_a_scan_trains():
    """A covariance is updated through solve in each step of a scan; the gradient is that of a loop in NumPy."""
    noise = graphc.parameter(np.array(0.7), "noise")
    observed = GENERATOR.normal(size=(6, 2, 2))

    def step(covariance, direction):
        spread = direction @ covariance @ graphc.matrix_transpose(direction) + noise * graphc.eye(2, dtype="float64")
        gain = linalg.solve(spread, direction @ covariance)
        new = covariance - graphc.matrix_transpose(direction @ covariance) @ gain
        return new, linalg.slogdet(spread)[1]

    start = graphc.constant(np.eye(2))
    _, terms = graphc.scan(step, start, graphc.constant(observed))
    loss = terms.sum()
    value, slope = graphc.compile([], [loss, graphc.grad(loss, noise)])()

    def define(noise):
        covariance, total = np.eye(2), 0.0
        for direction in observed:
            spread = direction @ covariance @ direction.T + noise * np.eye(2)
            total += np.log(np.linalg.det(spread))
            covariance = covariance - (direction @ covariance).T @ np.linalg.inv(spread) @ direction @ covariance
        return total

    assert value == pytest.approx(define(0.7), rel=1e-12)
    assert slope == pytest.approx((define(0.7 + 1e-6) - define(0.7 - 1e-6)) / 2e-6, rel=1e-7)


def test_derivatives_inside_cond_bring_their_routines():
    x = graphc.input("x", (2, 2), "float64")
    chosen = graphc.cond(x[0, 0] > 0, lambda: linalg.slogdet(x)[1], lambda: linalg.cholesky(x @ x.T).sum())
    slope = graphc.compile([x], graphc.grad(chosen, x))
    a = np.array([[2.0, 1.0], [0.5, 3.0]])
    np.testing.assert_allclose(slope(a), np.linalg.inv(a).T, rtol=1e-12)
    step = 1e-6 * np.array([[1.0, -2.0], [0.5, 1.0]])
    value = graphc.compile([x], chosen)
    wanted = (value(-a + step) - value(-a - step)) / 2
    np.testing.assert_allclose((slope(-a) * step).sum(), wanted, rtol=1e-6)


def test_vmap_over_right_sides():
    """vmap over right sides, with one matrix for all."""
    a, b = graphc.input("a", (3, 3), "float64"), graphc.input("b", (5, 3), "float64")
    rows = graphc.compile([a, b], graphc.vmap(lambda row: linalg.solve(a, row))(b))
    left, right = GENERATOR.normal(size=(3, 3)) + 4 * np.eye(3), GENERATOR.normal(size=(5, 3))
    np.testing.assert_allclose(rows(left, right), np.linalg.solve(left, right.T).T, rtol=1e-12)


SCRIPT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
import numpy as np, graphc
x = graphc.input("x", ("b", 3, 3), "float64")
try:
    q = graphc.linalg.eigh(x)[0]
except graphc.MissingPackageError as error:
    print(error)
    raise SystemExit
print(graphc.compile([x], q)(np.array([[[2.0, 1, 0], [1, 2, 0], [0, 0, 5]]])).round(9).tolist())
"""


def in_a_process(blocked, cache):
    script = SCRIPT.replace("BLOCKED", repr(blocked))
    environment = {**os.environ, "GRAPHC_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_second_process_runs_the_cached_object_at_its_own_addresses(tmp_path):
    assert in_a_process((), tmp_path) == "[[1.0, 3.0, 5.0]]"
    stored = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert stored
    (address,) = graphc.ops.lapack.routines("dsyevd").value
    assert not any(int(address).to_bytes(8, "little") in data for data in stored)
    assert in_a_process(("numba",), tmp_path) == "[[1.0, 3.0, 5.0]]"


def test_without_scipy_one_line_says_what_to_install(tmp_path):
    message = in_a_process(("scipy",), tmp_path)
    assert message.startswith("graphc.linalg needs SciPy; run: pip install graphc[linalg]")
