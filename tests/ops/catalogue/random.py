"""Random draws."""

from __future__ import annotations

import numpy as np

from graphc.graph.node import make
from graphc.ops import random as random_ops
from tests.ops.catalogue.row import Row, f, ints


def _philox_word(flat: int, seed: int, site: int, step: int) -> int:
    c, k = [flat // 4, 0, step & 0xFFFFFFFF, step >> 32], [seed, site]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[flat % 4]


def _bits(seed: np.ndarray, step: np.ndarray) -> np.ndarray:
    words = [_philox_word(k, int(seed), 7, int(step)) for k in range(10)]
    return np.array(words, np.uint32).reshape(2, 5)


ROWS = (
    Row(
        "random_bits",
        lambda seed, step: make(random_ops.RandomBits(7, (2, 5)), seed, step),
        (ints(low=0, high=2**32, kind="u"), ints(low=0, high=2**40)),
        _bits,
        derivable=False,
        batchable=False,
    ),
    Row(
        "normal_quantile",
        random_ops.normal_quantile,
        (f(9, low=0.1, high=0.9),),
        random_ops.quantile,
        ((0.5,), (1e-4,), (1e-30,)),
        tolerance=256,
    ),
)
