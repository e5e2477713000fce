"""The experiments of 1986 that made back-propagation known: XOR, symmetry and the encoder.

Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, Nature 323 (1986), has the symmetry
network; XOR and the encoder are in their chapter of Parallel Distributed Processing, volume 1 (1986), pages 330 to 338.

python examples/rumelhart1986.py         # prints the sweeps to a solution from 20 starts, and the symmetry weights
"""

import argparse
from dataclasses import dataclass
from itertools import product

import numpy as np

import graphc
from graphc import nn, optim

# Where the sources give no figure for something, these are ours: the criterion (Fahlman, 1988) and XOR's first weights.
CRITERION = 0.4
MOMENTUM = 0.9


class Network(nn.Module):
    """Inputs, one layer of hidden units and outputs, all sigmoid; `direct` joins the inputs to the outputs as well."""

    def __init__(self, inputs: int, hidden: int, outputs: int, direct: bool = False) -> None:
        self.hidden = nn.Linear(inputs, hidden)
        self.output = nn.Linear(hidden + inputs if direct else hidden, outputs)
        self.direct = direct

    def forward(self, x: graphc.Node) -> graphc.Node:
        hidden = graphc.sigmoid(self.hidden(x))
        seen = graphc.concat([hidden, x], axis=-1) if self.direct else hidden
        return graphc.sigmoid(self.output(seen))


@dataclass
class Experiment:
    """A task with the settings of its source: the step's size, and the range of the first weights on both sides of 0."""

    name: str
    network: Network
    patterns: np.ndarray
    targets: np.ndarray
    step: float
    start: float
    reported: str


@dataclass
class Run:
    """One start: the first sweep after which every output is close to its target (None if none is), and the weights."""

    sweeps: int | None
    weights: dict[str, np.ndarray]


def experiments() -> list[Experiment]:
    bits = np.array(list(product([0, 1], repeat=2)))
    differ = bits[:, :1] != bits[:, 1:]
    words = np.array(list(product([0, 1], repeat=6)))
    mirrored = np.all(words == words[:, ::-1], axis=1, keepdims=True)
    ones = np.eye(8)
    return [
        Experiment("XOR 2-2-1", Network(2, 2, 1), bits, differ, 0.25, 1.0, "about 245, the average"),
        Experiment("XOR 2-1-1 direct", Network(2, 1, 1, direct=True), bits, differ, 0.5, 1.0, "558, one run"),
        Experiment("symmetry 6-2-1", Network(6, 2, 1), words, mirrored, 0.1, 0.3, "1425, one run"),
        Experiment("encoder 8-3-8", Network(8, 3, 8), ones, ones, 0.1, 0.3, "not given"),
    ]


def runs_of(experiment: Experiment, seeds: int, sweeps: int) -> list[Run]:
    """Train from this many starts, each for all sweeps."""
    patterns = experiment.patterns.astype(np.float32)
    targets = experiment.targets.astype(np.float32)
    x, target = graphc.input("x", patterns.shape), graphc.input("target", targets.shape)
    output = experiment.network(x)
    error = 0.5 * graphc.sum(graphc.square(output - target))
    furthest = graphc.max(graphc.abs(output - target))
    # The paper's rule: a change is -step * gradient + momentum * the last change, once for each sweep of all patterns.
    optimizer = optim.SGD(experiment.step, momentum=MOMENTUM)
    train = graphc.compile([x, target], {"furthest": furthest}, updates=optimizer.minimize(error))
    at_rest = optimizer.state_dict()

    runs = []
    for seed in range(seeds):
        # Compiled once: a new start is new numbers in the same storage.
        rng = np.random.default_rng(seed)
        for parameter in experiment.network.parameters():
            parameter.set(rng.uniform(-experiment.start, experiment.start, parameter.shape).astype(np.float32))
        optimizer.load_state_dict(at_rest)
        seen = train.repeat(sweeps, [patterns, targets]).run()["furthest"]
        solved = np.flatnonzero(seen < CRITERION)
        # seen[n] is what n sweeps have led to.
        runs.append(Run(int(solved[0]) if len(solved) else None, experiment.network.state_dict()))
    return runs


def line_of(experiment: Experiment, runs: list[Run]) -> str:
    """Return the sweeps of all starts that found a solution, beside the figure of the source."""
    sweeps = [run.sweeps for run in runs if run.sweeps is not None]
    found = f"{np.median(sweeps):6.0f} ({min(sweeps)} to {max(sweeps)})" if sweeps else "-"
    return f"{experiment.name:17} {len(sweeps):2} of {len(runs):2}   {found:22} {experiment.reported}"


def cancellation(runs: list[Run]) -> float:
    """Return how well mirrored weights cancel in the solved runs: the largest sum of two over the largest weight."""
    weights = [run.weights["hidden.weight"] for run in runs if run.sweeps is not None]
    return max(float(np.abs(w + w[:, ::-1]).max() / np.abs(w).max()) for w in weights)


def ratios(run: Run) -> np.ndarray:
    """Return the three sizes of the first hidden unit's weights over the smallest, in order."""
    sizes = np.sort(np.abs(run.weights["hidden.weight"][0, :3]))
    return sizes / sizes[0]


def main(seeds: int = 20, sweeps: int = 30000) -> dict[str, list[Run]]:
    """Run all experiments; print the table, then the weights of the symmetry network."""
    print(
        f"sweeps until every output is within {CRITERION} of its target; starts without a solution in {sweeps} sweeps"
    )
    print("sit in a local minimum or on a long plateau\n")
    print(f"{'':17} solved     median (range)         Rumelhart et al.")
    results = {}
    for experiment in experiments():
        results[experiment.name] = runs_of(experiment, seeds, sweeps)
        print(line_of(experiment, results[experiment.name]))

    solved = [run for run in results["symmetry 6-2-1"] if run.sweeps is not None]
    if not solved:
        return results
    print("\nsymmetry, weights into the two hidden units of the first solution:")
    for row in solved[0].weights["hidden.weight"]:
        print("  " + " ".join(f"{weight:7.2f}" for weight in row))
    print(f"mirrored weights cancel: their sums are at most {cancellation(solved):.2%} of the largest weight")
    powers = sum(bool(np.allclose(ratios(run), [1, 2, 4], rtol=0.02)) for run in solved)
    others = sum(bool(np.allclose(ratios(run), [1, 1.5, 2], rtol=0.02)) for run in solved)
    print(f"their sizes are as 1:2:4, as in the paper, in {powers} solutions, and as 2:3:4 in {others}")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="starts of each experiment (default 20)")
    parser.add_argument("--sweeps", type=int, default=30000, help="sweeps of each start (default 30000)")
    options = parser.parse_args()
    main(options.seeds, options.sweeps)
