"""Measures what a call from Python costs, and what `fit` adds to the steps that it makes.

    python -m tests.benchmarks.calls [--rounds N] [--threads N] [--lone | --learned]

Calls: `mlp_tiny` predicting for one sample, beside the same network written in NumPy by hand and in ONNX Runtime (where it and
`onnx` are installed), and its training step. Each way's block of calls comes in turn; minimum (median), microseconds a call.

Fit: a whole run of `fit`, against a native run of the same steps, gathered the same way, that is started once, with all
orders written before. The rest is Python around it: permutations, the start of programs, the history.

Lone (and nothing else): predictions of `mlp`'s network, one after the other and with a millisecond between, in which other
threads fall asleep; on one thread and on all.

Learned (and nothing else): steps of `mlp_tiny` on one minibatch, which it learns by heart until gradients are denormal
numbers, as these are and with `flush_denormals`.
"""

import argparse
import itertools
import statistics
import time

import numpy as np

import graphc
from graphc import nn, optim
from graphc.train.minibatches import Minibatches
from tests.benchmarks.models.graphc import MODELS, Steps
from tests.benchmarks.rows import ROWS, WIDTHS

BLOCK = 2000
LEARNED = 30_000
# Samples and epochs.
FITS = {"mlp_tiny": ((1_000, 40), (1_000, 400), (32_000, 1), (32_000, 10)), "mlp": ((12_800, 3),)}


def layers():
    """Return the layers of `mlp_tiny` and their weights as (inputs, outputs) and biases."""
    made = [nn.Linear(a, b) for a, b in itertools.pairwise(WIDTHS["mlp_tiny"])]
    return made, [(np.ascontiguousarray(one.weight.value.T), one.bias.value.copy()) for one in made]


def predictions(threads):
    """Return {name: function of no argument} that predict one sample; all but ONNX Runtime's must agree."""
    linears, weights = layers()
    x = graphc.input("x", ("batch", 2))
    net = nn.Sequential(*[m for one in linears for m in (one, nn.Tanh())][:-1])
    predict = graphc.compile([x], net(x), threads=threads)
    sample, out = np.ones((1, 2), "float32"), np.empty((1, 2), "float32")
    bound = predict.bind(sample)

    def by_hand():
        hidden = sample
        for weight, bias in weights[:-1]:
            hidden = np.tanh(hidden @ weight + bias)
        return hidden @ weights[-1][0] + weights[-1][1]

    ways = {
        "graphc call": lambda: predict(sample),
        "graphc call, out=": lambda: predict(sample, out=out),
        "graphc bind": bound,
        "NumPy by hand": by_hand,
    }
    return ways | onnx_runtime(weights, sample)


def onnx_runtime(weights, sample):
    """Return ONNX Runtime's ordinary call and that with its buffers bound; nothing where it is not installed."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        print(f"ONNX Runtime is left out: {error}")
        return {}
    of = onnx.helper
    nodes, constants, last = [], [], "x"
    for n, (weight, bias) in enumerate(weights):
        constants += [onnx.numpy_helper.from_array(weight, f"w{n}"), onnx.numpy_helper.from_array(bias, f"b{n}")]
        nodes.append(of.make_node("Gemm", [last, f"w{n}", f"b{n}"], [f"y{n}"]))
        last = f"y{n}"
        if n < len(weights) - 1:
            nodes.append(of.make_node("Tanh", [last], [f"t{n}"]))
            last = f"t{n}"
    kind = onnx.TensorProto.FLOAT
    ends = [[of.make_tensor_value_info(name, kind, ["batch", 2])] for name in ("x", last)]
    model = of.make_model(of.make_graph(nodes, "mlp_tiny", *ends, constants), opset_imports=[of.make_opsetid("", 17)])
    model.ir_version = 9
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed, binding = {"x": sample}, session.io_binding()
    binding.bind_cpu_input("x", sample)
    binding.bind_output(last)
    return {
        "ONNX Runtime": lambda: session.run(None, feed)[0],
        "ONNX Runtime, bound": lambda: session.run_with_iobinding(binding),
    }


def trainings(threads):
    """Return {name: function of no argument} that make one training step."""
    steps = Steps("mlp_tiny", threads)
    bound = steps.step.bind(*steps.arrays)
    return {"step, call": lambda: steps.step(*steps.arrays), "step, bind": bound}


def checked(ways):
    """Return the ways, once those that give arrays agree."""
    results = [np.asarray(one) for one in (way() for way in ways.values()) if one is not None]
    for one in results[1:]:
        np.testing.assert_allclose(one, results[0], rtol=1e-5, atol=1e-6)
    return ways


def times(ways, rounds, block):
    """Return {name: seconds a call in each round}, a block of each in turn."""
    found = {name: [] for name in ways}
    for way in ways.values():
        for _ in range(block // 10):
            way()
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(block):
                way()
            found[name].append((time.perf_counter() - start) / block)
    return found


def fits(row, samples, epochs, rounds, threads):
    """Return seconds of `fit` and of the same steps run at once, in each round."""
    steps = Steps(row, threads)
    x, y = steps.step.inputs
    size = len(steps.arrays[0])
    data = [np.resize(array, (samples, *array.shape[1:])) for array in steps.arrays]
    loss = steps.step.outputs
    # The smallest rate, for the same samples many times over would be learned until gradients are no normal numbers.
    step = graphc.compile([x, y], {"loss": loss}, updates=optim.Adam(1e-12).minimize(loss), threads=threads)
    named = dict(zip((x, y), data, strict=True))
    once = Minibatches(step, training=True).epochs(data, size, False, epochs)
    once.orders[:] = [np.random.default_rng(n).permutation(samples) for n in range(epochs)]
    ways = {
        "fit": lambda: graphc.fit(step, named, batch_size=size, epochs=epochs, verbose=False),
        "at once": lambda: list(once.run(0, epochs, lambda done: None)),
    }
    return times(ways, rounds, block=1)


def lone(threads):
    """Print the table of calls that come alone."""
    x = graphc.input("x", ("batch", WIDTHS["mlp"][0]))
    linears = [nn.Linear(a, b) for a, b in itertools.pairwise(WIDTHS["mlp"])]
    y = nn.Sequential(*[m for one in linears for m in (one, nn.ReLU())][:-1])(x)
    runs = [(count, graphc.compile([x], y, threads=count)) for count in (1, threads)]
    print("| batch | threads | without pause | alone |\n|---|---|---|---|")
    for batch in (8, 16, 32, 64, 128, 256):
        for count, run in runs:
            bound, found = run.bind(np.ones((batch, WIDTHS["mlp"][0]), "float32")), []
            for pause in (0, 1e-3):
                seconds = []
                for _ in range(300):
                    time.sleep(pause) if pause else None
                    start = time.perf_counter()
                    bound()
                    seconds.append(time.perf_counter() - start)
                found.append(micro(seconds))
            print(f"| {batch} | {count} | {' | '.join(found)} |", flush=True)


def learned(threads):
    """Print what a step takes, the more steps were made before."""
    x, y, loss = MODELS["mlp_tiny"]()
    arrays = ROWS["mlp_tiny"].arrays()
    print("| steps before | as they are | flush_denormals |\n|---|---|---|")
    programs = []
    for flushes in (False, True):
        updates = optim.Adam(1e-3).minimize(loss)
        step = graphc.compile([x, y], loss, updates, threads=threads, flush_denormals=flushes)
        weights = {p: p.value.copy() for p in step.graph.stored}
        programs.append(step.rebind(weights).repeat(LEARNED, list(arrays)))
    for done in range(0, 10 * LEARNED, LEARNED):
        found = []
        for program in programs:
            program.restart()
            start = time.perf_counter()
            program.run()
            found.append((time.perf_counter() - start) / LEARNED * 1e6)
        print(f"| {done} | {' | '.join(f'{one:.2f}' for one in found)} |", flush=True)


def micro(seconds):
    """Return minimum (median) in microseconds."""
    return f"{min(seconds) * 1e6:.2f} ({statistics.median(seconds) * 1e6:.2f})"


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.calls", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lone", action="store_true", help="calls that come alone, and nothing else")
    parser.add_argument(
        "--learned", action="store_true", help="steps of a network that knows its data, and nothing else"
    )
    options = parser.parse_args()
    if options.lone or options.learned:
        (lone if options.lone else learned)(options.threads)
        return
    print("| one call | us |\n|---|---|")
    for ways in (checked(predictions(options.threads)), trainings(options.threads)):
        for name, seconds in times(ways, options.rounds, BLOCK).items():
            print(f"| {name} | {micro(seconds)} |")
    print("\n| fit | samples | epochs | seconds | the same steps at once | fit / at once | us an epoch |")
    print("|---" * 7 + "|")
    for row, sizes in FITS.items():
        for samples, epochs in sizes:
            found = fits(row, samples, epochs, options.rounds, options.threads)
            whole, least = min(found["fit"]), min(found["at once"])
            extra = (whole - least) / epochs * 1e6
            print(f"| `{row}` | {samples} | {epochs} | {whole:.3f} | {least:.3f} | {whole / least:.3f} | {extra:.0f} |")


if __name__ == "__main__":
    main()
