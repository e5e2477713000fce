"""Measures matrix products and their gradients in graphc, NumPy, PyTorch and JAX, in turn, against the FMA peak.

    python -m tests.benchmarks.contractions [--threads 1 2] [--dtypes float32 float64] [--shapes 128x256x784 ...] [--rounds N]
    python -m tests.benchmarks.contractions --scaling [--shapes 256x1024x784 ...]

Each framework runs in a process of its own. A cell is GFLOP/s by the shortest time, graphc's also in per cent of what fused
multiply-adds reach in the same run on as many threads. With `--scaling` graphc alone, on one thread and on two in turn.
"""

import argparse
import contextlib
import tempfile

from tests.benchmarks.peer import MACHINE, Unavailable, Worker

MODULE = "tests.benchmarks.products"
FRAMEWORKS = {"graphc": ("Graphc", 0.0), "numpy": ("Numpy", 0.0), "torch": ("Torch", 0.2), "jax": ("Jax", 0.02)}
PRODUCTS = ("forward", "left", "right")
# m x n x k: a scalar, tiny, odd, with a vector on each side, of layers, and up to 2048.
SHAPES = (
    "1x1x1", "4x4x4", "7x13x5", "16x16x16", "33x31x37", "64x64x64", "1x1024x1024", "1024x1x1024", "1024x1024x1",
    "127x129x131", "64x128x128", "128x256x784", "128x10x128", "256x256x256", "256x1024x784", "256x1024x1024", "255x511x257",
    "512x512x512", "1023x1025x1021", "2048x2048x2048", "2047x2048x17",
)  # fmt: skip


def table(dtype, threads, options):
    """Print the table of one dtype and number of threads."""
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="graphc-benchmark-"))
        workers = {}
        for name, (kind, settling) in FRAMEWORKS.items():
            try:
                # With one thread nothing goes on spinning.
                worker = Worker((MODULE, kind, settling if threads > 1 else 0.0), "", threads, cache)
            except Unavailable as error:
                print(f"{name} is left out: {error}")
                continue
            stack.callback(worker.close)
            workers[name] = worker
        machine = Worker(MACHINE, "", threads, cache)
        stack.callback(machine.close)
        kind = {"float32": "f32", "float64": "f64"}[dtype]
        print(f"\n{dtype}, {threads} thread{'s' * (threads > 1)}, GFLOP/s\n")
        print("| m x n x k | product | " + " | ".join(workers) + " | graphc of peak | by the best other |")
        print("|---" * (len(workers) + 4) + "|")
        for shape in options.shapes:
            m, n, k = (int(size) for size in shape.split("x"))
            for product in PRODUCTS:
                best = dict.fromkeys(workers, float("inf"))
                peak = 0.0
                for _ in range(options.rounds):
                    peak = max(peak, machine.ask(ask="flops", kind=kind))
                    for name, worker in workers.items():
                        order = {"product": product, "m": m, "n": n, "k": k, "dtype": dtype, "block": options.block}
                        best[name] = min(best[name], worker.ask(ask="seconds", **order))
                print(_line(shape, product, best, 2 * m * n * k, peak), flush=True)


def scaling(dtype, options):
    """Print microseconds on one thread and on two, measured in turn."""
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="graphc-benchmark-"))
        workers = [Worker((MODULE, FRAMEWORKS["graphc"][0], 0.0), "", threads, cache) for threads in (1, 2)]
        for worker in workers:
            stack.callback(worker.close)
        print(f"\n{dtype}\n\n| m x n x k | product | 1 thread, us | 2 threads, us | by |\n|---|---|---|---|---|")
        for shape in options.shapes:
            m, n, k = (int(size) for size in shape.split("x"))
            for product in PRODUCTS:
                order = {"product": product, "m": m, "n": n, "k": k, "dtype": dtype, "block": options.block}
                rounds = [[worker.ask(ask="seconds", **order) for worker in workers] for _ in range(options.rounds)]
                one, two = (min(times) for times in zip(*rounds, strict=True))
                print(f"| {shape} | {product} | {one * 1e6:.0f} | {two * 1e6:.0f} | {one / two:.2f}x |", flush=True)


def _line(shape, product, best, flops, peak):
    rates = [f"{flops / seconds / 1e9:.3g}" for seconds in best.values()]
    others = [seconds for name, seconds in best.items() if name != "graphc"]
    ratio = f"{min(others) / best['graphc']:.2f}x" if others else "-"
    return f"| {shape} | {product} | {' | '.join(rates)} | {flops / best['graphc'] / peak:.0%} | {ratio} |"


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.contractions", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "float64"), default=["float32", "float64"])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="MxNxK")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--scaling", action="store_true", help="graphc on one thread and on two")
    parser.add_argument("--block", type=float, default=0.003, help="seconds of a block of calls")
    options = parser.parse_args()
    for dtype in options.dtypes if options.scaling else ():
        scaling(dtype, options)
    for threads in options.threads if not options.scaling else ():
        for dtype in options.dtypes:
            table(dtype, threads, options)


if __name__ == "__main__":
    main()
