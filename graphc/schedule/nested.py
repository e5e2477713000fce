"""Loops and branches of a region: what they write where it lies, and their steps, each graph inside a region of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.graph.bodies import Branch, Loop, While
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.types import TupleType
from graphc.schedule import plan
from graphc.schedule.cost import owned_pieces
from graphc.schedule.ownership import owner_of
from graphc.schedule.root import maker_of
from graphc.schedule.states import states
from graphc.schedule.units import Unit, whole_copy

if TYPE_CHECKING:
    from graphc.schedule.region import Region


def place_branch(region: Region, node: Node) -> None:
    """Let a branch that makes new carries of a loop, and nothing else, replace them: the side that keeps one does nothing.

    Nothing follows it then. It must not read what others replace, for these might have to come before it.
    """
    assert isinstance(node.type, TupleType)
    targets = {maker_of(value): buffer for value, buffer in region.updates if maker_of(value)[0] is node}
    others = {buffer for value, buffer in region.updates if maker_of(value)[0] is not node}
    read = {region.bound.get(operand) for operand in node.inputs}
    used = [*(n for n, _ in region.destinations), *(x for n in region.order for x in n.inputs)]
    is_alone = not any(maker_of(x)[0] is node for x in used) and not others & read
    is_whole = len(targets) == len(node.type.items) == len(set(targets.values()))
    if is_alone and is_whole and all(region.draft.buffers[b].kind != "leaf" for b in targets.values()):
        region.places |= targets
        region.replacing |= targets.keys()


def place_loop(region: Region, node: Node, body: Loop) -> None:
    """Let results of a loop replace carries of the loop around it that it walks itself, if nobody else reads either."""
    walked = node.inputs[body.carries : body.carries + body.slices]
    roots = [n for n, _ in (*region.destinations, *region.updates)]
    for value, buffer in region.updates:
        maker, number = maker_of(value)
        old = next((x for x in walked if region.bound.get(x) == buffer), None)
        if maker is not node or number < body.carries or old is None:
            continue
        read = [(x, *maker_of(x)) for x in (*roots, *(x for n in region.order for x in n.inputs))]
        uses = sum(x is old or (by is node and k == number) for x, by, k in read)
        if uses == 2:  # the loop's own, and the update
            region.places[node, number] = buffer
            region.replacing.add((node, number))


def loop_unit(region: Region, node: Node, body: Loop, inputs: list[int]) -> Unit:
    """Return the unit of a loop of known length."""
    assert isinstance(node.type, TupleType)
    items = node.type.items
    outputs = [region.places[node, k] for k in range(len(items))]
    split = body.carries + body.slices
    starts, walked, shared = inputs[: body.carries], inputs[body.carries : split], inputs[split:]

    def steps() -> list[plan.Step]:
        slices = [region.draft.slice(b) for b in walked]
        kept = states(region.draft, body, starts, outputs, items, dict(zip(walked, slices, strict=True)))
        bound = dict(zip(body.step.inputs, [*kept.read, *slices, *shared], strict=True))
        written = [region.draft.buffers[b].shape for _, b in (*kept.stored, *kept.replaced)]
        inner = region.inside(body.step, bound, kept.stored, kept.replaced, frozenset(shared), owner_of(written))
        repeated = inner.steps()
        begin = [*kept.begin, *(step for unit in inner.panels.prologue for step in region.draft.steps_of(unit))]
        owners = 1 if inner.owned is None else owned_pieces(inner.owned)
        loop = plan.Repeat(body.length, tuple(repeated), (*slices, *kept.slices), body.reverse, owners)
        return [*begin, loop, *kept.end]

    # Who reads an array that the loop has a part in waits for the loop.
    wholes = {region.places[region.joined[node, k][0], 0] for k in range(len(items)) if (node, k) in region.joined}
    return Unit(set(inputs), {*outputs, *wholes}, steps=steps, nodes=[node])


def while_unit(region: Region, node: Node, body: While, inputs: list[int]) -> Unit:
    """Return the unit of a loop that its carries end."""
    assert isinstance(node.type, TupleType)
    items = node.type.items
    carries = [region.places[node, k] for k in range(len(items))]
    starts, shared = inputs[: len(items)], inputs[len(items) :]

    def steps() -> list[plan.Step]:
        bound = dict(zip(body.step.inputs, [*carries, *shared], strict=True))
        going = region.draft.temporary("going", body.test.outputs[0].tensor)
        test = region.inside(body.test, bound, [(body.test.outputs[0], going)], ())
        updates = list(zip(body.step.outputs, carries, strict=True))
        inner = region.inside(body.step, bound, (), updates)
        begin: list[plan.Step] = []
        for start, carry, item in zip(starts, carries, items, strict=True):
            begin += region.draft.steps_of(whole_copy(start, carry, item))
        repeated = (*test.steps(), plan.Leave(going), *inner.steps())
        return [*begin, plan.Repeat(plan.ENDLESS, repeated, ())]

    return Unit(set(inputs), set(carries), steps=steps, nodes=[node])


def branch_unit(region: Region, node: Node, body: Branch, inputs: list[int]) -> Unit:
    """Return the unit of a branch."""
    items = node.type.items if isinstance(node.type, TupleType) else (node.type,)
    outputs = [region.places[node, k] for k in range(len(items))]
    is_late = (node, 0) in region.replacing

    def side_of(graph: Graph) -> tuple[plan.Step, ...]:
        bound = dict(zip(graph.inputs, inputs[1:], strict=True))
        made = list(zip(graph.outputs, outputs, strict=True))
        return tuple(region.inside(graph, bound, () if is_late else made, made if is_late else ()).steps())

    def steps() -> list[plan.Step]:
        return [plan.Branch(inputs[0], side_of(body.then), side_of(body.otherwise))]

    return Unit(set(inputs), set(outputs), steps=steps, late=is_late, nodes=[node])
