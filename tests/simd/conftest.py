"""Running a kernel's source both ways: compiled for a CPU level, and as plain Python with the NumPy twins."""

import contextlib
import ctypes
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from graphc.emit.loader import Loader
from graphc.emit.objects import compile_kernel
from graphc.simd import twin
from graphc.simd.kinds import type_of
from graphc.simd.levels import LEVELS, Level, supported_levels

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


def _row(words: Sequence[np.ndarray | int]) -> np.ndarray:
    return np.array([one if isinstance(one, int) else one.ctypes.data for one in words], np.int64)


def run(source: str, words: Sequence[np.ndarray | int], level: Level, name: str = "kernel", natives=None) -> None:
    """Compile and call a kernel; arrays among the words are passed by address."""
    loader = Loader({name: compile_kernel(source, name, level, natives)})
    row = _row(words)  # held by a name: its memory must outlive the call
    KERNEL(loader.address(name))(row.ctypes.data, 0, 1)


def run_twin(source: str, words: Sequence[np.ndarray | int], has_fma: bool = True, read_only=()) -> None:
    """Run a kernel's source uncompiled; it may touch the arrays among the words and nothing else."""
    row = _row(words)
    spans = [(row.ctypes.data, row.nbytes, False)]
    spans += [
        (one.ctypes.data, one.nbytes, all(one is not other for other in read_only))
        for one in words
        if not isinstance(one, int)
    ]
    names = twin.namespace(has_fma)
    exec(source, names)
    with twin.buffers(spans):
        names["kernel"](row.ctypes.data, 0, 1)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """The same bits, any NaN like any other."""
    if a.dtype.kind == "f":
        integer = f"u{a.dtype.itemsize}"
        return bool(np.all((a.view(integer) == b.view(integer)) | (np.isnan(a) & np.isnan(b))))
    return bool(np.array_equal(a, b))


def evaluate(expressions: Sequence[str], inputs: Mapping[str, np.ndarray], level: Level) -> dict[str, np.ndarray]:
    """The values of expressions of the dialect; asserts that the compiled ones are the twin's, bit for bit."""
    lines = ["def kernel(args, thread, threads):"]
    values = {name: np.array(value) for name, value in inputs.items()}
    names = twin.namespace(level.fma)
    scope = {**names}
    for index, (name, value) in enumerate(values.items()):
        lines.append(f"    {name} = load_{type_of(value)}(word(args, {index}))")
        scope[name] = value.reshape(-1)[0] if value.ndim == 0 else value
    with np.errstate(all="ignore"):
        expected = {text: np.asarray(eval(text, scope)) for text in expressions}
    got = {text: np.full_like(value, 1) for text, value in expected.items()}
    lines += [f"    store({text}, word(args, {len(values) + index}))" for index, text in enumerate(expressions)]
    run("\n".join(lines), [*values.values(), *got.values()], level)
    for text in expressions:
        assert same(got[text], expected[text]), f"{text}\n compiled {got[text]}\n twin     {expected[text]}"
    return expected


@pytest.fixture(params=[name for name in LEVELS if name in supported_levels()])
def level(request) -> Level:
    return LEVELS[request.param]


@pytest.fixture
def kernels() -> SimpleNamespace:
    return SimpleNamespace(run=run, run_twin=run_twin, evaluate=evaluate, same=same, call=KERNEL)


@contextlib.contextmanager
def guarded(nbytes: int):
    """An address whose `nbytes` end exactly at a page that traps."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    start = libc.mmap(None, 3 * 4096, 3, 0x22, -1, 0)
    assert libc.mprotect(start, 4096, 0) == 0
    assert libc.mprotect(start + 2 * 4096, 4096, 0) == 0
    try:
        yield start + 2 * 4096 - nbytes
    finally:
        libc.munmap(start, 3 * 4096)


@pytest.fixture
def guard_page():
    return guarded
