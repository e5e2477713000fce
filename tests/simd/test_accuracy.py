import numpy as np
import pytest

ULP = 2.0
NAMES = ["exp", "expm1", "log", "log1p", "tanh", "sigmoid"]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1e-310, -1e-310, 5e-324, 1.0, -1.0, -2.0, 0.5, 88.7, 89.0]
SPECIAL += [
    -87.5,
    -103.0,
    -104.0,
    700.0,
    709.7,
    710.0,
    -708.5,
    -745.2,
    -750.0,
    1e308,
    3e38,
    -3e38,
    -17.5,
    40.0,
    -40.0,
    0.625,
]


def reference(name, x):
    """In extended precision."""
    if name == "sigmoid":
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, small) / (1 + small)
    return getattr(np, name)(x)


def errors(got, exact):
    """In units of the last place of the rounded exact value, a denormal's at least the smallest."""
    rounded = exact.astype(got.dtype)
    unit = np.spacing(np.maximum(np.abs(rounded), np.finfo(got.dtype).tiny)).astype(np.longdouble)
    distance = np.abs(got.astype(np.longdouble) - exact) / unit
    agree = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(agree & ~np.isfinite(rounded), 0, np.where(np.isnan(distance), np.inf, distance))


def samples(name, kind, dtype):
    generator = np.random.default_rng(7)
    count = 40_000
    if name == "log":
        x = np.exp(np.concatenate([generator.uniform(-80, 80, count), generator.uniform(-1, 1, count)]))
    elif name == "log1p":
        small = np.exp(generator.uniform(-60, 0, count))
        x = np.concatenate([small, -small, np.exp(generator.uniform(0, 80, count)), generator.uniform(-0.9, 2, count)])
    else:
        low, high = (-103, 88) if kind == "f32" else (-744, 709)
        spread = np.exp(generator.uniform(-80, 3, count)) * generator.choice([-1, 1], count)
        x = np.concatenate([generator.uniform(low, high, count), generator.uniform(-2, 2, count), spread])
    return np.concatenate([x.astype(dtype), np.zeros(-x.size % 16, dtype)])


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_error_in_ulp_and_hard_values(kernels, level, kind):
    dtype = {"f32": np.float32, "f64": np.float64}[kind]
    nbytes = np.dtype(dtype).itemsize
    lines = ["def kernel(args, thread, threads):"]
    with np.errstate(all="ignore"):
        special = np.array(SPECIAL, dtype)
        inputs = [np.concatenate([special, samples(name, kind, dtype)]) for name in NAMES]
    outputs = [np.zeros_like(one) for one in inputs]
    words = [array for pair in zip(inputs, outputs, strict=True) for array in pair]
    for index, (name, x) in enumerate(zip(NAMES, inputs, strict=True)):
        lines += [f"    x{index} = word(args, {2 * index})", f"    y{index} = word(args, {2 * index + 1})"]
        lines += [f"    for i{index} in range(0, {x.size * nbytes}, {8 * nbytes}):"]
        lines += [f"        store({name}(load_{kind}x8(x{index} + i{index})), y{index} + i{index})"]
    source = "\n".join(lines)
    kernels.run(source, words, level)

    for name, x, y in zip(NAMES, inputs, outputs, strict=True):
        with np.errstate(all="ignore"):
            exact = reference(name, x.astype(np.longdouble))
            wrong = errors(y, exact)
            worst = int(np.argmax(wrong))
            assert wrong[worst] <= ULP, f"{name}({x[worst]!r}) = {y[worst]!r}: {wrong[worst]} ULP"
            signs = np.signbit(y) == np.signbit(exact.astype(dtype))
        assert np.all(signs | np.isnan(y)), f"{name}: sign at {x[~signs & ~np.isnan(y)][:3]}"


def test_twins_agree_to_the_bit(kernels, level):
    generator = np.random.default_rng(3)
    with np.errstate(over="ignore"):
        rows = {f"a{row}": np.array(SPECIAL[16 * row : 16 * row + 16], np.float32) for row in range(2)}
    rows |= {f"c{row}": np.array(SPECIAL[16 * row : 16 * row + 16]) for row in range(2)}
    rows |= {"s": generator.normal(0, 3, 16).astype(np.float32), "t": generator.normal(0, 3, 16), "z": np.float32(0.3)}
    kernels.evaluate([f"{name}({row})" for name in NAMES for row in rows], rows, level)
