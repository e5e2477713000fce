"""Attention at one length beside PyTorch's, forward and with gradients, interleaved in one run.

    python -m tests.benchmarks.attention [--times T] [--threads N] [--rounds N] [--heads H] [--features F]      # needs torch

Milliseconds, least of the rounds, of `scaled_dot_product_attention` in float32, causal and not; gradients are those of the sum of
squares by queries, keys and values. Memory: MiB of graphc's temporaries and results, known at binding.
"""

import argparse
import time

import numpy as np

import graphc
from graphc import nn

# OpenMP's threads, which torch uses, go on spinning for 0.2 s after their work, on the cores that are measured next.
SETTLE = 0.25


def ours(arrays, threads):
    """Return {name: (call, MiB)}."""
    nodes = [graphc.input(name, array.shape) for name, array in zip("qkv", arrays, strict=True)]
    made = {}
    for causal in (True, False):
        out = nn.scaled_dot_product_attention(*nodes, is_causal=causal)
        for name, outputs in (
            ("forward", [out]),
            ("with gradients", [out, *graphc.grad((out * out).sum(), nodes)]),
        ):
            step = graphc.compile(nodes, outputs, threads=threads)
            made[f"{name}{', causal' if causal else ''}"] = step.bind(*arrays), step.peak_bytes() / 2**20
    return made


def torchs(arrays, threads):
    """Return {name: call}."""
    import torch

    torch.set_num_threads(threads)
    given = [torch.from_numpy(array).requires_grad_() for array in arrays]
    attend = torch.nn.functional.scaled_dot_product_attention

    def forward(causal):
        with torch.no_grad():
            attend(*given, is_causal=causal)

    def gradients(causal):
        for one in given:
            one.grad = None
        out = attend(*given, is_causal=causal)
        (out * out).sum().backward()

    return {
        f"{name}{', causal' if causal else ''}": (lambda call=call, causal=causal: call(causal))
        for causal in (True, False)
        for name, call in (("forward", forward), ("with gradients", gradients))
    }


def timed(call):
    """Return the milliseconds that a call takes."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"times": 1024, "threads": 2, "rounds": 6, "heads": 16, "features": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    shape = (1, options.heads, options.times, options.features)
    arrays = [generator.normal(size=shape).astype("float32") for _ in "qkv"]
    mine, theirs = ours(arrays, options.threads), torchs(arrays, options.threads)
    least = {name: [np.inf, np.inf] for name in mine}
    for turn in range(options.rounds + 1):
        for name, found in least.items():
            times = [timed(mine[name][0])]
            times.append(timed(theirs[name]))
            time.sleep(SETTLE)
            if turn:
                found[:] = map(min, found, times)
    print("| | graphc, ms | torch, ms | graphc, MiB |\n|---|---|---|---|")
    for name, (one, other) in least.items():
        print(f"| {name} | {one:.1f} | {other:.1f} | {mine[name][1]:.1f} |")


if __name__ == "__main__":
    main()
