"""Gradients of long loops make states again: scans are cut into pieces, and only the states between pieces are stored.

A scan and its derivatives (see `ops.families`) become two loops each, one inside of the other. The outer one walks pieces of
`k` steps and is lean: what its steps need is not stored. A derivative's is fed the states between the pieces, runs the piece
of the scan that it is a derivative of once more, then its own; so derivatives of any order follow without a rule of their
own. Pieces stand at the same positions in all of them; the steps left over at the end are a loop of their own. Results that
somebody else reads are stored, and then read by the derivatives, too. Legal always: the same steps run in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphc import dims
from graphc.dims import Dim
from graphc.graph import walk
from graphc.graph.graph import Graph, subgraphs
from graphc.graph.node import Node, call, made_at, make, placeholder
from graphc.graph.types import TensorType
from graphc.ops.families import families, is_history
from graphc.ops.nested import Item, item
from graphc.ops.scan import Scan
from graphc.passes.rewriting import with_roots, with_subgraphs
from graphc.records import replace


def cut_scans(graph: Graph, large: bool = False) -> Graph:
    """Return the graph with such scans cut, in the graphs inside ops too; `large`: states of unknown sizes are many."""
    inner = {sub: cut_scans(sub, large) for node in graph.nodes() for _, sub in subgraphs(node.op)}
    sizes: dict[Node, Dim] = {}
    for family in families(graph):
        if (size := family.size(large)) is not None:
            sizes |= dict.fromkeys(family.members, size)
    if not sizes and all(old is new for old, new in inner.items()):
        return graph
    again = _made_again(graph, sizes)
    done: dict[Node, Node] = {}
    cut: dict[Node, _Cut] = {}
    for node in graph.nodes():
        op = with_subgraphs(node.op, inner) if inner else node.op
        with made_at(node.origin):
            if isinstance(op, Scan) and node in sizes:
                cut[node] = _Cut(node, op, sizes[node], done, cut, again)
            elif not isinstance(node.op, Item) or node.inputs[0] not in cut:
                done[node] = node.on(tuple(done[operand] for operand in node.inputs), op)
            elif (node.inputs[0], node.op.index) not in again:
                done[node] = cut[node.inputs[0]].result(node.op.index)
    return with_roots(graph, tuple(done[root] for root in graph.roots))


def _made_again(graph: Graph, sizes: Mapping[Node, Dim]) -> set[tuple[Node, int]]:
    """Return the results of scans to be cut, with their numbers, that none but others of these walk."""
    roots, users = set(graph.roots), walk.users(graph.nodes())
    found: dict[tuple[Node, int], bool] = {}
    for node in graph.nodes():
        if isinstance(node.op, Item) and node.inputs[0] in sizes:
            source = node.inputs[0]
            assert isinstance(source.op, Scan)
            is_walked = node.op.index >= source.op.carries and node not in roots
            is_walked = is_walked and all(
                sizes.get(user) == sizes[source] and _walks(user, node) for user in users[node]
            )
            key = source, node.op.index
            found[key] = found.get(key, True) and is_walked
    return {key for key, is_walked in found.items() if is_walked}


def _walks(scan: Node, array: Node) -> bool:
    """Whether a scan walks the states of the one that an array comes from, and uses the array for nothing else."""
    assert isinstance(scan.op, Scan)
    part, source = scan.op.parts(scan), array.inputs[0]
    is_derived = any(is_history(walked) and walked.inputs[0] is source for walked in part.arrays)
    return is_derived and not any(x is array for x in (*part.initial, *part.operands))


class _Cut:
    """A scan in pieces: `main` walks them, `tail` the steps behind them if there may be any; `finals` are what they leave."""

    def __init__(
        self,
        node: Node,
        op: Scan,
        size: Dim,
        done: Mapping[Node, Node],
        cut: Mapping[Node, _Cut],
        again: set[tuple[Node, int]],
    ) -> None:
        self.node, self.op, self.size, self.done, self.cut, self.again = node, op, size, done, cut, again
        self.part = op.parts(node)
        self.count = dims.floordiv(op.length, size)
        self.many = self.count * size
        # Where what is stored of each step stands among the results of `main`.
        kept = (k for k in range(op.carries, len(op.step.outputs)) if (node, k) not in again)
        self.places = {k: op.carries + place for place, k in enumerate(kept)}
        self.tail: Node | None = None
        states = [done[state] for state in self.part.initial]
        for walked in (self._walk_tail, self._walk_pieces) if op.reverse else (self._walk_pieces, self._walk_tail):
            states = walked(states)
        self.finals = states

    def result(self, index: int) -> Node:
        """Return one result of the scan as it was."""
        if index < self.op.carries:
            return self.finals[index]
        pieces = _regrouped(item(self.main, self.places[index]), (self.many,), 2)
        return pieces if self.tail is None else call("concat", [pieces, item(self.tail, index)])

    def entering(self) -> list[Node]:
        """Return, for each carry, what entered each piece."""
        first = self.op.carries + len(self.places)
        return [item(self.main, first + k) for k in range(self.op.carries)]

    def in_pieces(self, array: Node) -> Node:
        """Return an array that is walked with an axis of pieces before that of their steps."""
        return _regrouped(_from(self.done[array], 0, self.many), (self.count, self.size), 1)

    def _walk_pieces(self, initial: Sequence[Node]) -> list[Node]:
        op = self.op
        states = [placeholder(carry.type) for carry in self.part.carries]
        piece = _Piece(self)
        one = piece.run(self, states)
        outputs = (*(item(one, k) for k in (*range(op.carries), *self.places)), *states)
        walked, shared = piece.walked.values(), piece.shared.values()
        inputs = (*states, *(inner for inner, _ in walked), *(inner for inner, _ in shared))
        outer = Scan(Graph(inputs, outputs), self.count, op.carries, len(walked), op.reverse, lean=True)
        self.main = make(outer, *initial, *(array for _, array in walked), *(operand for _, operand in shared))
        return [item(self.main, k) for k in range(op.carries)]

    def _walk_tail(self, initial: Sequence[Node]) -> list[Node]:
        rest = self.op.length - self.many
        if rest == 0:
            return list(initial)
        arrays: list[Node] = []
        for array in self.part.arrays:
            if (again := self.remade(array)) is None:
                arrays.append(_from(self.done[array], self.many, rest))
            else:
                source, index = again
                assert source.tail is not None, "they have one length"
                arrays.append(item(source.tail, index))
        operands = (self.done[operand] for operand in self.part.operands)
        self.tail = make(replace(self.op, length=rest, lean=False, piece=None), *initial, *arrays, *operands)
        return [item(self.tail, k) for k in range(self.op.carries)]

    def remade(self, array: Node) -> tuple[_Cut, int] | None:
        """Return the scan, and the number of its result, that makes an array again; None for one that is stored."""
        if not isinstance(array.op, Item) or (array.inputs[0], array.op.index) not in self.again:
            return None
        return self.cut[array.inputs[0]], array.op.index


@dataclass
class _Piece:
    """The step of the loop over a scan's pieces: placeholders with what they stand for outside, and what is run."""

    of: _Cut
    walked: dict[object, tuple[Node, Node]] = field(default_factory=dict[object, tuple[Node, Node]])
    shared: dict[Node, tuple[Node, Node]] = field(default_factory=dict[Node, tuple[Node, Node]])
    runs: dict[Node, Node] = field(default_factory=dict[Node, Node])

    def run(self, cut: _Cut, states: Sequence[Node] | None = None) -> Node:
        """Return the scan of one piece, from given states on; of one that runs again, from those stored before."""
        if cut.node not in self.runs:
            states = states or [self._walked(array, array) for array in cut.entering()]
            arrays = [self._array(array) for array in cut.part.arrays]
            operands = [self._operand(operand) for operand in cut.part.operands]
            op = replace(cut.op, length=cut.size, lean=False, piece=None)
            self.runs[cut.node] = make(op, *states, *arrays, *operands)
        return self.runs[cut.node]

    def _array(self, array: Node) -> Node:
        again = self.of.remade(array)
        if again is None:
            return self._walked(array, self.of.in_pieces(array))
        source, index = again
        return item(self.run(source), index)

    def _walked(self, key: Node, array: Node) -> Node:
        one = placeholder(TensorType(array.shape[1:], array.dtype))
        return self.walked.setdefault(key, (one, array))[0]

    def _operand(self, operand: Node) -> Node:
        outer = self.of.done[operand]
        return self.shared.setdefault(operand, (placeholder(outer.type), outer))[0]


def _from(array: Node, start: Dim, size: Dim) -> Node:
    if size == array.shape[0]:
        return array
    return call("slice", array, (start, *(0 for _ in array.shape[1:])), (size, *array.shape[1:]))


def _regrouped(array: Node, leading: tuple[Dim, ...], replaced: int) -> Node:
    """Return the array with its first axes, so many, as others of the same elements."""
    return call("reshape", array, (*leading, *array.shape[replaced:]))
