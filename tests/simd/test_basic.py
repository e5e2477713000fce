from fractions import Fraction

import numpy as np
import pytest

from graphc.simd.arrays import fused

HARD = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.75, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 3e38, 2147483648.0, -7.0, 255.5]
SHUFFLED = [-7.0, 0.0, np.nan, 3.0, -0.5, 2.5, np.inf, -np.inf, 1.0, -0.0, 1e-42, 2.0, -3e38, 1.0, 3.0, 300.0]
FLOAT_BINARY = [
    "a + c",
    "a - c",
    "a * c",
    "a / c",
    "maximum(a, c)",
    "minimum(a, c)",
    "fma(a, c, a)",
    "select(a < c, a, c)",
]
COMPARISONS = [f"a {sign} c" for sign in ("<", "<=", ">", ">=", "==", "!=")]
MASKS = ["(a < c) & (a == a)", "(a < c) | (c != c)", "(a < c) ^ (a == a)", "~(a < c)", "logical_not(a < c)"]
UNARY = ["-a", "abs(a)", "floor(a)", "sqrt(a)"]
CONVERSIONS = ["f32(a)", "f64(a)", "i32(a)", "i64(a)", "u32(a)", "u8(a)", "b(a)"]
REDUCTIONS = ["reduce_add(a)", "reduce_multiply(c)", "reduce_maximum(a)", "reduce_minimum(a)", "lane(a, 3)"]


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_float_vectors(kernels, level, kind):
    dtype = {"f32": np.float32, "f64": np.float64}[kind]
    with np.errstate(all="ignore"):
        a, c = np.array(HARD, dtype), np.array(SHUFFLED, dtype)
    texts = [
        *FLOAT_BINARY,
        *COMPARISONS,
        *MASKS,
        *UNARY,
        *CONVERSIONS,
        *REDUCTIONS,
        "floordiv(a, c)",
        "remainder(a, c)",
    ]
    got = kernels.evaluate(texts, {"a": a, "c": c}, level)
    with np.errstate(all="ignore"):
        for text, function in (("maximum(a, c)", np.maximum), ("minimum(a, c)", np.minimum)):
            assert np.array_equal(got[text], function(a, c), equal_nan=True)
        assert np.array_equal(got["floor(a)"], np.floor(a), equal_nan=True)
        assert kernels.same(got["floordiv(a, c)"], np.floor_divide(a, c))
        assert kernels.same(got["remainder(a, c)"], np.remainder(a, c))
    assert got["i32(a)"].tolist() == [
        0,
        0,
        1,
        -1,
        0,
        -2,
        3,
        2**31 - 1,
        -(2**31),
        0,
        0,
        0,
        2**31 - 1,
        2**31 - 1,
        -7,
        255,
    ]
    assert got["u8(a)"].tolist() == [0, 0, 1, 0, 0, 0, 3, 255, 0, 0, 0, 0, 255, 255, 0, 255]
    assert got["b(a)"].tolist() == [one != 0 for one in a]


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_float_scalars(kernels, level, kind):
    dtype = {"f32": np.float32, "f64": np.float64}[kind]
    texts = [*FLOAT_BINARY, *COMPARISONS, *UNARY, *CONVERSIONS, "floordiv(a, c)", "remainder(a, c)", f"{kind}(0.1) * a"]
    got = kernels.evaluate(texts, {"a": dtype(-7.5), "c": dtype(2.0)}, level)
    assert got["a * c"].dtype == dtype
    assert got["floordiv(a, c)"] == -4
    assert got[f"{kind}(0.1) * a"] == dtype(0.1) * dtype(-7.5)


@pytest.mark.parametrize("kind", ["i32", "i64", "u32", "u8"])
def test_integer_vectors(kernels, level, kind):
    dtype = np.dtype(kind.replace("32", "4").replace("64", "8").replace("u8", "u1"))
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    a = np.array([0, 1, 2, 7, low, low, high, 5, low, 9, 250, 3, 100, 17, high, low + 1]).astype(dtype)
    c = np.array([0, 0, 3, 2, high, 1, low, 200, 0, 4, 7, high, 1, 5, high, 2]).astype(dtype)
    if low < 0:
        a[2], a[9], c[7], c[5] = -7, -9, -2, -1
    texts = ["a + c", "a - c", "a * c", "a & c", "a | c", "a ^ c", "~a", "-a", *COMPARISONS, "abs(a)", "maximum(a, c)"]
    texts += ["minimum(a, c)", "floordiv(a, c)", "remainder(a, c)", "a // c", "a % c", *CONVERSIONS]
    texts += [
        "reduce_add(a)",
        "reduce_multiply(c)",
        "reduce_maximum(a)",
        "reduce_minimum(a)",
        "reduce_and(a)",
        "reduce_or(a)",
    ]
    texts += ["shift_left(a, 3)", "shift_right(a, 2)", "shift_left(a, 70)", "shift_right(a, 70)", "shift_left(a, c)"]
    texts += ["shift_right(a, c)", "select(a < c, a, c)"]
    got = kernels.evaluate(texts, {"a": a, "c": c}, level)
    with np.errstate(all="ignore"):
        assert np.array_equal(got["floordiv(a, c)"], np.floor_divide(a, c))
        assert np.array_equal(got["remainder(a, c)"], np.remainder(a, c))
        assert np.array_equal(got["shift_right(a, 2)"], a >> 2)
        assert np.array_equal(got["a * c"], a * c)


def test_integer_scalars(kernels, level):
    texts = ["a + c", "a * c", "a // c", "a % c", "floordiv(a, 0)", "a << 3", "a >> 1", "a < c", "f32(a)", "-a"]
    got = kernels.evaluate(texts, {"a": np.int64(-17), "c": np.int64(5)}, level)
    assert got["a // c"] == -4
    assert got["a % c"] == 3
    assert got["floordiv(a, 0)"] == 0
    texts = ["a + c", "a * c", "a // c", "i64(a) + i64(c)"]
    got = kernels.evaluate(texts, {"a": np.int32(2**31 - 1), "c": np.int32(5)}, level)
    assert got["a + c"] == -(2**31) + 4
    assert got["i64(a) + i64(c)"] == 2**31 + 4


def test_splats_iotas_tails_and_masks(kernels, level):
    texts = ["f32x16(x)", "f64x8(1)", "i32x4(-3)", "u8x16(300)", "bx8(x > f32(0.0))", "f32x16(m)", "iota_i64x16(n)"]
    texts += [
        "iota_i32x8(n)",
        *[f"tail_bx16({count})" for count in (-5, 0, 1, 15, 16, 99)],
        "tail_bx2(1)",
        "tail_bx16(n)",
    ]
    texts += [
        "reduce_or(m)",
        "reduce_and(m)",
        "reduce_and(m | ~m)",
        "reduce_or(m & ~m)",
        "select(m, x16, -x16)",
        "lane(m, 1)",
    ]
    inputs = {
        "x": np.float32(2.5),
        "n": np.int64(7),
        "m": np.arange(16) % 3 == 0,
        "x16": np.arange(16, dtype=np.float32),
    }
    got = kernels.evaluate(texts, inputs, level)
    assert got["tail_bx16(n)"].sum() == 7
    assert got["iota_i64x16(n)"].tolist() == list(range(7, 23))


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_argmax_orders_nan_first_then_ties_by_index(kernels, level, lanes):
    generator = np.random.default_rng(lanes)
    values = generator.integers(0, 3, (20, lanes)).astype(np.float32)
    values[::4, 1] = np.nan
    values[::8, 0] = np.nan
    order = np.array([generator.permutation(lanes) for _ in range(20)]).astype(np.int64)
    inputs = {f"v{row}": values[row] for row in range(20)} | {f"i{row}": order[row] for row in range(20)}
    got = kernels.evaluate([f"reduce_argmax(v{row}, i{row})" for row in range(20)], inputs, level)
    for row in range(20):
        by_index = values[row][np.argsort(order[row])]
        assert got[f"reduce_argmax(v{row}, i{row})"] == np.argmax(by_index)


def test_reductions_fold_halves(kernels, level):
    x = np.random.default_rng(0).normal(size=16).astype(np.float32)
    tree = x
    while tree.size > 1:
        tree = tree[: tree.size // 2] + tree[tree.size // 2 :]
    assert kernels.evaluate(["reduce_add(x)"], {"x": x}, level)["reduce_add(x)"] == tree[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_twin_of_fma_rounds_once(dtype):
    generator = np.random.default_rng(1)
    a, b, c = (generator.normal(size=400).astype(dtype) for _ in range(3))
    c[::2] = -(a * b)[::2] * dtype(1 + np.finfo(dtype).eps)
    c[::5] *= dtype(1e-8)
    for x, y, z, got in zip(a, b, c, fused(a, b, c), strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        assert abs(Fraction(float(got)) - exact) <= Fraction(float(np.spacing(np.abs(got)))) / 2
