"""Windows over images: pooling, unfold and fold, other sizes, paddings; each against loops over places and elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

import graphc
from tests.ops.catalogue.row import Row, Wrong, f, ints, misread, node


def pooled(
    combine: Callable[..., Any], kernel: Sequence[int], stride: Sequence[int], pads: Sequence[tuple[int, int]],
    dilation: Sequence[int] = (1, 1), ceil: bool = False,
) -> Callable[..., Any]:  # fmt: skip
    """`combine(elements inside of x, how many with the padding)` at each place; elements (count, N, C)."""

    def define(x: np.ndarray) -> np.ndarray:
        counts: list[int] = []
        for n, k, s, (a, b), d in zip(x.shape[1:-1], kernel, stride, pads, dilation, strict=False):
            steps = (n + a + b - (k - 1) * d - 1) / s
            count = (math.ceil(steps) if ceil else math.floor(steps)) + 1
            counts.append(count - 1 if (count - 1) * s >= n + a else count)
        out = np.zeros((x.shape[0], *counts, x.shape[-1]), x.dtype)
        for at in product(*map(range, counts)):
            inside, padded = [], 0
            for tap in product(*map(range, kernel)):
                where = [p * s + k * d - a for p, s, k, d, (a, _) in zip(at, stride, tap, dilation, pads, strict=False)]
                space = x.shape[1:-1]
                padded += all(-a <= i < n + b for i, n, (a, b) in zip(where, space, pads, strict=True))
                if all(0 <= i < n for i, n in zip(where, space, strict=True)):
                    inside.append(x[(slice(None), *where)])
            out[(slice(None), *at)] = combine(np.array(inside), padded)
        return out

    return define


def adaptive(combine: Callable[..., Any], *sizes: int) -> Callable[..., Any]:
    def define(x: np.ndarray) -> np.ndarray:
        out = np.zeros((x.shape[0], *sizes, x.shape[-1]), x.dtype)
        for at in product(*map(range, sizes)):
            part = x
            for k, (i, n) in enumerate(zip(at, sizes, strict=True), 1):
                first, end = i * x.shape[k] // n, -(-(i + 1) * x.shape[k] // n)
                part = np.take(part, range(first, end), k)
            out[(slice(None), *at)] = combine(part, axis=tuple(range(1, x.ndim - 1)))
        return out

    return define


def largest(elements: np.ndarray, _: int) -> np.ndarray:
    return elements.max(0)


def unfolded(x: np.ndarray) -> np.ndarray:
    x = np.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)))
    out = np.zeros((x.shape[0], (x.shape[1] - 3) // 2 + 1, x.shape[2] - 1, 2, 2, x.shape[3]), x.dtype)
    for i, j, k, m in np.ndindex(out.shape[1:5]):
        out[:, i, j, k, m] = x[:, 2 * i + 2 * k, j + m]
    return out


def folded(x: np.ndarray) -> np.ndarray:
    out = np.zeros((x.shape[0], 7, x.shape[-1]), x.dtype)
    for i, k in np.ndindex(x.shape[1:3]):
        if 0 <= 2 * i + 3 * k - 2 < 7:
            out[:, 2 * i + 3 * k - 2] += x[:, i, k]
    return out


def linear(sizes: Sequence[int], align_corners: bool) -> Callable[..., Any]:
    def define(x: np.ndarray) -> np.ndarray:
        for axis, size in enumerate(sizes, 1):
            old = x.shape[axis]
            if align_corners:
                at = np.arange(size) * (old - 1) / max(size - 1, 1)
            else:
                at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
            moved = np.moveaxis(x, axis, -1).astype("float64")
            rows = [np.interp(at, np.arange(old), row) for row in moved.reshape(-1, old)]
            x = np.moveaxis(np.reshape(rows, (*moved.shape[:-1], size)), -1, axis).astype(x.dtype)
        return x

    return define


def nearest(x: np.ndarray) -> np.ndarray:
    rows = [math.floor(i * x.shape[1] / 5) for i in range(5)]
    return x[:, rows][:, :, [math.floor(j * 3 / 6) for j in range(6)]]


def windowed(name: str, rank: int, dilates: bool) -> tuple[Wrong, ...]:
    build = getattr(graphc, name)
    x = node(1, *(5,) * rank, 2)
    shape = r"\(N, H, W, C\)" if rank == 2 else r"\(N, L, C\)"
    return (
        *misread(name, lambda value: build(value, 2)),
        (lambda: build(x[0], 2), graphc.ShapeError, rf"{name}: expected {shape}, got"),
        (lambda: build(x.astype("bool"), 2), graphc.DTypeError, f"{name}: expected numbers, got bool"),
        (lambda: build(x, 0), graphc.ShapeError, rf"{name}'s kernel_size .*got 0"),
        (lambda: build(x, 2, stride=0), graphc.ShapeError, rf"{name}'s stride .*got 0"),
        (lambda: build(x, 2, padding=2), graphc.ShapeError, r"at most half of the 2 elements .*, got 2 > 2 / 2"),
        (
            lambda: build(x, 6),
            graphc.ShapeError,
            "reaches over 6 does not fit along axis 1 .*expected 6 or more, got 5",
        ),
        *([(lambda: build(x, 2, dilation=0), graphc.ShapeError, rf"{name}'s dilation .*got 0")] if dilates else []),
    )


def adapted(name: str, rank: int) -> tuple[Wrong, ...]:
    build = getattr(graphc, name)
    return (
        *misread(name, lambda value: build(value, 2)),
        (lambda: build(node(*(3,) * rank, 4), 2), graphc.ShapeError, rf"{name}: expected \(N, "),
        (lambda: build(node(1, *(3,) * rank, 4), 0), graphc.ShapeError, rf"{name}'s output_size .*got .*0"),
        (lambda: build(node(1, *(0,) * rank, 4), 2), graphc.ShapeError, rf"{name}: expected one element or more"),
    )


def extended(mode: str, numpys: str) -> Row:
    return Row(
        f"pad {mode}",
        lambda x: graphc.pad(x, ((0, 2), (3, 0), (2, 1)), mode=mode),
        (f(3, 4, 3),),
        lambda x: np.pad(x, ((0, 2), (3, 0), (2, 1)), mode=numpys),
        raises=(
            (
                lambda: graphc.pad(node(2, 0), ((0, 0), (1, 0)), mode=mode),
                graphc.ShapeError,
                rf"mode '{mode}' a width of 1 along axis 1 of .* needs [12] elements, got 0(.|\n)*in pad at",
            ),
            (
                lambda: graphc.pad(node(2), ((1, 1),) * 2, mode=mode),
                graphc.ShapeError,
                "a pair of widths for each axis",
            ),
            (lambda: graphc.pad(node(2), 1, mode="mirror"), graphc.ShapeError, "expected mode .*got 'mirror'"),
        ),
    )


ROWS = (
    Row(
        "max_pool1d",
        lambda x: graphc.max_pool1d(x, 3, 2, 1, dilation=2),
        (f(2, 8, 2, gap=0.1),),
        pooled(largest, (3,), (2,), [(1, 1)], (2,)),
        raises=windowed("max_pool1d", 1, True),
    ),
    Row(
        "max_pool2d",
        lambda x: graphc.max_pool2d(x, 2),
        (f(2, 5, 4, 3, gap=0.1),),
        pooled(largest, (2, 2), (2, 2), [(0, 0), (0, 0)]),
        raises=windowed("max_pool2d", 2, True),
    ),
    Row(
        "max_pool2d over one another",
        lambda x: graphc.max_pool2d(x, (3, 2), 2, (1, 0), ceil_mode=True),
        (f(1, 6, 5, 2, gap=0.1),),
        pooled(largest, (3, 2), (2, 2), [(1, 1), (0, 0)], ceil=True),
    ),
    Row(
        "max_pool2d int",
        lambda x: graphc.max_pool2d(x, 2, padding=1),
        (ints(1, 3, 3, 2, low=-9, high=-1, kind="i32"),),
        pooled(largest, (2, 2), (2, 2), [(1, 1), (1, 1)]),
        derivable=False,
    ),
    Row(
        "avg_pool1d",
        lambda x: graphc.avg_pool1d(x, 3, 2, 1, ceil_mode=True),
        (f(2, 6, 2),),
        pooled(lambda e, padded: e.sum(0) / padded, (3,), (2,), [(1, 1)], ceil=True),
        raises=windowed("avg_pool1d", 1, False),
    ),
    Row(
        "avg_pool2d",
        lambda x: graphc.avg_pool2d(x, (2, 3), (2, 1), (0, 1), count_include_pad=False),
        (f(2, 5, 4, 2),),
        pooled(lambda e, _: e.mean(0), (2, 3), (2, 1), [(0, 0), (1, 1)]),
        raises=(
            *windowed("avg_pool2d", 2, False),
            (
                lambda: graphc.avg_pool2d(node(1, 2, 2, 1), 2, divisor_override=0),
                graphc.ShapeError,
                "divisor_override other than 0",
            ),
        ),
    ),
    Row(
        "adaptive_avg_pool1d",
        lambda x: graphc.adaptive_avg_pool1d(x, 1),
        (f(2, 5, 3),),
        adaptive(np.mean, 1),
        raises=adapted("adaptive_avg_pool1d", 1),
    ),
    Row(
        "adaptive_avg_pool2d",
        lambda x: graphc.adaptive_avg_pool2d(x, (3, None)),
        (f(2, 5, 4, 2),),
        adaptive(np.mean, 3, 4),
        raises=adapted("adaptive_avg_pool2d", 2),
    ),
    Row(
        "adaptive_max_pool1d",
        lambda x: graphc.adaptive_max_pool1d(x, 7),
        (f(2, 5, 2, gap=0.1),),
        adaptive(np.max, 7),
        raises=adapted("adaptive_max_pool1d", 1),
    ),
    Row(
        "adaptive_max_pool2d",
        lambda x: graphc.adaptive_max_pool2d(x, (2, 3)),
        (f(1, 5, 3, 2, gap=0.1),),
        adaptive(np.max, 2, 3),
        raises=adapted("adaptive_max_pool2d", 2),
    ),
    Row(
        "unfold",
        lambda x: graphc.unfold(x, 2, stride=(2, 1), padding=((1, 2), (0, 1)), dilation=(2, 1)),
        (f(2, 4, 3, 2),),
        unfolded,
        raises=(
            *misread("unfold", lambda value: graphc.unfold(value, 2)),
            (lambda: graphc.unfold(node(3), 2), graphc.ShapeError, r"unfold: expected \(N, L, C\)"),
            (
                lambda: graphc.unfold(node(1, 3, 1), 4),
                graphc.ShapeError,
                "unfold: a kernel that reaches over 4 does not",
            ),
        ),
    ),
    Row(
        "fold",
        lambda x: graphc.fold(x, 7, stride=2, padding=[(2, 3)], dilation=3),
        (f(2, 3, 3, 2),),
        folded,
        raises=(
            *misread("fold", lambda value: graphc.fold(value, 4)),
            (lambda: graphc.fold(node(1, 3, 2), 4), graphc.ShapeError, "fold: expected windows"),
            (
                lambda: graphc.fold(node(1, 2, 3, 1), 6),
                graphc.ShapeError,
                "expected 4 windows along axis 1 to cover 6 elements, got",
            ),
            (
                lambda: graphc.fold(node(1, 2, 3, 1), 2),
                graphc.ShapeError,
                "fold: a kernel that reaches over 3 does not",
            ),
        ),
    ),
    Row(
        "interpolate",
        lambda x: graphc.interpolate(x, (5, 6)),
        (f(2, 4, 3, 2),),
        nearest,
        raises=(
            *misread("interpolate", lambda value: graphc.interpolate(value, 2)),
            (lambda: graphc.interpolate(node(1, 2, 2), 0), graphc.ShapeError, "interpolate's size .*got 0"),
            (lambda: graphc.interpolate(node(1, 2, 2)), graphc.ShapeError, "size or scale_factor, one of them"),
            (lambda: graphc.interpolate(node(1, 2, 2), None, -1), graphc.ShapeError, "number above 0 .*got -1"),
            (lambda: graphc.interpolate(node(1, 2, 2), None, 0.4), graphc.ShapeError, r"left: 2 \* 0.4 is below 1"),
            (
                lambda: graphc.interpolate(node(1, 2, 2), 4, mode="bilinear"),
                graphc.ShapeError,
                "mode 'nearest' or 'linear' for .*got 'bilinear'",
            ),
            (lambda: graphc.interpolate(node(1, 2, 2), 4, align_corners=True), graphc.ShapeError, "between neighbours"),
        ),
    ),
    Row(
        "interpolate linear",
        lambda x: graphc.interpolate(x, 3, mode="linear", align_corners=True),
        (f(2, 4, 2),),
        linear((3,), True),
        tolerance=128,
    ),
    Row(
        "interpolate bilinear",
        lambda x: graphc.interpolate(x, scale_factor=(2, 0.6), mode="bilinear"),
        (f(1, 3, 5, 2),),
        linear((6, 3), False),
        tolerance=128,
    ),
    extended("reflect", "reflect"),
    extended("replicate", "edge"),
    extended("circular", "wrap"),
)
