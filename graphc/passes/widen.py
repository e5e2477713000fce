"""The gradient by filters of few channels takes several positions side by side, for a vector is wider than the channels.

    f[k, o] = sum over w of x[s * w + k] * y[w, o]

is, with w = n * q + p, the sum over p of g[k + s * p, p, o], where g[j, p, o] = sum over q of x[s * n * q + j] * y[n * q + p, o]
has n times as many channels and a n-th of the steps. Legal where the extents of w, k and o are known, and each stands alone
where it is written alone here; n times the channels fill at most a vector.

A convolution itself stays as it is: side by side, each position would multiply what only others see by zero, and of an
infinity there make NaN.
"""

from __future__ import annotations

import math

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr
from graphc.graph.graph import Graph
from graphc.graph.node import Node, call, make
from graphc.ops.contraction import Contract, contraction, plain_axis
from graphc.ops.slicing import Slice
from graphc.passes.rewriting import rewrite
from graphc.records import record

# Bytes of a vector, and how much less a product must take.
VECTOR, GAIN = 64, 0.75


def widen(graph: Graph) -> Graph:
    """Return the graph with such contractions rewritten."""

    def widened(node: Node) -> Node:
        if not isinstance(node.op, Contract) or node.op.inside or not node.dtype.is_float:
            return node
        found = _windows(node)
        return node if found is None else found.parts_added()

    return rewrite(graph, widened)


@record
class _Windows:
    """Windows of operand `image`, whose dimension `at` is read at stride * position + tap; `count` positions go side by side."""

    node: Node
    image: int
    at: int
    position: Axis
    tap: Axis
    channels: Axis
    stride: int
    count: int

    @property
    def op(self) -> Contract:
        assert isinstance(self.node.op, Contract)
        return self.node.op

    def parts_added(self) -> Node:
        """Return the gradient as the sum of parts that each belong to one of the positions side by side."""
        op = self.op
        k, c = op.out.index(DimExpr.of(self.tap)), len(op.out) - 1
        whole = self._whole(k, c)
        total: Node | None = None
        for p in range(self.count):
            start, size = list[Dim]([0] * whole.ndim), list(whole.shape)
            start[k], size[k], start[c], size[c] = self.stride * p, self.tap.extent, p, 1
            part = call("reshape", make(Slice(tuple(start), tuple(size), (1,) * whole.ndim), whole), op.shape)
            total = part if total is None else call("add", total, part)
        assert total is not None
        return total

    def _whole(self, k: int, c: int) -> Node:
        """Return the parts in one array: the taps that any position reaches are its dimension k, the positions are c."""
        assert isinstance(self.tap.extent, int)
        assert isinstance(self.position.extent, int)
        block = Axis("block", self.position.extent // self.count)
        side, taps = Axis("side", self.count), Axis("taps", self.tap.extent + self.stride * (self.count - 1))
        images, other = list((self.op.left, self.op.right)[self.image]), (self.op.left, self.op.right)[1 - self.image]
        _, rest = dims.linear(dims.linear(images[self.at], self.position)[1], self.tap)
        images[self.at] = rest + self.stride * self.count * DimExpr.of(block) + DimExpr.of(taps)
        place: dict[Atom, Dim] = {self.position: self.count * DimExpr.of(block) + DimExpr.of(side)}
        maps = [tuple(images), tuple(dims.substitute(index, place) for index in other)]
        left, right = maps if self.image == 0 else maps[::-1]
        out, shape = list(self.op.out), list(self.op.shape)
        out[k], shape[k] = DimExpr.of(taps), taps.extent
        out.insert(c, DimExpr.of(side))
        shape.insert(c, self.count)
        kept = [a for a in self.op.domain if a not in (self.position, self.tap)]
        return make(contraction((*kept, block, side, taps), left, right, tuple(out), tuple(shape)), *self.node.inputs)


def _windows(node: Node) -> _Windows | None:
    op = node.op
    assert isinstance(op, Contract)
    channels = plain_axis(op.out[-1], op.shape[-1]) if op.out else None
    lanes = VECTOR // node.dtype.itemsize
    if channels is None or not isinstance(channels.extent, int) or not 1 < 2 * channels.extent <= lanes:
        return None
    places = [[n for n, index in enumerate(at) if channels in dims.axes(index)] for at in (op.left, op.right)]
    if sorted(map(len, places)) != [0, 1]:
        return None
    image = 0 if not places[0] else 1
    other, (c,) = (op.left, op.right)[1 - image], places[1 - image]
    if other[c] != DimExpr.of(channels):
        return None
    for at, index in enumerate((op.left, op.right)[image]):
        for position in dims.axes(index):
            for tap in dims.axes(index) - {position}:
                found = _of(node, image, at, position, tap, channels, c)
                if found is not None:
                    return found
    return None


def _of(node: Node, image: int, at: int, position: Axis, tap: Axis, channels: Axis, c: int) -> _Windows | None:
    """Return the windows of these axes, if they are such, and if the best number of positions side by side pays."""
    op = node.op
    assert isinstance(op, Contract)
    images, other = (op.left, op.right)[image], (op.left, op.right)[1 - image]
    stride, apart = (dims.linear(images[at], axis)[0] for axis in (position, tap))
    if apart != 1 or not isinstance(stride, int) or stride < 1:
        return None
    if not isinstance(position.extent, int) or not isinstance(tap.extent, int):
        return None
    if c == 0 or c != len(other) - 1 or other[c - 1] != DimExpr.of(position) or DimExpr.of(tap) not in op.out:
        return None  # positions side by side must lie side by side
    found = [sum(axis in dims.axes(index) for index in m) for m in (images, other, op.out) for axis in (position, tap)]
    if found != [1, 1, 1, 0, 0, 1]:
        return None
    most = VECTOR // node.dtype.itemsize // channels.extent  # pyright: ignore[reportOperatorIssue]
    best = (math.inf, 1)
    for count in range(2, most + 1):
        if position.extent % count == 0:
            best = min(best, ((tap.extent + stride * (count - 1)) / tap.extent / count, count))
    return _Windows(node, image, at, position, tap, channels, stride, best[1]) if best[0] <= GAIN else None
