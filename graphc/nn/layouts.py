"""Weights of PyTorch for features that were images: it has channels first, so Flatten puts their elements in another order.

Which features were images, and how many channels they had, stands in the graph that a module is called in. So a module
looks where its operand comes from; what was loaded before that is put in order when it is known.
"""

from __future__ import annotations

from typing import Any, ClassVar

from graphc.dims import axes
from graphc.errors import GraphError
from graphc.graph.node import Node
from graphc.nn.module import Module
from graphc.ops.contraction import Contract
from graphc.ops.elementwise import Elementwise
from graphc.ops.gradient_control import Identity
from graphc.ops.movement import Reshape
from graphc.ops.windows import Unfold


class ReadsFeatures(Module):
    """A module some of whose arrays have, along their last axis, a number for each feature of the operand."""

    by_feature: ClassVar[tuple[str, ...]]

    # How many channels the operands had before they were flattened, 0 for those that were no images.
    _channels: frozenset[int] = frozenset()
    # What was loaded in PyTorch's order before anything was known of an operand.
    _awaiting: frozenset[str] = frozenset()

    def sees(self, x: Node) -> None:
        """Note an operand, and put in order what waited for it."""
        channels = flattened_channels(x)
        self._channels |= {channels}
        for name in sorted(self._awaiting):
            stored = getattr(self, name)
            stored.set(channels_last(stored.value, channels))
        self._awaiting = frozenset()

    def converted(self, name: str, array: Any) -> Any:
        if name not in self.by_feature or not self._channels:
            return array
        if len(self._channels) > 1:
            raise GraphError(
                f"{type(self).__name__} reads features that were images of {sorted(self._channels)} channels (0 for none): "
                "no one order of PyTorch's weights fits all"
            )
        return channels_last(array, next(iter(self._channels)))

    def loaded(self, name: str, layout: str | None) -> None:
        if name in self.by_feature:
            waits = layout is not None and not self._channels
            self._awaiting = self._awaiting | {name} if waits else self._awaiting - {name}


def channels_last(array: Any, channels: int) -> Any:
    """Return an array whose last axis is (channel, place) with that axis as (place, channel)."""
    if not channels or array.shape[-1] % channels:
        return array
    apart = array.reshape(*array.shape[:-1], channels, array.shape[-1] // channels)
    return apart.swapaxes(-1, -2).reshape(array.shape)


def flattened_channels(x: Node) -> int:
    """Return how many channels the images had that were flattened to x, element by element changed since; 0 for none."""
    pending, seen = [x], {x}
    while pending:
        node = pending.pop()
        if isinstance(node.op, Reshape):
            source = node.inputs[0]
            channels, features = source.shape[-1], node.shape[-1]
            if isinstance(channels, int) and channels and isinstance(features, int) and features != channels:
                return channels if features % channels == 0 and _has_channels(source) else 0
        elif isinstance(node.op, Elementwise | Identity):
            found = [operand for operand in node.inputs if operand.shape == x.shape and operand not in seen]
            seen |= {*found}
            pending += found
    return 0


def _has_channels(source: Node) -> bool:
    """Whether PyTorch would have this array's last axis first: images, and sequences that a convolution or a pool made."""
    if source.ndim > 3:
        return True
    pending, seen = [source], {source}
    while pending and source.ndim == 3:
        node = pending.pop()
        match node.op:
            case Unfold():
                return True
            case Contract(_, left, right):
                if any(len(axes(index)) > 1 for index in (*left, *right)):
                    return True
            case _:
                found = [operand for operand in node.inputs if operand not in seen]
                seen |= {*found}
                pending += found
    return False
