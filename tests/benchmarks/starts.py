"""Fresh processes in turn: seconds to the first training step's result, with an empty cache of compiled code and with a full one.

    python -m tests.benchmarks.starts [--rows NAME ...] [--rounds N] [--threads N]

`cold` and `cached` begin after the imports and end with the first loss: the model, its gradients, compilation, one step.
`start` begins with `python`, cached. JAX keeps no compiled code unless it is asked to, so it starts cold. Minimum (median).
"""

import argparse
import statistics
import tempfile

from tests.benchmarks.peer import PEERS, Unavailable, Worker
from tests.benchmarks.rows import ROWS


def starts(row, peer, threads, folder):
    """Return the seconds of a cold first step and, of graphc, of a cached one, and from `python` to the latter's result."""
    found = []
    for _ in range(2 if peer == "graphc" else 1):
        worker = Worker(PEERS[peer], row, threads, folder)
        worker.close()
        found.append((worker.ready["first"], worker.start))
    return found[0][0], *found[-1]


def _shown(values):
    return f"{min(values):.2f} ({statistics.median(values):.2f})"


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.starts", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print("| row | graphc cold | JAX cold | graphc / JAX | graphc cached | graphc start |")
    print("|---|---|---|---|---|---|")
    for row in options.rows:
        found = {peer: [] for peer in ("graphc", "jax")}
        for _ in range(options.rounds):
            for peer, times in found.items():
                with tempfile.TemporaryDirectory(prefix="graphc-starts-") as folder:
                    try:
                        times.append(starts(row, peer, options.threads, folder))
                    except Unavailable:
                        continue
        ours, cached, start = map(_shown, zip(*found["graphc"], strict=True))
        colds = {peer: [cold for cold, _, _ in times] for peer, times in found.items()}
        jax = _shown(colds["jax"]) if colds["jax"] else "-"
        ratio = f"{min(colds['graphc']) / min(colds['jax']):.2f}" if colds["jax"] else "-"
        print(f"| `{row}` | {ours} | {jax} | {ratio} | {cached} | {start} |", flush=True)


if __name__ == "__main__":
    main()
