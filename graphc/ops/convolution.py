"""Convolutions: a contraction whose map of the image is affine in position and kernel tap."""

# What a user gives is a number or a sequence, of anything.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.errors import ShapeError
from graphc.graph.node import Node, builder, make
from graphc.ops.contraction import contraction
from graphc.ops.operands import promoted
from graphc.ops.slicing import pad


@builder("conv2d")
def conv2d(x: Any, kernel: Any, stride: Any = 1, padding: Any = "valid", dilation: Any = 1) -> Node:
    """Return the 2-D cross-correlation of images (N, H, W, C) with a kernel (KH, KW, C, O): shape (N, H', W', O).

    stride, dilation: a number or a pair. padding: "valid", "same" (H' = ceil(H / stride), the odd one after), a number,
    a pair, or ((top, bottom), (left, right)).
    """
    image, weight = promoted(x, kernel)
    if image.ndim != 4 or weight.ndim != 4:
        raise ShapeError(f"conv2d: expected (N, H, W, C) and (KH, KW, C, O), got {image.type} and {weight.type}")
    strides, dilations = _two(stride, "stride"), _two(dilation, "dilation")
    if isinstance(image.shape[3] - weight.shape[2], int) and image.shape[3] != weight.shape[2]:
        raise ShapeError(
            f"conv2d: expected images (N, H, W, C) and a kernel (KH, KW, C, O) of equal channels C, got {image.type} "
            f"with {image.shape[3]} and {weight.type} with {weight.shape[2]}; graphc.permute_dims reorders axes"
        )
    reach = [(weight.shape[k] - 1) * dilations[k] + 1 for k in (0, 1)]
    margins = _margins(padding, image.shape[1:3], reach, strides)
    image = pad(image, [(0, 0), *margins, (0, 0)]) if any(m != (0, 0) for m in margins) else image
    spans = [image.shape[1 + k] - reach[k] for k in (0, 1)]
    for k in (0, 1):
        span = spans[k]
        if isinstance(span, int) and span < 0:
            raise ShapeError(f"conv2d: a kernel that reaches over {reach[k]} does not fit into {image.type}")
    height, width = (dims.floordiv(spans[k], strides[k]) + 1 for k in (0, 1))
    extents = (image.shape[0], height, width, weight.shape[3], *weight.shape[:3])
    domain = [Axis(f"d{k}", extent) for k, extent in enumerate(extents)]
    n, h, w, o, kh, kw, c = (DimExpr.of(axis) for axis in domain)
    rows, columns = h * strides[0] + kh * dilations[0], w * strides[1] + kw * dilations[1]
    op = contraction(domain, (n, rows, columns, c), (kh, kw, c, o), (n, h, w, o), extents[:4])
    return make(op, image, weight)


def _two(value: Any, what: str) -> tuple[int, int]:
    pair: Any = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or any(not isinstance(v, int) or v < 1 for v in pair):
        raise ShapeError(f"conv2d: expected {what} to be 1 or more, or a pair of such, got {value!r}")
    return pair


def _margins(padding: Any, sizes: Sequence[Dim], reach: list[Dim], stride: tuple[int, int]) -> list[tuple[Dim, Dim]]:
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        result: list[tuple[Dim, Dim]] = []
        for size, needed, step in zip(sizes, reach, stride, strict=True):
            total = dims.maximum((dims.floordiv(size + step - 1, step) - 1) * step + needed - size, 0)
            before = dims.floordiv(total, 2)
            result.append((before, total - before))
        return result
    given: Any = tuple(padding) if isinstance(padding, tuple | list) else (padding, padding)
    pairs: list[Any] = [p if isinstance(p, tuple | list) else (p, p) for p in given]
    if len(pairs) != 2 or any(len(p) != 2 or any(not isinstance(v, int) or v < 0 for v in p) for p in pairs):
        raise ShapeError(f"conv2d: expected padding 'valid', 'same', a number, a pair or two pairs, got {padding!r}")
    return [(before, after) for before, after in pairs]
