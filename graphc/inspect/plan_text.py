"""The printed form of a plan: its buffers, then its steps in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc import dims
from graphc.dims import Dim
from graphc.schedule.plan import ENDLESS, Branch, Buffer, KernelCall, Leave, Plan, Repeat, Step


def plan_text(plan: Plan, sizes: Mapping[str, int] | None = None) -> str:
    """Return the printed form of a plan; with `sizes` of the symbols, numbers instead of formulas."""

    def dim(value: Dim) -> str:
        return str(value if sizes is None else dims.evaluate(value, sizes))

    kernels = {name: f"kernel {number}" for number, name in enumerate(plan.kernels)}
    lines = [f"plan: {len(plan.kernels)} kernels, {len(plan.buffers)} buffers"]
    lines += [
        f"  {_buffer_text(plan, b)}: {b.dtype}[{', '.join(dim(d) for d in b.shape)}], {dim(b.nbytes)} bytes"
        for b in plan.buffers
    ]

    def walk(steps: Sequence[Step], indent: str) -> None:
        for step in steps:
            match step:
                case KernelCall():
                    reads, writes = (
                        ", ".join(plan.buffers[b].name for b in side) for side in (step.reads, step.writes)
                    )
                    commit = "  (commit)" if step.commit else ""
                    cost = f"{dim(step.units)} pieces, {dim(step.work)} operations"
                    first, *others = (kernels[name] for name, _ in step.runs)
                    ran = " with ".join([first, *(name.removeprefix("kernel ") for name in others)])
                    lines.append(f"{indent}{ran}: {reads} -> {writes}  [{cost}]{commit}")
                case Repeat():
                    direction = "backward" if step.reverse else "forward"
                    walked = ", ".join(plan.buffers[b].name for b in step.slices)
                    how = (
                        f"{dim(step.count)} times {direction} along {walked}" if step.count != ENDLESS else "on and on"
                    )
                    own = "" if step.owners == 1 else f", each thread its share of {dim(step.owners)} pieces"
                    lines.append(f"{indent}repeat {how}{own}:")
                    walk(step.steps, indent + "  ")
                case Branch():
                    lines.append(f"{indent}if {plan.buffers[step.predicate].name}:")
                    walk(step.then, indent + "  ")
                    lines.append(f"{indent}else:")
                    walk(step.otherwise, indent + "  ")
                case Leave():
                    lines.append(f"{indent}leave unless {plan.buffers[step.predicate].name}")

    lines.append("steps:")
    walk(plan.steps, "  ")
    return "\n".join(lines) + "\n"


def _buffer_text(plan: Plan, buffer: Buffer) -> str:
    kind = f"slice of {plan.buffers[buffer.position].name}" if buffer.kind == "slice" else buffer.kind
    shares = f" in place of {plan.buffers[buffer.shares].name}" if buffer.shares is not None else ""
    return f"{buffer.number} {buffer.name} ({kind}{shares})"
