"""Convolutions: contractions whose map of the image is affine in place and kernel tap.

The last axis holds channels, in images and in kernels alike. A transposed convolution exchanges the roles of image and
result, as the derivative by the image does, so it takes the kernel of the convolution whose adjoint it is. Channels that
fall into groups are one more axis of the domain: channel c of group g is g * channels + c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.errors import ShapeError
from graphc.graph.node import Node, builder, make
from graphc.ops.contraction import Map, contraction
from graphc.ops.operands import promoted
from graphc.ops.slicing import pad, slice_
from graphc.ops.spatial import SPACE, each, image, margins, places, reaches

KERNEL = {1: "K", 2: "KH, KW"}


@builder("conv1d")
def conv1d(x: Any, kernel: Any, stride: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1) -> Node:
    """Return the cross-correlation of sequences (N, L, C) with a kernel (K, C / groups, O): shape (N, L', O).

    As `conv2d`, along one axis; an asymmetric padding is [(before, after)].

    Shape: `(n, l, c), (k, c / groups, o) -> (n, l', o)`.
    Formula: `tensordot(unfold(x, kernel.shape[:1], stride=stride, padding=padding, dilation=dilation), kernel, 2)`,
    for one group.
    Gradient: by x `conv_transpose1d(g, kernel, stride, padding, dilation=dilation)`, by kernel `tensordot(unfold(x,
    kernel.shape[:1], stride=stride, padding=padding, dilation=dilation), g, ((0, 1),) * 2)`, for one group.
    Source: `torch.nn.functional.conv1d`, channels last; Dumoulin and Visin, A guide to convolution arithmetic for deep
    learning, 2016.
    """
    return _convolved("conv1d", 1, x, kernel, stride, padding, dilation, groups)


@builder("conv2d")
def conv2d(x: Any, kernel: Any, stride: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1) -> Node:
    """Return the cross-correlation of images (N, H, W, C) with a kernel (KH, KW, C / groups, O): shape (N, H', W', O).

    stride, dilation: a number or a pair. padding: "valid", "same" (H' = ceil(H / stride), the odd one after), a number,
    a pair, or ((top, bottom), (left, right)). groups: how many blocks channels fall into, of which each is seen by its own
    O / groups filters; as many as there are channels make a depthwise convolution. H' is (H + padding - reach) // stride + 1,
    where a kernel reaches over (KH - 1) * dilation + 1. ShapeError if that exceeds the padded image.

    Shape: `(n, h, w, c), (kh, kw, c / groups, o) -> (n, h', w', o)`.
    Formula: `tensordot(unfold(x, kernel.shape[:2], stride=stride, padding=padding, dilation=dilation), kernel, 3)`,
    for one group.
    Gradient: by x `conv_transpose2d(g, kernel, stride, padding, dilation=dilation)`, by kernel `tensordot(unfold(x,
    kernel.shape[:2], stride=stride, padding=padding, dilation=dilation), g, ((0, 1, 2),) * 2)`, for one group.
    Source: `torch.nn.functional.conv2d`, channels last; Dumoulin and Visin, A guide to convolution arithmetic for deep
    learning, 2016.
    """
    return _convolved("conv2d", 2, x, kernel, stride, padding, dilation, groups)


@builder("conv_transpose1d")
def conv_transpose1d(
    x: Any,
    kernel: Any,
    stride: Any = 1,
    padding: Any = "valid",
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Node:
    """Return the adjoint of `conv1d`: of sequences (N, L, C) and a kernel (K, O / groups, C), shape (N, L', O).

    As `conv_transpose2d`, along one axis.

    Shape: `(n, l, c), (k, o / groups, c) -> (n, l', o)`.
    Formula: `fold(tensordot(x, kernel, ((-1,), (-1,))), out.shape[1:-1], stride=stride, padding=padding,
    dilation=dilation)`, for one group.
    Gradient: by x `conv1d(g, kernel, stride, padding, dilation)`, by kernel `tensordot(unfold(g, kernel.shape[:1],
    stride=stride, padding=padding, dilation=dilation), x, ((0, 1),) * 2)`, for one group.
    Source: `torch.nn.functional.conv_transpose1d`, channels last; Dumoulin and Visin, A guide to convolution
    arithmetic for deep learning, 2016.
    """
    return _transposed("conv_transpose1d", 1, x, kernel, stride, padding, output_padding, dilation, groups)


@builder("conv_transpose2d")
def conv_transpose2d(
    x: Any,
    kernel: Any,
    stride: Any = 1,
    padding: Any = "valid",
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Node:
    """Return the adjoint of `conv2d`: of images (N, H, W, C) and a kernel (KH, KW, O / groups, C), shape (N, H', W', O).

    Each element of x adds the kernel, scaled by it, at its place: H' is (H - 1) * stride + reach - padding + output_padding.
    padding: "valid", a number, a pair, or ((top, bottom), (left, right)): what is cut off, which is the padding of the
    convolution that this is the adjoint of. output_padding: rows and columns added after, less than stride or dilation;
    they choose among the sizes that this convolution maps to H. Otherwise as `conv2d`.

    Shape: `(n, h, w, c), (kh, kw, o / groups, c) -> (n, h', w', o)`.
    Formula: `fold(tensordot(x, kernel, ((-1,), (-1,))), out.shape[1:-1], stride=stride, padding=padding,
    dilation=dilation)`, for one group.
    Gradient: by x `conv2d(g, kernel, stride, padding, dilation)`, by kernel `tensordot(unfold(g, kernel.shape[:2],
    stride=stride, padding=padding, dilation=dilation), x, ((0, 1, 2),) * 2)`, for one group.
    Source: `torch.nn.functional.conv_transpose2d`, channels last; Dumoulin and Visin, A guide to convolution
    arithmetic for deep learning, 2016.
    """
    return _transposed("conv_transpose2d", 2, x, kernel, stride, padding, output_padding, dilation, groups)


def _convolved(
    name: str, rank: int, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Node:
    picture, weight = _operands(name, rank, x, kernel, "C", "O")
    strides, dilations = each(stride, rank, f"{name}'s stride"), each(dilation, rank, f"{name}'s dilation")
    groups = _groups(name, groups, picture.shape[-1], weight.shape[-1])
    if _differ(picture.shape[-1], weight.shape[-2] * groups):
        share = f" / {groups} groups" if groups > 1 else ""
        raise ShapeError(
            f"{name}: expected images (N, {SPACE[rank]}, C) and a kernel ({KERNEL[rank]}, C{share}, O) of equal channels "
            f"C, got {picture.type} with {picture.shape[-1]} and {weight.type} with {weight.shape[-2] * groups}; "
            "graphc.permute_dims reorders axes"
        )
    sizes = weight.shape[:rank]
    around = margins(padding, picture.shape[1:-1], reaches(sizes, dilations), strides, name)
    counts = places(picture.tensor, around, sizes, dilations, strides, name)
    if any(margin != (0, 0) for margin in around):
        picture = pad(picture, [(0, 0), *around, (0, 0)])
    domain, read, taps, out = _maps(picture.shape[0], counts, strides, dilations, weight.shape, groups)
    return make(contraction(domain, read, taps, out, (picture.shape[0], *counts, weight.shape[-1])), picture, weight)


def _transposed(
    name: str,
    rank: int,
    x: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: int,
) -> Node:
    picture, weight = _operands(name, rank, x, kernel, "O", "C")
    strides, dilations = each(stride, rank, f"{name}'s stride"), each(dilation, rank, f"{name}'s dilation")
    extra = each(output_padding, rank, f"{name}'s output_padding", 0)
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise ShapeError(
            f"{name}: expected output_padding to be less than stride or dilation, got {output_padding!r} with stride "
            f"{stride!r} and dilation {dilation!r}"
        )
    if padding == "same":
        raise ShapeError(f"{name}: 'same' does not say which size is meant; give numbers as padding")
    groups = _groups(name, groups, picture.shape[-1], weight.shape[-2] * groups)
    if _differ(picture.shape[-1], weight.shape[-1]):
        raise ShapeError(
            f"{name}: expected images (N, {SPACE[rank]}, C) and a kernel ({KERNEL[rank]}, O, C) of equal channels C, got "
            f"{picture.type} with {picture.shape[-1]} and {weight.type} with {weight.shape[-1]}; graphc.permute_dims "
            "reorders axes"
        )
    space, reach = picture.shape[1:-1], reaches(weight.shape[:rank], dilations)
    cut = margins(padding, space, reach, strides, name)
    whole = [(n - 1) * s + r + e for n, s, r, e in zip(space, strides, reach, extra, strict=True)]
    kept = [size - before - after for size, (before, after) in zip(whole, cut, strict=True)]
    for k, size in enumerate(kept):
        if isinstance(size, int) and size < 1:
            before, after = cut[k]
            raise ShapeError(
                f"{name}: along axis {k + 1} of {picture.type} nothing is left: ({space[k]} - 1) * {strides[k]} + "
                f"{reach[k]} + {extra[k]} = {whole[k]}, less padding of {before} and {after}, is {size}"
            )
    domain, image_map, taps, place = _maps(picture.shape[0], space, strides, dilations, weight.shape, groups)
    result = (picture.shape[0], *whole, weight.shape[-2] * groups)
    total = make(contraction(domain, place, taps, image_map, result), picture, weight)
    if whole == kept:
        return total
    return slice_(total, (0, *(before for before, _ in cut), 0), (result[0], *kept, result[-1]))


def _operands(name: str, rank: int, x: Any, kernel: Any, *channels: str) -> tuple[Node, Node]:
    picture, weight = promoted(x, kernel)
    if picture.ndim != rank + 2 or weight.ndim != rank + 2:
        raise ShapeError(
            f"{name}: expected (N, {SPACE[rank]}, C) and ({KERNEL[rank]}, {', '.join(channels)}), "
            f"got {picture.type} and {weight.type}"
        )
    return image(picture, rank, name), weight


def _groups(name: str, groups: Any, channels: Dim, filters: Dim) -> int:
    (count,) = each(groups, 1, f"{name}'s groups")
    for what, size in (("input", channels), ("output", filters)):
        if count > 1 and not isinstance(size, int):
            raise ShapeError(f"{name}: expected {what} channels of a known number to make groups of, got {size}")
        if isinstance(size, int) and size % count:
            raise ShapeError(
                f"{name}: expected {what} channels that {count} groups divide evenly, got {size}: "
                f"{size} = {size // count} * {count} + {size % count}"
            )
    return count


def _maps(
    batch: Dim,
    counts: Sequence[Dim],
    strides: Sequence[int],
    dilations: Sequence[int],
    kernel: Sequence[Dim],
    groups: int,
) -> tuple[list[Axis], Map, Map, Map]:
    """Return the domain of a convolution, and how it walks the image, the kernel and the result."""
    *sizes, channels, last = kernel
    filters = dims.floordiv(last, groups)
    example, group = Axis("n", batch), Axis("g", groups)
    across = [Axis(f"p{k}", count) for k, count in enumerate(counts)]
    taps = [Axis(f"k{k}", size) for k, size in enumerate(sizes)]
    inward, outward = Axis("c", channels), Axis("o", filters)
    n, g, c, o = (DimExpr.of(axis) for axis in (example, group, inward, outward))
    at, tap = [DimExpr.of(axis) for axis in across], [DimExpr.of(axis) for axis in taps]

    def channel(own: DimExpr, count: Dim) -> Dim:
        # An axis of size 1 is left out, so that a depthwise convolution walks plain channels.
        return own if groups == 1 else g if count == 1 else g * count + own

    read = [p * s + k * d for p, s, k, d in zip(at, strides, tap, dilations, strict=True)]
    whole = channel(o, filters)
    domain = [example, *across, *([group] if groups > 1 else []), outward, *taps, inward]
    if groups > 1 and filters == 1:
        domain.remove(outward)
    return domain, (n, *read, channel(c, channels)), (*tap, c, whole), (n, *at, whole)


def _differ(left: Dim, right: Dim) -> bool:
    return isinstance(left - right, int) and left != right
