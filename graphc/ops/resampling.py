"""Images of another size: by the nearest element, or linearly between neighbours along each axis of space."""

# NumPy's stubs leave shapes and dtypes open.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from typing import Any

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.errors import ShapeError
from graphc.graph.node import Node, builder, make
from graphc.ops.movement import reshape
from graphc.ops.operands import as_node, cast, floating
from graphc.ops.positions import Positions
from graphc.ops.reduction import Sum
from graphc.ops.spatial import each, image
from graphc.ops.windows import Unfold, Window

MODES = {"nearest": (1, 2), "linear": (1,), "bilinear": (2,)}


@builder("interpolate")
def interpolate(
    x: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool = False
) -> Node:
    """Return images (N, H, W, C), or sequences (N, L, C), of another size along the axes of space.

    size: the new size, or scale_factor: what to multiply the size with (rounded down); a number, or one for each axis.
    mode: "nearest" takes element floor(i * H / H'), "linear" (of sequences) and "bilinear" (of images) weight the two
    nearest along each axis. Elements are squares whose centres are scaled or, with `align_corners`, points of which the
    first and the last stay where they are.

    Shape: (n, *size, c), or floor of the sizes times scale_factor.
    Formula: "nearest": out[:, i] = x[:, floor(i * n / size)]; linear: (1 - t) * x[:, k] + t * x[:, k + 1], where k + t
    is (i + 1/2) * n / size - 1/2, or i * (n - 1) / (size - 1) with align_corners.
    Gradient: by x, each element's g to those that it was made of, times their weights.
    Source: `torch.nn.functional.interpolate`, channels last.
    """
    rank = max(as_node(x).ndim - 2, 1)
    node = image(x, rank, "interpolate")
    if mode not in MODES or rank not in MODES[mode]:
        fitting = [repr(name) for name, ranks in MODES.items() if rank in ranks]
        raise ShapeError(f"interpolate: expected mode {' or '.join(fitting)} for {node.type}, got {mode!r}")
    if align_corners and mode == "nearest":
        raise ShapeError("interpolate: align_corners has a meaning between neighbours only, not with mode 'nearest'")
    targets = _targets(node, size, scale_factor, rank)
    if mode == "nearest":
        windows = tuple(Window(count, 1, step, 0, divisor) for count, step, divisor in targets)
        return reshape(make(Unfold(1, windows), node), (node.shape[0], *(w.places for w in windows), node.shape[-1]))
    node = floating(node)
    windows = tuple(
        _between(extent, *target, align_corners) for extent, target in zip(node.shape[1:-1], targets, strict=True)
    )
    result = make(Unfold(1, windows), node)
    for k, (window, extent) in enumerate(zip(windows, node.shape[1:-1], strict=True)):
        here, near = (tuple(n if a == k else 1 for a in range(rank)) for n in (window.places, 2))
        result = result * reshape(_weights(window, extent, node), (*here, *near, 1))
    return make(Sum(tuple(range(1 + rank, 1 + 2 * rank))), result)


def _targets(node: Node, size: Any, scale_factor: Any, rank: int) -> list[tuple[Dim, Dim, Dim]]:
    """Return for each axis the new size, and the distance of two new elements in old ones as a fraction."""
    if (size is None) == (scale_factor is None):
        raise ShapeError("interpolate: expected size or scale_factor, one of them")
    if size is not None:
        sizes = each(size, rank, "interpolate's size")
        return [(new, *_fraction(extent, new)) for new, extent in zip(sizes, node.shape[1:-1], strict=True)]
    given: Any = tuple(scale_factor) if isinstance(scale_factor, tuple | list) else (scale_factor,) * rank
    numeric = all(isinstance(f, int | float) and not isinstance(f, bool) and 0 < f < math.inf for f in given)
    if len(given) != rank or not numeric:
        raise ShapeError(
            f"interpolate: expected scale_factor to be a number above 0 for each axis, got {scale_factor!r}"
        )
    result: list[tuple[Dim, Dim, Dim]] = []
    for k, (factor, extent) in enumerate(zip(given, node.shape[1:-1], strict=True), 1):
        from fractions import Fraction  # slow to import, and few models change an image's size by a factor

        # 1.1 means eleven tenths, and not the float that is nearest to it.
        exact = Fraction(str(factor)).limit_denominator(10**6)
        new = dims.floordiv(extent * exact.numerator, exact.denominator)
        if new == 0:
            raise ShapeError(
                f"interpolate: along axis {k} of {node.type} nothing is left: {extent} * {factor} is below 1"
            )
        result.append((new, exact.denominator, exact.numerator))
    return result


def _fraction(numerator: Dim, denominator: Dim) -> tuple[Dim, Dim]:
    if isinstance(numerator, int) and isinstance(denominator, int):
        shared = math.gcd(numerator, denominator)
        return numerator // shared, denominator // shared
    return numerator, denominator


def _between(extent: Dim, count: Dim, step: Dim, divisor: Dim, align_corners: bool) -> Window:
    """Return the windows of the two elements that each new one lies between."""
    if not align_corners:
        # The centre of new element i is (i + 1/2) * step / divisor - 1/2 old elements after that of the first.
        return Window(count, 2, 2 * step, step - divisor, 2 * divisor)
    if count == 1 or extent == 1:
        return Window(count, 2, 1, 0, count)
    return Window(count, 2, *_spread(extent - 1, count - 1))


def _spread(numerator: Dim, denominator: Dim) -> tuple[Dim, Dim, Dim]:
    step, divisor = _fraction(numerator, denominator)
    return step, 0, divisor


def _weights(window: Window, extent: Dim, node: Node) -> Node:
    """Return the weights (count, 2) of the two elements: 1 less the distance, which stops at the ends of x."""
    i, k = DimExpr.of(Axis("i0", window.places)), DimExpr.of(Axis("i1", 2))
    last = window.divisor * (extent - 1)
    at = dims.minimum(dims.maximum(i * window.step + window.offset, 0), last)
    gap = at - window.divisor * window.at(i, k)
    part = dims.maximum(window.divisor - dims.maximum(gap, 0 - gap), 0)
    weights = cast(make(Positions((window.places, 2), part)), node.dtype)
    return weights / cast(make(Positions((), window.divisor)), node.dtype)
