"""Which values are stored, and what the kernels that store them compute.

Every `Compute` node can be written into its consumers. It is stored instead where
  - something needs it in memory: an output, an update that others read, an operand of a contraction, loop or user op;
  - writing it in would compute it more than once for each of its elements, and it is not cheap: it holds a reduction, or
    costs more than `CHEAP` operations;
  - several consumers would repeat more than `REPEATED` operations, or the expression would grow beyond `LARGEST`;
  - several consumers want what a contraction's epilogue makes: it is stored instead of the contraction, or what is made
    of it alone instead of both, if that takes no more arrays or saves more than `REPEATED` operations for each.
Cheap means: recomputing costs less than writing and reading back, about four vector operations an element each way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr, FloorDiv, Remainder
from graphc.dtypes import bool_
from graphc.graph.bodies import Compute, Contract
from graphc.graph.node import Node
from graphc.loops import expr
from graphc.loops.expr import Apply, Check, Const, Expr, Load, Reduce
from graphc.loops.kernels import COLUMNS, flat_offset
from graphc.ops.movement import BroadcastTo
from graphc.schedule.branches import Branch, Branches

Form: TypeAlias = "tuple[object, ...]"
CHEAP = 8
REPEATED = 24
LARGEST = 128
# A reduction is made once for many elements of what uses it.
REDUCED = 2
WEIGHTS = {
    "divide": 4,
    "sqrt": 4,
    "rsqrt": 8,
    "exp": 12,
    "exp2": 10,
    "expm1": 13,
    "log": 14,
    "log2": 22,
    "log10": 22,
    "log1p": 26,
    "pow": 87,
    "cbrt": 29,
    "sin": 31,
    "cos": 30,
    "tan": 43,
    "asin": 29,
    "acos": 30,
    "atan": 18,
    "atan2": 34,
    "sinh": 18,
    "cosh": 14,
    "tanh": 16,
    "asinh": 56,
    "acosh": 63,
    "atanh": 47,
    "erf": 30,
    "erfc": 48,
    "normal_cdf": 32,
    "normal_pdf": 16,
    "sigmoid": 16,
    "softplus": 51,
    "philox": 100,
    "floordiv": 8,
    "remainder": 8,
}
USER = 32  # a function of the user, of which nothing is known but that it is called lane by lane


def weight(value: Apply) -> int:
    """Return about how many operations a scalar function costs."""
    return USER if value.function.startswith("scalar_") else WEIGHTS.get(value.function, 1)


@dataclass
class Inliner:
    """The expressions of a graph's Compute nodes, and the set of nodes that are stored.

    `bodies` holds the bodies of the computed nodes; `scalars` those nodes that are one known number.
    """

    order: Sequence[Node]
    bodies: Mapping[Node, object]
    scalars: Mapping[Node, Const]
    stored: set[Node]
    shape_of: Callable[[Node], Sequence[Dim]]
    reductions: dict[tuple[Node, tuple[Dim, ...]], frozenset[frozenset[Axis]]] = field(
        default_factory=dict[tuple[Node, tuple[Dim, ...]], frozenset[frozenset[Axis]]]
    )
    cost: dict[Node, int] = field(default_factory=dict[Node, int])
    summing: set[Node] = field(default_factory=set[Node])
    memo: dict[tuple[Node, tuple[Dim, ...], Expr | None], Expr] = field(
        default_factory=dict[tuple[Node, tuple[Dim, ...], Expr | None], Expr]
    )
    # What was decided for nodes of a form (see `_form`).
    by_rows: dict[Form, bool] = field(default_factory=dict[Form, bool])
    repeated: dict[tuple[object, ...], tuple[int, ...]] = field(
        default_factory=dict[tuple[object, ...], tuple[int, ...]]
    )

    def is_inlined(self, node: Node) -> bool:
        """Whether the node's value is written into its consumers."""
        return isinstance(self.bodies.get(node), Compute) and node not in self.stored

    def store_costly(self, consumers: Mapping[Node, int]) -> None:
        """Store what several consumers would repeat at too high a cost, and what would make expressions too large."""
        parts: dict[Node, int] = {}
        members: dict[Node, frozenset[Node]] = {}
        carriers: dict[Node, Node] = {}
        branches = Branches(self.order, self.bodies, consumers)
        between: set[Node] = set()
        for node in self.order:
            body = self.bodies.get(node)
            if isinstance(body, Contract) and consumers.get(node, 0) > 1:
                between |= self._store_ends(self._branch(branches, node))
            if not isinstance(body, Compute):
                continue
            own = list(expr.walk(body.value))
            if self._reduces(node):
                self.stored |= self._not_walked(node, body)
                # Summed over, it would be made in another sum's loop; so it does not count as a part of what follows.
                self.stored |= {i for i in node.inputs if self.is_inlined(i) and self._reduces(i)}
            if body.ordered:
                # A running sum goes along one vector of lanes after the other, which is no way to sum rows of them.
                self.stored |= {
                    m for i in node.inputs for m in members.get(i, ()) if self.is_inlined(m) and self._reduces(m)
                }
            inlined = [i for i in node.inputs if self.is_inlined(i)]
            if self._reduces(node) or any(i in self.summing for i in inlined):
                self.summing.add(node)
            parts[node] = len(own)
            members[node] = frozenset((node,)).union(*(members[i] for i in inlined))
            self.cost[node] = _operations(body.value)
            # What is one number for all elements is made once, before the loops.
            self.cost[node] += sum(self.cost[i] for i in inlined if i.shape and not _is_hoisted(node))
            if self._reduces(node):
                self.cost[node] = REDUCED
            if (carrier := self._carrier(node, carriers, consumers)) is not None:
                carriers[node] = carrier
                # Functions of one number for each row would be called while the registers are full of sums.
                repeating = (m for m in members[node] if isinstance(m.op, BroadcastTo) and m is not node)
                columns = (x for m in repeating for x in m.inputs if x.shape[-1:] == (1,) and self.is_inlined(x))
                self.stored |= {x for x in columns if self.cost[x] > CHEAP}
            repeated = (consumers.get(node, 0) - 1) * self.cost[node] > REPEATED
            if node in carriers and consumers.get(node, 0) > 1 and not repeated and node not in self.stored:
                branch = self._branch(branches, node)
                repeated = branch is None
                between |= self._store_ends(branch)
            repeated &= node not in between
            if body.ordered or repeated or sum(parts[i] for i in members[node]) > LARGEST:
                self.stored.add(node)

    def _branch(self, branches: Branches, node: Node) -> Branch | None:
        """Return what a node is turned into, if storing that is worth the arrays that it takes."""
        pays = (b for b in branches.of(node, self.stored) if self._common(b) >= REPEATED * b.more)
        return next(pays, None)

    def _common(self, branch: Branch) -> int:
        """Return how many operations the ends of a branch would repeat if each were made by itself."""
        made: dict[Node, Expr] = {}

        def of(one: Node) -> Expr:
            if one not in branch.between:
                return self.scalars.get(one) or expr.load(one, (), one.dtype)
            if one not in made:
                body = self.bodies[one]
                assert isinstance(body, Compute)
                made[one] = expr.rewrite(body.value, {}, lambda found: of(_operand(one, found)))
            return made[one]

        ends = [of(end) for end in branch.ends]
        return sum(map(_operations, ends)) - _operations(*ends)

    def _store_ends(self, branch: Branch | None) -> frozenset[Node]:
        """Store what a branch ends in; return the nodes that its epilogue makes."""
        if branch is None:
            return frozenset()
        self.stored |= branch.ends
        return branch.between

    def store_checked(self, replacing: Iterable[Node]) -> None:
        """Store those of these values that check an index: a check that fails must come before anything is replaced."""
        self.stored |= {node for node in replacing if self.is_inlined(node) and _has_check(self.bodies[node])}

    def _carrier(self, node: Node, carriers: Mapping[Node, Node], consumers: Mapping[Node, int]) -> Node | None:
        """Return the contraction that only this node reads, element by element, directly or through others like it.

        Such a node is made in the contraction's registers: if several consumers want it, storing it costs nothing, for
        otherwise the contraction itself would be stored.
        """
        for operand in node.inputs:
            source = carriers.get(operand, operand)
            is_alone = consumers.get(operand, 0) == 1 and (source is operand or self.is_inlined(operand))
            if is_alone and isinstance(self.bodies.get(source), Contract):
                return source if node.shape == source.shape and not self._reduces(node) else None
        return None

    def _not_walked(self, node: Node, body: Compute) -> set[Node]:
        """Return operands of a sum that are walked in another order where they are made: what was one axis is several there."""
        found: set[Node] = set()
        for part in expr.walk(body.value):
            if not isinstance(part, Reduce) or not part.rounds:
                continue
            for read in expr.walk(part.value):
                if not isinstance(read, Load) or not any(map(_is_divided, read.index)):
                    continue
                operand = _operand(node, read)
                below = expr.walk(self.element(operand, read.index)) if self.is_inlined(operand) else ()
                offsets = (flat_offset(e.index, self.shape_of(e.source)) for e in below if isinstance(e, Load))
                if any(dims.linear(at, a)[0] is None for at in offsets for a in part.axes):
                    found.add(operand)
        return found

    def _reduces(self, node: Node) -> bool:
        body = self.bodies[node]
        return isinstance(body, Compute) and any(isinstance(e, Reduce) for e in expr.walk(body.value))

    def sums_in(self, root: Node) -> set[Node]:
        """Return the nodes that reduce something, first ones, in the expression of an inlined node."""
        found, stack = set[Node](), [root]
        while stack:
            node = stack.pop()
            if self._reduces(node):
                found.add(node)
            else:
                stack += [x for x in node.inputs if self.is_inlined(x)]
        return found

    def _form(self, root: Node) -> tuple[Form, list[Node]]:
        """Return what the expression of a node is made of, and the nodes by their numbers in it.

        Of equal layers the forms are equal: they do not say which arrays are read, but which of them are the same. Cost and sums
        are of what was inlined once, some of which may be stored by now.
        """
        numbers: dict[Node, int] = {}
        parts: list[object] = []
        stack = [root]
        while stack:
            node = stack.pop()
            if node in numbers:
                parts.append(numbers[node])
                continue
            numbers[node] = len(numbers)
            if node is not root and node in self.scalars:
                parts.append(self.scalars[node])
            elif node is root or self.is_inlined(node):
                parts.append((node.op, node.type, self.cost[node], node in self.summing))
                stack += reversed(node.inputs)
            else:
                parts.append(node.type)
        return tuple(parts), list(numbers)

    def store_repeated(
        self, root: Node, rows: tuple[Axis, ...], lane: Axis | None, *, commit: bool, apart: bool
    ) -> None:
        """Store what the kernel of `root` would compute more often than once an element; with `apart`, reductions too."""
        form, nodes = self._form(root)
        key = (form, rows, lane, commit, apart)
        if key not in self.repeated:
            found = self._repeated(root, rows, lane, commit=commit, apart=apart)
            self.repeated[key] = tuple(number for number, node in enumerate(nodes) if node in found)
        self.stored |= {nodes[number] for number in self.repeated[key]}

    def _repeated(
        self, root: Node, rows: tuple[Axis, ...], lane: Axis | None, *, commit: bool, apart: bool
    ) -> set[Node]:
        before = set(self.stored)
        everything = _real([*rows, *([lane] if lane else [])])
        identity = tuple(DimExpr.of(a) for a in (*rows, *([lane] if lane else [])))
        # The scopes that a value may be computed in, outermost first: once, once a row, once an element.
        scopes = tuple(dict.fromkeys((frozenset[Axis](), _real(rows), everything)))
        stack: list[tuple[Node, tuple[Dim, ...], tuple[frozenset[Axis], ...]]] = [(root, identity, scopes)]
        visited: set[tuple[Node, tuple[Dim, ...], tuple[frozenset[Axis], ...]]] = set()
        while stack:
            node, index, scopes = stack.pop()
            if (node, index, scopes) in visited or (node is not root and not self.is_inlined(node)):
                continue
            visited.add((node, index, scopes))
            used = _real(a for d in index for a in _axes(d))
            place = _place(used, scopes)
            body = self.bodies[node]
            assert isinstance(body, Compute)
            sums = [e for e in expr.walk(body.value) if isinstance(e, Reduce)]
            if node is not root:
                repeats = used != scopes[place] and self.cost[node] > CHEAP
                # Lanes that run otherwise than a sum's would add in another order.
                is_turned = any(one.along == (lane in used) and one.rounds and one.order != "chain" for one in sums)
                # A reduction must not stand inside another one's loop, nor be made by every thread or row for itself.
                # What is stored then is the last value of the same size: a loss, say, not its logarithm's argument.
                misplaced = any(
                    at == used and (at - everything or (not at and everything) or at != scopes[_place(at, scopes)])
                    for at in self._reductions(node, index)
                )
                if repeats or misplaced or is_turned or (commit and _has_check(self.bodies[node])) or (apart and sums):
                    self.stored.add(node)
                    continue
            axes = dict(zip(body.axes, index, strict=True))
            bound = _real(a for e in sums for a in e.axes)
            inner = (*scopes[: place + 1], scopes[place] | bound) if bound else scopes
            for found in expr.walk(body.value):
                if isinstance(found, Load):
                    at = tuple(dims.substitute(d, axes) for d in found.index)
                    operand = _operand(node, found)
                    stack.append((operand, at, inner))
        self.reductions.clear()
        return self.stored - before

    def _reductions(self, node: Node, index: tuple[Dim, ...]) -> frozenset[frozenset[Axis]]:
        """Return the sets of axes that the reductions within the node's expression at an index depend on."""
        if node not in self.summing or not self.is_inlined(node):
            return frozenset()
        key = (node, index)
        if key not in self.reductions:
            body = self.bodies[node]
            assert isinstance(body, Compute)
            axes = dict(zip(body.axes, index, strict=True))
            found: set[frozenset[Axis]] = set()
            for part in expr.walk(body.value):
                if isinstance(part, Reduce):
                    found.add(_real(a for d in index for a in _axes(d)))
                elif isinstance(part, Load):
                    at = tuple(dims.substitute(d, axes) for d in part.index)
                    operand = _operand(node, part)
                    found |= self._reductions(operand, at)
            self.reductions[key] = frozenset(found)
        return self.reductions[key]

    def element(self, node: Node, index: tuple[Dim, ...], guard: Expr | None = None) -> Expr:
        """Return the value of the node at an index: a load if it is stored, else its expression. 0 where the guard is false."""
        if node in self.scalars:
            known = self.scalars[node]
            return known if guard is None else expr.select(guard, known, expr.const(0, known.dtype))
        if not self.is_inlined(node):
            return expr.load(node, index, node.dtype, guard)
        key = (node, index, guard)
        if key not in self.memo:
            self.memo[key] = self.expression(node, index, guard)
        return self.memo[key]

    def expression(self, node: Node, index: tuple[Dim, ...], guard: Expr | None = None) -> Expr:
        """Return what the node's body computes at an index, whether it is stored or not."""
        body = self.bodies[node]
        assert isinstance(body, Compute)

        def on_load(found: Load) -> Expr:
            operand = _operand(node, found)
            return _keep_checks(self.element(operand, found.index, expr.both(guard, found.guard)), found.index)

        value = expr.rewrite(body.value, dict(zip(body.axes, index, strict=True)), on_load)
        if guard is not None:
            value = _guarded(value, guard)
        return value

    def index(self, node: Node, axes: Sequence[Axis]) -> tuple[Dim, ...]:
        """Return a node's index. A sum's is 0 where it has one position: what it reads may have been reshaped, and name none."""
        is_sum = node in self.summing
        return tuple(0 if is_sum and a.extent == 1 else DimExpr.of(a) for a in axes)

    def prefers_rows(self, node: Node) -> bool:
        """Whether lanes run along what the node sums, rather than across it."""
        if not self.shape_of(node):
            return True
        if node not in self.summing:
            return False
        form, _ = self._form(node)
        if form not in self.by_rows:
            self.by_rows[form] = self._sums_along(node)
        return self.by_rows[form]

    def _sums_along(self, node: Node) -> bool:
        shape = self.shape_of(node)
        axes = tuple(Axis(f"i{k}", extent) for k, extent in enumerate(shape))
        lane = lane_of(node, axes, self.summing)
        value = self.expression(node, self.index(node, axes))
        sums = (e for e in expr.walk(value) if isinstance(e, Reduce) and (lane.extent == 1 or lane in e.free))
        return any(one.along for one in sums)


def _operations(*roots: Expr) -> int:
    return sum(weight(e) for e in expr.walk(*roots) if isinstance(e, Apply))


def lane_of(node: Node, axes: Sequence[Axis], summing: set[Node]) -> Axis:
    """Return the axis that lanes run along: the last, but for sums of one column, whose rows are their lanes.

    Other values of one column are made by rows, as what is made of the same rows.
    """
    if node not in summing:
        return axes[-1]
    return next((a for a in reversed(axes) if a.extent != 1), axes[-1])


def _guarded(value: Expr, guard: Expr) -> Expr:
    """Make a guarded value 0 where the guard is false, and keep its checks from firing there."""
    value = expr.guard_checks(value, guard)
    return expr.select(guard, value, expr.const(0, value.dtype))


def _keep_checks(value: Expr, index: Sequence[Dim]) -> Expr:
    """Return the value with the checks of its index, also where it is the same at every index and so does not use it."""
    checks = expr.loaded(*index)
    made = set(expr.walk(value)) if checks else set[Expr]()
    for check in checks:
        if check not in made:
            value = expr.select(expr.apply("ge", check, expr.const(0, check.dtype), dtype=bool_), value, value)
    return value


def _axes(dim: Dim) -> frozenset[Axis]:
    return dims.axes(dim).union(*(one.free for one in expr.loaded(dim)))


def _operand(node: Node, found: Load) -> Node:
    position: int = found.source
    return node.inputs[position]


def _place(used: frozenset[Axis], scopes: Sequence[frozenset[Axis]]) -> int:
    return next((n for n, scope in enumerate(scopes) if used <= scope), len(scopes) - 1)


def _real(axes: Iterable[Axis]) -> frozenset[Axis]:
    return frozenset(a for a in axes if a.extent != 1)


def _is_hoisted(node: Node) -> bool:
    """Whether a node repeats its operand for rows of few vectors: what it is made of is then made once for all rows."""
    width = node.shape[-1] if node.shape else None
    return isinstance(node.op, BroadcastTo) and isinstance(width, int) and width <= COLUMNS * 16


def _is_divided(dim: Dim) -> bool:
    return any(isinstance(atom, FloorDiv | Remainder) for atom in dims.atoms(dim))


def _has_check(body: object) -> bool:
    return isinstance(body, Compute) and any(isinstance(e, Check) for e in expr.walk(body.value))
