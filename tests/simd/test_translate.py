"""The walk from syntax to LLVM IR: what it knows at compile time, what it keeps, and where paths meet."""

import itertools
from functools import partial

import llvmlite.binding as llvm
import numpy as np
import pytest

from graphc.simd.levels import LEVELS
from graphc.simd.translate import translate

PATHS = """
def kernel(args, thread, threads):
    p = word(args, 0)
    n = word(args, 1)
    a = n * n
    if n > 2:
        b = a * 3 + n * 7
        if n > 4 and a * 5 > 200:
            c = a * 5 + n * 7
            a = c
        else:
            c = n * 7 - a * 3
    elif n * 7 == 14 or a * 3 == 3:
        b = 1
        c = a * 3
    else:
        b = n * 7
        c = 0
        n = b
    store(a, p)
    store(b + a * 3, p + 8)
    store(c + n * 7, p + 16)
    i = 5
    last = -1
    for i in range(n):
        d = i * a
        if d > 40:
            last = d
            break
        for j in range(i, 0, -2):
            last = last + j * a + i * 11
            p = p + 0
    store(i * 11 + n * 7, p + 24)
    store(last, p + 32)
    while i < 20 and i * 11 < 150:
        i += 3
        if i * 13 > 100:
            i += 1
    store(i * 13, p + 40)
    if n == 1:
        return
    store(i * 11, p + 48)
"""
LOOPS = """
def kernel(args, thread, threads):
    p = word(args, 0)
    n = word(args, 1)
    a = 1
    b = 2
    for i in range(n):
        a = b
        b = a + b
        for j in range(0, i, 2 * n - 9):
            a = b
            x = f32(0.5)
        x = f32x16(2.0)
        x = f32x16(1.0) + x
    store(a, p)
    store(b, p + 8)
    for step in range(n, -3, 7 - 2 * n):
        b = b + step
        if b > 100:
            break
    store(b, p + 16)
"""


@pytest.mark.parametrize("source", [PATHS, LOOPS])
@pytest.mark.parametrize("n", [*range(-1, 9), 30])
def test_paths_meet_as_in_python(kernels, level, source, n):
    got, expected = np.zeros(8, np.int64), np.zeros(8, np.int64)
    kernels.run(source, [got, n], level)
    kernels.run_twin(source, [expected, n])
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("name", LEVELS)
def test_what_is_known_in_one_block_is_not_used_where_that_may_not_have_run(name):
    level = LEVELS[name]
    for source in (PATHS, LOOPS):
        layout = "e-m:e-i64:64-n8:16:32:64-S128"
        text = translate(source, "kernel", level, {}).module.text(level.triple, layout, "test")
        llvm.parse_assembly(text).verify()


def test_numbers_known_at_compile_time(kernels, level):
    top, bottom = 2**63 - 1, -(2**63)
    texts = [
        "7 // 2",
        "-7 // 2",
        "7 // -2",
        "7 % -3",
        "floordiv(5, 0)",
        "remainder(5, 0)",
        "minimum(3, 4)",
        "maximum(i32(3), i32(-4))",
        "3 < 4",
    ]
    texts += ["n * 0", "1 * n", "n * 1", "0 - n", "n - 0", "3 - n", "n + 0", "-n", "(n + 3) - (n + 1)", "(n + 3) - 3"]
    texts += ["(n + 3) * 8 + (n - 5)", "(n - 3) * -2", "((n + 1) * m + 5) - (m + 4)", "(n + m + 1) * (m - n - 1)"]
    texts += [
        f"(n + {top}) + 1",
        f"i64({top}) + i64(2)",
        f"i64({bottom}) - i64(1)",
        f"(n + {top}) * 3",
        f"n * {top} + {top}",
    ]
    texts += ["(k + i32(2147483647)) + i32(1)", "(k - i32(5)) * i32(1073741824)", "i32(2147483647) + i32(1)"]
    texts += ["(s + u8(200)) + u8(100)", "u8(200) + u8(100)", "u8(3) - u8(4)", "u32(3) < u32(4)", "u32(0) - u32(1)"]
    texts += ["select(3 < 4, n, m)", "select(4 < 3, n, m)", "(n < m) & (3 < 4)", "(3 < 4) & (n < m)", "(n < m) & False"]
    texts += ["(n < m) | False", "(n < m) | True", "True | (n < m)", "(n + 1 < m + 1) ^ True", "f32(n + 2) + f32(0.1)"]
    texts += [
        "f64(f32(0.1))",
        "f64(16777217)",
        "f32(16777217)",
        f"f32({top})",
        "i32(3000000000)",
        "u8(-1)",
        "b(0)",
        "b(2)",
    ]
    texts += [
        "f32x16(n + 1)",
        "i64x16(3) + iota_i64x16(n + 2)",
        "tail_bx16(7)",
        "tail_bx16(n + 3)",
        "-0.0 + f64(n) * 0.0",
    ]
    for n, m in ((0, 0), (5, -3), (-7, 11), (top, bottom)):
        inputs = {"n": np.int64(n), "m": np.int64(m), "k": np.int32(n % 100 - 50), "s": np.uint8(n % 256)}
        kernels.evaluate(texts, inputs, level)


def test_shares_are_whole_and_meet(kernels, level):
    cases = [(total, threads) for total in (0, 1, 5, 64, 1000003) for threads in (1, 2, 3, 7, 64)]
    for total, threads in cases:
        inputs = {"total": np.int64(total), "threads": np.int64(threads)}
        texts = [f"share(total, {thread}, threads)" for thread in range(threads + 1)]
        bounds = [int(value) for value in map(partial(kernels.evaluate(texts, inputs, level).get), texts)]
        assert bounds[0] == 0
        assert bounds[-1] == total
        sizes = [b - a for a, b in itertools.pairwise(bounds)]
        assert max(sizes) - min(sizes) <= 1


def test_addresses_that_differ_by_a_number_are_loaded_apart(kernels, level):
    lines = ["def kernel(args, thread, threads):", "    p = word(args, 0)", "    n = word(args, 2)"]
    offsets = ["0", "8", "8 * n", "8 * (n + 1)", "8 * (n + 1) - 16", "8 * (n - 1) + 24", "(n + 3) * 8 - 8 * n"]
    for place, offset in enumerate(offsets):
        lines.append(f"    store(load_i64(p + {offset}), word(args, 1) + {8 * place})")
    data, got = np.arange(100, 110), np.zeros(len(offsets), np.int64)
    kernels.run("\n".join(lines), [data, got, 4], level)
    assert got.tolist() == [100 + eval(offset, {"n": 4}) // 8 for offset in offsets]


@pytest.mark.parametrize(("count", "unrolled"), [(1, True), (200, False)])
def test_a_long_loop_is_not_unrolled(count, unrolled):
    lines = "\n".join(f"        store(i * {3 + k}, p + {8 * k})" for k in range(count))
    source = f"def kernel(args, thread, threads):\n    p = word(args, 0)\n    for i in range(4):\n{lines}\n"
    level = LEVELS["x86-64-v3"]
    ir = translate(source, "kernel", level, {}).module.text(level.triple, "", "none")
    assert ("br label %head1, !llvm.loop" in ir) != unrolled
    llvm.parse_assembly(ir).verify()
