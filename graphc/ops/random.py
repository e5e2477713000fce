"""Random numbers: Philox-4x32-10 by counter, so that a draw depends on where it stands and not on what ran before.

The word at flat index f of a draw is word f % 4 of philox(counter = (f // 4, loop index, step low, step high),
key = (seed, site)). Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.

A site is a call of a builder that draws, so a graph that is built twice draws different numbers. `vmap` over a function
that draws gives all examples the same numbers, for its shape says how many there are; put the batch into the shape where
they shall differ. Inside scan and map each step draws anew.

To derivatives a draw is a constant: gradients flow into the parameters that scale and shift it, and there are none by
parameters that only choose among integers or booleans.

Shape: the one given.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import DType, float32, int64, uint32
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, constant, make, state
from graphc.graph.op import Op
from graphc.graph.operators import located
from graphc.graph.types import TensorType, as_shape, shape_text
from graphc.loops import expr
from graphc.ops.bitwise import ShiftRight
from graphc.ops.comparison import where
from graphc.ops.nested import loop_index
from graphc.ops.operands import as_node, as_optional_dtype, cast, expand, floating
from graphc.ops.quantile import NormalQuantile, quantile
from graphc.records import record

SEED = state(np.uint32(0), "seed")
"""The seed that `graphc.seed` sets."""
STEP = state(np.int64(0), "step")
"""How often a program has run; each executable counts its own."""

_sites = 0
# Blocks of four words drawn at a time: as many arrays of these as a round needs stay in the cache.
_CACHED = 8192


@located("seed")
def seed(number: Any) -> None:
    """Set the seed (0 to 2**32 - 1, 0 at the start) and count sites from 0 again, so that a program repeats draws."""
    global _sites
    if not hasattr(number, "__index__") or not 0 <= number < 2**32:
        raise DTypeError(f"expected a seed from 0 to 2**32 - 1, got {number!r:.60}")
    SEED.set(np.uint32(number))
    _sites = 0


def next_site() -> int:
    """Return the number of a new place that draws."""
    global _sites
    _sites += 1
    return _sites - 1


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """Return the four words of Philox-4x32-10 for arrays of counters of one shape, as uint64."""
    c0, c1, c2, c3 = (np.array(word, np.uint64) for word in counter)
    k0, k1 = (int(word) for word in key)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    first, second = np.empty_like(c0), np.empty_like(c2)
    # In place: new arrays for each of a hundred operations would take most of the time.
    for _ in range(10):
        np.multiply(c0, np.uint64(0xD2511F53), out=first)
        np.multiply(c2, np.uint64(0xCD9E8D57), out=second)
        np.right_shift(second, half, out=c0)
        c0 ^= c1
        c0 ^= np.uint64(k0)
        np.bitwise_and(second, low, out=c1)
        np.right_shift(first, half, out=c2)
        c2 ^= c3
        c2 ^= np.uint64(k1)
        np.bitwise_and(first, low, out=c3)
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def bits(shape: tuple[int, ...], seed: int, site: int, step: int = 0, loop: int = 0) -> Any:
    """Return the uint32 words of a draw."""
    count = math.prod(shape)
    words = np.empty(((count + 3) // 4, 4), np.uint32)
    for start in range(0, len(words), _CACHED):
        part = words[start : start + _CACHED]
        index: Any = np.arange(start, start + len(part), dtype=np.uint64)
        one, two, three = (np.full_like(index, word) for word in (loop, step & 0xFFFFFFFF, step >> 32 & 0xFFFFFFFF))
        for column, word in enumerate(philox((index, one, two, three), (seed, site))):
            part[:, column] = word
    return words.reshape(-1)[:count].reshape(shape)


@record
class RandomBits(Op):
    """uint32 words of one draw. Inputs: the seed, the step and, inside a loop, its index (uint32)."""

    site: int
    shape: tuple[Dim, ...]

    name = "random_bits"
    pure = False

    def infer(self, seed: TensorType, step: TensorType, *loop: TensorType) -> TensorType:
        for type, dtype in zip((seed, step, *loop), (uint32, int64, uint32), strict=False):
            if type != TensorType((), dtype):
                raise DTypeError(f"random_bits: expected {dtype}[], got {type}")
        return TensorType(self.shape, uint32)

    def numpy(self, seed: Any, step: Any, *loop: Any) -> Any:
        shape: Any = self.shape
        return bits(shape, int(seed), self.site, int(step), int(loop[0]) if loop else 0)

    def lower(self, out: TensorType, *inputs: TensorType) -> bodies.Body:
        flat: Dim = 0
        for at, extent in zip(bodies.output_axes(out), out.shape, strict=True):
            flat = flat * extent + at
        step = expr.load(1, (), int64)
        high = expr.apply("shift_right", step, expr.const(32, int64))
        loop = expr.load(2, (), uint32) if len(inputs) > 2 else expr.const(0, uint32)
        block, word = expr.index(dims.floordiv(flat, 4)), expr.index(dims.remainder(flat, 4))
        counter = tuple(expr.cast(part, uint32) for part in (block, loop, step, high))
        key = (expr.load(0, (), uint32), expr.const(self.site, uint32))
        return bodies.compute(out, expr.apply("philox", *counter, *key, expr.cast(word, uint32)))


@builder("random_bits")
def random_bits(shape: object, site: int | None = None) -> Node:
    """Return random uint32 words, new ones at each run and at each step of a loop.

    site: that of an earlier draw (see `next_site`), to draw the same again; a new one unless given.
    """
    index = loop_index()
    return make(
        RandomBits(next_site() if site is None else site, as_shape(shape)),
        SEED,
        STEP,
        *(() if index is None else (index,)),
    )


@builder("uniform")
def uniform(shape: object, low: Any = 0.0, high: Any = 1.0, dtype: object = None) -> Node:
    """Return numbers uniform in [low, high): multiples of 2**-24 (float32) or 2**-32 (float64) of the range.

    low, high: numbers, or nodes that broadcast to the shape; derivatives flow into them. What rounding would make `high`
    is `low`; a range that is not finite gives NaN, or GraphError where both are numbers.

    Formula: low + (high - low) * u, u = word / 2^24 or 2^32.
    Gradient: by low `sum(g * (high - out) / (high - low))`, by high `sum(g * (out - low) / (high - low))`; the draw
    itself is a constant.
    Source: `numpy.random.uniform`; Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011.
    """
    wanted = floating_dtype(dtype)
    unit = fraction(shape, wanted)
    if _both(low, high, 0.0, 1.0):
        return unit
    if _are_numbers(low, high) and not 0 <= high - low <= float(np.finfo(wanted.numpy).max):
        raise GraphError(f"uniform: expected finite bounds, low <= high; got {low} and {high} for {wanted}")
    first, last = (distributed(bound, unit, "uniform") for bound in (low, high))
    span = last - first
    drawn = unit * span + first
    # Zero times what is not finite is NaN: no number is drawn from there.
    return where(drawn < last, drawn, first + span * 0.0)


@builder("normal")
def normal(shape: object, mean: Any = 0.0, std: Any = 1.0, dtype: object = None) -> Node:
    """Return normally distributed numbers, by the quantile function of a uniform draw: within 5.4 (float32) or 6.3 std.

    mean, std: numbers, or nodes that broadcast to the shape; derivatives flow into them.

    Formula: mean + std * q(u), q the quantile function of the standard normal distribution, u uniform in (0, 1).
    Gradient: by mean `sum(g)`, by std `sum(g * (out - mean) / std)`; the draw itself is a constant.
    Source: `torch.normal`; Wichura, Algorithm AS 241: the percentage points of the normal distribution, 1988; Salmon,
    Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011.
    """
    if _are_numbers(std) and not 0 <= std < math.inf:
        raise GraphError(f"normal: expected a standard deviation of 0 or more, got {std}")
    drawn = make(NormalQuantile(), fraction(shape, floating_dtype(dtype), is_open=True))
    return drawn if _both(mean, std, 0.0, 1.0) else moved(drawn, mean, std, "normal")


@builder("bernoulli")
def bernoulli(probability: Any, shape: object = None) -> Node:
    """Return booleans that are true with this probability, to 2**-24; of the probability's shape unless one is given.

    Formula: u < probability, u uniform in [0, 1).
    Gradient: none: a boolean.
    Source: `torch.bernoulli`; Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, 2011.
    """
    if _are_numbers(probability) and not 0 <= probability <= 1:
        raise GraphError(f"bernoulli: expected a probability from 0 to 1, got {probability}")
    chance = floating(probability)
    unit = fraction(chance.shape if shape is None else shape, chance.dtype)
    return unit < distributed(chance, unit, "bernoulli")


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _both(first: Any, second: Any, wanted: float, also: float) -> bool:
    return _are_numbers(first, second) and (first, second) == (wanted, also)


def distributed(parameter: Any, drawn: Node, what: str) -> Node:
    """Return a parameter of a distribution in the draw's dtype and shape; ShapeError if it would need more draws."""
    node = cast(as_node(parameter, drawn.dtype), drawn.dtype)
    pairs = zip(reversed(node.shape), reversed(drawn.shape), strict=False)
    differ = any(isinstance(a, int) and isinstance(b, int) and a not in (1, b) for a, b in pairs)
    if differ or node.ndim > drawn.ndim:
        raise ShapeError(f"{what}: a parameter {node.type} does not broadcast to the shape {shape_text(drawn.shape)}")
    return expand(node, drawn.shape)


def moved(drawn: Node, place: Any, scale: Any, what: str) -> Node:
    """Return drawn * scale + place."""
    return drawn * distributed(scale, drawn, what) + distributed(place, drawn, what)


def floating_dtype(dtype: object) -> DType:
    """Return a floating dtype, the default one for None."""
    wanted = as_optional_dtype(dtype)
    if not wanted.is_float:
        raise DTypeError(f"expected a floating dtype, got {wanted}")
    return wanted


def fraction(shape: object, dtype: DType, is_open: bool = False, site: int | None = None) -> Node:
    """Return uniform draws in [0, 1), or in (0, 1): the middles of as many equal parts.

    float32 has as many parts as it tells apart at both ends, 2**24 or 2**23; float64 has 2**32.
    """
    return as_fraction(random_bits(shape, site), dtype, is_open)


def as_fraction(words: Node, dtype: DType, is_open: bool) -> Node:
    """Return random words as fractions of their range."""
    drop = (9 if is_open else 8) if dtype is float32 else 0
    if drop:
        words = make(ShiftRight(), words, expand(constant(drop, uint32), words.shape))
    number = cast(words, dtype)
    return (number + 0.5 if is_open else number) * 2.0 ** (drop - 32)


def draw_uniform(shape: tuple[int, ...], low: float, high: float, dtype: object = None) -> Any:
    """Return an array for initial values, uniform in [low, high), drawn now, at a site of its own."""
    wanted = floating_dtype(dtype)
    words = bits(shape, int(SEED.value), next_site())
    drop = 8 if wanted is float32 else 0
    words >>= np.uint32(drop)
    drawn = words.astype(wanted.numpy)
    drawn *= wanted.numpy.type(2.0 ** (drop - 32))
    drawn *= wanted.numpy.type(high - low)
    drawn += wanted.numpy.type(low)
    return drawn


def draw_normal(shape: tuple[int, ...], mean: float, std: float, dtype: object = None) -> Any:
    """Return an array for initial values, normally distributed, drawn now, at a site of its own."""
    wanted = floating_dtype(dtype)
    fraction = (bits(shape, int(SEED.value), next_site()) + 0.5) * 2.0**-32
    return (quantile(fraction) * std + mean).astype(wanted.numpy)
