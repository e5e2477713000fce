"""From a draft to a plan: its kernels as source, its steps by the names of these."""

from __future__ import annotations

from collections.abc import Callable

from graphc.emit.source import Emitter, Source
from graphc.parsing import parse
from graphc.records import replace
from graphc.schedule.draft import Draft
from graphc.schedule.plan import Address, Branch, Buffer, KernelCall, Leave, Plan, Repeat, Step


def written(draft: Draft, offer: Callable[[str, str], None] | None = None) -> Plan:
    """Return the plan of a draft whose steps are complete; `offer` gets each kernel's name and text as soon as it has one."""
    write = Emitter(lambda n: _remark(draft.buffers[n]))
    made: list[Source] = []
    offered: set[str] = set()
    for one in draft.kernels:
        source = write(one.kernel, one.comments)
        if offer is not None and source.name not in offered:
            offered.add(source.name)
            offer(source.name, source.text)
        made.append(source)

    def finished(step: Step) -> Step:
        match step:
            case KernelCall():
                source = made[int(step.kernel)]
                words = tuple(Address(w) if isinstance(w, int) else parse(w) for w in source.words)
                return replace(step, kernel=source.name, words=words)
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

    kernels = {source.name: source.text for source in reversed(made)}
    return Plan(
        tuple(draft.buffers),
        tuple(finished(step) for step in draft.steps),
        dict(reversed(kernels.items())),
        tuple(draft.constants),
        draft.requirements,
        tuple(draft.sites),
    )


def _remark(buffer: Buffer) -> str:
    return f"{buffer.name}: {buffer.dtype}[{', '.join(str(d) for d in buffer.shape)}]"
