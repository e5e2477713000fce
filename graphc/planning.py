"""From a draft to a plan: its kernels as source, its steps by the names of these."""

from __future__ import annotations

from graphc.emit.source import Emitter
from graphc.parsing import parse
from graphc.records import replace
from graphc.schedule.draft import Draft
from graphc.schedule.plan import Address, Branch, Buffer, KernelCall, Leave, Plan, Repeat, Step


def written(draft: Draft) -> Plan:
    """Return the plan of a draft whose steps are complete."""
    write = Emitter(lambda n: _remark(draft.buffers[n]))
    made = [write(k.kernel, k.comments) for k in draft.kernels]

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
