"""Where things stand in a sequence: encodings that are added to features, and rotations of queries and keys.

Shape: `(..., t, f) -> (..., t, f)`.
Gradient: the chain rule's, through the formula.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.dtypes import DType
from graphc.errors import ShapeError
from graphc.graph.node import Node, Parameter, builder, parameter
from graphc.nn.arguments import last_axes, number, whole
from graphc.nn.module import Module
from graphc.ops.joining import concat, stack
from graphc.ops.movement import reshape
from graphc.ops.operands import as_node, as_optional_dtype, cast, expand, floating
from graphc.ops.positions import arange
from graphc.ops.random import draw_normal
from graphc.ops.slicing import slice_
from graphc.ops.trigonometric import cos, sin


@builder("nn.sinusoidal_positions")
def sinusoidal_positions(length: Dim, features: int, base: float = 10000.0, dtype: object = None) -> Node:
    """Return an encoding of positions 0 to length - 1, (length, features): sines and cosines of falling frequency.

    Feature 2 * i is sin(position / base^(2 * i / features)), feature 2 * i + 1 the cosine of it. features: even.

    Shape: (length, features).
    Formula: `stack([sin(a), cos(a)], -1).reshape(length, features)`, with `a = arange(length)[:, None] / base **
    (arange(0, features, 2) / features)`.
    Gradient: none: a constant.
    Source: Vaswani et al., Attention Is All You Need, 2017, 3.5.
    """
    wanted = as_optional_dtype(dtype)
    angles = _angles(arange(length, dtype="int64"), features, base, wanted)
    return reshape(stack((sin(angles), cos(angles)), -1), (length, features))


@builder("nn.rotary_embedding")
def rotary_embedding(x: Any, positions: Any = None, base: float = 10000.0, interleaved: bool = True) -> Node:
    """Return queries or keys with pairs of features turned by angles that grow with the position.

    Then the product of a query and a key depends on how far apart they stand. x: (..., time, features), features even; pair i
    turns by position / base^(2 * i / features). positions: (time,), 0, 1, ... unless given. interleaved: pair i are
    features 2 * i and 2 * i + 1; else i and i + features / 2, as in Llama's weights on Hugging Face.

    Formula: `stack([x[..., ::2] * cos(a) - x[..., 1::2] * sin(a), x[..., ::2] * sin(a) + x[..., 1::2] * cos(a)],
    -1).reshape(x.shape)`, with `a = arange(x.shape[-2])[:, None] / base ** (arange(0, x.shape[-1], 2) / x.shape[-1])`.
    Source: Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021.
    """
    node = floating(x)
    if node.ndim < 2 or not isinstance(node.shape[-1], int):
        raise ShapeError(f"expected (..., time, features) with a known number of features, got {node.describe()}")
    time, features = node.shape[-2], node.shape[-1]
    given = arange(time, dtype="int64") if positions is None else as_node(positions)
    if given.ndim != 1:
        raise ShapeError(f"rotary_embedding: expected positions of shape (time,), got {given.describe()}")
    angles = _angles(expand(given, (time,)), features, base, node.dtype)
    turn, shift = cos(angles), sin(angles)
    half = features // 2
    first, second = (node[..., ::2], node[..., 1::2]) if interleaved else (node[..., :half], node[..., half:])
    turned = (first * turn - second * shift, first * shift + second * turn)
    return reshape(stack(turned, -1), node.shape) if interleaved else concat(turned, -1)


def _angles(positions: Node, features: Any, base: float, dtype: DType) -> Node:
    """Return position / base^(2 * i / features), (positions, features / 2)."""
    count = whole(features, "features of positions", 2)
    if count % 2:
        raise ShapeError(f"expected an even number of features, got {features}")
    number(base, "base", 0.0, open=True)
    speeds = np.exp(np.arange(0, count, 2) * (-math.log(base) / count)).astype(dtype.numpy)
    return cast(positions, dtype)[:, None] * speeds


class SinePositionEncoding(Module):
    """x plus `sinusoidal_positions` of its time axis. x: (..., time, features), any length.

    Formula: `x + sinusoidal_positions(*x.shape[-2:], base)`.
    Source: Vaswani et al., Attention Is All You Need, 2017, 3.5.
    """

    def __init__(self, base: float = 10000.0) -> None:
        self.base = number(base, "SinePositionEncoding's base", 0.0, open=True)

    def forward(self, x: Any) -> Node:
        node = floating(x)
        if node.ndim < 2 or not isinstance(node.shape[-1], int):
            raise ShapeError(f"SinePositionEncoding: expected (..., time, features), got {node.describe()}")
        return node + sinusoidal_positions(node.shape[-2], node.shape[-1], self.base, node.dtype)

    def extra_repr(self) -> str:
        return f"base={self.base}"


class PositionEmbedding(Module):
    """x plus a trained vector for each position. x: (..., time, features), of at most `max_length` times.

    weight: (max_length, features), normally distributed with standard deviation 0.02 at the start, as in GPT-2.

    Formula: `x + weight[:x.shape[-2]]`.
    Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019 (GPT-2).
    """

    def __init__(self, max_length: int, features: int, dtype: object = None) -> None:
        self.max_length = whole(max_length, "PositionEmbedding's max_length", 1)
        self.features = whole(features, "PositionEmbedding's features", 1)
        start = draw_normal((self.max_length, self.features), 0.0, 0.02, dtype)
        self.weight: Parameter = parameter(start, "weight")

    def forward(self, x: Any) -> Node:
        node = floating(x)
        last_axes(node, (self.features,), "PositionEmbedding")
        if node.ndim < 2:
            raise ShapeError(f"PositionEmbedding: expected (..., time, features), got {node.describe()}")
        time = node.shape[-2]
        if isinstance(time, int) and time > self.max_length:
            raise ShapeError(f"PositionEmbedding: expected at most {self.max_length} times, got {node.describe()}")
        # A symbolic time is held against max_length when sizes are known.
        return node + slice_(self.weight, (0, 0), (time, self.features))

    def extra_repr(self) -> str:
        return f"{self.max_length}, {self.features}"
