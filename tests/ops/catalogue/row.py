"""What a row of the catalogue is made of: operands, the builder, an independent definition, what must raise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc

NAN, INF = math.nan, math.inf
FLOATS = (0.0, -0.0, 1.0, -1.0, NAN, INF, -INF, 1e-42, -1e-42, 3.4e38, -3.4e38, 0.5, 1e-8)
# A call that must raise, the error's class, and (as a third item) a regular expression found in its message.
Wrong = tuple[Callable[[], Any], type[Exception]] | tuple[Callable[[], Any], type[Exception], str]
KINDS = {"i": "int64", "i32": "int32", "u": "uint32", "u8": "uint8", "b": "bool"}


@dataclass(frozen=True)
class Operand:
    """One operand: values are drawn from [low, high), with a `gap` between them where an op has corners.

    `zeros` of them, anywhere, are 0: where a derivative that divides by them would fail.
    """

    shape: tuple[int, ...]
    kind: str = "f"
    low: float = -2.0
    high: float = 2.0
    gap: float = 0.0
    zeros: int = 0

    def dtype(self, floating: str) -> str:
        return floating if self.kind == "f" else KINDS[self.kind]

    def draw(self, generator: np.random.Generator, floating: str) -> np.ndarray:
        dtype = self.dtype(floating)
        if self.kind == "b":
            return generator.integers(0, 2, self.shape).astype(bool)
        if self.kind != "f":
            return generator.integers(int(self.low), int(self.high), self.shape).astype(dtype)
        if self.gap:
            # A shuffled ladder off zero: no two values, and none and 0, come closer than the gap.
            count = math.prod(self.shape)
            ladder = self.gap * (np.arange(count) - count // 2 + 0.5)
            return generator.permutation(ladder).reshape(self.shape).astype(dtype)
        values = generator.uniform(self.low, self.high, self.shape).astype(dtype)
        values.reshape(-1)[generator.permutation(values.size)[: self.zeros]] = 0
        return values


@dataclass(frozen=True)
class Row:
    name: str
    build: Callable[..., Any]
    operands: tuple[Operand, ...]
    reference: Callable[..., Any]
    hard: tuple[tuple[Any, ...], ...] = ()
    raises: tuple[Wrong, ...] = ()
    derivable: bool = True
    tolerance: float = 32.0
    batchable: bool = True

    def draw(self, floating: str, seed: int = 0) -> list[np.ndarray]:
        generator = np.random.default_rng(seed)
        return [operand.draw(generator, floating) for operand in self.operands]

    def inputs(self, floating: str) -> list[graphc.Input]:
        return [graphc.input(f"x{k}", o.shape, o.dtype(floating)) for k, o in enumerate(self.operands)]

    def hard_columns(self, floating: str) -> list[np.ndarray]:
        columns = zip(*self.hard, strict=True)
        return [np.array(c, o.dtype(floating)) for c, o in zip(columns, self.operands, strict=True)]


def f(*shape: int, **more: Any) -> Operand:
    return Operand(shape, "f", **more)


def ints(*shape: int, low: int, high: int, kind: str = "i") -> Operand:
    return Operand(shape, kind, low, high)


def node(*shape: int, dtype: str = "float32") -> graphc.Input:
    return graphc.input("x", shape, dtype)


def unary(name: str, reference: Callable[..., Any], hard: tuple[float, ...] = FLOATS, **more: Any) -> Row:
    low, high, gap = more.pop("low", -2.0), more.pop("high", 2.0), more.pop("gap", 0.0)
    return Row(
        name,
        getattr(graphc, name),
        (f(3, 5, low=low, high=high, gap=gap),),
        reference,
        tuple((v,) for v in hard),
        **more,
    )


def binary(name: str, reference: Callable[..., Any], **more: Any) -> Row:
    pairs = tuple((a, b) for a in FLOATS[:7] for b in FLOATS[:7])
    build = getattr(graphc, name)
    operands = more.pop("operands", (f(3, 1, 5), f(4, 1)))
    wrong = (lambda: build(node(3), node(4)), graphc.ShapeError)
    return Row(name, build, operands, reference, pairs, more.pop("raises", (wrong,)), **more)
