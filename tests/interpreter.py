"""A second way to run a plan, for tests: every buffer alone, its last byte just before a protected page, or its first behind one.

Kernels run unjitted (the twins check every access) or compiled (an access past the end is a segmentation fault). The
planner's arena, the native walk and the thread pool play no part, so what agrees here and there is right in both.
"""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

from graphc import dims
from graphc.schedule.plan import Address, Branch, KernelCall, Leave, Repeat
from graphc.simd import twin

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


class Guarded:
    """Memory of some bytes between two protected pages: it ends at the second one, or begins behind the first one."""

    def __init__(self, nbytes, begins=False):
        pages = max(1, -(-nbytes // PAGE))
        self.map = mmap.mmap(-1, (pages + 2) * PAGE)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        for page in (0, pages + 1):
            assert _libc.mprotect(ctypes.c_void_p(self.start + page * PAGE), PAGE, 0) == 0
        self.address = self.start + (PAGE if begins else (pages + 1) * PAGE - nbytes)
        self.nbytes = nbytes

    def array(self, dtype, shape):
        count = int(np.prod(shape))
        if not count:
            return np.empty(shape, dtype)
        raw = (ctypes.c_char * self.nbytes).from_address(self.address)
        return np.frombuffer(raw, dtype, count).reshape(shape)


class Interpreter:
    """One run of a plan. `kernel_of(name)` gives a function of (args address, thread, threads).

    begins: each buffer lies just behind a protected page, instead of before one.
    """

    def __init__(self, plan, inputs, leaves, sizes, kernel_of, *, threads=1, begins=False):
        self.plan, self.sizes, self.kernel_of, self.threads = plan, sizes, kernel_of, threads
        self.turns = None
        self.status = Guarded(64)
        self.memory, self.offsets = {}, {}
        given = {"input": inputs, "leaf": leaves, "constant": plan.constants}
        for buffer in plan.buffers:
            if buffer.kind == "slice" or buffer.shares is not None:
                continue
            nbytes = self.nbytes(buffer)
            self.memory[buffer.number] = memory = Guarded(nbytes, begins)
            if buffer.kind in given:
                memory.array(buffer.dtype.numpy, self.shape(buffer))[...] = given[buffer.kind][buffer.position]
            elif nbytes:
                memory.array(np.uint8, (nbytes,))[...] = 0xAB
        for step in plan.steps:
            self.run(step)

    def shape(self, buffer):
        return tuple(dims.evaluate(d, self.sizes) for d in buffer.shape)

    def nbytes(self, buffer):
        """The size of a buffer; a private one is there for each thread."""
        return dims.evaluate(buffer.nbytes, self.sizes) * (self.threads if buffer.kind == "private" else 1)

    def address(self, number):
        buffer = self.plan.buffers[number]
        if buffer.kind == "slice":
            return self.address(buffer.position) + self.offsets[number]
        if buffer.shares is not None:
            size = dims.evaluate(dims.product(buffer.shape[1:]), self.sizes) * buffer.dtype.itemsize
            return self.address(buffer.shares) + dims.evaluate(buffer.first, self.sizes) * size
        return self.memory[number].address

    def truth(self, number):
        """A boolean scalar, which may lie in what a loop walks over or in the place of another."""
        return ctypes.c_bool.from_address(self.address(number)).value

    def result(self, kind):
        return [self.memory[b.number].array(b.dtype.numpy, self.shape(b)).copy() for b in self.plan.of_kind(kind)]

    @property
    def error(self):
        return self.status.array(np.int64, (8,)).copy()

    def call(self, step, kernel, given, thread, threads):
        """Run a kernel of a step as one of its threads."""
        words = [self.status.address]
        words += [self.address(w.buffer) if isinstance(w, Address) else dims.evaluate(w, self.sizes) for w in given]
        args = Guarded(8 * len(words))
        args.array(np.int64, (len(words),))[...] = words
        spans = [(args.address, args.nbytes, False), (self.status.address, 64, True)]
        for number in {*step.reads, *step.writes}:
            nbytes = self.nbytes(self.plan.buffers[number])
            spans.append((self.address(number), nbytes, number in step.writes))
        with twin.buffers(spans):
            self.kernel_of(kernel)(args.address, thread, threads)

    def run(self, step):
        """Run a step; say whether it ends the Repeat that it stands in."""
        match step:
            case KernelCall():
                if step.commit and self.error[0]:
                    return False
                units = dims.evaluate(step.units, self.sizes)
                threads = min(self.threads, max(units, 1))
                # Kernels of one step need nothing of one another: a thread may be through with all before another one begins.
                for thread in range(threads) if self.turns is None else self.turns:
                    for kernel, given in step.runs:
                        self.call(step, kernel, given, thread, threads)
            case Repeat() if self.turns is None and dims.evaluate(step.owners, self.sizes) > 1:
                # Each thread has rows of its own: the last one may be through before the first one begins.
                self.threads, several = min(self.threads, dims.evaluate(step.owners, self.sizes)), self.threads
                for thread in reversed(range(self.threads)):
                    self.turns = [thread]
                    self.run(step)
                self.turns, self.threads = None, several
            case Repeat():
                count = dims.evaluate(step.count, self.sizes)
                for turn in range(count):
                    for number in step.slices:
                        size = dims.evaluate(self.plan.buffers[number].nbytes, self.sizes)
                        position = count - 1 - turn if step.reverse else turn
                        self.offsets[number] = size * (position + self.plan.buffers[number].shift)
                    if any(self.run(inner) for inner in step.steps):
                        break
            case Branch():
                for inner in step.then if self.truth(step.predicate) else step.otherwise:
                    self.run(inner)
            case Leave():
                return not self.truth(step.predicate)
        return False


def unjitted(plan, natives, *, has_fma=True):
    """Return `kernel_of` for kernels run as plain Python."""
    made = {}

    def kernel_of(name):
        if name not in made:
            names = {**twin.namespace(has_fma), **natives}
            exec(plan.kernels[name], names)
            made[name] = names[name]
        return made[name]

    return kernel_of


def compiled(loader):
    """Return `kernel_of` for object code."""
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    return lambda name: kind(loader.address(name))
