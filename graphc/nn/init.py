"""Initial values: arrays drawn now, by the same generator and seed as the draws in graphs.

Each takes a shape and returns an array, for `parameter(...)` or `layer.weight.set(...)`. Fans are those of the layouts
used here: (out, in) for a matrix, and (*kernel, in, out) for filters of three or more dimensions, such as (height,
width, in, out), where each counts once for every position of the kernel. A vector or a number has none.

Shape: the one given.
Gradient: none: an array, drawn once.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.errors import GraphError, ShapeError
from graphc.graph.operators import located
from graphc.nn.arguments import choice, number, sizes
from graphc.ops.operands import as_optional_dtype
from graphc.ops.random import draw_normal, draw_uniform, quantile


@located("nn.init.fans")
def fans(shape: Any) -> tuple[int, int]:
    """Return how many numbers each output sums, and how many outputs each input reaches.

    shape: (out, in), or (*kernel, in, out). ShapeError if it has fewer dimensions.
    """
    given = sizes(shape, "a shape")
    if len(given) < 2:
        raise ShapeError(f"expected a shape (out, in) or (*kernel, in, out), got {given}")
    if len(given) == 2:
        return given[1], given[0]
    positions = math.prod(given[:-2])
    return positions * given[-2], positions * given[-1]


@located("nn.init.zeros")
def zeros(shape: Any, dtype: object = None) -> Any:
    """Return zeros.

    Formula: `zeros(shape)`.
    Source: `torch.nn.init.zeros_`.
    """
    return constant(shape, 0.0, dtype)


@located("nn.init.ones")
def ones(shape: Any, dtype: object = None) -> Any:
    """Return ones.

    Formula: `ones(shape)`.
    Source: `torch.nn.init.ones_`.
    """
    return constant(shape, 1.0, dtype)


@located("nn.init.constant")
def constant(shape: Any, value: float, dtype: object = None) -> Any:
    """Return an array filled with a number.

    Formula: `full(shape, value)`.
    Source: `torch.nn.init.constant_`.
    """
    return np.full(sizes(shape, "a shape"), value, as_optional_dtype(dtype).numpy)


@located("nn.init.uniform")
def uniform(shape: Any, low: float = 0.0, high: float = 1.0, dtype: object = None) -> Any:
    """Return numbers uniform in [low, high).

    Formula: low + (high - low) * u, u uniform in [0, 1).
    Source: `torch.nn.init.uniform_`.
    """
    return draw_uniform(sizes(shape, "a shape"), low, high, dtype)


@located("nn.init.normal")
def normal(shape: Any, mean: float = 0.0, std: float = 1.0, dtype: object = None) -> Any:
    """Return normally distributed numbers.

    Formula: mean + std * n, n standard normal.
    Source: `torch.nn.init.normal_`.
    """
    return draw_normal(sizes(shape, "a shape"), mean, std, dtype)


@located("nn.init.truncated_normal")
def truncated_normal(
    shape: Any, mean: float = 0.0, std: float = 1.0, low: float = -2.0, high: float = 2.0, dtype: object = None
) -> Any:
    """Return normally distributed numbers that all lie from low to high; the limits are numbers, not multiples of std.

    Drawn by the quantile function of a uniform draw between the probabilities of the limits.

    Formula: mean + std * n, n standard normal given that the result lies from low to high.
    Source: `torch.nn.init.trunc_normal_`.
    """
    number(std, "truncated_normal's std", 0.0, open=True)
    if not low < high:
        raise GraphError(f"truncated_normal: expected low < high, got {low} and {high}")
    # The tails of the normal distribution are told apart on its lower side only, so the nearer limit is put there.
    side = 1.0 if low + high <= 2 * mean else -1.0
    start, stop = sorted((side * (low - mean) / std, side * (high - mean) / std))
    below = [0.5 * math.erfc(-limit / math.sqrt(2)) for limit in (start, stop)]
    drawn = draw_uniform(sizes(shape, "a shape"), below[0], below[1], "float64")
    values = side * np.clip(quantile(np.maximum(drawn, 5e-324)), start, stop) * std + mean
    kind = as_optional_dtype(dtype).numpy
    return np.clip(values.astype(kind), kind.type(low), kind.type(high))


@located("nn.init.glorot_uniform")
def glorot_uniform(shape: Any, gain: float = 1.0, dtype: object = None) -> Any:
    """Return numbers uniform within gain * sqrt(6 / (fan_in + fan_out)); PyTorch: xavier_uniform_.

    Formula: uniform(shape, -a, a), a = gain * sqrt(6 / (fan_in + fan_out)).
    Source: `torch.nn.init.xavier_uniform_`; Glorot and Bengio, Understanding the difficulty of training deep
    feedforward neural networks, 2010.
    """
    bound = gain * math.sqrt(6.0 / _positive(sum(fans(shape))))
    return uniform(shape, -bound, bound, dtype)


@located("nn.init.glorot_normal")
def glorot_normal(shape: Any, gain: float = 1.0, dtype: object = None) -> Any:
    """Return normal numbers of standard deviation gain * sqrt(2 / (fan_in + fan_out)); PyTorch: xavier_normal_.

    Formula: normal(shape, 0, s), s = gain * sqrt(2 / (fan_in + fan_out)).
    Source: `torch.nn.init.xavier_normal_`; Glorot and Bengio, 2010.
    """
    return normal(shape, 0.0, gain * math.sqrt(2.0 / _positive(sum(fans(shape)))), dtype)


@located("nn.init.he_uniform")
def he_uniform(shape: Any, negative_slope: float = 0.0, mode: str = "fan_in", dtype: object = None) -> Any:
    """Return numbers uniform within sqrt(3) times the standard deviation of `he_normal`; PyTorch: kaiming_uniform_.

    Formula: uniform(shape, -a, a), a = sqrt(6 / (1 + negative_slope^2) / fan).
    Source: `torch.nn.init.kaiming_uniform_`; He et al., Delving Deep into Rectifiers, 2015.
    """
    bound = math.sqrt(3.0) * _he(shape, negative_slope, mode)
    return uniform(shape, -bound, bound, dtype)


@located("nn.init.he_normal")
def he_normal(shape: Any, negative_slope: float = 0.0, mode: str = "fan_in", dtype: object = None) -> Any:
    """Return normal numbers of standard deviation sqrt(2 / (1 + negative_slope^2) / fan); PyTorch: kaiming_normal_.

    negative_slope: that of the leaky rectifier that follows; 0 for ReLU. mode: "fan_in" keeps the variance of values,
    "fan_out" that of gradients.

    Formula: normal(shape, 0, s), s = sqrt(2 / (1 + negative_slope^2) / fan).
    Source: `torch.nn.init.kaiming_normal_`; He et al., Delving Deep into Rectifiers, 2015.
    """
    return normal(shape, 0.0, _he(shape, negative_slope, mode), dtype)


@located("nn.init.lecun_uniform")
def lecun_uniform(shape: Any, dtype: object = None) -> Any:
    """Return numbers uniform within sqrt(3 / fan_in).

    Formula: uniform(shape, -a, a), a = sqrt(3 / fan_in).
    Source: LeCun, Bottou, Orr and Mueller, Efficient BackProp, 1998.
    """
    bound = math.sqrt(3.0 / _positive(fans(shape)[0]))
    return uniform(shape, -bound, bound, dtype)


@located("nn.init.lecun_normal")
def lecun_normal(shape: Any, dtype: object = None) -> Any:
    """Return normal numbers of standard deviation sqrt(1 / fan_in), as SELU asks for.

    Formula: normal(shape, 0, s), s = sqrt(1 / fan_in).
    Source: LeCun, Bottou, Orr and Mueller, Efficient BackProp, 1998.
    """
    return normal(shape, 0.0, math.sqrt(1.0 / _positive(fans(shape)[0])), dtype)


@located("nn.init.orthogonal")
def orthogonal(shape: Any, gain: float = 1.0, dtype: object = None) -> Any:
    """Return gain times a matrix of orthonormal rows, or columns if there are fewer, uniform among all such.

    shape: (out, in), or (*kernel, in, out), which is a matrix (kernel * in, out). Saxe, McClelland and Ganguli, Exact
    solutions to the nonlinear dynamics of learning in deep linear neural networks, 2014; drawn as in Mezzadri, How to
    generate random matrices from the classical compact groups, 2007.

    Formula: gain * q, q of the QR decomposition of a normal draw, with signs that make it unique.
    Source: `torch.nn.init.orthogonal_`; Saxe, McClelland and Ganguli, 2014; Mezzadri, 2007.
    """
    given = sizes(shape, "a shape")
    fans(given)
    columns = given[-1]
    rows = math.prod(given[:-1])
    drawn = draw_normal((max(rows, columns), min(rows, columns)), 0.0, 1.0, "float64")
    factor, upper = np.linalg.qr(drawn)
    # Without the signs the draw would not be uniform.
    factor = factor * np.where(np.diag(upper) < 0, -1.0, 1.0)
    matrix = factor if rows >= columns else factor.T
    return (gain * matrix).reshape(given).astype(as_optional_dtype(dtype).numpy)


def _he(shape: Any, negative_slope: float, mode: str) -> float:
    choice(mode, "mode", "fan_in", "fan_out")
    fan = fans(shape)[0 if mode == "fan_in" else 1]
    return math.sqrt(2.0 / (1.0 + negative_slope**2) / _positive(fan))


def _positive(fan: int) -> int:
    # An array without elements needs no scale.
    return max(fan, 1)
