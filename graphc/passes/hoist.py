"""What does not recur is computed outside of a loop, for all its steps at once.

Before the loop: products and reductions of what the loop walks, which need no carry. A recurrent layer's projection of
its inputs becomes one product of time * batch rows. After it: those that no step waits for, of results and of carries
that are only added to. The gradient of a weight, g + contract(a_t, b_t) step by step, becomes one product of all a and b,
which the loop stores. A carry that is only added to and small becomes a sum over a result.

Legal always: the same values are computed, and what is added to a carry is added in the order of the steps, to the same
bits: so it makes no difference whether a loop runs at once or in pieces. Contractions are made in that order, too, within a
step from its last position on if the loop runs backwards; what reductions give is added up step by step. What would have to
be stored must not be much more than the loop walks and stores anyway; what would be stored only to be reduced by rows, the
loop reduces. From lean scans, which must not store more, only what is the same at all times moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphc import dims
from graphc.chain import batch
from graphc.dims import Dim
from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Constant, Leaf, Node, call, made_at, make, placeholder
from graphc.graph.types import TensorType
from graphc.ops.arithmetic import Add
from graphc.ops.contraction import Backwards, Contract, Forwards
from graphc.ops.cumulative import CumulativeSum
from graphc.ops.elementwise import Elementwise
from graphc.ops.gathering import Take
from graphc.ops.joining import Concat
from graphc.ops.movement import Movement
from graphc.ops.nested import Item, Nested, item
from graphc.ops.positions import Positions
from graphc.ops.reduction import Reduction
from graphc.ops.scan import Carry, Scan, assemble
from graphc.passes.absorb import permuted, summed
from graphc.passes.algebra.matching import uniform
from graphc.passes.rewriting import with_roots, with_subgraphs

# How many times as much as the loop walks and stores anyway may be stored for what moves behind it.
MORE = 4
# Numbers of a row from which on a loop reduces it rather than storing it.
LONG = 16
_MOVABLE = (Elementwise, Movement, Contract, Reduction, Take, Concat, Positions, Constant)


@dataclass
class _Loop:
    """A scan being taken apart: for each placeholder what it stands for, and what the step returns."""

    carries: dict[Node, Node]
    slices: dict[Node, Node]
    shared: dict[Node, Node]
    new: tuple[Node, ...]
    results: tuple[Node, ...]

    def outside(self, nodes: Sequence[Node], more: dict[Node, Node]) -> list[Node | None]:
        """Return nodes of the step for all times at once, with `more` arrays; None for one that is the same at all."""
        inner = walk.replace(nodes, self.shared)
        return batch(inner, self.slices | more)


def hoist(graph: Graph) -> Graph:
    """Return the graph with such work moved out of scans, in the graphs inside ops too."""
    inner = {sub: hoist(sub) for node in graph.nodes() for _, sub in subgraphs(node.op)}
    done: dict[Node, Node] = {}
    moved: dict[Node, list[Node]] = {}
    for node in graph.nodes():
        if isinstance(node.op, Item) and node.inputs[0] in moved:
            done[node] = moved[node.inputs[0]][node.op.index]
            continue
        op = with_subgraphs(node.op, inner) if inner else None
        done[node] = node.on(tuple(done[operand] for operand in node.inputs), op)
        if isinstance(node.op, Scan):
            with made_at(node.origin):
                outputs = _hoisted(done[node])
            if outputs is not None:
                moved[node] = outputs
    return with_roots(graph, tuple(done[root] for root in graph.roots))


def _hoisted(node: Node) -> list[Node] | None:
    """Return the outputs of a scan with less in its step, or None where nothing can move."""
    op = node.op
    assert isinstance(op, Scan)
    part = op.parts(node)
    loop = _Loop(
        dict(zip(part.carries, part.initial, strict=True)),
        dict(zip(part.slices, part.arrays, strict=True)),
        dict(zip(part.shared, part.operands, strict=True)),
        part.new,
        part.results,
    )
    is_ordered = _put_in_order(loop, Backwards if op.reverse else Forwards)
    if op.lean:
        if not _before(loop, lean=True) and not is_ordered:
            return None
        carries = [
            Carry(c, first, new, keep=False) for (c, first), new in zip(loop.carries.items(), loop.new, strict=True)
        ]
        walked = list(loop.slices.items()), list(loop.shared.items())
        made = assemble(carries, *walked, loop.results, op.length, op.reverse, op.lean, op.piece)
        return [item(made, k) for k in range(len(op.step.outputs))]
    before = _before(loop)
    behind = _Behind(loop, op.length)
    if not is_ordered and not before and not behind.moved:
        return None
    return behind.outputs(op)


def _put_in_order(loop: _Loop, kind: type[Contract]) -> bool:
    """Let the contractions that a loop adds up be of this kind; return whether there are others."""
    found: dict[Node, Node] = {}
    for term in (term for terms in sums_of(loop.carries, loop.new, loop.results).values() for term in terms):
        while isinstance(term.op, Movement):
            (term,) = term.inputs
        if isinstance(term.op, Contract) and not isinstance(term.op, Forwards | Backwards):
            op = term.op
            found[term] = make(kind(op.domain, op.left, op.right, op.out, op.shape, op.inside), *term.inputs)
    outputs = walk.replace((*loop.new, *loop.results), found)
    loop.new, loop.results = outputs[: len(loop.new)], outputs[len(loop.new) :]
    return bool(found)


def sums_of(carries: Iterable[Node], after: Sequence[Node], results: Sequence[Node]) -> dict[Node, list[Node]]:
    """Return the carries of a loop that each step only adds to, with what it adds."""
    outputs = (*after, *results)
    users = walk.users(walk.topological(outputs))
    found: dict[Node, list[Node]] = {}
    for carry, new in zip(carries, after, strict=True):
        terms: list[Node] = []
        node = carry
        while node is not new and len(users.get(node, ())) == 1 and not any(node is root for root in outputs):
            (user,) = users[node]
            if not isinstance(user.op, Add):
                break
            terms.append(next(x for x in user.inputs if x is not node))
            node = user
        if node is new and terms and not users[new] and sum(root is new for root in outputs) == 1:
            found[carry] = terms
    return found


def _before(loop: _Loop, lean: bool = False) -> bool:
    """Move what needs no carry before the loop, of a lean one what is the same at all times; return whether there was any.

    That is products and reductions, and at equal times also what a loop or branch inside would make anew each time.
    """
    outputs = (*loop.new, *loop.results)
    order = walk.topological(outputs)
    given = {*loop.carries, *loop.slices, *loop.shared}
    changing = walk.dependents(outputs, (*loop.carries, *loop.slices))
    recurring = changing if lean else walk.dependents(outputs, loop.carries)
    whole = {x for node in order if isinstance(node.op, Nested) for x in node.inputs} - changing.keys() - given
    heavy: dict[Node, bool] = {}  # what may move, and whether it is worth it
    for node in order:
        if node not in recurring and (node in given or _may_move(node)) and all(x in heavy for x in node.inputs):
            heavy[node] = _is_heavy(node) or node in whole or any(heavy[x] for x in node.inputs)
    wanted = dict.fromkeys(x for node in order if node not in heavy for x in node.inputs)
    wanted |= dict.fromkeys(outputs)
    frontier = list(dict.fromkeys(_below_views(node, heavy) for node in wanted if heavy.get(node)))
    if not frontier:
        return False
    inner = [placeholder(node.type) for node in frontier]
    arrays = loop.outside(frontier, {})
    fixed = walk.replace(frontier, loop.shared)
    for one, array, same in zip(inner, arrays, fixed, strict=True):
        if array is None:
            loop.shared[one] = same
        else:
            loop.slices[one] = array
    swapped = walk.replace(outputs, dict(zip(frontier, inner, strict=True)))
    loop.new, loop.results = swapped[: len(loop.new)], swapped[len(loop.new) :]
    return True


class _Behind:
    """What of a loop can come after it: `sums` are carries that are only added to, `moved` the nodes outside."""

    def __init__(self, loop: _Loop, length: Dim) -> None:
        self.loop, self.length = loop, length
        self.inside: set[Node] = set()  # what stays in the loop though it might move
        self._decide()
        if self._reduce_rows_inside():
            self._decide()
        if not self._fits():
            self.sums, self.moved, self.factors = {}, {}, {}

    def _decide(self) -> None:
        self.sums = sums_of(self.loop.carries, self.loop.new, self.loop.results)
        while True:  # until no sum turns out to have to stay
            self.moved, self.factors = self._split()
            staying = [carry for carry, terms in self.sums.items() if not all(self._is_worth(t) for t in terms)]
            for carry in staying:
                del self.sums[carry]
            if not staying:
                break

    def _reduce_rows_inside(self) -> bool:
        """Let the loop reduce the rows of values that would be stored for that alone; return whether there were any.

        Of a gradient's norm, a number for each row is stored instead of the row; behind the loop these are added up.
        """
        chains = {node: chain for node in self.moved if (chain := self._chain(node))}
        inner = {*chains, *(x for chain in chains.values() for x in chain)}
        stored = {*self.loop.results, *self.loop.slices, *(t for terms in self.sums.values() for t in terms)}
        stored |= {x for node in self.moved if node not in inner for x in node.inputs}
        split: dict[Node, Node] = {}
        for node, chain in chains.items():
            if any(x in self.factors and x not in stored for one in chain for x in (one, *one.inputs)):
                assert isinstance(node.op, Reduction)
                (x,) = walk.replace(node.inputs, split)
                rows = make(type(node.op)(tuple(axis for axis in node.op.axes if axis)), x)
                self.inside.add(rows)
                split[node] = make(type(node.op)((0,)), rows) if 0 in node.op.axes else rows
        outputs = walk.replace((*self.loop.new, *self.loop.results), split)
        self.loop.new, self.loop.results = outputs[: len(self.loop.new)], outputs[len(self.loop.new) :]
        return bool(split)

    def _chain(self, node: Node) -> list[Node]:
        """Return what a reduction of long rows reads: its operand and, if that moves, what that is made of element by element."""
        if not isinstance(node.op, Reduction):
            return []
        (x,) = node.inputs
        if not is_long(node):
            return []
        chain, stack = dict[Node, None](), [x]
        while stack:
            one = stack.pop()
            chain[one] = None
            if one in self.moved and not isinstance(one.op, Elementwise):
                return []
            stack.extend(y for y in one.inputs if y in self.moved and y not in chain)
        return list(chain)

    def outputs(self, op: Scan) -> list[Node]:
        """Return the outputs of the scan, made of a smaller one."""
        loop = self.loop
        stays = [(c, first, new) for (c, first), new in zip(loop.carries.items(), loop.new, strict=True)]
        stays = [each for each in stays if each[0] not in self.sums]
        kept = [result for result in loop.results if result not in self.moved and result not in loop.slices]
        stored = list(dict.fromkeys([*kept, *self.factors]))
        made = assemble(
            [Carry(*each, keep=False) for each in stays],
            list(loop.slices.items()),
            list(loop.shared.items()),
            stored,
            self.length,
            op.reverse,
        )
        finals = {c: item(made, k) for k, (c, _, _) in enumerate(stays)}
        arrays = {node: item(made, len(stays) + k) for k, node in enumerate(stored)} | loop.slices
        roots = [*loop.results, *(t for terms in self.sums.values() for t in terms)]
        moving = [root for root in dict.fromkeys(roots) if root not in arrays]
        holders = {factor: placeholder(factor.type) for factor in self.factors}
        inner = walk.replace(moving, holders)
        found = loop.outside(inner, {holders[factor]: arrays[factor] for factor in self.factors})
        for root, array in zip(moving, found, strict=True):
            assert array is not None, "what is the same at all times has been moved before the loop"
            arrays[root] = array
        for carry, terms in self.sums.items():
            total = loop.carries[carry]
            for term in terms:
                shares = arrays[term]
                total = _total(total, shares) if _is_product(term) else _running(total, shares, op.reverse)
            finals[carry] = total
        return [*(finals[c] for c in loop.carries), *(arrays[result] for result in loop.results)]

    def _split(self) -> tuple[dict[Node, None], dict[Node, None]]:
        """Return the nodes of the step that move behind the loop, and those whose values they need from it."""
        loop = self.loop
        stays = [new for carry, new in zip(loop.carries, loop.new, strict=True) if carry not in self.sums]
        terms = [term for several in self.sums.values() for term in several]
        core = set(walk.topological(stays))
        roots = [*loop.results, *terms]
        order = walk.topological(roots)
        varying = walk.dependents(roots, (*loop.carries, *loop.slices))
        moved: dict[Node, None] = {}
        for node in order:
            if node in core or node in self.inside or node not in varying or not _may_move(node):
                continue
            if _is_heavy(node) or any(x in moved for x in node.inputs):
                moved[node] = None
        # What an impure node or one of several results makes of moved ones would have to move, too: it keeps them inside.
        for node in reversed(order):
            if node not in moved:
                for x in walk.topological([y for y in node.inputs if y in moved]):
                    moved.pop(x, None)
        self._absorb_elements(moved, core)
        factors = dict.fromkeys(
            x for node in moved for x in node.inputs if x not in moved and x in varying and x not in loop.slices
        )
        return moved, factors

    def _absorb_elements(self, moved: dict[Node, None], core: set[Node]) -> None:
        """Let reductions take along the elementwise work in front of them that nothing in the loop needs."""
        results = set(self.loop.results)
        stack = [x for node in moved if isinstance(node.op, Reduction) for x in node.inputs]
        read = {x for node in moved if isinstance(node.op, Contract) for x in node.inputs}
        while stack:
            node = stack.pop()
            if node in moved or node in core or node in results or node in read or not isinstance(node.op, Elementwise):
                continue
            moved[node] = None
            stack.extend(node.inputs)

    def _is_worth(self, term: Node) -> bool:
        return term in self.moved or (term.ndim == 0 and term in self._varying([term]))

    def _varying(self, roots: Sequence[Node]) -> dict[Node, None]:
        return walk.dependents(roots, (*self.loop.carries, *self.loop.slices))

    def _fits(self) -> bool:
        """Whether what must be stored is not much more than what the loop walks and stores anyway."""
        loop = self.loop
        for terms in self.sums.values():
            self.factors |= dict.fromkeys(t for t in terms if t not in self.moved and t not in loop.slices)
        known = {*loop.results, *loop.slices}
        extra = [f for f in self.factors if f not in known]
        extra += [t for terms in self.sums.values() for t in terms if not _is_product(t)]
        anyway = [*loop.slices, *(result for result in loop.results if result not in self.moved), *loop.carries]
        return dims.is_nonnegative(MORE * _elements(anyway) - _elements(extra))


def _is_product(term: Node) -> bool:
    """Whether what a loop adds up is made by a contraction that may sum over all steps, too: one of rows and columns."""
    while isinstance(term.op, Movement):
        (term,) = term.inputs
    return isinstance(term.op, Contract) and sum(size != 1 for size in term.shape) > 1


def _total(total: Node, shares: Node) -> Node:
    """Return a total and the shares of all times, which one contraction sums."""
    share = summed(permuted(shares), [0])
    if share is None:
        share = call("sum", shares, 0)
    return share if uniform(total) == 0 else total + share


def _running(total: Node, shares: Node, reverse: bool) -> Node:
    """Return a total to which the share of one time after the other is added."""
    first = call("reshape", total, (1, *total.shape))
    walked = call("concat", [shares, first] if reverse else [first, shares])
    sums = make(CumulativeSum(0, reverse), walked)
    at: Dim = 0 if reverse else shares.shape[0]
    rest = total.shape
    return call("reshape", call("slice", sums, (at, *(0 for _ in rest)), (1, *rest)), rest)


def _elements(nodes: Sequence[Node]) -> Dim:
    total: Dim = 0
    for node in nodes:
        total = total + dims.product(node.shape)
    return total


def is_long(node: Node) -> bool:
    """Whether a reduction sums rows long enough for a loop to reduce them rather than storing them."""
    (x,), op = node.inputs, node.op
    assert isinstance(op, Reduction)
    return dims.is_nonnegative(dims.product(x.shape[axis] for axis in op.axes if axis) - LONG)


def _is_heavy(node: Node) -> bool:
    return isinstance(node.op, Contract | Reduction)


def _below_views(node: Node, heavy: Mapping[Node, bool]) -> Node:
    """Return what a node is a view of, if that may move: gates are parts of one projection, not arrays of their own."""
    while isinstance(node.op, Movement) and heavy[node.inputs[0]]:
        node = node.inputs[0]
    return node


def _may_move(node: Node) -> bool:
    if isinstance(node.op, Leaf):
        return node.op.kind == "training"
    return isinstance(node.op, _MOVABLE) and isinstance(node.type, TensorType)
