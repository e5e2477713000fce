"""Convolutions and their adjoints, against loops over every place, tap and channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

import graphc
from tests.ops.catalogue.row import Row, Wrong, f, misread, node

Pairs = Sequence[tuple[int, int]]


def walk(
    space: Sequence[int], counts: Sequence[int], kernel: np.ndarray, stride: Sequence[int], dilation: Sequence[int],
    pads: Pairs, groups: int,
) -> Any:  # fmt: skip
    """Every product of a convolution: place in the image, tap, place in the result; channel in, tap's channel, filter."""
    *sizes, share, filters = kernel.shape
    for at in product(*map(range, counts)):
        for tap in product(*map(range, sizes)):
            read = tuple(p * s + k * d - b for p, s, k, d, (b, _) in zip(at, stride, tap, dilation, pads, strict=True))
            if all(0 <= r < n for r, n in zip(read, space, strict=True)):
                for o, c in product(range(filters), range(share)):
                    yield read, at, tap, o // (filters // groups) * share + c, c, o


def convolution(stride: Sequence[int], pads: Pairs, dilation: Sequence[int], groups: int = 1) -> Callable[..., Any]:
    def define(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        x = np.pad(x, ((0, 0), *pads, (0, 0)))  # with zeros, that a NaN in w makes NaN of
        space, sizes, none = x.shape[1:-1], w.shape[:-2], [(0, 0)] * len(pads)
        counts = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(space, sizes, stride, dilation, strict=True)]
        out = np.zeros((x.shape[0], *counts, w.shape[-1]), x.dtype)
        for read, at, tap, channel, c, o in walk(space, counts, w, stride, dilation, none, groups):
            out[(slice(None), *at, o)] += x[(slice(None), *read, channel)] * w[(*tap, c, o)]
        return out

    return define


# A kernel that is not finite: compiled, the zeros around the image are multiplied, too; the definition has none there.
FINITE = (0.0, -0.0, 1e-42)


def transposed(
    stride: Sequence[int], pads: Pairs, extra: Sequence[int], dilation: Sequence[int], groups: int = 1
) -> Callable[..., Any]:
    def define(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        space, sizes = x.shape[1:-1], w.shape[:-2]
        each = zip(space, sizes, stride, pads, extra, dilation, strict=True)
        counts = [(n - 1) * s + (k - 1) * d + 1 + e - a - b for n, k, s, (a, b), e, d in each]
        out = np.zeros((x.shape[0], *counts, w.shape[-2] * groups), x.dtype)
        for to, at, tap, channel, c, o in walk(counts, space, w, stride, dilation, pads, groups):
            out[(slice(None), *to, channel)] += x[(slice(None), *at, o)] * w[(*tap, c, o)]
        return out

    return define


def wrong(name: str, rank: int) -> tuple[Wrong, ...]:
    build = getattr(graphc, name)
    channels = (6, 4) if "transpose" in name else (4, 6)
    x, w = node(1, *(5,) * rank, 4), node(*(3,) * rank, *channels)
    shape = r"\(N, H, W, C\)" if rank == 2 else r"\(N, L, C\)"
    flags = node(1, *(5,) * rank, 4, dtype="bool")
    return (
        *misread(name, lambda value: build(value, w)),
        (lambda: build(x[0], w), graphc.ShapeError, rf"expected {shape} and \("),
        (lambda: build(x, w[0]), graphc.ShapeError, rf"expected {shape} and \("),
        (lambda: build(flags, flags), graphc.DTypeError, "expected numbers, got bool"),
        (lambda: build(x, w, stride=0), graphc.ShapeError, rf"{name}'s stride to be a whole .* 1 or more.*, got 0"),
        (lambda: build(x, w, dilation=(1,) * 3), graphc.ShapeError, rf"{name}'s dilation .*got \(1, 1, 1\)"),
        (lambda: build(x, w, dilation=1.5), graphc.ShapeError, rf"{name}'s dilation .*got 1.5"),
        (lambda: build(x, w, padding=-1), graphc.ShapeError, "expected padding to be 'valid', .*got -1"),
        (lambda: build(x, w, padding="full"), graphc.ShapeError, "expected padding to be 'valid', .*got 'full'"),
        (lambda: build(x, w, groups=0), graphc.ShapeError, rf"{name}'s groups .*got 0"),
        (lambda: build(x, w, groups=3), graphc.ShapeError, "3 groups divide evenly, got 4: 4 = 1 \\* 3 \\+ 1"),
        (
            lambda: build(node(1, *(5,) * rank, 3), w),
            graphc.ShapeError,
            "equal channels C, got .* with 3 and .*permute",
        ),
    )


ROWS = (
    Row(
        "conv1d",
        lambda x, w: graphc.conv1d(x, w, stride=2, padding=[(2, 1)], dilation=2),
        (f(2, 6, 2), f(2, 2, 3)),
        convolution((2,), [(2, 1)], (2,)),
        tolerance=64,
        raises=(
            *wrong("conv1d", 1),
            (
                lambda: graphc.conv1d(node(1, 2, 1), node(3, 1, 1), padding=[(1, 0)], dilation=2),
                graphc.ShapeError,
                r"reaches over 5 \(3 elements, 2 apart\) does not fit .*: expected 5 or more, got 2 \+ 1 \+ 0 = 3 with",
            ),
        ),
    ),
    Row(
        "conv2d",
        graphc.conv2d,
        (f(2, 5, 4, 3), f(3, 2, 3, 2)),
        convolution((1, 1), [(0, 0), (0, 0)], (1, 1)),
        tolerance=64,
        raises=(
            *wrong("conv2d", 2),
            (
                lambda: graphc.conv2d(node(1, 2, 2, 1), node(3, 3, 1, 1)),
                graphc.ShapeError,
                r"a kernel that reaches over 3 does not fit along axis 1 of .*: expected 3 or more, got 2(.|\n)*in conv2d",
            ),
            (
                lambda: graphc.conv2d(node("n", 2, 2, 2), node(1, 1, 1, "filters"), groups=2),
                graphc.ShapeError,
                "output channels of a known number to make groups of, got filters",
            ),
        ),
    ),
    Row(
        "conv2d stride",
        lambda x, w: graphc.conv2d(x, w, stride=(2, 3), padding=((1, 2), (0, 1)), dilation=(2, 1)),
        (f(1, 6, 7, 2), f(2, 3, 2, 1)),
        convolution((2, 3), [(1, 2), (0, 1)], (2, 1)),
        tolerance=64,
    ),
    Row(
        "conv2d same",
        lambda x, w: graphc.conv2d(x, w, stride=2, padding="same"),
        (f(1, 5, 4, 1), f(3, 3, 1, 2)),
        convolution((2, 2), [(1, 1), (0, 1)], (1, 1)),
        tolerance=64,
    ),
    Row(
        "conv2d in groups",
        lambda x, w: graphc.conv2d(x, w, stride=(2, 1), padding=1, groups=2),
        (f(2, 4, 3, 4), f(3, 2, 2, 6)),
        convolution((2, 1), [(1, 1), (1, 1)], (1, 1), 2),
        tolerance=64,
    ),
    Row(
        "conv2d depthwise",
        lambda x, w: graphc.conv2d(x, w, padding=(1, 0), groups=3),
        (f(2, 3, 4, 3), f(3, 3, 1, 3)),
        convolution((1, 1), [(1, 1), (0, 0)], (1, 1), 3),
        tolerance=64,
    ),
    Row(
        "conv_transpose1d",
        lambda x, w: graphc.conv_transpose1d(x, w, stride=3, padding=[(1, 2)], output_padding=2, groups=2),
        (f(2, 3, 4), f(4, 1, 4)),
        transposed((3,), [(1, 2)], (2,), (1,), 2),
        tolerance=64,
        spoils=FINITE,
        raises=(
            *wrong("conv_transpose1d", 1),
            (
                lambda: graphc.conv_transpose1d(node(1, 2, 1), node(2, 1, 1), padding=2),
                graphc.ShapeError,
                r"nothing is left: \(2 - 1\) \* 1 \+ 2 \+ 0 = 3, less padding of 2 and 2, is -1",
            ),
        ),
    ),
    Row(
        "conv_transpose2d",
        lambda x, w: graphc.conv_transpose2d(x, w, (2, 1), padding=(1, 2), output_padding=(1, 0), dilation=(1, 2)),
        (f(2, 3, 4, 2), f(3, 2, 3, 2)),
        transposed((2, 1), [(1, 1), (2, 2)], (1, 0), (1, 2)),
        tolerance=64,
        spoils=FINITE,
        raises=(
            *wrong("conv_transpose2d", 2),
            (
                lambda: graphc.conv_transpose2d(node(1, 2, 2, 1), node(2, 2, 1, 1), stride=2, output_padding=2),
                graphc.ShapeError,
                "output_padding to be less than stride or dilation, got 2 with stride 2 and dilation 1",
            ),
            (
                lambda: graphc.conv_transpose2d(node(1, 2, 2, 1), node(2, 2, 1, 1), padding="same"),
                graphc.ShapeError,
                "'same' does not say which size",
            ),
        ),
    ),
)
