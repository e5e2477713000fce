"""Random draws: each at a fixed site, so that Philox's definition, written out here, tells its words."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np

import graphc
from graphc.graph.node import make
from graphc.ops import quantile
from graphc.ops import random as random_ops
from tests.ops.catalogue.row import NAN, Row, f, ints, misread, no_size, node

SITE = 41


def _philox_word(flat: int, seed: int, site: int, step: int) -> int:
    c, k = [flat // 4, 0, step & 0xFFFFFFFF, step >> 32], [seed, site]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[flat % 4]


def _bits(seed: np.ndarray, step: np.ndarray) -> np.ndarray:
    words = [_philox_word(k, int(seed), 7, int(step) % 2**64) for k in range(10)]
    return np.array(words, np.uint32).reshape(2, 5)


def _words(*shape: int) -> np.ndarray:
    seed, step = int(random_ops.SEED.value), int(random_ops.STEP.value)
    words = [_philox_word(k, seed, SITE, step) for k in range(math.prod(shape))]
    return np.array(words, object).reshape(shape)


def _halves(dtype: Any, *shape: int) -> np.ndarray:
    """The middles of 2**23 or 2**32 equal parts of (0, 1)."""
    drop = 9 if dtype == np.float32 else 0
    return np.vectorize(lambda word: ((word >> drop) + 0.5) * 2.0 ** (drop - 32), otypes=[float])(_words(*shape))


def _at_site(build: Callable[..., Any]) -> Callable[..., Any]:
    def built(*operands: Any) -> Any:
        before, random_ops._sites = random_ops._sites, SITE
        try:
            return build(*operands)
        finally:
            random_ops._sites = before

    return built


def _uniform(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    drop = 8 if low.dtype == np.float32 else 0
    unit = np.vectorize(lambda word: (word >> drop) * 2.0 ** (drop - 32), otypes=[float])(_words(2, 3))
    drawn = (low + (high - low) * unit).astype(low.dtype)
    return np.where(np.isfinite(high - low), drawn, np.nan).astype(low.dtype)


def _normal(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    drawn = np.vectorize(NormalDist().inv_cdf)(_halves(mean.dtype, 2, 3))
    return (mean + std * drawn).astype(mean.dtype)


def _truncated(low: np.ndarray, high: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    normal = NormalDist()

    def draw(u: float, a: float, b: float) -> float:
        if a + b > 0:
            return -draw(u, -b, -a)
        return normal.inv_cdf(normal.cdf(a) + u * (normal.cdf(b) - normal.cdf(a)))

    a, b = ((bound.astype(float) - mean) / std for bound in (low, high))
    return (mean + std * np.vectorize(draw)(_halves(low.dtype, 4), a, b)).astype(low.dtype)


def _gumbel(dtype: Any, *shape: int) -> np.ndarray:
    return -np.log(-np.log(_halves(dtype, *shape)))


def _randint(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    pairs = _words(4, 2)
    wide = [(int(a) << 32 | int(b)) for a, b in pairs]
    return np.array(
        [int(m) + (w * max(int(n) - int(m), 0) >> 64) for w, m, n in zip(wide, low, high, strict=True)], np.int64
    )


def _shuffled(x: np.ndarray) -> np.ndarray:
    keys = [int(np.uint64(int(a) << 32 | int(b)).astype(np.int64)) for a, b in _words(x.shape[0], 2)]
    return x[np.argsort(keys)]


ROWS = (
    Row(
        "random_bits",
        lambda seed, step: make(random_ops.RandomBits(7, (2, 5)), seed, step),
        (ints(low=0, high=2**32, kind="u"), ints(low=0, high=2**40)),
        _bits,
        derivable=False,
        batchable=False,
        raises=no_size("random_bits", lambda size: random_ops.random_bits((2, size))),
    ),
    Row(
        "normal_quantile",
        quantile.normal_quantile,
        (f(9, low=0.1, high=0.9),),
        quantile.quantile,
        ((0.5,), (1e-4,), (1e-30,)),
        tolerance=256,
        raises=misread("normal_quantile", quantile.normal_quantile),
    ),
    Row(
        "uniform",
        _at_site(lambda low, high: graphc.uniform((2, 3), low, high, low.dtype)),
        (f(high=0), f(3, low=1)),
        _uniform,
        raises=(
            (lambda: graphc.uniform((3,), 1.0, 0.0), graphc.GraphError, "low <= high; got 1.0 and 0.0"),
            (lambda: graphc.uniform((3,), 0, math.inf), graphc.GraphError, "finite bounds"),
            (lambda: graphc.uniform((3,), -2e38, 2e38), graphc.GraphError, r"got -2e\+38 and 2e\+38 for float32"),
            (lambda: graphc.uniform((3,), dtype="int32"), graphc.DTypeError, "floating dtype, got int32"),
            (
                lambda: graphc.uniform((3,), node(4), 9),
                graphc.ShapeError,
                r"float32\[4\] does not broadcast to .*\[3\]",
            ),
            (lambda: graphc.uniform((), node(3), 9), graphc.ShapeError, r"float32\[3\] does not broadcast"),
        ),
    ),
    Row(
        "normal",
        _at_site(lambda mean, std: graphc.normal((2, 3), mean, std, mean.dtype)),
        (f(3), f(2, 1, low=0.5)),
        _normal,
        tolerance=256,
        raises=(
            (lambda: graphc.normal((3,), std=-1), graphc.GraphError, "standard deviation of 0 or more, got -1"),
            (lambda: graphc.normal((3,), node(2)), graphc.ShapeError, "normal: a parameter .* does not broadcast"),
        ),
    ),
    Row(
        "bernoulli",
        _at_site(graphc.bernoulli),
        (f(2, 3, low=0, high=1),),
        lambda p: _uniform(np.zeros_like(p), np.ones_like(p)) < p,
        derivable=False,
        raises=(
            (lambda: graphc.bernoulli(1.5, (3,)), graphc.GraphError, "probability from 0 to 1, got 1.5"),
            (lambda: graphc.bernoulli(node(2), (3,)), graphc.ShapeError, "bernoulli: a parameter"),
        ),
    ),
    Row(
        "exponential",
        _at_site(lambda scale: graphc.exponential((2, 3), scale, scale.dtype)),
        (f(3, low=0.5),),
        lambda scale: (-np.log(_halves(scale.dtype, 2, 3)) * scale).astype(scale.dtype),
        tolerance=64,
        raises=((lambda: graphc.exponential((3,), -1.0), graphc.GraphError, "scale of 0 or more, got -1.0"),),
    ),
    Row(
        "gumbel",
        _at_site(lambda loc, scale: graphc.gumbel((2, 3), loc, scale, loc.dtype)),
        (f(), f(3, low=0.5)),
        lambda loc, scale: (loc + scale * _gumbel(loc.dtype, 2, 3)).astype(loc.dtype),
        tolerance=256,
        raises=((lambda: graphc.gumbel((3,), 0, -1.0), graphc.GraphError, "scale of 0 or more, got -1.0"),),
    ),
    Row(
        "truncated_normal",
        _at_site(lambda a, b, mean, std: graphc.truncated_normal((4,), a, b, mean, std, a.dtype)),
        (f(4, low=-2, high=1), f(4, low=1.5), f(), f(low=0.5, high=1.5)),
        _truncated,
        tolerance=2048,
        spoils=(NAN,),  # bounds must not cross
        raises=(
            (lambda: graphc.truncated_normal((3,), 1, 1), graphc.GraphError, "lower < upper, got 1 and 1"),
            (lambda: graphc.truncated_normal((3,), std=0), graphc.GraphError, "above 0, got 0"),
        ),
    ),
    Row(
        "categorical",
        _at_site(lambda logits: graphc.categorical(logits, (2, 3), axis=0)),
        (f(5, 3),),
        lambda logits: np.argmax(logits.T + _gumbel(logits.dtype, 2, 3, 5), -1),
        derivable=False,
        raises=(
            (lambda: graphc.categorical(node()), graphc.ShapeError, "expected logits along an axis"),
            (lambda: graphc.categorical(node(4, 3), (5,)), graphc.ShapeError, r"ends in \[4\], got \[5\]"),
            (lambda: graphc.categorical(node(4, 3), axis=2), graphc.ShapeError, "axis 2 does not exist"),
        ),
    ),
    Row(
        "randint",
        _at_site(lambda low, high: graphc.randint(low, high, (4,))),
        (ints(4, low=-(2**62), high=0), ints(4, low=1, high=2**62)),
        _randint,
        derivable=False,
        raises=(
            (lambda: graphc.randint(3, 3, (2,)), graphc.GraphError, "low < high, got 3 and 3"),
            (lambda: graphc.randint(0, 300, (2,), "uint8"), graphc.DTypeError, "uint8 holds 0 to 255"),
            (lambda: graphc.randint(0, 2**63 + 1, (2,)), graphc.DTypeError, "int64 holds"),
            (lambda: graphc.randint(0, 3, (2,), "float32"), graphc.DTypeError, "an integer dtype, got float32"),
            (lambda: graphc.randint(0, 2.5, (2,)), graphc.DTypeError, "bounds that are integers, got 2.5"),
            (lambda: graphc.randint(0, node(), (2,)), graphc.DTypeError, "expected integers"),
        ),
    ),
    Row(
        "permutation",
        _at_site(graphc.permutation),
        (f(5, 2),),
        _shuffled,
        raises=(
            (lambda: graphc.permutation(node(2), 1), graphc.ShapeError, "axis 1 does not exist"),
            (lambda: graphc.permutation(1.5), graphc.ShapeError, r"a dimension.*; got 1.5(.|\n)*in permutation at"),
            (lambda: graphc.permutation(-1), graphc.ShapeError, "0 or more, got -1"),
        ),
    ),
)
