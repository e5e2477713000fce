"""From a draft to a plan: its kernels as source, its steps by the names of these."""

from __future__ import annotations

from collections.abc import Callable

from graphc.dims import Dim
from graphc.emit.source import Emitter, Source
from graphc.parsing import parse
from graphc.records import replace
from graphc.schedule.draft import Draft
from graphc.schedule.plan import Address, Branch, Buffer, Guest, KernelCall, Leave, Plan, Repeat, Step


def written(draft: Draft, offer: Callable[[str, str], None] | None = None) -> Plan:
    """Return the plan of a draft whose steps are complete; `offer` gets each kernel's name and text as soon as it has one."""
    write = Emitter((one.kernel for one in draft.kernels), lambda n: _remark(draft.buffers[n]))
    made: list[list[Source]] = []
    kernels: dict[str, str] = {}
    for number, one in enumerate(draft.kernels):
        made.append(write(number, one.comments))
        for source in made[-1]:
            if source.name not in kernels:
                kernels[source.name] = source.text
                if offer is not None:
                    offer(source.name, source.text)

    def finished(step: Step) -> Step:
        match step:
            case KernelCall():
                first, *others = made[int(step.kernel)]
                guests = tuple(Guest(source.name, _words(source)) for source in others)
                return replace(step, kernel=first.name, words=_words(first), guests=guests)
            case Repeat():
                return replace(step, steps=tuple(finished(s) for s in step.steps))
            case Leave():
                return step
            case Branch():
                return replace(
                    step,
                    then=tuple(finished(s) for s in step.then),
                    otherwise=tuple(finished(s) for s in step.otherwise),
                )

    return Plan(
        tuple(draft.buffers),
        tuple(finished(step) for step in draft.steps),
        kernels,
        tuple(draft.constants),
        draft.requirements,
        tuple(draft.sites),
    )


def _words(source: Source) -> tuple[Address | Dim, ...]:
    return tuple(Address(word) if isinstance(word, int) else parse(word) for word in source.words)


def _remark(buffer: Buffer) -> str:
    return f"{buffer.name}: {buffer.dtype}[{', '.join(str(d) for d in buffer.shape)}]"
