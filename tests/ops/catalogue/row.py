"""What a row of the catalogue is made of: operands, the builder, an independent definition, what must raise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest

import graphc

NAN, INF = math.nan, math.inf
FLOATS = (0.0, -0.0, 1.0, -1.0, NAN, INF, -INF, 1e-42, -1e-42, 3.4e38, -3.4e38, 0.5, 1e-8)
# Any of these may stand anywhere in an operand. None is so large that sums overflow, for then their order would matter.
FINITE = (0.0, -0.0, 1e-42)
SPOILS = (*FINITE, NAN, INF, -INF)
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
    # The hard values that the definition has an answer to; of integers they are the ends of their range.
    spoils: tuple[float, ...] = SPOILS

    def draw(self, floating: str, seed: int = 0) -> list[np.ndarray]:
        generator = np.random.default_rng(seed)
        return [operand.draw(generator, floating) for operand in self.operands]

    def spoiled(self, floating: str) -> Iterator[list[np.ndarray]]:
        """Draws of which one element of one operand is a hard value: each value in each operand."""
        generator = np.random.default_rng(4)
        for k, operand in enumerate(self.operands):
            values = self.spoils
            if operand.kind != "f":
                limits = None if operand.kind == "b" else np.iinfo(KINDS[operand.kind])
                values = () if limits is None else (int(limits.min), int(limits.max))
            for value in values if math.prod(operand.shape) else ():
                arrays = self.draw(floating, 7)
                arrays[k].reshape(-1)[generator.integers(arrays[k].size)] = value
                yield arrays

    @property
    def floatings(self) -> tuple[str, ...]:
        """The dtypes that stand for "f": both, or any one if there is no such operand."""
        return ("float32", "float64") if any(o.kind == "f" for o in self.operands) else ("float32",)

    def inputs(self, floating: str) -> list[graphc.Input]:
        return [graphc.input(f"x{k}", o.shape, o.dtype(floating)) for k, o in enumerate(self.operands)]

    def hard_columns(self, floating: str) -> list[np.ndarray]:
        columns = zip(*self.hard, strict=True)
        with np.errstate(over="ignore"):
            return [np.array(c, o.dtype(floating)) for c, o in zip(columns, self.operands, strict=True)]


def f(*shape: int, **more: Any) -> Operand:
    return Operand(shape, "f", **more)


def ints(*shape: int, low: int, high: int, kind: str = "i") -> Operand:
    return Operand(shape, kind, low, high)


def node(*shape: int, dtype: str = "float32") -> graphc.Input:
    return graphc.input("x", shape, dtype)


def cases(rows: Iterable[Row]) -> list[Any]:
    """Rows with each of their dtypes, as parameters of a test."""
    return [pytest.param(row, floating, id=f"{row.name}-{floating}") for row in rows for floating in row.floatings]


def refused(build: Callable[..., Any], count: int, booleans: bool = True) -> tuple[Wrong, ...]:
    """What every elementwise builder of this many operands must refuse; booleans too, if it takes none."""
    rest = [node(3)] * (count - 1)
    wrong: list[Wrong] = [
        (
            lambda: build("text", *rest),
            graphc.DTypeError,
            "expected a node, a number or an array of numbers, got a str",
        ),
        (lambda: build(*rest, None), graphc.DTypeError, "expected a node, a number or an array of numbers, got a None"),
        (lambda: build(np.ones(3, "complex64"), *rest), graphc.DTypeError, "complex"),
        (lambda: build(np.ones(3, "float16"), *rest), graphc.DTypeError, "float16.* is not supported; expected one of"),
    ]
    if count == 2:
        wrong.append((lambda: build(node(3), node(2, 4)), graphc.ShapeError, r"do not broadcast: \[3\] and \[2, 4\]"))
    if not booleans:
        flags = [node(3, dtype="bool")] * count
        wrong.append(
            (lambda: build(*flags), graphc.DTypeError, r"expected .*(floats|integers).*, got bool\[3\]; use astype")
        )
    return tuple(wrong)


def misread(name: str, call: Callable[[Any], Any]) -> tuple[Wrong, ...]:
    """What a builder of this name must refuse as an operand; `call` hands it one."""
    what = rf"expected a node, a number or an array of numbers, got a {{}}(.|\n)*in {name} at"
    return (
        (lambda: call(None), graphc.DTypeError, what.format("None")),
        (lambda: call("text"), graphc.DTypeError, what.format("str")),
        (lambda: call([[1.0], [2.0, 3.0]]), graphc.ShapeError, rf"rows of equal lengths(.|\n)*in {name} at"),
    )


def along(name: str, one: bool = False) -> tuple[Wrong, ...]:
    """What a builder of this name, which takes an operand and axes (or only `one`), must refuse."""
    build = getattr(graphc, name)
    twice = r"expected an axis \(an integer\), got \(0, -2\)" if one else r"an axis is given twice: \(0, -2\)"
    return (
        *misread(name, build),
        (lambda: build(node(2, 3), 2), graphc.ShapeError, rf"axis 2 does not exist.* has 2 dim(.|\n)*in {name} at"),
        (lambda: build(node(2, 3), "rows"), graphc.ShapeError, r"expected an axis \(an integer\), got 'rows'"),
        (lambda: build(node(2, 3), 1.0), graphc.ShapeError, r"expected an axis \(an integer\), got 1.0"),
        (lambda: build(node(2, 3), (0, -2)), graphc.ShapeError, twice),
    )


def empty(name: str) -> tuple[Wrong, ...]:
    """What a builder that needs an element must refuse, besides wrong axes."""
    build = getattr(graphc, name)
    none = rf"expected one element or more along axis 1, got float32\[2, 0\](.|\n)*in {name} at"
    return ((lambda: build(node(2, 0), 1), graphc.ShapeError, none),)


def no_dtype(name: str, call: Callable[[Any], Any]) -> tuple[Wrong, ...]:
    """What a builder of this name must refuse as a dtype; `call` hands it one."""
    return ((lambda: call("float16"), graphc.DTypeError, rf"float16' is not supported(.|\n)*in {name} at"),)


def no_size(name: str, call: Callable[[Any], Any]) -> tuple[Wrong, ...]:
    """What a builder of this name must refuse as a dimension; `call` hands it one."""
    what = rf"expected a dimension: an integer, a name or a dim; got {{}}(.|\n)*in {name} at"
    return (
        (lambda: call(None), graphc.ShapeError, what.format("None")),
        (lambda: call(1.5), graphc.ShapeError, what.format("1.5")),
        (lambda: call(-1), graphc.ShapeError, rf"a dimension of 0 or more, got -1(.|\n)*in {name} at"),
        (lambda: call("two words"), graphc.ShapeError, rf"to be an identifier, got 'two words'(.|\n)*in {name} at"),
    )


def unary(
    name: str, reference: Callable[..., Any], hard: tuple[float, ...] = FLOATS, booleans: bool = True, **more: Any
) -> Row:
    """A row of floats through one function; `booleans` says whether it takes booleans, as floats."""
    build = getattr(graphc, name)
    operand = f(3, 5, low=more.pop("low", -2.0), high=more.pop("high", 2.0), gap=more.pop("gap", 0.0))
    return Row(name, build, (operand,), reference, tuple((v,) for v in hard), refused(build, 1, booleans), **more)


def binary(name: str, reference: Callable[..., Any], booleans: bool = True, **more: Any) -> Row:
    """A row of floats through a function of two; `booleans` says whether it takes them."""
    build = getattr(graphc, name)
    operands = more.pop("operands", (f(3, 1, 5), f(4, 1)))
    hard = more.pop("hard", FLOATS[:7])
    return Row(name, build, operands, reference, tuple(product(hard, repeat=2)), refused(build, 2, booleans), **more)


def whole(name: str, reference: Callable[..., Any], kind: str, count: int, **more: Any) -> Row:
    """A row of integers, its hard values the ends of their range and all pairs of those."""
    limits = np.iinfo(KINDS[kind])
    values = sorted(
        {int(limits.min), int(limits.min) + 1, -3, -1, 0, 1, 2, 5, int(limits.max)}
        - ({-1, -3} if limits.min == 0 else set())
    )
    operand = ints(9, low=max(-9, limits.min), high=9, kind=kind)
    return Row(
        f"{name} {KINDS[kind]}",
        getattr(graphc, name),
        (operand,) * count,
        reference,
        tuple(product(more.pop("hard", values), repeat=count)),
        derivable=False,
        **more,
    )
