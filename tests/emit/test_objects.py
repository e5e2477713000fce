import ctypes

import numpy as np
import pytest

from graphc.emit.loader import Loader
from graphc.emit.objects import compile_kernel
from graphc.errors import CompileError
from graphc.simd import twin
from graphc.simd.levels import LEVELS, supported_levels

CALL = """
def kernel(args, thread, threads):
    x = view_f32(word(args, 0), 3, word(args, 2))
    y = view_f32(word(args, 1), 3, 4)
    store(user(x, y, f32(2.0)), word(args, 3))
"""
HOST = next(LEVELS[name] for name in supported_levels())


def scaled(x, y, factor):
    total = np.float32(0.0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] * factor
            total += x[i, j]
    return total


def allocates(x, y, factor):
    y[:] = np.sqrt(x) + factor
    return np.float32(0)


def raises(x, y, factor):
    if x[0, 0] > factor:
        raise ValueError("no")
    return np.float32(0)


def prints(x, y, factor):
    print(x[0, 0])
    return np.float32(0)


def compile_body(*lines, **kwargs):
    return compile_kernel("\n    ".join(["def kernel(args, thread, threads):", *lines]), "kernel", HOST, **kwargs)


def test_native_gets_arrays_and_scalars():
    x, y, total = np.arange(12, dtype=np.float32), np.zeros(12, np.float32), np.zeros(1, np.float32)
    row = np.array([x.ctypes.data, y.ctypes.data, 4, total.ctypes.data])
    loader = Loader({"kernel": compile_kernel(CALL, "kernel", HOST, {"user": scaled})})
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(loader.address("kernel"))(row.ctypes.data, 0, 1)
    assert np.array_equal(y, 2 * x)
    assert total[0] == 66

    names = {**twin.namespace(), "user": scaled}
    exec(CALL, names)
    y[:], total[:] = 0, 0
    spans = [(one.ctypes.data, one.nbytes, one is not x) for one in (x, y, total, row)]
    with twin.buffers(spans):
        names["kernel"](row.ctypes.data, 0, 1)
    assert np.array_equal(y, 2 * x)
    assert total[0] == 66


@pytest.mark.parametrize(
    ("native", "reason"), [(allocates, "allocates memory"), (raises, "can raise"), (prints, "runtime|prints")]
)
def test_native_that_needs_python_is_refused_with_the_reason(native, reason):
    with pytest.raises(CompileError, match=reason):
        compile_kernel(CALL, "kernel", HOST, {"user": native})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["x = 1", "y = f32x16(1.0) + f64x16(1.0)"],
            r"line 3: y = .*\n.*\(f32x16, f64x16\): expected arguments of one type",
        ),
        (["z = exp(word(args, 0))"], r"line 2: z = exp.*\n.*exp\(i64\): expected one of f32, f64"),
        (["z = i32(1) + 1"], r"\(i32, i64\): expected arguments of one type"),
        (["z = nothing(1)"], "nothing"),
        (["z = f32x16(1.0)", "z += z"], "for vectors write a = a"),
        (["z = load_f32x16(args, tail_bx8(1))"], "at most one mask, bx16"),
        (
            ["a = 0", "for i in range(3):", "    a = a + 1", "    a = f32(1.0)"],
            r"line 3: for i in .*\n.*a is i64 before the loop and f32 at the end of its turns",
        ),
        (["if thread == 0:", "    a = 1", "store(a, args)"], r"line 4: store.*\n.*a is not set on every path"),
        (
            ["a = 1", "if thread == 0:", "    a = 1.0", "store(a, args)"],
            r"line 5: store.*\n.*a is i64 on one path to here and f64 on another",
        ),
        (["for i in range(3):", "    a = i", "store(a, args)"], r"line 4: store.*\n.*a is not set on every path"),
        (["for i in range(f32(3.0)):", "    store(i, args)"], r"line 2: for .*\n.*range\(f32\)"),
        (["if f32x16(1.0) < f32x16(2.0):", "    store(1, args)"], r"line 2: if .*\n.*a scalar, not bx16"),
        (["store(store(1, args), args)"], "without a result"),
        (["store(view_f32(args, 1), args)"], "an array"),
        (["a = 5", "a //= 2"], r"line 3: a //= 2\n.*no such operator"),
        (["a = 1 < 2 < 3"], "Compare.* outside of the dialect"),
        (["import os"], "Import.* outside of the dialect"),
        (["a = [1, 2]"], "outside of the dialect"),
        (["return 1 +"], "line 2: invalid syntax"),
    ],
)
def test_errors_name_the_line_and_what_was_expected(lines, message):
    with pytest.raises(CompileError, match=message) as caught:
        compile_body(*lines)
    assert caught.value.__cause__ is None


def test_compile_is_reproducible():
    lines = ("store(exp(load_f32x16(word(args, 0))), word(args, 1))",)
    assert compile_body(*lines) == compile_body(*lines)


def test_control_flow_and_scalars():
    source = """
def kernel(args, thread, threads):
    p = word(args, 0)
    n = word(args, 1)
    i = 0
    total = f32(0.0)
    hit = False
    while i < n:
        x = load_f32(p + 4 * i)
        if x > f32(2.0) and not (x > f32(4.0)):
            total += x
        elif i % 2 == 0 or x < f32(1.0):
            total = total - f32(1.0)
        i += 1
    for j in range(n, 0, -1):
        if j == 3:
            hit = True
            break
    store(total, p)
    store(hit, p + 4)
    store(i64(i) // 2, p + 8)
"""
    row_of = []
    for compiled in (True, False):
        data = np.array([0.5, 1, 2, 3, 4, 5, 6, 7], np.float32)
        row = np.array([data.ctypes.data, 8])
        if compiled:
            loader = Loader({"kernel": compile_kernel(source, "kernel", HOST)})
            ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(loader.address("kernel"))(row.ctypes.data, 0, 1)
        else:
            names = twin.namespace()
            exec(source, names)
            with twin.buffers([(data.ctypes.data, 32, True), (row.ctypes.data, 16, False)]):
                names["kernel"](row.ctypes.data, 0, 1)
        row_of.append(data.tobytes())
    assert row_of[0] == row_of[1]
    assert np.frombuffer(row_of[0], np.float32)[0] == 3 + 4 - 3


@pytest.mark.alone
def test_string_of_many_kernels_compiles_quickly():
    """A guard against a front end that is slow by the line: it takes 30 ms; this fails at ten times that."""
    import time

    lines = [f"x{i} = fma(load_f32x16(args + {64 * i}), f32x16(0.5), f32x16({i}.0))" for i in range(38)]
    compile_body(*lines)
    start = time.perf_counter()
    compile_body(*lines, "store(x3, args)")
    assert time.perf_counter() - start < 0.3
