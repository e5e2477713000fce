"""From a graph to steps: lower every node, decide what is stored, build kernels, fuse, order, take places in place.

A region is the whole graph or the step of a loop or the side of a branch. What updates do for parameters, new carries do
for a loop's carries: all right sides read the old values, then all are replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc import dims
from graphc.dims import Axis, Dim, DimExpr
from graphc.graph import bodies
from graphc.graph.bodies import Body, Branch, Compute, Contract, Loop, Native, While
from graphc.graph.graph import Graph
from graphc.graph.node import Constant, Node
from graphc.graph.op import Op
from graphc.graph.products import Operand, scalar_operand
from graphc.graph.text import function_name
from graphc.graph.types import NodeType, TupleType
from graphc.loops import expr
from graphc.loops.expr import Const, Expr, Load, Reduce, Rewriter
from graphc.loops.kernels import ACCUMULATOR, Call, Map, Scatter, Store, flat_offset
from graphc.ops.arithmetic import Add
from graphc.ops.nested import Item
from graphc.ops.slicing import Pad
from graphc.records import replace
from graphc.schedule import contraction, plan
from graphc.schedule.assembly import Assembly, Place, assemblies, in_place, is_part, joined_results
from graphc.schedule.beside import side_by_side, with_surroundings
from graphc.schedule.draft import Draft
from graphc.schedule.epilogues import Epilogues
from graphc.schedule.inline import Inliner, lane_of
from graphc.schedule.joined import joined, parts_of
from graphc.schedule.late import gather, settle
from graphc.schedule.margins import inside, margins
from graphc.schedule.nest import Nest, numbered
from graphc.schedule.nested import branch_unit, loop_unit, place_branch, place_loop, while_unit
from graphc.schedule.order import ordered
from graphc.schedule.ownership import own
from graphc.schedule.panels import Panels
from graphc.schedule.parts import tile_units
from graphc.schedule.root import Root, maker_of
from graphc.schedule.stages import in_stages
from graphc.schedule.states import all_kept_together
from graphc.schedule.sums import in_order
from graphc.schedule.trial import trial
from graphc.schedule.units import Unit, axes_of, map_unit, merge
from graphc.schedule.views import Views


@dataclass(eq=False)
class Region:
    """One graph being scheduled into a draft.

    `bound` gives the buffers of inputs and leaves; `destinations` the buffers that outputs are written to; `updates` the
    buffers whose contents are replaced at the end. In the step of a loop, `invariant` are the buffers that it does not
    change; panels that are made of them alone are made once before the loop. `owned`: see `ownership`.
    """

    draft: Draft
    graph: Graph
    bound: dict[Node, int]
    destinations: Sequence[tuple[Node, int]]
    updates: Sequence[tuple[Node, int]]
    invariant: frozenset[int] = frozenset()
    owned: Dim | None = None
    order: list[Node] = field(default_factory=list[Node])
    bodies: dict[Node, Body | Assembly] = field(default_factory=dict[Node, Body | Assembly])
    scalars: dict[Node, Const] = field(default_factory=dict[Node, Const])
    places: dict[tuple[Node, int], int] = field(default_factory=dict[tuple[Node, int], int])
    joined: dict[tuple[Node, int], tuple[Node, Dim]] = field(default_factory=dict[tuple[Node, int], tuple[Node, Dim]])
    replacing: set[tuple[Node, int]] = field(default_factory=set[tuple[Node, int]])
    units: list[Unit] = field(default_factory=list[Unit])
    parts: dict[Node, Place] = field(default_factory=dict[Node, Place])
    added: set[Node] = field(default_factory=set[Node])
    scalar_operand: dict[Node, int] = field(default_factory=dict[Node, int])
    operands: dict[Node, tuple[Operand, Operand]] = field(default_factory=dict[Node, tuple[Operand, Operand]])
    modes: dict[Node, tuple[tuple[Axis, ...], Axis | None]] = field(
        default_factory=dict[Node, tuple[tuple[Axis, ...], Axis | None]]
    )
    inliner: Inliner = field(init=False)
    panels: Panels = field(init=False)

    def steps(self) -> list[plan.Step]:
        """Return the steps that compute the outputs and make the updates."""
        self._lower()
        self.inliner = Inliner(self.order, self.bodies, self.scalars, self._needed(), lambda node: node.shape)
        self._decide()
        self._place()
        roots = self._roots()
        self.panels = Panels(self.draft, self.invariant, is_shared=self.owned is None)
        fused = self._contractions(roots)
        self.units += self.panels.units
        for root in roots:
            if id(root) not in fused:
                self.units.append(map_unit(self._map(root), [root.node], late=root.late))
        for node in self.order:
            self._whole(node)
        self.units = gather(self.draft, settle(self.draft, self.units), alone=False)
        self.units = [in_stages(unit) for unit in merge(self.units, lambda b: self.draft.buffers[b].shape)]
        self.units = ordered(gather(self.draft, self.units, alone=True), self.draft.nominal())
        if self.owned is None:
            self.units = side_by_side(with_surroundings(self.units))
        kept = all_kept_together(self.draft, self.bodies, self.places)
        self.draft.share(self.units, {b for _, b in self.destinations} | set(self.bound.values()) | kept)
        if self.owned is not None and not own(self.units, self.owned, self.draft.buffers):
            self.owned = None
        return [step for unit in self.units for step in self.draft.steps_of(unit)]

    def inside(
        self,
        graph: Graph,
        bound: dict[Node, int],
        destinations: Sequence[tuple[Node, int]],
        updates: Sequence[tuple[Node, int]],
        invariant: frozenset[int] = frozenset(),
        owned: Dim | None = None,
    ) -> Region:
        """Return the region of a graph inside this one."""
        known = bound | self.draft.leaves_of(graph)
        return Region(self.draft, graph, known, destinations, updates, invariant, owned)

    # -- lowering

    def _lower(self) -> None:
        self.order = [n for n in self.graph.nodes() if n not in self.bound]
        known: dict[tuple[Op, tuple[NodeType, ...]], Body] = {}
        readers = Counter(i for n in self.order for i in n.inputs) + Counter(
            n for n, _ in (*self.destinations, *self.updates)
        )
        self.added = {i for n in self.order if isinstance(n.op, Add) for i in n.inputs if readers[i] == 1}
        for node in self.order:
            if isinstance(node.op, Item):
                continue
            if isinstance(node.op, Constant) and node.op.value.size != 1:
                self.bound[node] = self.draft.constant(node.op.value)
                continue
            types = (node.type, *(i.type for i in node.inputs))
            if (node.op, types) not in known:
                known[node.op, types] = node.op.lower(*types)  # pyright: ignore[reportArgumentType]
            body = known[node.op, types]
            prefix = f"r{self.draft.number()}_"
            if isinstance(body, Contract):
                body = self._contract(node, body, prefix)
            if isinstance(body, Compute):
                value = body.value
                if any(isinstance(e, Reduce) for e in expr.walk(value)):
                    value = Rewriter({}, rename=prefix.__add__)(value)
                    value = in_order(value, body.axes, [i.shape for i in node.inputs])
                body = replace(body, value=self.draft.with_sites(value, node))
                if isinstance(value, Const):
                    self.scalars[node] = value
            self.bodies[node] = body
        self.order = [n for n in self.order if n in self.bodies]
        self._view()
        self.parts = assemblies(self.order, self.bodies, [n for n, _ in (*self.destinations, *self.updates)])
        self.bodies |= {place.whole: Assembly() for place in self.parts.values()}
        self.bodies |= {part: Assembly() for part in self.parts if not is_part(part)}
        kept = [n for n, _ in (*self.destinations, *self.updates)]
        for whole, results, views in joined_results(self.order, self.bodies, kept):
            self.bodies |= {node: Assembly() for node in (whole, *views)}
            self.joined |= {(loop, k): (whole, first) for loop, k, first in results}

    def _view(self) -> None:
        """Let contractions read operands that are views where their elements lie, if the same tiles fit."""
        whole = {n for n, _ in (*self.destinations, *self.updates)}
        whole |= {i for n in self.order if not isinstance(self.bodies[n], Compute | Contract) for i in n.inputs}
        views = Views(self.order, self.bodies, whole)
        for node, scalar in self.scalar_operand.items():
            body = self.bodies[node]
            assert isinstance(body, Contract)
            pairs = list(zip(node.inputs, (body.left, body.right), strict=True))
            own = [Operand.of(n, index) for n, index in pairs]
            # Whole vectors are in the margins or are not, so these need no array.
            is_lanewise = dims.axes(body.out[-1]) <= dims.axes(own[scalar].offset)
            found = [views.of(n, at, margins=is_lanewise and k == scalar) for k, (n, at) in enumerate(pairs)]
            if self._scalar_operand(node, body, found) != scalar:
                found = own
            self.operands[node] = found[scalar], found[1 - scalar]

    def _contract(self, node: Node, body: Contract, prefix: str) -> Body:
        if node.dtype.is_float and not body.is_reduced:
            # A tile makes one sum, so equal contractions may have equal axes, and are looked at once.
            tile = contraction.renamed(body, "r_")
            operands = [Operand.of(n, index) for n, index in zip(node.inputs, (tile.left, tile.right), strict=True)]
            scalar = self._scalar_operand(node, tile, operands)
            if scalar is not None:
                self.scalar_operand[node] = scalar
                return tile
        return contraction.general(contraction.renamed(body, prefix), node.tensor, node.dtype)

    def _scalar_operand(self, node: Node, body: Contract, operands: Sequence[Operand]) -> int | None:
        lasting = {k for k, operand in enumerate(node.inputs) if self.bound.get(operand) in self.invariant}
        return scalar_operand(body, operands, lasting, is_added=body.is_share and node in self.added)

    # -- what is stored

    def _needed(self) -> set[Node]:
        needed = {n for n, _ in self.destinations} | set(self.parts)
        for node in self.order:
            needed |= self._read_whole(node)
        return {n for n in needed if isinstance(self.bodies.get(n), Compute)}

    def _read_whole(self, node: Node) -> set[Node]:
        """Return the nodes whose arrays this one's kernel reads, whatever fuses."""
        if isinstance(self.bodies[node], Contract):
            return {operand.source for operand in self.operands[node]}
        return set() if isinstance(self.bodies[node], Compute) else set(node.inputs)

    def _decide(self) -> None:
        consumers = Counter(i for n in self.order for i in set(n.inputs)) + Counter(n for n, _ in self.updates)
        self.inliner.store_costly(consumers)
        self.inliner.store_checked(n for n, _ in self.updates)
        # What other updates read of a number's new value (a step count's) they need not wait for.
        self.inliner.stored |= {
            n
            for n, b in self.updates
            if self.inliner.is_inlined(n) and not n.shape and consumers[n] > 1 and self.draft.buffers[b].kind == "leaf"
        }
        # Of a carry of one number for each row what is summed is made while the row is at hand.
        carried = [n for n, b in self.updates if self.draft.buffers[b].kind != "leaf" and self.inliner.is_inlined(n)]
        for node in carried:
            if node in self.inliner.summing and node.shape and (node.shape[-1] == 1 or self._mode(node)[1] is None):
                self.inliner.stored |= self.inliner.sums_in(node)
        replaced = {n for n, _ in self.updates if self.inliner.is_inlined(n)}
        # What sums in its update would have a kernel of its own, where all other parameters share one.
        leaves = {n for n, b in self.updates if n in replaced and self.draft.buffers[b].kind == "leaf"}
        for node in reversed(self.order):
            if isinstance(self.bodies[node], Compute) and (node in self.inliner.stored or node in replaced):
                rows, lane = self.modes[node] = self._mode(node)
                apart = node in leaves and lane is not None
                self.inliner.store_repeated(node, rows, lane, commit=node in replaced, apart=apart)
        self.inliner.memo.clear()

    def _mode(self, node: Node) -> tuple[tuple[Axis, ...], Axis | None]:
        axes = axes_of(node.shape)
        body = self.bodies[node]
        assert isinstance(body, Compute)
        if body.ordered:
            return (axes, None) if body.ordered[1] == len(axes) - 1 else (axes[:-1], axes[-1])
        if axes and axes[-1].extent == 1 and node.op.name != "contract" and self.inliner.prefers_rows(node):
            return axes[:-1], axes[-1]  # sums of rows that keep their axis join what is made of the same rows
        if not axes or self.inliner.prefers_rows(node):
            return axes, None
        lane = lane_of(node, axes, self.inliner.summing)
        return tuple(a for a in axes if a is not lane), lane

    def _place(self) -> None:
        for node in self.order:
            match self.bodies[node]:
                case Branch():
                    place_branch(self, node)
                case Loop() as body:
                    place_loop(self, node, body)
                case _:
                    pass
        for node, buffer in self.destinations:
            key = maker_of(node)
            if key[0] in self.bodies and key not in self.places:
                self.places[key] = buffer
        for node in self.order:
            body = self.bodies[node]
            if node in self.parts or (isinstance(body, Compute) and node not in self.inliner.stored):
                continue
            items = node.type.items if isinstance(node.type, TupleType) else (node.type,)
            for number, item in enumerate(items):
                if (node, number) not in self.places:
                    self.places[node, number] = self.draft.temporary(node.op.name, item)
        for key, (whole, first) in self.joined.items():
            part = self.draft.buffers[self.places[key]]
            self.draft.buffers[part.number] = replace(part, shares=self.places[whole, 0], first=first)

    def _buffer(self, node: Node) -> int:
        return self.bound[node] if node in self.bound else self.places[maker_of(node)]

    def _is_callers(self, buffer: int) -> bool:
        """Whether an array, or the one that it is a slice of, is an input."""
        array = self.draft.buffers[buffer]
        return self._is_callers(array.position) if array.kind == "slice" else array.kind == "input"

    def _flat(self, value: Expr) -> Expr:
        def on_load(found: Load) -> Expr:
            if not isinstance(found.source, Node):
                return found
            offset = flat_offset(found.index, found.source.shape)
            return expr.load(self._buffer(found.source), (offset,), found.dtype, found.guard)

        return expr.rewrite(value, {}, on_load)

    # -- kernels

    def _roots(self) -> list[Root]:
        roots: list[Root] = []
        for node in self.order:
            body = self.bodies[node]
            if isinstance(body, Compute) and node in self.inliner.stored:
                place = self.parts.get(node)
                buffer = self.places[place.whole if place is not None else node, 0]
                roots.append(self._root(node, buffer, late=False))
                if place is not None:
                    roots[-1] = in_place(roots[-1], place)
                elif isinstance(node.op, Pad) and node.op.is_margin:
                    roots[-1] = self._padded(roots[-1])
        for node, buffer in self.destinations:
            if maker_of(node)[0] not in self.bodies or self.places[maker_of(node)] != buffer:
                roots.append(self._copy(node, buffer, late=False))
        for node, buffer in self.updates:
            if self.bound.get(node) == buffer or maker_of(node) in self.replacing:
                continue
            if self.inliner.is_inlined(node) and node not in self.scalars:
                roots.append(self._root(node, buffer, late=True))
            else:
                roots.append(self._copy(node, buffer, late=True))
        return roots

    def _root(self, node: Node, buffer: int, *, late: bool) -> Root:
        axes = axes_of(node.shape)
        rows, lane = self.modes[node]
        body = self.bodies[node]
        assert isinstance(body, Compute)
        ordered = None
        if body.ordered:
            combiner, position, reverse = body.ordered
            ordered = (combiner, axes[position], reverse)
            rows = tuple(a for a in rows if a != axes[position])
        value = self.inliner.expression(node, self.inliner.index(node, axes))
        return Root(node, axes, rows, lane, value, buffer, late, ordered)

    def _padded(self, root: Root) -> Root:
        """Return what stands inside of a padded array as a value of its own, and add the kernels of the margins."""
        (source,) = root.node.inputs
        axes = axes_of(source.shape)
        rows, lane = (axes, None) if root.lane is None else (axes[:-1], axes[-1])
        value = self.inliner.element(source, tuple(DimExpr.of(a) for a in axes))
        self.units += [map_unit(one, [root.node], late=False) for one in margins(root.node, root.buffer)]
        part = Root(root.node, axes, rows, lane, value, root.buffer, late=False)
        part.offset, part.is_whole = inside(root.node), False
        return part

    def _map(self, root: Root) -> Map:
        """Return the kernel of a value that is no epilogue."""
        is_join = root.is_whole and root.lane is not None and not root.late
        join = joined(root.node, self.inliner) if is_join else None
        if join is None:
            value = self._flat(root.expression)
            return Map(root.rows, root.lane, (Store(root.buffer, root.offset, value),), root.ordered)
        axes = axes_of(join.inputs[0].shape)
        stores = (Store(root.buffer, at, self._flat(value)) for at, value in parts_of(join, self.inliner))
        return Map(axes[:-1], axes[-1], tuple(stores))

    def _copy(self, node: Node, buffer: int, *, late: bool) -> Root:
        axes = axes_of(node.shape)
        value = self.inliner.element(node, tuple(DimExpr.of(a) for a in axes))
        rows, lane = (axes[:-1], axes[-1]) if axes else ((), None)
        return Root(node, axes, rows, lane, value, buffer, late)

    def _contractions(self, roots: list[Root]) -> set[int]:
        """Make the Tile units; return which roots became epilogues."""
        needed = {n for n, _ in self.destinations}.union(*map(self._read_whole, self.order))
        leaves = frozenset(self.draft.leaves.values())
        taken: set[int] = set()
        for node, fused, stored in Epilogues(self.order, self.bodies, leaves).chosen(roots, needed):
            taken |= {id(r) for r in fused}
            body = self.bodies[node]
            assert isinstance(body, Contract)
            self.units += self._tile(node, body, fused, stored=stored)
        return taken

    def _tile(self, node: Node, body: Contract, fused: Sequence[Root], *, stored: bool) -> list[Unit]:
        left, right = (
            expr.load(self._buffer(one.source), (one.offset,), node.dtype, one.guard) for one in self.operands[node]
        )
        assert isinstance(left, Load)
        assert isinstance(right, Load)
        accumulator = expr.load(ACCUMULATOR, (), node.dtype)
        stores: list[Store] = []
        if stored:
            place = self.parts.get(node) or Place.own(node)
            stores.append(Store(self.places[place.whole, 0], place.at(body.out), accumulator))
        for root in fused:
            onto = dict(zip(root.axes, body.out, strict=True))

            def on_load(found: Load) -> Expr:
                return accumulator if found.source is node else found

            value = self._flat(expr.rewrite(root.expression, onto, on_load))
            stores.append(Store(root.buffer, dims.substitute(root.offset, onto), value))
        kept = tuple(a for d in body.out for a in dims.axes(d))
        reduced = tuple(a for a in body.domain if a not in kept)
        nest = Nest(
            kept, reduced, left, right, tuple(stores), self.owned, in_order=body.in_order, is_share=body.is_share,
            inside=body.inside, is_loose=self._is_callers(right.source),
        )  # fmt: skip
        alone, touched = numbered(nest)
        position, buffers = 0, self.draft.buffers
        if self.draft.choose is not None:
            position = self.draft.choose(trial(alone, touched, buffers, node, self.invariant, self.owned))
        sizes = tuple(dims.product(buffers[b].shape) for b in touched)
        tiling = self.draft.tilings.of(alone, sizes, position).on_buffers(touched.__getitem__)
        nodes = [node, *(r.node for r in fused)]
        return tile_units(self.panels, tiling, nodes, late=any(r.late for r in fused))

    def _whole(self, node: Node) -> None:
        """Add the unit of a node that works on whole arrays."""
        body = self.bodies[node]
        inputs = [self._buffer(i) for i in node.inputs] if not isinstance(body, Compute | Contract | Assembly) else []
        match body:
            case bodies.Scatter(site, wraps):
                index, updates = node.inputs
                width = dims.product(node.shape[1:])
                kernel = Scatter(
                    inputs[0], index.dtype, inputs[1], self.places[node, 0], node.dtype,
                    updates.shape[0], node.shape[0], width, self.draft.site(site, node), wraps,
                )  # fmt: skip
                self.units.append(Unit(set(inputs), {self.places[node, 0]}, kernel, nodes=[node]))
            case Native(function, scratch, views, reports):
                items = node.type.items if isinstance(node.type, TupleType) else (node.type,)
                outputs = [self.places[node, k] for k in range(len(items))]
                types = [*items, *(i.tensor for i in node.inputs)]
                shapes = views or [t.shape for t in types]
                arrays = [(b, t.dtype, s) for b, t, s in zip([*outputs, *inputs], types, shapes, strict=True)]
                room = [(self.draft.temporary("scratch", t), t.dtype, t.shape) for t in scratch]
                arrays[len(outputs) : len(outputs)] = room
                kernel = Call(function_name(function, "native"), tuple(arrays), reports)
                self.units.append(Unit(set(inputs), {*outputs, *(b for b, _, _ in room)}, kernel, nodes=[node]))
            case Loop():
                self.units.append(loop_unit(self, node, body, inputs))
            case Branch():
                self.units.append(branch_unit(self, node, body, inputs))
            case While():
                self.units.append(while_unit(self, node, body, inputs))
            case _:
                pass
