"""Pooling: the largest or the mean element of windows over the axes of space, channels last.

kernel_size, stride, dilation: a number, or one for each axis of space; the stride is kernel_size unless given. padding: as
`conv2d`, at most half of what a window reaches over; it never wins a maximum. There are (size + padding - reach) // stride + 1
windows along an axis; with `ceil_mode` the division rounds up, unless the last window would start in the padding after x.
An adaptive pool has output_size windows; window i of n over m elements goes from floor(i * m / n) to ceil((i + 1) * m / n).

Source: `torch.nn.functional.{name}`, channels last.
"""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.dtypes import DType
from graphc.errors import ShapeError
from graphc.graph.node import Node, builder, make
from graphc.ops.comparison import where
from graphc.ops.movement import reshape
from graphc.ops.operands import cast, floating
from graphc.ops.positions import Positions, arange, size
from graphc.ops.reduction import ArgMax, Max, Sum
from graphc.ops.slicing import Pad
from graphc.ops.spatial import Margins, each, image
from graphc.ops.windows import Unfold, Window, windows_of


class FirstMax(Max):
    """The largest element over neighbouring axes; of equals the first, in row-major order, has the whole derivative."""

    name = "first_max"

    def _is_it(self, node: Node) -> Node:
        """Return where the operand's largest element stands."""
        x, start, stop = node.inputs[0], self.axes[0], self.axes[-1] + 1
        count = dims.product(x.shape[start:stop])
        flat = (*x.shape[:start], count, *x.shape[stop:])
        found = make(ArgMax((start,)), reshape(x, flat))
        places = reshape(arange(count), (count, *(1,) * (x.ndim - stop)))
        return reshape(reshape(found, (*flat[:start], 1, *flat[start + 1 :])) == places, x.shape)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node]:
        return (where(self._is_it(node), self.restored(cotangent, node.inputs[0].shape), 0),)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        if tangents[0] is None:
            return None
        return make(Sum(self.axes), where(self._is_it(node), tangents[0], 0))


@builder("max_pool1d")
def max_pool1d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Node:
    """Return the largest element of each window over sequences (N, L, C): shape (N, L', C).

    As `max_pool2d`, along one axis.

    Shape: `(n, l, c) -> (n, l', c)`.
    Formula: `max(unfold(x, kernel_size, stride=stride or kernel_size, dilation=dilation), -2)`, without padding.
    Gradient: by x, each window's g to its first largest element.
    """
    return _max_pool("max_pool1d", 1, x, kernel_size, stride, padding, dilation, ceil_mode)


@builder("max_pool2d")
def max_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Node:
    """Return the largest element of each window over images (N, H, W, C), NaN if one is: shape (N, H', W', C).

    Of equals the first in row-major order has the gradient. kernel_size, stride, dilation: a number or a pair; stride is
    kernel_size unless given. padding: as `conv2d`, at most half of what a window reaches over; it never wins. With
    `ceil_mode` H' is rounded up, unless the last window would start in the padding after x.

    Shape: `(n, h, w, c) -> (n, h', w', c)`.
    Formula: `max(unfold(x, kernel_size, stride=stride or kernel_size, dilation=dilation), (-3, -2))`, without padding.
    Gradient: by x, each window's g to its first largest element.
    """
    return _max_pool("max_pool2d", 2, x, kernel_size, stride, padding, dilation, ceil_mode)


@builder("avg_pool1d")
def avg_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Node:
    """Return the mean of each window over sequences (N, L, C): shape (N, L', C).

    As `avg_pool2d`, along one axis.

    Shape: `(n, l, c) -> (n, l', c)`.
    Formula: `mean(unfold(x, kernel_size, stride=stride or kernel_size, padding=padding), -2)`.
    Gradient: by x `fold(zeros(unfold(x, kernel_size, stride=stride or kernel_size, padding=padding).shape) +
    expand_dims(g, -2) / kernel_size, x.shape[1:-1], stride=stride or kernel_size, padding=padding)`, each window's g
    shared evenly.
    """
    return _avg_pool("avg_pool1d", 1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@builder("avg_pool2d")
def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
) -> Node:
    """Return the mean of each window over images (N, H, W, C): shape (N, H', W', C).

    The zeros of the padding count as elements, or, if `count_include_pad` is false, do not; what a window of `ceil_mode` has
    beyond them never does. divisor_override: divide each sum by this instead. The other arguments as `max_pool2d`.

    Shape: `(n, h, w, c) -> (n, h', w', c)`.
    Formula: `mean(unfold(x, kernel_size, stride=stride or kernel_size, padding=padding), (-3, -2))`.
    Gradient: by x `fold(zeros(unfold(x, kernel_size, stride=stride or kernel_size, padding=padding).shape) +
    expand_dims(g, (-3, -2)) / kernel_size**2, x.shape[1:-1], stride=stride or kernel_size, padding=padding)`, each
    window's g shared evenly.
    """
    return _avg_pool("avg_pool2d", 2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@builder("adaptive_avg_pool1d")
def adaptive_avg_pool1d(x: Any, output_size: Any) -> Node:
    """Return the means of output_size windows over sequences (N, L, C): shape (N, output_size, C).

    Shape: `(n, l, c) -> (n, l', c)`.
    Formula: out[:, i] = x[:, floor(i * m / n) : ceil((i + 1) * m / n)].mean(1), along each axis of space.
    Gradient: by x, each window's g shared evenly.
    """
    return _adaptive_mean("adaptive_avg_pool1d", 1, x, output_size)


@builder("adaptive_avg_pool2d")
def adaptive_avg_pool2d(x: Any, output_size: Any) -> Node:
    """Return the means of output_size windows over images (N, H, W, C): shape (N, *output_size, C).

    output_size: a number or a pair, of which None keeps the size of x. Window i of n over H rows goes from
    floor(i * H / n) to ceil((i + 1) * H / n); with an output_size of 1 the mean is over the whole image.

    Shape: `(n, h, w, c) -> (n, h', w', c)`.
    Formula: out[:, i] = x[:, floor(i * m / n) : ceil((i + 1) * m / n)].mean(1), along each axis of space.
    Gradient: by x, each window's g shared evenly.
    """
    return _adaptive_mean("adaptive_avg_pool2d", 2, x, output_size)


@builder("adaptive_max_pool1d")
def adaptive_max_pool1d(x: Any, output_size: Any) -> Node:
    """Return the largest elements of output_size windows over sequences (N, L, C): shape (N, output_size, C).

    Shape: `(n, l, c) -> (n, l', c)`.
    Formula: out[:, i] = x[:, floor(i * m / n) : ceil((i + 1) * m / n)].max(1), along each axis of space.
    Gradient: by x, each window's g to its first largest element.
    """
    return _adaptive_max("adaptive_max_pool1d", 1, x, output_size)


@builder("adaptive_max_pool2d")
def adaptive_max_pool2d(x: Any, output_size: Any) -> Node:
    """Return the largest elements of output_size windows over images (N, H, W, C): shape (N, *output_size, C).

    The windows are those of `adaptive_avg_pool2d`; of equals the first has the gradient.

    Shape: `(n, h, w, c) -> (n, h', w', c)`.
    Formula: out[:, i] = x[:, floor(i * m / n) : ceil((i + 1) * m / n)].max(1), along each axis of space.
    Gradient: by x, each window's g to its first largest element.
    """
    return _adaptive_max("adaptive_max_pool2d", 2, x, output_size)


def _max_pool(
    name: str, rank: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Node:
    node = image(x, rank, name)
    windows, around = windows_of(node.tensor, kernel_size, stride, padding, dilation, name, ceil_mode)
    _demand_half(windows, around, name)
    # What lies outside must lose against every element, so x is extended by the least number there is.
    low = [0 - w.offset for w in windows]
    ends = [w.at(w.places - 1, w.size - 1) + 1 for w in windows]
    high = [dims.maximum(end - extent, 0) for end, extent in zip(ends, node.shape[1:-1], strict=True)]
    if any(amount != 0 for amount in (*low, *high)):
        zeros = (0,) * node.ndim
        node = make(Pad((0, *low, 0), (0, *high, 0), zeros, _least(node.dtype)), node)
        windows = tuple(w._replace(offset=0) for w in windows)
    return make(FirstMax(_elements(rank)), make(Unfold(1, windows), node))


def _avg_pool(
    name: str,
    rank: int,
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: float | None,
) -> Node:
    node = floating(image(x, rank, name))
    windows, around = windows_of(node.tensor, kernel_size, stride, padding, 1, name, ceil_mode)
    _demand_half(windows, around, name)
    if divisor == 0:
        raise ShapeError(f"{name}: expected a divisor_override other than 0")
    total = make(Sum(_elements(rank)), make(Unfold(1, windows), node))
    if divisor is not None:
        return total / divisor
    lengths: list[Dim] = []
    for window, extent, (before, after) in zip(windows, node.shape[1:-1], around, strict=True):
        if not ceil_mode and (count_include_pad or before == after == 0):
            lengths.append(window.size)
            continue
        first = window.at(_at(window.places), 0)
        last = dims.minimum(first + window.size, extent + after if count_include_pad else extent)
        lengths.append(last - (first if count_include_pad else dims.maximum(first, 0)))
    return _divided(total, windows, lengths)


def _adaptive_mean(name: str, rank: int, x: Any, output_size: Any) -> Node:
    node = floating(image(x, rank, name))
    windows, lengths = _adaptive(node, output_size, rank, name)
    elements = make(Unfold(1, windows), node)
    inside = _inside(windows, lengths)
    elements = elements if inside is None else where(inside, elements, 0)
    total = make(Sum(_elements(rank)), elements)
    return _divided(total, windows, lengths)


def _adaptive_max(name: str, rank: int, x: Any, output_size: Any) -> Node:
    node = image(x, rank, name)
    windows, lengths = _adaptive(node, output_size, rank, name)
    elements = make(Unfold(1, windows), node)
    inside = _inside(windows, lengths)
    elements = elements if inside is None else where(inside, elements, _least(node.dtype))
    return make(FirstMax(_elements(rank)), elements)


def _adaptive(node: Node, output_size: Any, rank: int, name: str) -> tuple[tuple[Window, ...], list[Dim]]:
    """Return the windows of an adaptive pool, as long as the longest, and the length of window i as an index expression."""
    given: Any = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size,) * rank
    kept = tuple(1 if number is None else number for number in given)
    asked = each(kept, rank, f"{name}'s output_size")
    windows: list[Window] = []
    lengths: list[Dim] = []
    for extent, number, old in zip(node.shape[1:-1], asked, given, strict=True):
        count: Dim = extent if old is None else number
        step, divisor = extent, count
        if isinstance(extent, int) and isinstance(count, int):
            if not extent:
                raise ShapeError(f"{name}: expected one element or more along each axis of space, got {node.type}")
            step, divisor = extent // math.gcd(extent, count), count // math.gcd(extent, count)
        elif step == divisor:
            step = divisor = 1
        window = Window(count, 1, step, 0, divisor)
        i = _at(count)
        length = dims.floordiv((i + 1) * step + divisor - 1, divisor) - window.at(i, 0)
        longest: Dim = step if divisor == 1 else dims.floordiv(step + divisor - 1, divisor) + 1
        if isinstance(longest, int) and isinstance(count, int):
            longest = max(dims.evaluate(length, {"i0": i}) for i in range(count)) if divisor != 1 else longest
        windows.append(window._replace(size=longest))
        lengths.append(length)
    return tuple(windows), lengths


def _inside(windows: tuple[Window, ...], lengths: list[Dim]) -> Node | None:
    """Return where an element belongs to its window, over (*places, *elements, 1), or None where all do."""
    rank = len(windows)
    result: Node | None = None
    for k, (window, length) in enumerate(zip(windows, lengths, strict=True)):
        if length == window.size:
            continue
        shape = tuple(window.places if a == k else 1 for a in range(rank))
        long = reshape(make(Positions((window.places,), length)), (*shape, *(1,) * rank, 1))
        element = reshape(arange(window.size), (*(window.size if a == k else 1 for a in range(rank)), 1))
        here = element < long
        result = here if result is None else result & here
    return result


def _divided(total: Node, windows: tuple[Window, ...], lengths: list[Dim]) -> Node:
    """Return sums (N, *places, C) over the product of the windows' lengths."""
    known: Dim = 1
    for k, (window, length) in enumerate(zip(windows, lengths, strict=True)):
        if not dims.axes(length):
            known = known * length
            continue
        shape = (*(window.places if a == k else 1 for a in range(len(windows))), 1)
        total = total / cast(reshape(make(Positions((window.places,), length)), shape), total.dtype)
    return total if known == 1 else total / size(known, total.dtype)


def _at(count: Dim) -> Dim:
    return DimExpr.of(Axis("i0", count)) if count != 1 else 0


def _elements(rank: int) -> tuple[int, ...]:
    return tuple(range(1 + rank, 1 + 2 * rank))


def _least(dtype: DType) -> float:
    return -math.inf if dtype.is_float else int(np.iinfo(dtype.numpy).min)


def _demand_half(windows: tuple[Window, ...], around: Margins, name: str) -> None:
    for window, margin in zip(windows, around, strict=True):
        reach = (window.size - 1) * window.dilation + 1
        for amount in margin:
            if isinstance(amount, int) and isinstance(reach, int) and 2 * amount > reach:
                raise ShapeError(
                    f"{name}: expected padding of at most half of the {reach} elements that a window reaches over, "
                    f"got {amount} > {reach} / 2"
                )
