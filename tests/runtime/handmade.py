"""Plans made by hand: a few small kernels, and a builder that names buffers."""

from functools import cache

from graphc import dims, dtypes
from graphc.emit.objects import compile_kernel
from graphc.runtime import Executable
from graphc.schedule.plan import Address, Branch, Buffer, KernelCall, Plan, Repeat
from graphc.simd.levels import host_level

N = dims.symbol("n")

# Every kernel takes (x, y, n) unless it says otherwise, and shares out the elements of y.
BODIES = {
    "add_one": "store(load_f32(x + 4 * i) + f32(1.0), y + 4 * i)",
    "double": "store(load_f32(x + 4 * i) * f32(2.0), y + 4 * i)",
    "add_to": "store(load_f32(y + 4 * i) + load_f32(x + 4 * i), y + 4 * i)",
    "subtract_from": "store(load_f32(y + 4 * i) - load_f32(x + 4 * i), y + 4 * i)",
    # Element i needs one that another thread made.
    "rotate": "store(load_f32(x + 4 * ((i + n // 2) % n)) + f32(1.0), y + 4 * i)",
    # y = (x[0] > 0), a boolean
    "positive": "store(select(load_f32(x) > f32(0.0), u8(1), u8(0)), y)",
    # x holds int64 indexes into an axis of size n, checked; y is counted up
    "check": "store(load_f32(y) + f32(i64(check_index(load_i64(x + 8 * i), n, args, 1))), y)",
    # y = how many threads share this kernel
    "count_threads": "store(f32(threads), y + 4 * i)",
    "copy_i64": "store(load_i64(x + 8 * i), y + 8 * i)",
}
KERNELS = {
    name: f"""
def {name}(args, thread, threads):
    x = word(args, 1)
    y = word(args, 2)
    n = word(args, 3)
    for i in range(share(n, thread, threads), share(n, thread + 1, threads)):
        {body}
"""
    for name, body in BODIES.items()
}


@cache
def machine_code(name):
    return compile_kernel(KERNELS[name], name, host_level())


class Maker:
    """Buffers by name, steps in order; with large `work` every kernel of more than one element is split."""

    def __init__(self, work=10**6):
        self.buffers = []
        self.numbers = {}
        self.work = work

    def buffer(self, name, kind, shape=(N,), dtype=dtypes.float32, position=None, shares=None):
        position = sum(b.kind == kind for b in self.buffers) if position is None and kind != "temporary" else position
        self.numbers[name] = len(self.buffers)
        if kind == "slice":
            position = self.numbers[position]
        shares = None if shares is None else self.numbers[shares]
        position = -1 if position is None else position
        self.buffers.append(Buffer(len(self.buffers), name, dtype, tuple(shape), kind, position, shares))
        return name

    def call(self, kernel, x, y, n=N, commit=False, units=None):
        a, b = self.numbers[x], self.numbers[y]
        reads = (a, b) if kernel in ("add_to", "subtract_from", "check") else (a,)
        return KernelCall(
            kernel, (Address(a), Address(b), n), reads, (b,), n if units is None else units, self.work, commit=commit
        )

    def repeat(self, count, steps, slices=(), reverse=False):
        return Repeat(count, tuple(steps), tuple(self.numbers[s] for s in slices), reverse)

    def branch(self, predicate, then, otherwise):
        return Branch(self.numbers[predicate], tuple(then), tuple(otherwise))

    def plan(self, *steps, requirements=(), sites=("site 0", "model.py:7: take")):
        return Plan(tuple(self.buffers), tuple(steps), dict(KERNELS), (), requirements, sites)

    def executable(self, *steps, leaves=(), outputs=0, threads=1, **options):
        plan = self.plan(*steps, **options)
        inputs = [(b.name, b.dtype, b.shape) for b in plan.of_kind("input")]
        return Executable(plan, list(leaves), objects, inputs, outputs, threads)


def objects(kernels):
    return {name: machine_code(name) for name in kernels}
