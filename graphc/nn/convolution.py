"""Convolutional layers: `conv1d`, `conv2d` and their adjoints with filters and a bias of their own.

Arrays are channels-last, (N, L, C) and (N, H, W, C), and so are filters: (*kernel_size, in_channels / groups, out_channels),
and for transposed layers (*kernel_size, out_channels / groups, in_channels). PyTorch has the channels first;
`load_state_dict(..., layout="pytorch")` converts its filters.

Gradient: the chain rule's, through the formula.
Source: `torch.nn.{name}`, channels last.
"""

# What a user gives is a number or a sequence, of anything.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc.errors import ShapeError
from graphc.graph.node import Node, Parameter, call, parameter
from graphc.nn.arguments import choice, last_axes, whole
from graphc.nn.module import Module
from graphc.ops.operands import as_node
from graphc.ops.random import draw_uniform
from graphc.ops.slicing import pad
from graphc.ops.spatial import each, image, margins, reaches, windows_demanded

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class _Convolution(Module):
    """What all share: the sizes, and filters and bias that start uniform within 1 / sqrt(numbers that one output sums)."""

    rank: ClassVar[int]
    builder: ClassVar[str]
    is_transposed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        dtype: object,
    ) -> None:
        kind = type(self).__name__
        self.in_channels = whole(in_channels, f"{kind}'s in_channels", 1)
        self.out_channels = whole(out_channels, f"{kind}'s out_channels", 1)
        self.kernel_size = each(kernel_size, self.rank, f"{kind}'s kernel_size")
        self.stride, self.dilation, self.padding = stride, dilation, padding
        windows_demanded(self.kernel_size, stride, padding, dilation, self.rank, kind)
        self.groups = whole(groups, f"{kind}'s groups", 1)
        for what, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise ShapeError(
                    f"{kind}: expected {what} that {self.groups} groups divide evenly, got {channels} = "
                    f"{channels // self.groups} * {self.groups} + {channels % self.groups}"
                )
        first, last = (self.out_channels, self.in_channels) if self.is_transposed else (in_channels, out_channels)
        shape = (*self.kernel_size, first // self.groups, last)
        bound = 1.0 / math.sqrt(math.prod(shape[:-1]))
        self.weight: Parameter = parameter(draw_uniform(shape, -bound, bound, dtype), "weight")
        self.bias: Parameter | None = None
        if bias:
            self.bias = parameter(draw_uniform((self.out_channels,), -bound, bound, dtype), "bias")

    def convolved(self, x: Node, **options: Any) -> Node:
        """Return the convolution with the filters, and the bias added."""
        options |= {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}
        result = call(self.builder, x, self.weight, **options)
        return result if self.bias is None else result + self.bias

    def converted(self, name: str, array: Any) -> Any:
        # PyTorch's first two axes are the last two here.
        if name != "weight" or array.ndim != self.rank + 2:
            return array
        return array.transpose(*range(2, self.rank + 2), 1, 0)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        parts += [f"padding={self.padding!r}"] if self.padding not in (0, (0, 0)) else []
        parts += [f"dilation={self.dilation}"] if self.dilation not in (1, (1, 1)) else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        return ", ".join([*parts, *(["bias=False"] if self.bias is None else [])])


class _Conv(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: object = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype)
        self.padding_mode = choice(padding_mode, f"{type(self).__name__}'s padding_mode", *MODES)

    def forward(self, x: Any) -> Node:
        kind = type(self).__name__
        node = image(as_node(x), self.rank, kind)
        last_axes(node, (self.in_channels,), kind)
        if self.padding_mode == "zeros":
            return self.convolved(node, padding=self.padding)
        strides, dilations = each(self.stride, self.rank, "stride"), each(self.dilation, self.rank, "dilation")
        reach = reaches(self.kernel_size, dilations)
        around = margins(self.padding, node.shape[1:-1], reach, strides, kind)
        return self.convolved(pad(node, [(0, 0), *around, (0, 0)], mode=MODES[self.padding_mode]))


class Conv1d(_Conv):
    """The cross-correlation of sequences (N, L, in_channels) with filters, and a bias: (N, L', out_channels).

    weight: (kernel_size, in_channels / groups, out_channels); bias: (out_channels,) or None. Both start uniform within
    1 / sqrt(in_channels / groups * kernel_size), as in PyTorch. padding_mode: "zeros", "reflect", "replicate" or
    "circular"; the other arguments as `conv1d`.

    Shape: `(n, l, in_channels) -> (n, l', out_channels)`.
    Formula: `conv1d(x, weight, stride, padding, dilation, groups) + bias`.
    """

    rank = 1
    builder = "conv1d"


class Conv2d(_Conv):
    """The cross-correlation of images (N, H, W, in_channels) with filters, and a bias: (N, H', W', out_channels).

    weight: (*kernel_size, in_channels / groups, out_channels); bias: (out_channels,) or None. Both start uniform within
    1 / sqrt(in_channels / groups * KH * KW), as in PyTorch. padding_mode: "zeros", "reflect", "replicate" or "circular";
    the other arguments as `conv2d`.

    Shape: `(n, h, w, in_channels) -> (n, h', w', out_channels)`.
    Formula: `conv2d(x, weight, stride, padding, dilation, groups) + bias`.
    """

    rank = 2
    builder = "conv2d"


class _ConvTranspose(_Convolution):
    is_transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        dtype: object = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, dtype)
        each(output_padding, self.rank, f"{type(self).__name__}'s output_padding", 0)
        self.output_padding = output_padding

    def forward(self, x: Any) -> Node:
        kind = type(self).__name__
        node = image(as_node(x), self.rank, kind)
        last_axes(node, (self.in_channels,), kind)
        return self.convolved(node, padding=self.padding, output_padding=self.output_padding)


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of a convolution of sequences, and a bias: (N, L, in_channels) to (N, L', out_channels).

    weight: (kernel_size, out_channels / groups, in_channels); bias: (out_channels,) or None. Both start uniform within
    1 / sqrt(out_channels / groups * kernel_size), as in PyTorch. The other arguments as `conv_transpose1d`.

    Shape: `(n, l, in_channels) -> (n, l', out_channels)`.
    Formula: `conv_transpose1d(x, weight, stride, padding, output_padding, groups, dilation) + bias`.
    """

    rank = 1
    builder = "conv_transpose1d"


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of a convolution of images, and a bias: (N, H, W, in_channels) to (N, H', W', out_channels).

    weight: (*kernel_size, out_channels / groups, in_channels); bias: (out_channels,) or None. Both start uniform within
    1 / sqrt(out_channels / groups * KH * KW), as in PyTorch. The other arguments as `conv_transpose2d`.

    Shape: `(n, h, w, in_channels) -> (n, h', w', out_channels)`.
    Formula: `conv_transpose2d(x, weight, stride, padding, output_padding, groups, dilation) + bias`.
    """

    rank = 2
    builder = "conv_transpose2d"
