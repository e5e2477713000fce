"""Single convolution layers: forward, input gradient and weight gradient, in per cent of a limit measured in the same run.

    python -m tests.benchmarks.convolutions [--net resnet20 ...] [--batch 1 32] [--threads 1 2] [--torch] [--tune]

The limit is the FMA peak of as many threads. Depthwise layers are bound by memory, or within the cache by their products:
theirs is the longer of two times, that of a triad over as many bytes as image and result have, and that of the products at
the peak; a letter says which, m or p. Each layer is measured in turns with the limit (and torch, channels last; and what
tune=True picks), best of `--rounds` blocks; the peak is the best of PEAKS blocks in each turn, for the clock rises late.
All arrays begin at a line of the cache, as those inside of a network do.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np

import graphc
from tests.benchmarks.machine import Machine


@dataclass(frozen=True)
class Layer:
    """A convolution of square images: side, channels in and out, kernel, stride, padding."""

    side: int
    channels: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    depthwise: bool = False

    @property
    def result(self):
        """The side of the result."""
        return (self.side + 2 * self.padding - self.kernel) // self.stride + 1

    def operations(self, batch):
        """Multiplications and additions of one product."""
        depth = 1 if self.depthwise else self.channels
        return 2 * batch * self.result**2 * self.filters * self.kernel**2 * depth

    def bytes(self, batch):
        """Bytes of image and result."""
        return 4 * batch * (self.side**2 * self.channels + self.result**2 * self.filters)

    def __str__(self):
        kind = "depthwise " if self.depthwise else ""
        return (
            f"{kind}{self.kernel}x{self.kernel}/{self.stride} {self.side}x{self.side}x{self.channels}->{self.filters}"
        )


NETS = {
    "lenet": [Layer(28, 1, 6, 5, 1, 2), Layer(14, 6, 16, 5)],
    "cnn": [Layer(28, 1, 32, 3, 1, 1), Layer(28, 32, 64, 3, 1, 1)],
    "resnet20": [
        Layer(32, 3, 16, 3, 1, 1), Layer(32, 16, 16, 3, 1, 1), Layer(32, 16, 32, 3, 2, 1), Layer(32, 16, 32, 1, 2),
        Layer(16, 32, 32, 3, 1, 1), Layer(16, 32, 64, 3, 2, 1), Layer(16, 32, 64, 1, 2), Layer(8, 64, 64, 3, 1, 1),
    ],
    "resnet50": [
        Layer(224, 3, 64, 7, 2, 3), Layer(56, 64, 64, 1), Layer(56, 64, 64, 3, 1, 1), Layer(56, 64, 256, 1),
        Layer(56, 256, 64, 1), Layer(56, 256, 128, 1), Layer(56, 128, 128, 3, 2, 1), Layer(56, 256, 512, 1, 2),
        Layer(28, 128, 128, 3, 1, 1), Layer(28, 512, 128, 1), Layer(28, 256, 256, 3, 2, 1),
        Layer(14, 256, 256, 3, 1, 1), Layer(14, 1024, 256, 1), Layer(14, 512, 512, 3, 2, 1),
        Layer(7, 512, 512, 3, 1, 1), Layer(7, 2048, 512, 1),
    ],
    "mobilenet": [
        Layer(112, 32, 32, 3, 1, 1, True), Layer(112, 64, 64, 3, 2, 1, True), Layer(56, 128, 128, 3, 1, 1, True),
        Layer(28, 256, 256, 3, 1, 1, True), Layer(14, 512, 512, 3, 1, 1, True), Layer(7, 1024, 1024, 3, 1, 1, True),
    ],
}  # fmt: skip
PARTS = ("forward", "input", "weight")
PEAKS, LINE = 10, 64


def aligned(array):
    """Return a copy of an array that begins at a line of the cache."""
    room = np.empty(array.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def ours(layer, batch, threads, *, tune=False):
    """Return a bound call for each part; tuned ones are compiled for the batch."""
    draw = np.random.default_rng(0)
    weight_shape = (layer.kernel, layer.kernel, 1 if layer.depthwise else layer.channels, layer.filters)
    count = batch if tune else "batch"
    x = graphc.input("x", (count, layer.side, layer.side, layer.channels))
    w = graphc.parameter(draw.normal(size=weight_shape).astype("float32"), "w")
    groups = {"groups": layer.channels} if layer.depthwise else {}
    y = graphc.conv2d(x, w, stride=layer.stride, padding=layer.padding, **groups)
    g = graphc.input("g", (count, layer.result, layer.result, layer.filters))
    dx, dw = graphc.vjp(y, [x, w], g)
    image = aligned(draw.normal(size=(batch, layer.side, layer.side, layer.channels)).astype("float32"))
    cotangent = aligned(draw.normal(size=(batch, layer.result, layer.result, layer.filters)).astype("float32"))
    return {
        "forward": graphc.compile([x], y, threads=threads, tune=tune).bind(image, out=aligned(cotangent)),
        "input": graphc.compile([g], dx, threads=threads, tune=tune).bind(cotangent, out=aligned(image)),
        "weight": graphc.compile([x, g], dw, threads=threads, tune=tune).bind(image, cotangent),
    }


def torchs(layer, batch, threads):
    """Return torch's calls, channels last."""
    import torch

    torch.set_num_threads(threads)
    last = torch.channels_last
    groups = layer.channels if layer.depthwise else 1
    image = torch.randn(batch, layer.channels, layer.side, layer.side).to(memory_format=last)
    weight = torch.randn(layer.filters, layer.channels // groups, layer.kernel, layer.kernel).to(memory_format=last)
    cotangent = torch.randn(batch, layer.filters, layer.result, layer.result).to(memory_format=last)
    stride, padding = [layer.stride] * 2, [layer.padding] * 2

    def backward(mask):
        torch.ops.aten.convolution_backward(
            cotangent, image, weight, None, stride, padding, [1, 1], False, [0, 0], groups, mask
        )

    return {
        "forward": lambda: torch.nn.functional.conv2d(image, weight, None, stride, padding, groups=groups),
        "input": lambda: backward([True, False, False]),
        "weight": lambda: backward([False, True, False]),
    }


def best(runs, rounds, threads, limit, block=0.004):
    """Return the least seconds of each run, measured in turns in blocks of about `block` seconds, and the limit's least.

    On one thread they are seconds of the processor, which other processes do not add to.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    counts = {}
    for name, run in runs.items():
        run()
        start = clock()
        run()
        counts[name] = max(1, int(block / max(clock() - start, 1e-7)))
    least, shortest = dict.fromkeys(runs, float("inf")), (float("inf"),) * 2
    for _ in range(rounds):
        shortest = tuple(map(min, shortest, limit()))
        for name, run in runs.items():
            start = clock()
            for _ in range(counts[name]):
                run()
            least[name] = min(least[name], (clock() - start) / counts[name])
    return least, shortest


def measure(layer, batch, options, threads):
    """Return {who: [per cent of the limit for each part]}, and what the limit is: memory (m) or products (p)."""
    machine = Machine(None, threads)
    calls = {"graphc": ours(layer, batch, threads)}
    if options.tune:
        calls["tuned"] = ours(layer, batch, threads, tune=True)
    if options.torch:
        calls["torch"] = torchs(layer, batch, threads)

    def limit():
        memory = layer.bytes(batch) / machine.bandwidth(layer.bytes(batch)) if layer.depthwise else 0
        return memory, layer.operations(batch) / max(machine.flops() for _ in range(PEAKS))

    runs = {(who, part): run for who, parts in calls.items() for part, run in parts.items()}
    least, shortest = best(runs, options.rounds, threads, limit)
    kind = "m" if shortest[0] > shortest[1] else "p"
    return {who: [100 * max(shortest) / least[who, part] for part in PARTS] for who in calls}, kind


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", nargs="*", default=list(NETS), choices=list(NETS))
    parser.add_argument("--batch", nargs="*", type=int, default=[1, 32])
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--layers", nargs="*", type=int, help="numbers of layers within the net; all unless given")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--torch", action="store_true", help="measure torch too (not a dependency)")
    parser.add_argument("--tune", action="store_true", help="measure what compile(..., tune=True) picks, too")
    options = parser.parse_args()
    who = ["graphc", *(["tuned"] if options.tune else []), *(["torch"] if options.torch else [])]
    heads = [f"{one} {part}" for one in who for part in PARTS]
    print("| net | layer | batch | threads | limit | " + " | ".join(heads) + " |")
    print("|---|---|---|---|---|" + "---|" * len(heads))
    for net in options.net:
        for number, layer in enumerate(NETS[net]):
            if options.layers and number not in options.layers:
                continue
            for batch in options.batch:
                for threads in options.threads:
                    found, kind = measure(layer, batch, options, threads)
                    cells = [f"{figure:.0f}" for figures in found.values() for figure in figures]
                    print(f"| {net} | {layer} | {batch} | {threads} | {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
