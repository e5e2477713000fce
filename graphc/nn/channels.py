"""Normalisation of channels: over a batch, over each example, over groups of channels. The channels are the last axis.

Statistics of a training step are those of its batch; where they are tracked, running ones follow them, by
`graphc.with_update`, and stand for them in evaluation.

Shape: `(...) -> (...)`.
Gradient: the chain rule's, through the formula.
Source: `torch.nn.{name}`, channels last.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from graphc import dims
from graphc.errors import ShapeError
from graphc.graph.copies import built_once
from graphc.graph.node import Node, Parameter, State, builder, parameter, state
from graphc.nn.arguments import differ, last_axes, number, whole
from graphc.nn.layouts import ReadsFeatures
from graphc.nn.module import Module
from graphc.ops.arithmetic import square
from graphc.ops.comparison import where
from graphc.ops.custom_vjp import custom_vjp
from graphc.ops.exponential import rsqrt
from graphc.ops.gradient_control import training as training_phase
from graphc.ops.gradient_control import with_update
from graphc.ops.movement import reshape
from graphc.ops.operands import as_node, as_optional_dtype, cast, floating
from graphc.ops.positions import size
from graphc.ops.reduction import mean
from graphc.ops.reduction import sum as sum_


@builder("nn.batch_norm")
def batch_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool | Node | None = None,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Node:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias for each channel of x (N, ..., C).

    While training, mean and variance are over all axes but the last, and states given as running_mean and running_var
    become (1 - momentum) * running + momentum * the batch's, of which the variance is the unbiased one (of a single number, 0);
    otherwise mean and variance are those. Without them they are always the batch's. training: a bool, a boolean scalar, or
    None for the phase that the graph is compiled for. All but x: (C,) or None.

    Formula: `(x - x.mean((0, 1, 2))) / sqrt(x.var((0, 1, 2)) + eps)`, times weight, plus bias; of images, by the
    batch's statistics.
    Source: `torch.nn.functional.batch_norm`, channels last; Ioffe and Szegedy, Batch Normalization, 2015.
    """
    node = _with_channels(x, "batch_norm", 2)
    axes = tuple(range(node.ndim - 1))
    return _normalized(node, axes, running_mean, running_var, weight, bias, training, momentum, eps, "batch_norm")


@builder("nn.instance_norm")
def instance_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool | Node | None = None,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Node:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias for each channel of each example of x (N, ..., C).

    As `batch_norm`, with mean and variance over the axes of space only; running ones follow their means over the examples.

    Formula: `(x - x.mean((1, 2), keepdims=True)) / sqrt(x.var((1, 2), keepdims=True) + eps)`, times weight, plus bias;
    of images.
    Source: `torch.nn.functional.instance_norm`, channels last; Ulyanov, Vedaldi and Lempitsky, Instance Normalization,
    2016.
    """
    node = _with_channels(x, "instance_norm", 3)
    axes = tuple(range(1, node.ndim - 1))
    return _normalized(node, axes, running_mean, running_var, weight, bias, training, momentum, eps, "instance_norm")


@builder("nn.group_norm")
def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Node:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias; mean and variance are over each group of channels.

    x: (N, ..., C), whose channels fall into num_groups groups of neighbours; weight, bias: (C,) or None.

    Formula: `((y - y.mean((1, 3), keepdims=True)) / sqrt(y.var((1, 3), keepdims=True) + eps)).reshape(x.shape)`, times
    weight, plus bias; with `y = x.reshape(len(x), -1, num_groups, x.shape[-1] // num_groups)`.
    Source: `torch.nn.functional.group_norm`, channels last; Wu and He, Group Normalization, 2018.
    """
    node = _with_channels(x, "group_norm", 2)
    groups, channels = whole(num_groups, "group_norm's num_groups", 1), node.shape[-1]
    if not isinstance(channels, int) or channels % groups:
        raise ShapeError(f"group_norm: expected channels that {groups} groups divide evenly, got {node.type}")
    parts = reshape(node, (*node.shape[:-1], groups, channels // groups))
    axes = (*range(1, node.ndim - 1), node.ndim)
    centred = parts - mean(parts, axes, keepdims=True)
    scaled = reshape(centred * rsqrt(mean(centred * centred, axes, keepdims=True) + eps), node.shape)
    return _affine(scaled, weight, bias, "group_norm")


def _with_channels(x: Any, name: str, least: int) -> Node:
    node = floating(x)
    if node.ndim < least:
        space = "(N, ..., C)" if least == 2 else "(N, ..., C) with an axis of space"
        raise ShapeError(f"{name}: expected {space}, got {node.type}")
    return node


def _affine(x: Node, weight: Any, bias: Any, name: str) -> Node:
    x = x if weight is None else x * _of_channels(weight, x, f"{name}'s weight")
    return x if bias is None else x + _of_channels(bias, x, f"{name}'s bias")


def _of_channels(value: Any, x: Node, what: str) -> Node:
    given = as_node(value)
    if given.ndim != 1 or differ(given.shape[0], x.shape[-1]):
        raise ShapeError(f"{what}: expected one number for each of {x.shape[-1]} channels, got {given.type}")
    return given


def _normalized(
    x: Node,
    axes: tuple[int, ...],
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool | Node | None,
    momentum: Any,
    eps: float,
    name: str,
) -> Node:
    if (running_mean is None) != (running_var is None):
        raise ShapeError(f"{name}: expected running_mean and running_var, or neither")
    if running_mean is None:
        return _by_batch(x, axes, None, weight, bias, eps, name)[0]
    kept_mean, kept_var = (_of_channels(one, x, f"{name}'s running statistics") for one in (running_mean, running_var))
    if training is False:
        return _affine((x - kept_mean) * rsqrt(kept_var + eps), weight, bias, name)
    phase = training_phase() if training is None else training if training is True else as_node(training)
    kept = None if phase is True else (phase, kept_mean, kept_var)
    result, centre, unbiased = _by_batch(x, axes, kept, weight, bias, eps, name)
    # The phase of compile decides whether updates are made at all; any other says so here.
    when = training if isinstance(training, Node) else None
    pairs = ((kept_mean, centre), (kept_var, unbiased))
    updates = {old: _following(old, new, momentum, when) for old, new in pairs if isinstance(old, State)}
    return with_update(result, updates) if updates else result


@built_once
def _by_batch(
    x: Node,
    axes: tuple[int, ...],
    kept: tuple[Node, Node, Node] | None,
    weight: Any,
    bias: Any,
    eps: float,
    name: str,
) -> tuple[Node, Node, Node]:
    """Return `_whitened`, the mean, and the unbiased variance: that of the numbers in `axes`."""
    centre, variance = own = _statistics(x, axes)
    result = _whitened(x, axes, own, kept, weight, bias, eps, name)
    count = dims.product(x.shape[axis] for axis in axes)
    unbiased = variance * (size(count, x.dtype) / size(dims.maximum(count - 1, 1), x.dtype))
    return result, centre, unbiased


@built_once
def _following(old: Node, new: Node, momentum: Any, phase: Node | None) -> Node:
    """Return what running statistics become, where the phase says so: every axis but the channels' is averaged over."""
    batch = cast(mean(new, tuple(range(new.ndim - 1))), old.dtype)
    moved = (1.0 - momentum) * old + momentum * batch
    return cast(moved if phase is None else where(phase, moved, old), old.dtype)


def _statistics(x: Node, axes: tuple[int, ...]) -> tuple[Node, Node]:
    """Return mean and variance over these axes, which stay with size 1.

    Over a batch they are put together of those of each example, which lies in the cache when its variance is summed after
    its mean: Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance, 1983.
    """
    batch, *space = axes
    if batch or not space:
        centre = mean(x, axes, keepdims=True)
        return centre, mean(square(x - centre), axes, keepdims=True)
    all_of, each = (size(dims.product(x.shape[k] for k in over), x.dtype) for over in (axes, space))
    totals = sum_(x, tuple(space))
    own, centre = totals / each, sum_(totals, 0) / all_of
    inside = square(x - reshape(own, (x.shape[0], *(1 for _ in space), x.shape[-1])))
    variance = (sum_(inside, axes) + sum_(square(own - centre), 0) * each) / all_of
    shape = (*(1 for _ in axes), x.shape[-1])
    return reshape(centre, shape), reshape(variance, shape)


def _whitened(
    x: Node,
    axes: tuple[int, ...],
    own: tuple[Node, Node],
    kept: tuple[Node, Node, Node] | None,
    weight: Any,
    bias: Any,
    eps: float,
    name: str,
) -> Node:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias, with a rule that needs no sums but those of both parameters.

    The chain rule would sum once more through the mean, and for each parameter again. own: the mean and variance
    of x. kept: a phase, with mean and variance for where it is false.
    """
    given = {"weight": weight, "bias": bias, "mean": kept and kept[1], "variance": kept and kept[2]}
    operands = {
        what: reshape(_of_channels(one, x, f"{name}'s {what}"), x.shape[-1:])
        for what, one in given.items()
        if one is not None
    }

    def chosen(own: Node, other: Node | None) -> Node:
        return own if kept is None or other is None else where(kept[0], own, cast(other, x.dtype))

    def whitened(x: Node, own: tuple[Node, Node], named: dict[str, Node]) -> tuple[Node, Node]:
        centre, variance = own
        inverse = rsqrt(chosen(variance, named.get("variance")) + eps)
        return (x - chosen(centre, named.get("mean"))) * inverse, inverse

    def forward(x: Node, *parameters: Node) -> Node:
        named = dict(zip(operands, parameters, strict=True))
        return _affine(whitened(x, own, named)[0], named.get("weight"), named.get("bias"), name)

    def rule(inputs: tuple[Node, ...], output: Node, cotangent: Node) -> tuple[Node, ...]:
        x, *parameters = inputs
        named = dict(zip(operands, parameters, strict=True))
        unit, inverse = whitened(x, _statistics(x, axes), named)
        scale = inverse * named["weight"] if "weight" in named else inverse
        total, inner = (sum_(one, axes, keepdims=True) for one in (cotangent, cotangent * unit))
        count = size(dims.product(x.shape[axis] for axis in axes), cotangent.dtype)
        through = total / count + unit * (inner / count)
        shares = {"weight": inner, "bias": total}
        if kept is not None:
            through = where(kept[0], through, 0.0)
            shares |= {"mean": -total * scale, "variance": -0.5 * inner * scale * inverse}
            shares |= {what: where(kept[0], 0.0, shares[what]) for what in ("mean", "variance")}
        # What is over more than the channels, each example's say, is summed over the rest.
        rest = tuple(range(x.ndim - 1))
        by_parameters = (cast(sum_(shares[what], rest), node.dtype) for what, node in named.items())
        return (cast((cotangent - through) * scale, x.dtype), *by_parameters)

    return custom_vjp(forward, rule)(x, *operands.values())


class _Tracked(ReadsFeatures):
    """What batch and instance norms share: weight and bias, and running statistics of each channel."""

    ranks: ClassVar[tuple[int, ...]]
    function: ClassVar[Any]
    by_feature = ("weight", "bias", "running_mean", "running_var")

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        dtype: object,
    ) -> None:
        kind = type(self).__name__
        self.num_features = whole(num_features, f"{kind}'s num_features", 1)
        self.eps = number(eps, f"{kind}'s eps", 0.0)
        self.momentum = None if momentum is None else number(momentum, f"{kind}'s momentum", 0.0, 1.0)
        self.affine, self.track_running_stats = affine, track_running_stats
        floats, shape = as_optional_dtype(dtype).numpy, (self.num_features,)
        self.weight: Parameter | None = parameter(np.ones(shape, floats), "weight") if affine else None
        self.bias: Parameter | None = parameter(np.zeros(shape, floats), "bias") if affine else None
        self.running_mean: State | None = None
        self.running_var: State | None = None
        self.num_batches_tracked: State | None = None
        if track_running_stats:
            self.running_mean = state(np.zeros(shape, floats), "running_mean")
            self.running_var = state(np.ones(shape, floats), "running_var")
            self.num_batches_tracked = state(np.int64(0), "num_batches_tracked")

    def forward(self, x: Any, training: bool | Node | None = None) -> Node:
        kind, node = type(self).__name__, as_node(x)
        if node.ndim not in self.ranks:
            forms = {2: "(N, C)", 3: "(N, L, C)", 4: "(N, H, W, C)"}
            raise ShapeError(f"{kind}: expected {' or '.join(forms[rank] for rank in self.ranks)}, got {node.type}")
        last_axes(node, (self.num_features,), kind)
        self.sees(node)
        build: Any = type(self).function
        running = (self.running_mean, self.running_var)
        return build(node, *running, self.weight, self.bias, training, self._rate(node), self.eps)

    def _rate(self, x: Node) -> Any:
        """Return the weight of the newest batch in the running statistics."""
        return self.momentum or 0.0

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Tracked):
    function = staticmethod(batch_norm)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: object = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype)

    def forward(self, x: Any, training: bool | Node | None = None) -> Node:
        result, count = super().forward(x, training), self.num_batches_tracked
        if count is None or training is False:
            return result
        return with_update(
            result, {count: where(training, count + 1, count) if isinstance(training, Node) else count + 1}
        )

    def _rate(self, x: Node) -> Any:
        if self.momentum is not None or self.num_batches_tracked is None:
            return self.momentum
        return 1.0 / cast(self.num_batches_tracked + 1, floating(x).dtype)


class BatchNorm1d(_BatchNorm):
    """The channels of (N, C) or (N, L, C) shifted to mean 0 and scaled to variance 1, then by weight and bias.

    As `BatchNorm2d`.

    Formula: `batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)`.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """The channels of images (N, H, W, C) shifted to mean 0 and scaled to variance 1, then by weight and bias.

    weight: (num_features,), ones at the start; bias: zeros; None without `affine`. In a training step mean and variance
    are the batch's, and the states running_mean, running_var and num_batches_tracked follow them by `graphc.with_update`; in
    evaluation they are the running ones. momentum: the weight of the newest batch; None averages all alike. Without
    `track_running_stats` the batch's are used in evaluation too. See `batch_norm`.

    Formula: `batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)`.
    """

    ranks = (4,)


class _InstanceNorm(_Tracked):
    function = staticmethod(instance_norm)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: object = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype)


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sequence (N, L, C) shifted to mean 0 and scaled to variance 1.

    As `InstanceNorm2d`.

    Formula: `instance_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)`.
    """

    ranks = (3,)


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each image (N, H, W, C) shifted to mean 0 and scaled to variance 1.

    With `affine`, then by weight and bias. With `track_running_stats` evaluation uses running statistics, which follow
    the mean of the examples' as those of `BatchNorm2d` follow a batch's. See `instance_norm`.

    Formula: `instance_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)`.
    """

    ranks = (4,)


class GroupNorm(Module):
    """Groups of channels of each example shifted to mean 0 and scaled to variance 1, then by weight and bias.

    x: (N, ..., num_channels). weight: (num_channels,), ones at the start; bias: zeros; None without `affine`. See
    `group_norm`.

    Formula: `group_norm(x, num_groups, weight, bias, eps)`.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: object = None
    ) -> None:
        self.num_groups = whole(num_groups, "GroupNorm's num_groups", 1)
        self.num_channels = whole(num_channels, "GroupNorm's num_channels", 1)
        if self.num_channels % self.num_groups:
            raise ShapeError(
                f"GroupNorm: expected num_channels that num_groups divides evenly, got {num_channels} and {num_groups}"
            )
        self.eps, self.affine = number(eps, "GroupNorm's eps", 0.0), affine
        floats = as_optional_dtype(dtype).numpy
        self.weight: Parameter | None = parameter(np.ones(self.num_channels, floats), "weight") if affine else None
        self.bias: Parameter | None = parameter(np.zeros(self.num_channels, floats), "bias") if affine else None

    def forward(self, x: Any) -> Node:
        node = as_node(x)
        last_axes(node, (self.num_channels,), "GroupNorm")
        return group_norm(node, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
