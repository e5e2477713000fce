"""What a plan costs, in counts that no noise moves: kernels, bytes, operations, memory, and registers that spill."""

import re

from graphc import dims
from graphc.compiler import plan_of
from graphc.emit.objects import assembly
from graphc.passes import run_passes
from graphc.runtime import memory
from graphc.runtime.binding import assign_memory
from graphc.schedule.plan import Branch, KernelCall, Repeat, calls, total_work
from graphc.simd.levels import LEVELS

LEVEL = LEVELS["x86-64-v4"]  # whatever machine counts: tiles depend on the registers
FMA = re.compile(r"\bvfn?m(add|sub)\d+[ps][sd]\b.*%[xyz]mm")
STACK = r"\(%rsp\b"
ON_STACK = re.compile(rf"\bvmov\S+\s(?=.*%[xyz]mm).*{STACK}")
RESULT = re.compile(rf"\bvmov\S+\s%[xyz]mm\d+, (?!.*{STACK}).*\(")


def runs(steps, sizes):
    """Yield every kernel call and how often a step makes it; of a branch, both arms."""
    for step in steps:
        match step:
            case KernelCall():
                yield step, 1
            case Repeat():
                times = dims.evaluate(step.count, sizes)
                yield from ((call, times * inner) for call, inner in runs(step.steps, sizes))
            case Branch():
                yield from runs(step.then + step.otherwise, sizes)


def touched(call):
    """Return the buffers that a call reads or writes, each once."""
    return {*call.reads, *call.writes}


def moved_bytes(plan, sizes):
    """Return the bytes of all buffers that kernels are given: what would move if no cache held anything."""
    sizes_of = [dims.evaluate(buffer.nbytes, sizes) for buffer in plan.buffers]
    return sum(times * sum(sizes_of[b] for b in touched(call)) for call, times in runs(plan.steps, sizes))


def footprint(plan, sizes):
    """Return the bytes of the different buffers that a step touches."""
    used = {buffer for call in calls(plan.steps) for buffer in touched(call)}
    return sum(dims.evaluate(plan.buffers[b].nbytes, sizes) for b in used)


def layout_of(plan, sizes, threads):
    """Return the arena's bytes and the lower bound of any arena: the most bytes alive at any one time."""
    layout, _ = assign_memory(plan, sizes, threads)
    return layout.arena, memory.lower_bound(layout, memory.lifetimes(layout))


def inner_loops(text):
    """Return the lines of each innermost loop of an assembly listing: no other backward jump lies between."""
    lines = text.splitlines()
    labels = {line.split(":")[0]: n for n, line in enumerate(lines) if re.match(r"\.LBB\w+:", line)}
    spans = []
    for n, line in enumerate(lines):
        jump = re.match(r"\s+j\w+\s+(\.LBB\w+)", line)
        if jump and labels.get(jump.group(1), n) < n:
            spans.append((labels[jump.group(1)], n))
    return [
        lines[first : last + 1]
        for first, last in spans
        if not any(first <= a and b <= last for a, b in spans if (a, b) != (first, last))
    ]


def spills(text):
    """Return how many instructions of the summing loops move vectors to or from the stack.

    Those are innermost, multiply and add, and store no results. Where a sum is so short that it is unrolled there is none.
    """
    loops = [
        loop
        for loop in inner_loops(text)
        if any(FMA.search(line) for line in loop) and not any(RESULT.search(line) for line in loop)
    ]
    return sum(bool(ON_STACK.search(line)) for loop in loops for line in loop)


def tiles(plan):
    """Return the source of the kernels that hold a register tile, by name."""
    return {name: text for name, text in plan.kernels.items() if re.search(r"\bc0_0 = fma\(", text)}


def plan_at_level(graph):
    """Return the plan of a training graph for `LEVEL`; nothing is compiled."""
    return plan_of(run_passes(graph, training=True), LEVEL)


def counts(graph, sizes):
    """Return the counts of a training step's graph, by name."""
    plan = plan_at_level(graph)
    arena, bound = layout_of(plan, sizes, 2)
    return {
        "calls": sum(times for _, times in runs(plan.steps, sizes)),
        "kernels": len(plan.kernels),
        "operations": total_work(plan.steps, sizes),
        "bytes moved": moved_bytes(plan, sizes),
        "footprint": footprint(plan, sizes),
        "arena": arena,
        "lower bound": bound,
        "tiles": len(tiles(plan)),
        "spills": sum(spills(assembly(text, name, LEVEL)) for name, text in tiles(plan).items()),
    }
