"""Measures the element functions of `graphc.simd` and writes the table in docs/mathematics.md.

    python -m tests.simd.accuracy [--full] [--time] [--samples N] [--kind f32|f64] [names]

f32 functions of one argument are compared with NumPy's f64 ones, at every float with `--full` and else at one of 257;
the others at N samples (10^9 with `--full`, else 10^6) with those of NumPy or libm in extended precision. `--time` measures
nanoseconds an element instead, beside PyTorch's where it is installed. What is not measured stays in the table.
"""

import argparse
import ctypes
import functools
import re
import sys
import time
from pathlib import Path

import numba
import numpy as np

from graphc.emit.loader import Loader
from graphc.emit.objects import compile_kernel
from graphc.simd.levels import host_level
from tests.simd.references import errors, reference
from tests.simd.samples import BINARY, NAMES, samples, special

PAGE = Path(__file__).parents[2] / "docs" / "mathematics.md"
TABLE = re.compile(r"(?<=<!-- measured: accuracy -->\n\n)(\|.*\n)+")
HEADS = (
    "function",
    "f32 ULP",
    "f32 arguments",
    "f64 ULP",
    "f64 arguments",
    "f32 ns",
    "f32 torch",
    "f64 ns",
    "f64 torch",
)
DTYPES = {"f32": np.float32, "f64": np.float64}
WIDER = {"f32": np.float64, "f64": np.longdouble}
CHUNK = 1 << 18
TIMED = 32768  # elements: 128 kB of f32 and as much of results stay in the second-level cache
KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Function:
    """An element function compiled for this machine, over whole arrays."""

    def __init__(self, name, kind):
        self.dtype, self.arity = DTYPES[kind], 2 if name in BINARY else 1
        lanes = {"f32": 16, "f64": 8}[kind]
        loads = ", ".join(f"load_{kind}x{lanes}(p{index} + i)" for index in range(self.arity))
        pointers = [f"    p{index} = word(args, {index})" for index in range(self.arity + 1)]
        loop = f"    for i in range(0, word(args, {self.arity + 1}), 64):"
        store = f"        store({name}({loads}), p{self.arity} + i)"
        source = "\n".join(["def kernel(args, thread, threads):", *pointers, loop, store])
        self.loader = Loader({"kernel": compile_kernel(source, "kernel", host_level())})
        self.kernel = KERNEL(self.loader.address("kernel"))

    def __call__(self, *operands):
        size = operands[0].size
        if size % 16:
            operands = [np.concatenate([one, np.ones(-size % 16, self.dtype)]) for one in operands]
        out = np.empty_like(operands[0])
        self.bound(operands, out)()
        return out[:size]

    def bound(self, operands, out):
        """Return a call for these arrays that does nothing else."""
        row = np.array([*(one.ctypes.data for one in (*operands, out)), out.nbytes], np.int64)
        return functools.partial(self._run, row, row.ctypes.data)

    def _run(self, row, address):
        self.kernel(address, 0, 1)  # `row` is held until then


@numba.njit(error_model="numpy", nogil=True)
def largest_error(got, exact, rounded, units):
    """The largest error of a chunk of f32 and where it is, as `errors` defines it."""
    most, where = -1.0, 0
    for i in range(got.size):
        value, right = np.float64(got[i]), exact[i]
        nearest = rounded[i]
        bits = nearest & 0x7FFFFFFF
        if np.isnan(value) or np.isnan(right):
            error = 0.0 if np.isnan(value) and np.isnan(right) else np.inf
        else:
            unit = units[min(bits >> 23, 254)]
            end = 2.0**128
            error = abs(min(max(value, -end), end) - min(max(right, -end), end)) / unit
            if bits == 0 and value == 0 and (np.signbit(got[i]) != (nearest < 0)):
                error = np.inf
        if error > most:
            most, where = error, i
    return most, where


@numba.njit(error_model="numpy", nogil=True)
def largest_of_usual(got, high, low, high_bits, unusual):
    """The largest error of a chunk of f64 and where it is, its exact values being sums high + low.

    Marks the elements that it leaves out: those that are not finite, or so large or small that a sum does not hold them.
    """
    most, where = -1.0, 0
    unit = np.empty(1)
    unit_bits = unit.view(np.int64)
    for i in range(got.size):
        exponent = (high_bits[i] >> 52) & 0x7FF
        unusual[i] = exponent < 128 or exponent > 2040 or not np.isfinite(got[i])
        if not unusual[i]:
            unit_bits[0] = (exponent - 52) << 52
            error = abs((got[i] - high[i]) - low[i]) / unit[0]
            if error > most:
                most, where = error, i
    return most, where


def largest_sampled(got, exact):
    """Return the largest error, as `errors` defines it, and where it is; most f64 take a way that is ten times as fast."""
    if got.dtype != np.float64:
        wrong = errors(got, exact)
        where = int(np.argmax(wrong))
        return float(wrong[where]), where
    with np.errstate(all="ignore"):
        high = exact.astype(np.float64)
        low = (exact - high).astype(np.float64)
    unusual = np.empty(got.size, np.bool_)
    most, where = largest_of_usual(got, high, low, high.view(np.int64), unusual)
    rest = np.flatnonzero(unusual)
    if rest.size:
        wrong = errors(got[rest], exact[rest])
        place = int(np.argmax(wrong))
        if wrong[place] > most:
            most, where = float(wrong[place]), int(rest[place])
    return most, where


def every_float(name, step):
    """Return the largest error over all f32, or one of `step`, its argument, and how many were tried."""
    function = Function(name, "f32")
    units = 2.0 ** (np.maximum(np.arange(255), 1) - 150.0)
    worst, count = (-1.0, None), 0
    for start in range(0, 1 << 32, CHUNK * step):
        x = (np.arange(CHUNK, dtype=np.uint32) * np.uint32(step) + np.uint32(start)).view(np.float32)
        got = function(x)
        with np.errstate(all="ignore"):
            exact = reference(name, x.astype(np.float64))
            rounded = exact.astype(np.float32).view(np.int32)
        most, where = largest_error(got, exact, rounded, units)
        worst = max(worst, (most, (x[where],)), key=lambda one: one[0])
        count += x.size
    return *worst, count


def sampled(name, kind, count):
    """Return the largest error over special and `count` random arguments, its arguments, and how many were tried."""
    function, generator = Function(name, kind), np.random.default_rng(11)
    worst, tried = (-1.0, None), 0
    operands = special(name, kind)
    while tried < count:
        with np.errstate(all="ignore"):
            exact = reference(name, *(one.astype(WIDER[kind]) for one in operands))
        most, where = largest_sampled(function(*operands), exact)
        worst = max(worst, (most, tuple(one[where] for one in operands)), key=lambda one: one[0])
        tried += operands[0].size
        operands = samples(name, kind, generator, CHUNK)
    return *worst, tried


def nanoseconds(run):
    """Return the time of one element: the least of many runs, which what else the machine does cannot lower."""
    run()
    times = []
    for _ in range(300):
        start = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - start)
    return min(times) / TIMED


def timed(name, kind):
    """Return nanoseconds an element, graphc's and PyTorch's (None where it is not installed or has no such function)."""
    generator = np.random.default_rng(5)
    operands = tuple(_aligned(_usual(name, generator).astype(DTYPES[kind])) for _ in range(_arity(name)))
    function, out = Function(name, kind), _aligned(np.empty(TIMED, DTYPES[kind]))
    ours = nanoseconds(function.bound(operands, out))
    try:
        import torch
    except ImportError:
        return ours, None
    torch.set_num_threads(1)
    theirs = getattr(torch, name, None) or getattr(torch.nn.functional, name, None)
    if theirs is None:
        return ours, None
    tensors, result = [torch.from_numpy(one) for one in operands], torch.from_numpy(out)
    target = {"out": result} if name != "softplus" else {}
    return ours, nanoseconds(lambda: theirs(*tensors, **target))


def _aligned(values):
    """Return a copy that starts at a line of the cache, as graphc's buffers do."""
    room = np.empty(values.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start : start + values.nbytes].view(values.dtype)
    copy[:] = values
    return copy


def _arity(name):
    return 2 if name in BINARY else 1


def _usual(name, generator):
    """Arguments of a usual size: no branch for large ones is taken, and no argument is out of the function's domain."""
    if name in ("asin", "acos", "atanh"):
        return generator.uniform(-1, 1, TIMED)
    low = {
        "acosh": 1.0,
        "log": 0.01,
        "log2": 0.01,
        "log10": 0.01,
        "log1p": 0.01,
        "pow": 0.01,
        "sqrt": 0.01,
        "rsqrt": 0.01,
    }
    return generator.uniform(low.get(name, -5.0), 5.0, TIMED)


def read_table():
    """Return the rows of the page's table by function, as dictionaries of the columns."""
    found = TABLE.search(PAGE.read_text())
    lines = found.group().splitlines() if found else []
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {row[0].strip("`"): dict(zip(HEADS, row, strict=True)) for row in rows}


def update(name, cells):
    """Write the cells of a function's row into the page."""
    rows = read_table()
    rows.setdefault(name, {"function": f"`{name}`"}).update(cells)
    lines = [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    lines += [f"| {' | '.join(rows[one].get(head, '') for head in HEADS)} |" for one in NAMES if one in rows]
    table = "\n".join(lines) + "\n"
    PAGE.write_text(TABLE.sub(lambda _: table, PAGE.read_text()))


def _count(number):
    power = len(str(number)) - 1
    return "all" if number == 1 << 32 else f"{number / 10**power:.1f}e{power}"


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simd.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="every float32, and 10^9 samples of the others")
    parser.add_argument("--time", action="store_true", help="measure time instead of errors")
    parser.add_argument("--samples", type=float, help="how many samples, where not every float is tried")
    parser.add_argument("--kind", choices=("f32", "f64"), help="one format only")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"no such function: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    count = int(options.samples or (1e9 if options.full else 1e6))
    for name in options.names or NAMES:
        for kind in (options.kind,) if options.kind else ("f32", "f64"):
            if options.time:
                times = timed(name, kind)
                cells = dict(zip((f"{kind} ns", f"{kind} torch"), (_time(one) for one in times), strict=True))
                print(f"{name} {kind}: {cells}")
            else:
                exhaustive = kind == "f32" and name not in BINARY
                result = every_float(name, 1 if options.full else 257) if exhaustive else sampled(name, kind, count)
                most, at, tried = result
                cells = {f"{kind} ULP": f"{most:.2f}", f"{kind} arguments": _count(tried)}
                print(f"{name} {kind}: {most:.3f} ULP at {', '.join(map(repr, at))} of {tried}")
            sys.stdout.flush()
            update(name, cells)


def _time(number):
    return "-" if number is None else f"{number:.2f}"


if __name__ == "__main__":
    main()
