"""A contraction that adds into its result at sums of axes gathers instead: the gradient of a convolution by its image.

out[s * h + d * k] += y[h] * w[k] adds to each element what several h and k give. For each residue of the position by the
stride s, the taps k that reach it are known, and it is a plain contraction: out[s * q + r] = sum over j of
y[q + base + j] * w[tap(j)], with y padded where it ends. A slice of the result that drops the image's margins is computed
alone. Legal where h stands alone in one dimension of one operand, and strides and taps are known numbers.

What stands in this padding does not count (`Contract.inside`): times an infinite filter it would be NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.graph.graph import Graph
from graphc.graph.node import Node, call, make
from graphc.ops.contraction import Contract, contraction
from graphc.ops.joining import Interleave, turns
from graphc.ops.slicing import Pad, Slice
from graphc.passes.absorb import read_often
from graphc.passes.rewriting import rewrite
from graphc.records import record


def gather(graph: Graph) -> Graph:
    """Return the graph with such contractions rewritten."""
    shared = read_often(graph)

    def of_slice(node: Node) -> Node:
        source = node.inputs[0] if isinstance(node.op, Slice) else node
        if not isinstance(node.op, Slice) or not isinstance(source.op, Contract) or source in shared:
            return node
        if any(step != 1 for step in node.op.step):
            return node
        found = _gathered(source.op, source.inputs, node.op.start, node.shape)
        return node if found is None else found

    def of_whole(node: Node) -> Node:
        if not isinstance(node.op, Contract):
            return node
        found = _gathered(node.op, node.inputs, (0,) * node.ndim, node.shape)
        return node if found is None else found

    return rewrite(rewrite(graph, of_slice), of_whole)


@record
class _Phase:
    """Positions with one residue: how many, the first tap that reaches them, every which one, how many, and h of the first."""

    size: Dim
    tap: int
    every: int
    taps: int
    base: int

    def first(self, apart: int) -> int:
        """Return the first of the positions that are read, of neighbouring taps so far apart."""
        return self.base - apart * (self.taps - 1)

    def exceeds(self, apart: int, extent: Dim) -> bool:
        """Whether positions are read, or may be, that are not among so many."""
        return self.first(apart) < 0 or not dims.is_nonnegative(extent - self.base - self.size)


@record
class _Sum:
    """Dimension `at` of the result is stride * position + dilation * tap + a number; `position` is dimension `dim` of `operand`.

    One phase for each residue, None where no tap reaches; the positions of neighbouring taps of a phase are `apart`.
    """

    at: int
    position: Axis
    tap: Axis
    operand: int
    dim: int
    apart: int
    phases: tuple[_Phase | None, ...]

    def margins(self, extent: Dim) -> tuple[int, Dim]:
        """Return by how much the positions that are read go beyond both ends of the operand's dimension."""
        low: int = 0
        high: Dim = 0
        for phase in self.phases:
            if phase is not None:
                low, high = max(low, -phase.first(self.apart)), dims.maximum(high, phase.base + phase.size - extent)
        return low, high


def _gathered(op: Contract, inputs: Sequence[Node], start: Sequence[Dim], size: Sequence[Dim]) -> Node | None:
    if not inputs[0].dtype.is_float:
        return None
    sums: list[_Sum] = []
    for k, index in enumerate(op.out):
        found = dims.axes(index)
        if len(found) == 1 and index == DimExpr.of(next(iter(found))):
            if start[k] != 0 or size[k] != op.shape[k]:
                return None
            continue
        first = start[k]
        one = _sum_of(op, k, first, size[k]) if isinstance(first, int) else None
        if one is None:
            return None
        sums.append(one)
    if not sums or len({s.tap for s in sums} | {s.position for s in sums}) < 2 * len(sums):
        return None
    operands = list(inputs)
    lows: list[int] = []
    befores: list[list[Dim]] = [[0 for _ in operand.shape] for operand in inputs]
    afters: list[list[Dim]] = [[0 for _ in operand.shape] for operand in inputs]
    for one in sums:
        operand = operands[one.operand]
        low, high = one.margins(operand.shape[one.dim])
        lows.append(low)
        befores[one.operand][one.dim], afters[one.operand][one.dim] = low, high
    for n, operand in enumerate(inputs):
        if any(m != 0 for m in (*befores[n], *afters[n])):
            operands[n] = make(Pad(tuple(befores[n]), tuple(afters[n]), (0,) * operand.ndim), operand)
    return _phases(op, operands, sums, lows, list(size), {})


def _phases(
    op: Contract, operands: list[Node], sums: list[_Sum], lows: list[int], shape: list[Dim], chosen: dict[Axis, _Phase]
) -> Node:
    """Return the result: the phases of the sums that `chosen` does not fix yet, one in another."""
    if len(chosen) == len(sums):
        return _plain(op, operands, sums, lows, shape, chosen)
    one = sums[len(chosen)]
    parts: list[Node | None] = []
    for phase in one.phases:
        inner = [phase.size if phase and k == one.at else d for k, d in enumerate(shape)]
        parts.append(_phases(op, operands, sums, lows, inner, {**chosen, one.position: phase}) if phase else None)
    if len(parts) == 1 and parts[0] is not None:
        return parts[0]
    count, size = len(parts), shape[one.at]
    if sum(part is not None for part in parts) == 1:
        (r,) = (n for n, part in enumerate(parts) if part is not None)
        part = parts[r]
        assert part is not None
        rest = size - r - 1 - (part.shape[one.at] - 1) * count
        if isinstance(rest, int) and isinstance(size, int) and size > r:
            along = [k == one.at for k in range(part.ndim)]
            low, high, between = (tuple(v if a else 0 for a in along) for v in (r, rest, count - 1))
            return make(Pad(low, high, between), part)
    whole: list[Node] = []
    for r, part in enumerate(parts):
        own = tuple(turns(size, r, count) if k == one.at else d for k, d in enumerate(shape))
        whole.append(part if part is not None else call("zeros", own, operands[0].dtype))
    return make(Interleave(one.at, size), *whole)


def _plain(
    op: Contract, operands: list[Node], sums: list[_Sum], lows: list[int], shape: list[Dim], chosen: dict[Axis, _Phase]
) -> Node:
    """Return the plain contraction of one phase of each sum."""
    extents = {axis: axis.extent for axis in op.domain}
    for one in sums:
        phase = chosen[one.position]
        extents |= {one.position: phase.size, one.tap: phase.taps}
    new = {axis: Axis(axis.name, extent) for axis, extent in extents.items()}
    at: dict[Axis, Dim] = {old: DimExpr.of(axis) for old, axis in new.items()}
    out = list(op.out)
    for one, low in zip(sums, lows, strict=True):
        phase, q, j = chosen[one.position], DimExpr.of(new[one.position]), DimExpr.of(new[one.tap])
        out[one.at] = q
        # The taps backwards, so that positions rise with them.
        at[one.tap] = phase.tap + phase.every * (phase.taps - 1 - j)
        at[one.position] = q + phase.base + low - one.apart * (phase.taps - 1 - j)
    plain = {one.at for one in sums}
    maps = [tuple(dims.substitute(index, at) for index in m) for m in (op.left, op.right)]
    inside = [(dims.substitute(index, at), extent) for index, extent in op.inside]
    for one, low in zip(sums, lows, strict=True):
        if chosen[one.position].exceeds(one.apart, one.position.extent):
            inside.append((at[one.position] - low, one.position.extent))
    result = tuple(index if k in plain else dims.substitute(index, at) for k, index in enumerate(out))
    new_op = contraction(tuple(new.values()), maps[0], maps[1], result, tuple(shape), inside=inside)
    return make(new_op, *operands)


def _sum_of(op: Contract, k: int, start: int, size: Dim) -> _Sum | None:
    """Return dimension k of a contraction's result, from `start` on, as a sum that can be gathered, or None."""
    found = dims.axes(op.out[k])
    slopes = {axis: dims.linear(op.out[k], axis)[0] for axis in found}
    rest: Dim = op.out[k]
    for axis in found:
        rest = dims.linear(rest, axis)[1]
    if len(found) != 2 or not isinstance(rest, int):
        return None
    elsewhere = {axis for n, index in enumerate(op.out) if n != k for axis in dims.axes(index)}
    for position in sorted(found, key=lambda a: a.name):
        (tap,) = found - {position}
        stride, dilation, places = slopes[position], slopes[tap], _places(op, position)
        if not isinstance(stride, int) or not isinstance(dilation, int) or not isinstance(tap.extent, int):
            continue
        if len(places) != 1 or found & elsewhere or stride < 1 or dilation < 1:
            continue
        operand, dim = places[0]
        if (op.left, op.right)[operand][dim] != DimExpr.of(position):
            continue
        phases = tuple(_phase(r, start - rest, size, stride, dilation, tap.extent) for r in range(stride))
        if any(phases):
            return _Sum(k, position, tap, operand, dim, dilation // gcd(stride, dilation), phases)
    return None


def _phase(residue: int, start: int, size: Dim, stride: int, dilation: int, taps: int) -> _Phase | None:
    every = stride // gcd(stride, dilation)
    first = next((k for k in range(min(taps, every)) if (start + residue - dilation * k) % stride == 0), None)
    count = turns(size, residue, stride)
    if first is None or count == 0:
        return None
    base = (start + residue - dilation * first) // stride
    return _Phase(count, first, every, -(-(taps - first) // every), base)


def _places(op: Contract, axis: Axis) -> list[tuple[int, int]]:
    """Return operand and dimension of every index of the operands that uses the axis."""
    return [(n, k) for n, at in enumerate((op.left, op.right)) for k, d in enumerate(at) if axis in dims.axes(d)]
