"""Exponentials that cancel: softmax, sigmoid and their kin written by hand, and what derivatives make of them.

Let s be the sum of exp(x) over some axes, or 1 + exp(x), and L = log(s). What is made of exp(x) and s by products,
quotients, sums and differences is a sum of terms c * exp(i * x + j * L). Each node gets that form, operands first. Where
a node is bounded for every x though an operand of it is not (exp(x) / s, log(s), the gradient of log(exp(x) / s)), it
is computed from the terms instead: exp(x) / s as a softmax with the largest x subtracted, or as a sigmoid.

Legal because the terms are equal to the node wherever nothing overflows and no exponential underflows to 0; there they
give the true value. NaN stays NaN: a term that has lost x altogether never stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from graphc import dims
from graphc.dims import Dim
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node, call, make
from graphc.ops.activation import Sigmoid
from graphc.ops.arithmetic import Add, Divide, Multiply, Negative, Subtract
from graphc.ops.comparison import Where
from graphc.ops.exponential import Exp, Log, Log1p
from graphc.ops.gradient_control import StopGradient
from graphc.ops.movement import BroadcastTo, Reshape
from graphc.ops.reduction import Max, Sum
from graphc.ops.slicing import Pad
from graphc.passes.algebra.matching import filled, orders, uniform
from graphc.passes.rewriting import rewrite
from graphc.passes.terms import ONE, Form, Power, Terms, factor_of, is_one, is_pure, merged, product, quotient

MOST_TERMS, MOST_GROUPS, HIGHEST_POWER = 6, 4, 8


def exponentials(graph: Graph) -> Graph:
    """Return the graph with such nodes computed from their terms."""
    nodes = [node for part in _all_graphs(graph) for node in part.nodes()]
    if not any(isinstance(node.op, Exp | Sigmoid) for node in nodes):
        return graph
    # A network's gates need not be followed far; what takes logarithms of them is.
    follows = any(isinstance(node.op, Log | Log1p) and _has_sigmoid(node.inputs[0]) for node in nodes)
    return rewrite(graph, _Forms(follows_sigmoid=follows).visit)


def _all_graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for node in graph.nodes():
        for _, sub in subgraphs(node.op):
            yield from _all_graphs(sub)


def _has_sigmoid(node: Node) -> bool:
    return isinstance(node.op, Sigmoid) or any(isinstance(x.op, Sigmoid) for x in node.inputs)


@dataclass(eq=False)
class _Group:
    """What shares one x."""

    x: Node
    # Whether sums of bounded terms keep their form, for a factor further on that is not bounded (second derivatives).
    is_followed: bool = field(default=True, kw_only=True)

    @property
    def full(self) -> tuple[int | None, ...]:
        """The axes of x itself."""
        return tuple(None if size == 1 else k for k, size in enumerate(self.x.shape))

    def is_bounded(self, power: Power) -> bool:
        raise NotImplementedError

    def value(self, power: Power, shape: tuple[Dim, ...]) -> Node:
        """Return exp(i * x + j * L), bounded, over a shape."""
        raise NotImplementedError

    def log(self, power: Power, shape: tuple[Dim, ...]) -> Node:
        """Return i * x + j * L over a shape."""
        raise NotImplementedError

    def simplified(self, terms: Terms) -> Terms:
        """Use what ties exp(x) to s."""
        return terms

    def entry(self, node: Node) -> Form | None:
        """Return the form of exp(x) and exp(-x)."""
        if not isinstance(node.op, Exp):
            return None
        (x,) = node.inputs
        if x is self.x:
            return Form({(1, 0): ONE}, self.full)
        opposite = isinstance(x.op, Negative) and x.inputs[0] is self.x
        return Form({(-1, 0): ONE}, self.full) if opposite else None


@dataclass(eq=False)
class _Sum(_Group):
    """s is the sum of exp(x) over axes. Where x has its maximum subtracted already, s and positive powers are bounded."""

    axes: tuple[int, ...]

    @cached_property
    def is_shifted(self) -> bool:
        x = self.x
        if not isinstance(x.op, Subtract):
            return False
        shift = _unmoved(x.inputs[1])
        if isinstance(shift.op, Where):  # the maximum, or 0 where it is not finite
            shift = _unmoved(shift.inputs[1])
        if not isinstance(shift.op, Max) or shift.op.axes != self.axes:
            return False
        (source,) = shift.inputs
        return x.inputs[0] is (source.inputs[0] if isinstance(source.op, Pad) else source)

    @cached_property
    def shift(self) -> Node:
        """The largest finite x, its axes kept."""
        x = self.x
        if any(not dims.is_nonnegative(x.shape[axis] - 1) for axis in self.axes):  # there may be none
            x = call("pad", x, [(0, int(k in self.axes)) for k in range(x.ndim)], constant_values=-float("inf"))
        largest = call("max", x, axis=self.axes, keepdims=True)
        return call("where", call("isfinite", largest), largest, 0)

    @cached_property
    def shifted(self) -> Node:
        return self.x if self.is_shifted else self.x - self.shift

    @cached_property
    def weights(self) -> Node:
        return call("exp", self.shifted)

    @cached_property
    def safe_total(self) -> Node:
        """The sum of the weights, its axes kept."""
        return call("sum", self.weights, axis=self.axes, keepdims=True)

    def is_bounded(self, power: Power) -> bool:
        i, j = power
        return i >= 0 and (self.is_shifted or i + j == 0)

    def value(self, power: Power, shape: tuple[Dim, ...]) -> Node:
        i, j = power
        total = self._fitted(self.safe_total, shape)
        result = filled(1, total)
        for _ in range(i):
            result = result * self.weights
        for _ in range(abs(j)):
            result = result * total if j > 0 else result / total
        return result

    def log(self, power: Power, shape: tuple[Dim, ...]) -> Node:
        i, j = power
        result = _weighted((i, lambda: self.shifted), (j, lambda: self._fitted(call("log", self.safe_total), shape)))
        # The shift goes in last, and not at all where it cancels: it may be much larger than the rest.
        if self.is_shifted or i + j == 0:
            return result
        return result + _weighted((i + j, lambda: self._fitted(self.shift, shape)))

    def _fitted(self, node: Node, shape: tuple[Dim, ...]) -> Node:
        return call("broadcast_to" if shape == self.x.shape else "reshape", node, shape)

    def summed(self, form: Form) -> Form | None:
        """Return the sum of the terms over the axes: what depends on x stays bounded inside, powers of s come out."""
        terms: Terms = {}
        for (i, j), (count, factor) in form.terms.items():
            if i < 0:
                return None
            inner = self.value((i, 0 if self.is_shifted else -i), self.x.shape)
            total = call("sum", inner if factor is None else factor * inner, axis=self.axes)
            terms = merged(terms, {(0, j if self.is_shifted else i + j): (count, total)}, 1)
        return Form(terms, self.reduced, has_sum=True)

    @property
    def reduced(self) -> tuple[int | None, ...]:
        """The axes of s."""
        return tuple(axis for k, axis in enumerate(self.full) if k not in self.axes)


@dataclass(eq=False)
class _OnePlus(_Group):
    """s is 1 + exp(x), so exp(x) / s is sigmoid(x) and 1 / s is sigmoid(-x)."""

    def is_bounded(self, power: Power) -> bool:
        return power[0] >= 0 and sum(power) <= 0

    def value(self, power: Power, shape: tuple[Dim, ...]) -> Node:
        i, j = power
        result = filled(1, self.x)
        for _ in range(i):
            result = result * call("sigmoid", self.x)
        for _ in range(-i - j):
            result = result * call("sigmoid", -self.x)
        return result

    def log(self, power: Power, shape: tuple[Dim, ...]) -> Node:
        i, j = power
        return _weighted((i + j, lambda: call("softplus", self.x)), (-i, lambda: call("softplus", -self.x)))

    def simplified(self, terms: Terms) -> Terms:
        """Use exp(x) + 1 = s, times any power."""
        for (i, j), (count, factor) in terms.items():
            ties = (((i + 1, j), (i, j + 1), 1), ((i + 1, j - 1), (i, j - 1), -1), ((i, j - 1), (i + 1, j - 1), -1))
            for other, new, relation in ties:
                if other in terms and terms[other][0] == relation * count and terms[other][1] is factor:
                    rest = {power: f for power, f in terms.items() if power not in ((i, j), other)}
                    return self.simplified(merged(rest, {new: (count, factor)}, 1))
        return terms

    def entry(self, node: Node) -> Form | None:
        if isinstance(node.op, Sigmoid):
            (x,) = node.inputs
            if x is self.x:
                return Form({(1, -1): ONE}, self.full)
            if isinstance(x.op, Negative) and x.inputs[0] is self.x:
                return Form({(0, -1): ONE}, self.full)
        return super().entry(node)


@dataclass
class _Forms:
    """The forms found so far, by node and group; `visit` is the rule of the rewrite."""

    follows_sigmoid: bool
    forms: dict[Node, dict[_Group, Form]] = field(default_factory=dict[Node, dict[_Group, Form]])
    ones: dict[Node, _OnePlus] = field(default_factory=dict[Node, _OnePlus])
    sums: dict[tuple[Node, tuple[int, ...]], _Sum] = field(default_factory=dict[tuple[Node, tuple[int, ...]], _Sum])
    # 1 - sigmoid(x) by what stands for it, and such differences that stay: see `_complement`.
    complements: dict[Node, Node] = field(default_factory=dict[Node, Node])
    kept: set[Node] = field(default_factory=set[Node])

    def visit(self, node: Node) -> Node:
        if isinstance(node.op, Log | Log1p):
            return self._logarithm(node)
        if not isinstance(node.op, FOLLOWED) or not node.dtype.is_float or node in self.kept:
            return node
        if isinstance(node.op, Multiply) and any(self.complements.get(y) is x for x, y in orders(node)):
            return self._derivative(node)
        for group in self._groups(node):
            operands = [self._form(x, group) for x in node.inputs]
            form = self._begun(node, group) or _combined(node, group, operands)
            if form is None:
                continue
            self.forms.setdefault(node, {})[group] = form
            is_lost = not any(map(any, form.terms)) and not form.has_sum  # x is gone, and its NaN would be
            if is_lost or not all(map(group.is_bounded, form.terms)):
                continue
            is_complement = isinstance(group, _OnePlus) and isinstance(node.op, Subtract) and is_pure(form)
            if is_complement or any(not group.is_bounded(p) for f in operands if f is not None for p in f.terms):
                new = _computed(form, group, node)
                self.forms.setdefault(new, {})[group] = form
                if is_complement:
                    self.complements[new] = node.inputs[1]
                return new
        return node

    def _derivative(self, node: Node) -> Node:
        """Return sigmoid(x) * (1 - sigmoid(x)) as it was: it spares a second sigmoid and needs no x, and errs little."""
        value, complement = next((x, y) for x, y in orders(node) if self.complements.get(y) is x)
        rest = make(Subtract(), filled(1, value), value)
        self.kept.add(rest)
        self.forms[rest] = self.forms[complement]
        return make(Multiply(), value, rest)

    def _logarithm(self, node: Node) -> Node:
        (x,) = node.inputs
        for group in self._groups(node):
            form = self._form(x, group)
            if form is None:
                continue
            terms = form.terms
            if isinstance(node.op, Log1p):
                terms = group.simplified(merged(terms, {(0, 0): ONE}, 1))
            if len(terms) != 1:
                continue
            ((power, factor),) = terms.items()
            # A bounded sum is as good as it gets; what holds a power of exp(x) may underflow to 0.
            is_fine = isinstance(group, _Sum) and not power[0] and group.is_bounded(power)
            if is_one(factor) and any(power) and not is_fine:
                return group.log(power, node.shape)
        return node

    def _groups(self, node: Node) -> list[_Group]:
        """Return the groups that a node may have a form in; a sum of exponentials begins one."""
        groups: dict[_Group, None] = dict.fromkeys(g for x in node.inputs for g in self.forms.get(x, ()))
        x = node.inputs[0]
        match node.op:
            case Sum(axes):
                for part in x.inputs if isinstance(x.op, Multiply) else (x,):
                    if isinstance(part.op, Exp):
                        base = part.inputs[0]
                        groups[self.sums.setdefault((base, axes), _Sum(base, axes))] = None
            case Add():
                for one, other in orders(node):
                    if isinstance(other.op, Exp) and uniform(one) == 1:
                        groups[self._one_plus(other.inputs[0])] = None
            case Sigmoid():
                groups[self._one_plus(x, self.follows_sigmoid)] = None
            case Log1p() if isinstance(x.op, Exp):
                groups[self._one_plus(x.inputs[0])] = None
            case _:
                pass
        return list(groups)[-MOST_GROUPS:]

    def _one_plus(self, x: Node, is_followed: bool = True) -> _OnePlus:
        x = x.inputs[0] if isinstance(x.op, Negative) else x
        group = self.ones.setdefault(x, _OnePlus(x, is_followed=is_followed))
        group.is_followed |= is_followed
        return group

    def _form(self, node: Node, group: _Group) -> Form | None:
        known = self.forms.get(node, {}).get(group) or group.entry(node)
        if known is None and isinstance(node.op, Multiply):  # a product that was made before its group was known
            return _combined(node, group, [group.entry(x) for x in node.inputs])
        return known

    @staticmethod
    def _begun(node: Node, group: _Group) -> Form | None:
        if isinstance(group, _Sum) and isinstance(node.op, Sum) and node.op.axes == group.axes:
            x = node.inputs[0]
            if isinstance(x.op, Exp) and x.inputs[0] is group.x:
                return Form({(0, 1): ONE}, group.reduced)
        return group.entry(node)


FOLLOWED = Add | Subtract | Multiply | Divide | Negative | Sum | Reshape | BroadcastTo | Sigmoid


def _combined(node: Node, group: _Group, operands: list[Form | None]) -> Form | None:
    """Return the form of a node from those of its operands; None where it has none that is of use."""
    known = [form for form in operands if form is not None]
    if not known or any(form.axes != known[0].axes for form in known):
        return None
    first = known[0]
    is_bounded = all(group.is_bounded(power) for form in known for power in form.terms)
    match node.op:
        case Sum(axes):
            if not isinstance(group, _Sum) or axes != group.axes or first.axes != group.full or is_bounded:
                return None
            return group.summed(first)
        case Reshape() | BroadcastTo():
            axes = _placed(first.axes, node, group)
            moved: Terms = {
                power: (count, None if factor is None else make(node.op, factor))
                for power, (count, factor) in first.terms.items()
            }
            return None if axes is None else Form(moved, axes, first.has_sum)
        case _:
            pass
    parts = [
        {(0, 0): factor_of(x)} if form is None else form.terms for x, form in zip(node.inputs, operands, strict=True)
    ]
    match node.op:
        case Negative():
            terms = merged({}, parts[0], -1)
        case Add() | Subtract():
            terms = group.simplified(merged(parts[0], parts[1], 1 if isinstance(node.op, Add) else -1))
            if len(terms) > 1 and is_bounded and not group.is_followed:
                return None
        case Multiply():
            terms = {}
            for (i, j), left in parts[0].items():
                for (k, m), right in parts[1].items():
                    terms = merged(terms, {(i + k, j + m): product(left, right)}, 1)
        case Divide():
            ((k, m), divisor), *others = parts[1].items()
            if others or abs(divisor[0]) != 1:
                return None
            terms = {(i - k, j - m): quotient(f, divisor) for (i, j), f in parts[0].items()}
        case _:
            return None
    is_small = len(terms) <= MOST_TERMS and all(max(map(abs, power)) <= HIGHEST_POWER for power in terms)
    return Form(terms, first.axes, any(form.has_sum for form in known)) if is_small else None


def _placed(axes: tuple[int | None, ...], node: Node, group: _Group) -> tuple[int | None, ...] | None:
    """Return the axes of x that those of a moved node are; None where they do not follow."""
    source = node.inputs[0].shape
    if isinstance(node.op, Reshape):
        if [size for size in source if size != 1] != [size for size in node.shape if size != 1]:
            return None
        kept = (axis for axis, size in zip(axes, source, strict=True) if size != 1)
        return tuple(None if size == 1 else next(kept) for size in node.shape)
    if node.shape != group.x.shape:
        return None
    extra = len(node.shape) - len(source)
    return group.full if all(axis in (None, k + extra) for k, axis in enumerate(axes)) else None


def _computed(form: Form, group: _Group, node: Node) -> Node:
    """Return the sum of the terms."""
    total: Node | None = None
    for power, (count, factor) in sorted(form.terms.items(), key=lambda term: -term[1][0]):
        part = group.value(power, node.shape) if any(power) else None
        if factor is not None:
            part = factor if part is None else factor * part
        part = filled(1, node) if part is None else part
        part = part if abs(count) == 1 else part * abs(count)
        signed = part if count > 0 else -part
        total = signed if total is None else total + signed
    assert total is not None
    return total


def _weighted(*parts: tuple[int, Callable[[], Node]]) -> Node:
    """Return a sum of counts times nodes; a count of 0 leaves its node out, for 0 times infinity would be NaN."""
    total: Node | None = None
    for count, build in parts:
        if count == 0:
            continue
        part = build() if abs(count) == 1 else abs(count) * build()
        signed = part if count > 0 else -part
        total = signed if total is None else total + signed
    assert total is not None
    return total


def _unmoved(node: Node) -> Node:
    """Return what a node repeats, whatever its shape."""
    while isinstance(node.op, BroadcastTo | Reshape | StopGradient):
        (node,) = node.inputs
    return node
