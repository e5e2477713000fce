"""The time of each phase of a compilation as graphs grow: chains of pointwise nodes, and training steps of many layers.

    python -m tests.benchmarks.compile_time [--nodes N ...] [--layers N ...] [--width N]

Seconds of this process's processor time, kernels compiled in it alone and from an empty cache; so another process on the
machine changes little. `build` makes the nodes (gradients and optimizer too), `key` is the hash that the cache knows a plan
by, `schedule` ends with the kernels' source, `objects` is their machine code, `bind` the plan for a batch of 32.
"""

import argparse
import os
import tempfile
import time

import graphc
from graphc import nn, optim
from graphc.compiler import passed, plan_of
from graphc.emit import build
from graphc.graph.text import fingerprint
from graphc.runtime import binding
from graphc.schedule.natives import natives
from graphc.simd.levels import host_level

PHASES = ("build", "key", "passes", "schedule", "objects", "bind")


def pointwise(count):
    """A chain of so many elementwise ops."""
    x = value = graphc.input("x", ("batch", 16))
    for n in range(count):
        match n % 4:
            case 0:
                value = value + x
            case 1:
                value = graphc.tanh(value)
            case 2:
                value = value * 0.9
            case _:
                value = graphc.maximum(value, -x)
    return graphc.Graph((x,), (value,))


def layers(count, width):
    """A training step (Adam) of so many layers with tanh."""
    x, y = graphc.input("x", ("batch", width)), graphc.input("y", ("batch", width))
    net = nn.Sequential(*(module for _ in range(count) for module in (nn.Linear(width, width), nn.Tanh())))
    loss = graphc.mean(graphc.square(net(x) - y))
    return graphc.Graph((x, y), (loss,), tuple(optim.Adam(1e-3).minimize(loss).items()))


def measured(make):
    """Return the seconds of each phase, and what came out: nodes, kernels, lines of source."""
    seconds, level, last = {}, host_level(), time.process_time()

    def done(phase):
        nonlocal last
        now = time.process_time()
        seconds[phase], last = now - last, now

    graph = make()
    done("build")
    fingerprint(graph)
    done("key")
    final = passed(graph, training=True)
    done("passes")
    plan = plan_of(final, level, graph.stored)
    done("schedule")
    build.objects(plan.kernels, level, lambda: natives(final))
    done("objects")
    binding.bind(plan, {"batch": 32}, 2, lambda kernel: 1)
    done("bind")
    return seconds, len(graph.nodes()), len(plan.kernels), sum(source.count("\n") for source in plan.kernels.values())


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--layers", type=int, nargs="*", default=[10, 50, 200])
    parser.add_argument("--width", type=int, default=16)
    options = parser.parse_args()
    os.environ["GRAPHC_COMPILE_PROCESSES"] = "1"
    cases = [(f"{n:,} pointwise ops", lambda n=n: pointwise(n)) for n in options.nodes]
    cases += [(f"{n} layers", lambda n=n: layers(n, options.width)) for n in options.layers]
    print(f"| graph | nodes | {' | '.join(PHASES)} | all | us a node but objects | kernels | lines |")
    print(f"|{'---|' * (len(PHASES) + 6)}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAPHC_CACHE"] = f"{folder}/first"
        measured(lambda: pointwise(1))  # what is imported late
        for number, (name, make) in enumerate(cases):
            os.environ["GRAPHC_CACHE"] = f"{folder}/{number}"
            seconds, nodes, kernels, lines = measured(make)
            total = sum(seconds.values())
            each = (total - seconds["objects"]) / nodes * 1e6
            shown = " | ".join(f"{seconds[phase]:.3f}" for phase in PHASES)
            print(f"| {name} | {nodes:,} | {shown} | {total:.2f} | {each:.0f} | {kernels} | {lines:,} |", flush=True)


if __name__ == "__main__":
    main()
