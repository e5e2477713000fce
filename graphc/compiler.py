"""The whole pipeline, read downward: build, differentiate, optimise, schedule, emit, run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self

from graphc import forms
from graphc.emit import cache
from graphc.emit.build import Builder
from graphc.errors import GraphError
from graphc.forms import Bench
from graphc.graph.graph import Graph
from graphc.graph.node import Input, Leaf, Node, Stored, state
from graphc.graph.operators import located
from graphc.graph.text import fingerprint
from graphc.graph.verify import verify
from graphc.ops import random
from graphc.origin import refuse_attribute
from graphc.records import replace
from graphc.runtime import executable as runtime
from graphc.runtime.arguments import Structure
from graphc.runtime.threads import thread_count
from graphc.runtime.walk import native
from graphc.schedule.plan import Form, Plan
from graphc.simd.levels import Level, host_level, processor, supported_levels
from graphc.uncollected import uncollected

if TYPE_CHECKING:
    from graphc.schedule.trial import Choose


class Executable(runtime.Executable):
    """A compiled graph. Call it with arrays: by position, by name, or with one dict {input node: array}.

    `graph` is what was compiled, before the passes; `inputs`, `outputs` (in the structure given) and `updates` are its nodes.
    """

    graph: Graph
    inputs: tuple[Node, ...]
    outputs: Any
    updates: dict[Node, Node]
    training: bool

    # What a call finds wrong before it runs; the layer below knows nothing of the user's lines.
    _call_slowly = located("a call")(runtime.Executable._call_slowly)
    _refuse = located("a call")(runtime.Executable._refuse)
    _bind = located("a call")(runtime.Executable._bind)
    bind = located("bind")(runtime.Executable.bind)
    repeat = located("repeat")(runtime.Executable.repeat)
    peak_bytes = located("peak_bytes")(runtime.Executable.peak_bytes)

    def __repr__(self) -> str:
        names = ", ".join(node.name for node in self.inputs if isinstance(node, Input))
        return f"<Executable of inputs ({names}): {len(self.plan.kernels)} kernels, {len(self.updates)} updates>"

    if not TYPE_CHECKING:  # A type checker is to report names that there are not.

        def __getattr__(self, name: str) -> NoReturn:
            refuse_attribute(self, name, ELSEWHERE)

    @located("rebind")
    def rebind(self, leaves: Any) -> Self:
        """Return the same code on other storage: {parameter or state: array or leaf that takes its place}."""
        if not isinstance(leaves, Mapping):
            raise GraphError("expected {parameter or state: its replacement}")
        mine = self.graph.stored
        for old in leaves:  # pyright: ignore[reportUnknownVariableType]
            if not any(old is leaf for leaf in mine):
                raise GraphError(f"{old!r} is not a parameter or state of this executable")
        arrays = [_storage(leaves.get(leaf, leaf)) for leaf in mine]  # pyright: ignore
        other = super().rebind(arrays)
        other._describe(self.graph, self.inputs, self.outputs, self.updates, training=self.training)
        return other

    def _describe(
        self, graph: Graph, inputs: tuple[Node, ...], outputs: Any, updates: dict[Node, Node], *, training: bool
    ) -> None:
        self.graph, self.inputs, self.outputs, self.updates, self.training = graph, inputs, outputs, updates, training


# What models are called for in other frameworks, with what to do here.
ELSEWHERE = {
    "fit": "call graphc.fit(executable, {x: array, y: array})",
    **dict.fromkeys(("predict", "evaluate", "run"), "call it with arrays: executable(array)"),
    **dict.fromkeys(
        ("parameters", "state_dict", "save"), "weights belong to the module: net.parameters(), net.state_dict()"
    ),
    **dict.fromkeys(("train", "eval"), "the phase is fixed by graphc.compile(..., training=...); compile one for each"),
    "backward": "compile what is to be computed: graphc.compile([x], [loss, *graphc.grad(loss, parameters)])",
}


@located("compile")
@uncollected()
def compile(
    inputs: Sequence[Node],
    outputs: Any = None,
    updates: Mapping[Node, Node] | None = None,
    *,
    training: bool | None = None,
    threads: int | None = None,
    specialize: Mapping[str, int] | None = None,
    tune: bool = False,
    flush_denormals: bool = False,
) -> Executable:
    """Compile a graph to native code.

    `outputs` is a node, or a tuple, list or dict of nodes; a call returns arrays in the same structure. `updates` maps
    parameters and states to what each call makes of them: all right sides and outputs read the values before the call.
    `training` says what `graphc.training()` stands for: true if there are updates, unless said otherwise. `threads`: at
    most this many; the cores that this process may use, unless said otherwise. `specialize`, as in {"batch": 128}, adds a
    form of the code for these numbers in the place of symbols; it runs where a call has them, the general one elsewhere.
    `tune`: measure the best few tilings of each contraction once, a second or two each, instead of trusting the cost model,
    and remember the fastest in the cache, for this CPU and number of threads. Symbols then need a size to measure at, from
    `specialize`. Results have the same bits with and without. `flush_denormals`: take and give zeros for numbers too small
    to be normal (below 1.2e-38 in float32), which many processors compute with ten times as slowly; gradients become so
    small once a network knows its data by heart. As torch.set_flush_denormal does, but for this executable's calls only.

    Raises GraphError if an output depends on an input that is not listed, two inputs have one name, an update is of no
    parameter or state, `specialize` names no symbol of the inputs, `tune` is given where it leaves one without a size, or a
    derivative depends on the phase and neither `updates` nor `training` is given.
    """
    _check_arguments(inputs, updates)
    flat: list[Node] = []
    structure = _flatten(outputs, flat)
    graph = _with_steps(Graph(tuple(inputs), tuple(flat), tuple((updates or {}).items())))
    _check_inputs(graph)
    level = host_level()
    phase = True if training is None and updates else training
    special = forms.checked(graph, specialize or {})
    bench = _bench(graph, level, threads, special) if tune else None
    chosen = [sizes for sizes in (special, forms.sizes_of_one(graph)) if sizes]
    builder = Builder(level, lambda: _natives(graph))
    made = partial(_planned, level, phase, builder)
    more = [form for sizes in chosen for form in _forms(forms.specialized(graph, sizes), sizes, made, bench)]
    *more, last = [*more, *_forms(graph, {}, made, bench)]
    executable = Executable(
        last.plan,
        [leaf.value for leaf in graph.stored],
        builder.objects,
        [(node.name, node.dtype, node.shape) for node in graph.inputs if isinstance(node, Input)],
        structure,
        threads,
        tuple(inputs),
        more,
        flush_denormals,
    )
    executable._describe(graph, tuple(inputs), outputs, dict(updates or {}), training=bool(phase))  # pyright: ignore
    return executable


def _bench(graph: Graph, level: Level, threads: int | None, sizes: Mapping[str, int]) -> Bench:
    """Return where tilings are measured, at these sizes of the graph's symbols."""
    if level.name not in supported_levels():
        raise GraphError(f"tune: this machine cannot run code for {level.name}, so there is nothing to measure")
    if missing := sorted(set(forms.symbols_of(graph)) - sizes.keys()):
        example = ", ".join(f'"{name}": 128' for name in (*sizes, *missing))
        raise GraphError(f"tune: at which size of {missing[0]!r}? say it by specialize={{{example}}}")
    return Bench(processor(), thread_count(threads), tuple(sorted(sizes.items())))


def _forms(graph: Graph, sizes: Mapping[str, int], made: Callable[..., Plan], bench: Bench | None) -> Iterator[Form]:
    """Yield the forms of a graph for some sizes: first the one for many states, if their number is not known, then the usual."""
    if needs := forms.many_states(graph):
        # Made in a call that has so many, if ever, and of sizes that nothing tells before: so it is not measured.
        yield Form(sizes, partial(made, graph, large=True), *needs)
    yield Form(sizes, partial(made, graph, bench=bench))


def _planned(
    level: Level, training: bool | None, builder: Builder, graph: Graph, large: bool = False, bench: Bench | None = None
) -> Plan:
    """Return the plan of a graph, from the cache if it was made before; if not, the kernels' objects are begun with."""
    # What a graph means stands in its text, and the passes keep it: so a plan that is found needs no pass.
    needs = [(str(r), r.reason, r.origin) for r in graph.requirements or ()]
    key = cache.key_of(level.name, "plan", repr((training, large, needs, bench)), fingerprint(graph))
    found = None if _verifying() else cache.read("plan", key)
    if found is not None:
        return Plan.from_json(found.decode(), key)
    choose = None
    if bench is not None:
        from graphc.tuning import Tuner

        choose = Tuner(level, bench)
    offer = builder.offer if level.name in supported_levels() else None
    plan = plan_of(passed(graph, training, large), level, graph.stored, choose, offer)
    if offer is not None:
        native()  # which an empty cache does not have either: made while children are at the plan's kernels
    cache.write("plan", key, plan.to_json().encode())
    return replace(plan, key=key)


def passed(graph: Graph, training: bool | None, large: bool = False) -> Graph:
    """Return the graph after the passes, in a phase (None is evaluation that nobody named), for many states if `large`."""
    # A warm start finds the plan in the cache, so what only a cold one needs is imported here and below.
    from graphc.passes import refuse_unknown_phase, run_passes

    if training is None:
        refuse_unknown_phase(graph)
    return run_passes(graph, bool(training), large, check=verify if _verifying() else None)


def plan_of(
    graph: Graph,
    level: Level,
    stored: Sequence[Stored] | None = None,
    choose: Choose | None = None,
    offer: Callable[[str, str], None] | None = None,
) -> Plan:
    """Return the plan of a graph that went through the passes: scheduled, its kernels with source and names.

    Its leaf buffers come in the order of `stored`; in that of `graph.stored`, unless given. `choose` picks the tilings of
    contractions among the candidates; the cost model, unless given. `offer` gets each kernel while others are being written.
    """
    from graphc.planning import written
    from graphc.schedule.scheduling import schedule

    return written(schedule(graph, level, stored, choose), offer)


def _verifying() -> bool:
    return os.environ.get("GRAPHC_VERIFY", "0") not in ("", "0")


def _natives(graph: Graph) -> dict[str, Callable[..., Any]]:
    from graphc.schedule.natives import natives

    return natives(graph)


def _flatten(outputs: Any, flat: list[Node]) -> Structure:
    match outputs:
        case None:
            return ()
        case Node():
            flat.append(outputs)
            return len(flat) - 1
        case dict():
            return {key: _flatten(part, flat) for key, part in outputs.items()}  # pyright: ignore
        case tuple():
            return tuple(_flatten(part, flat) for part in outputs)  # pyright: ignore
        case list():
            return [_flatten(part, flat) for part in outputs]  # pyright: ignore
        case _:
            advice = "; call it on its inputs: what it returns is a node" if callable(outputs) else ""
            raise GraphError(f"outputs: expected nodes, or a tuple, list or dict of nodes; got {outputs!r}{advice}")


def _with_steps(graph: Graph) -> Graph:
    """Give a graph that draws random numbers a step count of its own."""
    if random.STEP not in set(graph.states):
        return graph
    own = state(random.STEP.value * 0, "step")
    graph = graph.rebuild({random.STEP: own})
    return Graph(graph.inputs, graph.outputs, (*graph.updates, (own, own + 1)), graph.requirements)


def _check_arguments(inputs: Any, updates: Any) -> None:
    if isinstance(inputs, Node) or not isinstance(inputs, tuple | list):
        got = inputs.describe() if isinstance(inputs, Node) else f"a {type(inputs).__name__}"
        raise GraphError(f"inputs: expected a list of inputs, as in compile([x, y], ...); got {got}")
    names: dict[str, Input] = {}
    for node in inputs:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(node, Node):
            what = type(node).__name__  # pyright: ignore
            raise GraphError(f"inputs: expected nodes made by graphc.input, got a {what}; arrays are for the calls")
        if isinstance(node, Input) and names.setdefault(node.name, node) is not node:
            other = names[node.name].describe()
            raise GraphError(f"inputs: two are called {node.name!r}; rename one\n  {other}\n  {node.describe()}")
    if updates is not None and not isinstance(updates, Mapping):
        example = "updates=optimizer.minimize(loss)"
        raise GraphError(
            f"updates: expected {{parameter or state: node}}, as in {example}; got a {type(updates).__name__}"
        )
    for target, value in (updates or {}).items():  # pyright: ignore
        if not (isinstance(target, Node) and isinstance(value, Node)):
            key = target.describe() if isinstance(target, Node) else repr(target)  # pyright: ignore
            what = type(value).__name__  # pyright: ignore
            raise GraphError(f"updates: expected {{parameter or state: node}}, got a {what} for {key}")


def _check_inputs(graph: Graph) -> None:
    given = set(graph.inputs)
    for node in graph.nodes():
        is_given = node in given or isinstance(node, Stored)
        if isinstance(node.op, Leaf) and node.op.kind != "training" and not is_given:
            if node.op.kind == "placeholder":
                raise GraphError(
                    f"the outputs depend on {node.describe()}, which has a value only inside the step of a scan, map or vmap\n"
                    "  return what is needed from the step's function"
                )
            raise GraphError(
                f"the outputs depend on {node.describe()}, which is not among the inputs\n"
                f"  add it to compile's first argument, which lists: {', '.join(i.describe() for i in graph.inputs)}"
            )


def _storage(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, Stored) else leaf
