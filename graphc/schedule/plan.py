"""What the scheduler hands to the runtime: plain data, printable, and JSON in the cache.

    plan ::= buffers, steps, kernels, constants, requirements
    step ::= KernelCall | Repeat(count, steps) | Branch(predicate, steps, steps) | Leave(predicate)

A kernel is called as `kernel(args, thread, threads)`: word 0 of args is the address of the status block, the words after
it are those of its `KernelCall`: addresses of buffers and values of dims.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from graphc import dims
from graphc.dims import Dim
from graphc.dtypes import DTYPES, DType
from graphc.parsing import parse
from graphc.records import record, structure
from graphc.requirements import Requirement


@record
class Buffer:
    """One storage slot.

    kind and position: "input", "output", "leaf" (a parameter or state) or "constant" and its number among those;
    "temporary" lives in the arena; so does "private", once for each thread of the one step that uses it; "slice" is one
    position of the leading axis of buffer number `position`, walked by the Repeat that names it, or the one `shift` further.
    `shares` is the number of a temporary whose storage this one takes: of a dying one (an in-place result), or of one that it
    is a part of, from position `first` of the leading axis on.
    """

    number: int
    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    kind: str
    position: int = -1
    shares: int | None = None
    shift: int = 0
    first: Dim = 0

    @property
    def nbytes(self) -> Dim:
        """The size in bytes."""
        return self.dtype.itemsize * dims.product(self.shape)


@record
class Address:
    """A kernel argument: the address of a buffer."""

    buffer: int


@record
class Guest:
    """A kernel that a step runs after another one, on words of its own."""

    kernel: str
    words: tuple[Address | Dim, ...]


@record
class KernelCall:
    """One kernel on its buffers, or several that need nothing of one another: a thread makes its share of one, then of the next.

    `units` is how many independent pieces its threads may share (1: it runs on one thread), `work` an estimate of scalar
    operations for all of them, `dense` how many of those are a contraction's. `whole` are the buffers that each thread reads
    all of, whatever its share. A `commit` step writes leaves; none runs if the status block holds an error.
    """

    kernel: str
    words: tuple[Address | Dim, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    units: Dim
    work: Dim
    dense: Dim = 0
    whole: tuple[int, ...] = ()
    commit: bool = False
    guests: tuple[Guest, ...] = ()

    @property
    def runs(self) -> tuple[tuple[str, tuple[Address | Dim, ...]], ...]:
        """All kernels, in order, with their words."""
        return ((self.kernel, self.words), *((guest.kernel, guest.words) for guest in self.guests))


@record
class Repeat:
    """Steps run `count` times; the named slices move one position each time, from the end if `reverse`.

    Where `owners` is more than 1, a thread may make all steps for its share of so many pieces, and never waits inside.
    """

    count: Dim
    steps: tuple[Step, ...]
    slices: tuple[int, ...]
    reverse: bool = False
    owners: Dim = 1


@record
class Branch:
    """`then` if the bool scalar in buffer `predicate` is true, else `otherwise`."""

    predicate: int
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]


@record
class Leave:
    """Ends the Repeat whose step it is if the bool scalar in buffer `predicate` is false."""

    predicate: int


# The count of a Repeat that only a Leave ends.
ENDLESS = 2**40

Step: TypeAlias = KernelCall | Repeat | Branch | Leave


@record
class Plan:
    """All that a run needs but the machine code: kernels by name (their source), steps, buffers.

    `sites` gives, by number, what the status block's site means: the user's line and the operation.
    `natives` names the user functions that kernels call. `key` names the plan in the cache, where what is made from it for
    some sizes is kept too; "" is a plan that is not there.
    """

    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    kernels: dict[str, str]
    constants: tuple[np.ndarray[Any, Any], ...]
    requirements: tuple[Requirement, ...]
    sites: tuple[str, ...]
    key: str = ""

    def of_kind(self, kind: str) -> list[Buffer]:
        """Return the buffers of one kind, by position."""
        return sorted((b for b in self.buffers if b.kind == kind), key=lambda b: b.position)

    def to_json(self) -> str:
        """Return the plan as JSON."""
        return json.dumps(
            {
                "buffers": [
                    [
                        b.name,
                        b.dtype.name,
                        [str(d) for d in b.shape],
                        b.kind,
                        b.position,
                        b.shares,
                        b.shift,
                        str(b.first),
                    ]
                    for b in self.buffers
                ],
                "steps": [_step_to_json(s) for s in self.steps],
                "kernels": self.kernels,
                "constants": [
                    [str(c.dtype), list(c.shape), base64.b64encode(np.ascontiguousarray(c).tobytes()).decode()]
                    for c in self.constants
                ],
                "requirements": [
                    [str(r.left), r.relation, str(r.right), r.reason, r.origin] for r in self.requirements
                ],
                "sites": list(self.sites),
            }
        )

    @staticmethod
    def from_json(text: str, key: str = "") -> Plan:
        """Return the plan that `to_json` wrote, under its key in the cache."""
        data = json.loads(text)
        return Plan(
            tuple(
                Buffer(
                    n, name, DTYPES[dtype], tuple(parse(d) for d in shape), kind, position, shares, shift, parse(first)
                )
                for n, (name, dtype, shape, kind, position, shares, shift, first) in enumerate(data["buffers"])
            ),
            tuple(_step_from_json(s) for s in data["steps"]),
            data["kernels"],
            tuple(
                np.frombuffer(base64.b64decode(raw), dtype).reshape(shape) for dtype, shape, raw in data["constants"]
            ),
            tuple(
                Requirement(parse(left), relation, parse(right), reason, origin)
                for left, relation, right, reason, origin in data["requirements"]
            ),
            tuple(data["sites"]),
            key,
        )


@structure
class Form:
    """A plan for some calls: those whose symbols are these numbers, and whose sizes meet `needs`.

    What is known of sizes makes its kernels simpler, or is what they were chosen for. `roots` are symbols of its own: square
    roots, rounded up, of dims of the call's. It is made when it is needed first.
    """

    sizes: Mapping[str, int]
    make: Callable[[], Plan]
    needs: tuple[Requirement, ...] = ()
    roots: Mapping[str, Dim] = MappingProxyType({})

    @cached_property
    def plan(self) -> Plan:
        """The plan."""
        return self.make()

    def serves(self, sizes: Mapping[str, int]) -> bool:
        """Whether it is for a call of these sizes."""
        is_given = all(sizes[name] == size for name, size in self.sizes.items())
        return is_given and all(need.holds(sizes) for need in self.needs)

    def own(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return a call's sizes with those of its own symbols."""
        squares = {name: dims.evaluate(dim, sizes) for name, dim in self.roots.items()}
        return {**sizes, **{name: math.isqrt(max(size, 1) - 1) + 1 for name, size in squares.items()}}


def calls(steps: Sequence[Step]) -> Iterator[KernelCall]:
    """Yield every kernel call below these steps, in order."""
    for step in steps:
        match step:
            case KernelCall():
                yield step
            case Repeat():
                yield from calls(step.steps)
            case Branch():
                yield from calls(step.then)
                yield from calls(step.otherwise)
            case Leave():
                pass


def total_work(steps: Sequence[Step], sizes: Mapping[str, int]) -> int:
    """Return the estimate of scalar operations below these steps, loops multiplied out and the larger arm of branches taken."""
    total = 0
    for step in steps:
        match step:
            case KernelCall():
                total += dims.evaluate(step.work, sizes)
            case Repeat():
                total += dims.evaluate(step.count, sizes) * total_work(step.steps, sizes)
            case Branch():
                total += max(total_work(step.then, sizes), total_work(step.otherwise, sizes))
            case Leave():
                pass
    return total


def _step_to_json(step: Step) -> list[Any]:
    match step:
        case KernelCall():
            runs = [
                [name, [w.buffer if isinstance(w, Address) else str(w) for w in words]] for name, words in step.runs
            ]
            costs = [str(step.units), str(step.work), str(step.dense), step.whole]
            return ["call", runs, step.reads, step.writes, costs, step.commit]
        case Repeat():
            inner = [_step_to_json(s) for s in step.steps]
            return ["repeat", str(step.count), inner, step.slices, step.reverse, str(step.owners)]
        case Branch():
            return [
                "branch",
                step.predicate,
                [_step_to_json(s) for s in step.then],
                [_step_to_json(s) for s in step.otherwise],
            ]
        case Leave():
            return ["leave", step.predicate]


def _step_from_json(data: list[Any]) -> Step:
    match data:
        case ["call", runs, reads, writes, [units, work, dense, whole], commit]:
            first, *others = (
                Guest(name, tuple(Address(w) if isinstance(w, int) else parse(w) for w in words))
                for name, words in runs
            )
            costs = parse(units), parse(work), parse(dense), tuple(whole)
            return KernelCall(first.kernel, first.words, tuple(reads), tuple(writes), *costs, commit, tuple(others))
        case ["repeat", count, steps, slices, reverse, owners]:
            inner = tuple(_step_from_json(s) for s in steps)
            return Repeat(parse(count), inner, tuple(slices), reverse, parse(owners))
        case ["branch", predicate, then, otherwise]:
            return Branch(
                predicate, tuple(_step_from_json(s) for s in then), tuple(_step_from_json(s) for s in otherwise)
            )
        case ["leave", predicate]:
            return Leave(predicate)
        case _:
            raise ValueError(f"not a step of a plan: {data!r}")
