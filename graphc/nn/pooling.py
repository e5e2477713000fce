"""Layers without parameters over the axes of space: pooling and other sizes. Arrays are channels-last.

Source: `torch.nn.{name}`, channels last.
"""

from __future__ import annotations

from typing import Any, ClassVar

from graphc.errors import GraphError
from graphc.graph.node import Node, call
from graphc.nn.arguments import choice
from graphc.nn.module import Module
from graphc.ops.resampling import interpolate
from graphc.ops.spatial import each, windows_demanded


class _Layer(Module):
    """A builder with its arguments."""

    builder: ClassVar[str]

    @property
    def rank(self) -> int:
        """The number of axes of space."""
        return int(self.builder[-2])

    def forward(self, x: Any) -> Node:
        return call(self.builder, x, **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._arguments().items() if value is not None)


class _MaxPool(_Layer):
    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ) -> None:
        step = kernel_size if stride is None else stride
        windows_demanded(kernel_size, step, padding, dilation, self.rank, type(self).__name__)
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode


class MaxPool1d(_MaxPool):
    """The largest element of each window over sequences (N, L, C); see `max_pool1d`."""

    builder = "max_pool1d"


class MaxPool2d(_MaxPool):
    """The largest element of each window over images (N, H, W, C); see `max_pool2d`."""

    builder = "max_pool2d"


class AvgPool1d(_Layer):
    """The mean of each window over sequences (N, L, C); see `avg_pool1d`."""

    builder = "avg_pool1d"

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        step = kernel_size if stride is None else stride
        windows_demanded(kernel_size, step, padding, 1, self.rank, type(self).__name__)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad


class AvgPool2d(_Layer):
    """The mean of each window over images (N, H, W, C); see `avg_pool2d`."""

    builder = "avg_pool2d"

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: float | None = None,
    ) -> None:
        step = kernel_size if stride is None else stride
        windows_demanded(kernel_size, step, padding, 1, self.rank, type(self).__name__)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override


class _Adaptive(_Layer):
    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size
        given: Any = output_size if isinstance(output_size, tuple | list) else (output_size,)  # pyright: ignore[reportUnknownVariableType]
        for size in given:
            if size is not None:
                each(size, 1, f"{type(self).__name__}'s output_size")


class AdaptiveAvgPool1d(_Adaptive):
    """The means of output_size windows over sequences (N, L, C); see `adaptive_avg_pool1d`."""

    builder = "adaptive_avg_pool1d"


class AdaptiveAvgPool2d(_Adaptive):
    """The means of output_size windows over images (N, H, W, C); see `adaptive_avg_pool2d`."""

    builder = "adaptive_avg_pool2d"


class AdaptiveMaxPool1d(_Adaptive):
    """The largest elements of output_size windows over sequences (N, L, C); see `adaptive_max_pool1d`."""

    builder = "adaptive_max_pool1d"


class AdaptiveMaxPool2d(_Adaptive):
    """The largest elements of output_size windows over images (N, H, W, C); see `adaptive_max_pool2d`."""

    builder = "adaptive_max_pool2d"


class Upsample(_Layer):
    """Images (N, H, W, C), or sequences (N, L, C), of another size; see `interpolate`.

    Shape: (n, *size, c), or floor of the sizes times scale_factor.
    Formula: `interpolate(x, size, scale_factor, mode, align_corners)`.
    Gradient: by x, each element's g to those that it was made of, times their weights.
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise GraphError("Upsample: expected size or scale_factor, one of them")
        choice(mode, "Upsample's mode", "nearest", "linear", "bilinear")
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Any) -> Node:
        return interpolate(x, self.size, self.scale_factor, self.mode, bool(self.align_corners))
