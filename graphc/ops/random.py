"""Random numbers: Philox-4x32-10 by counter, so that a draw depends on where it stands and not on what ran before.

The word at flat index f of a draw is word f % 4 of philox(counter = (f // 4, loop index, step low, step high),
key = (seed, site)). Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import DType, bool_, float32, int64, uint32
from graphc.errors import DTypeError
from graphc.graph import bodies
from graphc.graph.node import Node, builder, constant, make, state
from graphc.graph.op import Op
from graphc.graph.types import TensorType, as_shape
from graphc.loops import expr
from graphc.loops.expr import Expr
from graphc.ops.bitwise import ShiftRight
from graphc.ops.elementwise import Elementwise
from graphc.ops.exponential import exp
from graphc.ops.nested import loop_index
from graphc.ops.operands import as_node, as_optional_dtype, cast, expand, floating

SEED = state(np.uint32(0), "seed")
"""The seed that `graphc.seed` sets."""
STEP = state(np.int64(0), "step")
"""How often a program has run; each executable counts its own."""

_sites = 0


def seed(number: int) -> None:
    """Set the seed (0 to 2**32 - 1, 0 at the start) and count sites from 0 again, so that a program repeats draws."""
    global _sites
    if not 0 <= number < 2**32:
        raise DTypeError(f"expected a seed from 0 to 2**32 - 1, got {number}")
    SEED.set(np.uint32(number))
    _sites = 0


def next_site() -> int:
    """Return the number of a new place that draws."""
    global _sites
    _sites += 1
    return _sites - 1


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """Return the four uint32 words of Philox-4x32-10 for arrays of counters and keys."""
    c0, c1, c2, c3 = (np.asarray(word).astype(np.uint64) for word in counter)
    k0, k1 = (int(word) for word in key)
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    for _ in range(10):
        first, second = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (second >> half) ^ c1 ^ np.uint64(k0),
            second & low,
            (first >> half) ^ c3 ^ np.uint64(k1),
            first & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return tuple(word.astype(np.uint32) for word in (c0, c1, c2, c3))  # type: ignore[return-value]


def bits(shape: tuple[int, ...], seed: int, site: int, step: int = 0, loop: int = 0) -> Any:
    """Return the uint32 words of a draw."""
    count = math.prod(shape)
    words = philox((np.arange((count + 3) // 4), loop, step & 0xFFFFFFFF, step >> 32), (seed, site))
    return np.stack(np.broadcast_arrays(*words), axis=-1).reshape(-1)[:count].reshape(shape)


@dataclass(frozen=True)
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
def random_bits(shape: object) -> Node:
    """Return random uint32 words, new ones at each run and at each step of a loop."""
    index = loop_index()
    return make(RandomBits(next_site(), as_shape(shape)), SEED, STEP, *(() if index is None else (index,)))


@builder("uniform")
def uniform(shape: object, low: Any = 0.0, high: Any = 1.0, dtype: object = None) -> Node:
    """Return numbers uniform in [low, high): multiples of 2**-24 (float32) or 2**-32 (float64) of the range."""
    wanted = _floating(dtype)
    unit = _fraction(random_bits(shape), wanted, 8 if wanted is float32 else 0, 0.0)
    if isinstance(low, int | float) and isinstance(high, int | float):
        return unit if (low, high) == (0, 1) else unit * (high - low) + low
    return unit * (as_node(high, wanted) - low) + low


@builder("normal")
def normal(shape: object, mean: Any = 0.0, std: Any = 1.0, dtype: object = None) -> Node:
    """Return normally distributed numbers, by the quantile function of a uniform draw."""
    wanted = _floating(dtype)
    drawn = make(NormalQuantile(), _fraction(random_bits(shape), wanted, 9 if wanted is float32 else 0, 0.5))
    return drawn if (type(mean), mean, type(std), std) == (float, 0.0, float, 1.0) else drawn * std + mean


@builder("bernoulli")
def bernoulli(probability: Any, shape: object) -> Node:
    """Return booleans that are true with this probability."""
    return uniform(shape) < probability


def _floating(dtype: object) -> DType:
    wanted = as_optional_dtype(dtype)
    if not wanted.is_float:
        raise DTypeError(f"expected a floating dtype, got {wanted}")
    return wanted


def _fraction(words: Node, dtype: DType, drop: int, offset: float) -> Node:
    """Return (words without their lowest bits + offset) as fractions of their range; dropping keeps it below 1."""
    if drop:
        words = make(ShiftRight(), words, expand(constant(drop, uint32), words.shape))
    number = cast(words, dtype)
    return (number + offset if offset else number) * 2.0 ** (drop - 32)


def draw_uniform(shape: tuple[int, ...], low: float, high: float, dtype: object = None) -> Any:
    """Return an array for initial values, uniform in [low, high), drawn now, at a site of its own."""
    wanted = _floating(dtype)
    words = bits(shape, int(SEED.value), next_site())
    drop = 8 if wanted is float32 else 0
    unit = (words >> np.uint32(drop)).astype(wanted.numpy) * np.asarray(2.0 ** (drop - 32), wanted.numpy)
    return (unit * np.asarray(high - low, wanted.numpy) + np.asarray(low, wanted.numpy)).astype(wanted.numpy)


def draw_normal(shape: tuple[int, ...], mean: float, std: float, dtype: object = None) -> Any:
    """Return an array for initial values, normally distributed, drawn now, at a site of its own."""
    wanted = _floating(dtype)
    fraction = (bits(shape, int(SEED.value), next_site()) + 0.5) * 2.0**-32
    return (quantile(fraction) * std + mean).astype(wanted.numpy)


# Wichura, Algorithm AS 241: the percentage points of the normal distribution, Applied Statistics 37 (1988), PPND16.
_CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
_TAIL = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
_FAR = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)


def _quantile(p: Any, number: Callable[[float], Any], apply: Callable[..., Any]) -> Any:
    """AS 241 over any arithmetic: `apply` is a scalar function of the dialect, `number` a constant."""

    def ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], at: Any) -> Any:
        sums: list[Any] = []
        for row in coefficients:
            total = number(row[0])
            for coefficient in row[1:]:
                total = apply("add", apply("multiply", total, at), number(coefficient))
            sums.append(total)
        return apply("divide", *sums)

    q = apply("subtract", p, number(0.5))
    centre = apply("subtract", number(0.180625), apply("multiply", q, q))
    smaller = apply("minimum", p, apply("subtract", number(1.0), p))
    r = apply("sqrt", apply("negative", apply("log", smaller)))
    near = ratio(_TAIL, apply("subtract", r, number(1.6)))
    far = ratio(_FAR, apply("subtract", r, number(5.0)))
    tail = apply("select", apply("le", r, number(5.0)), near, far)
    tail = apply("select", apply("lt", q, number(0.0)), apply("negative", tail), tail)
    inside = apply("ge", centre, number(0.0))
    return apply("select", inside, apply("multiply", q, ratio(_CENTRE, centre)), tail)


_NUMPY: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(np, name)
        for name in ("add", "subtract", "multiply", "divide", "minimum", "sqrt", "negative", "log")
    },
    **{"select": np.where, "le": np.less_equal, "lt": np.less, "ge": np.greater_equal},
}


def _call_numpy(name: str, *args: Any) -> Any:
    return _NUMPY[name](*args)


def quantile(p: Any) -> Any:
    """Return the normal distribution's quantile of an array of probabilities, by its definition in NumPy."""
    with np.errstate(all="ignore"):
        return _quantile(p, lambda value: np.asarray(value, p.dtype), _call_numpy)


class NormalQuantile(Elementwise):
    """The x below which a standard normal variable lies with probability p."""

    name = "normal_quantile"
    accepts: ClassVar[str] = "f"
    meaning = quantile

    def derivative(self, node: Node, position: int, flow: Node) -> Node:
        return flow * (exp(node * node * 0.5) * math.sqrt(2 * math.pi))

    def scalar(self, *values: Expr) -> Expr:
        (p,) = values

        def apply(name: str, *args: Expr) -> Expr:
            return expr.apply(name, *args, dtype=bool_ if name in ("le", "lt", "ge") else p.dtype)

        return _quantile(p, lambda value: expr.const(value, p.dtype), apply)


@builder("normal_quantile")
def normal_quantile(p: Any) -> Node:
    """Return the x below which a standard normal variable lies with probability p (0 to 1)."""
    return make(NormalQuantile(), floating(p))
