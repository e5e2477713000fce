import numpy as np
import pytest

from tests.simd.references import errors, reference
from tests.simd.samples import BINARY, NAMES, samples, special

# Units in the last place; what the docs' table shows is less.
MOST = {"erfc": 3.5, "normal_cdf": 8.0}
USUAL = 2.0
COUNT = 20_000
ROUNDING = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.round}


def arguments(name, kind):
    """Special and random arguments, as many as fill vectors of eight."""
    parts = zip(special(name, kind), samples(name, kind, np.random.default_rng(7), COUNT), strict=True)
    together = [np.concatenate(pair) for pair in parts]
    return [np.concatenate([one, np.ones(-one.size % 8, one.dtype)]) for one in together]


def computed(kernels, names, inputs, kind, level, lanes=8):
    """What one kernel makes of the inputs of each function, in vectors of so many lanes."""
    nbytes = inputs[0][0].itemsize
    outputs = [np.zeros_like(one[0]) for one in inputs]
    lines = ["def kernel(args, thread, threads):"]
    words = []
    for index, (name, operands) in enumerate(zip(names, inputs, strict=True)):
        pointers = [f"p{index}_{number}" for number in range(len(operands) + 1)]
        for pointer, array in zip(pointers, [*operands, outputs[index]], strict=True):
            lines += [f"    {pointer} = word(args, {len(words)})"]
            words.append(array)
        loads = ", ".join(f"load_{kind}x{lanes}({pointer} + i{index})" for pointer in pointers[:-1])
        lines += [f"    for i{index} in range(0, {operands[0].size * nbytes}, {lanes * nbytes}):"]
        lines += [f"        store({name}({loads}), {pointers[-1]} + i{index})"]
    kernels.run("\n".join(lines), words, level)
    return outputs


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_error_in_ulp_and_hard_values(kernels, level, kind):
    inputs = [arguments(name, kind) for name in NAMES]
    outputs = computed(kernels, NAMES, inputs, kind, level)
    for name, operands, got in zip(NAMES, inputs, outputs, strict=True):
        wrong = errors(got, reference(name, *(one.astype(np.longdouble) for one in operands)))
        worst = int(np.argmax(wrong))
        at = ", ".join(repr(one[worst]) for one in operands)
        assert wrong[worst] <= MOST.get(name, USUAL), f"{name}({at}) = {got[worst]!r}: {wrong[worst]} ULP"


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_bits_do_not_depend_on_the_width_of_vectors(kernels, level, kind):
    """Some CPUs have instructions for whole registers, which must do what the formulas do for others: for denormals, too."""
    inputs: list[list[np.ndarray]] = []
    for name in NAMES:
        operands = arguments(name, kind)
        dtype = operands[0].dtype
        small = np.arange(1, 1025, dtype=dtype) * np.finfo(dtype).smallest_subnormal
        operands = [np.concatenate([one, small, 1.0 / np.arange(1, 1025, dtype=dtype)]) for one in operands]
        inputs.append([np.concatenate([one, np.ones(-one.size % 16, one.dtype)]) for one in operands])
    narrow, wide = (computed(kernels, NAMES, inputs, kind, level, lanes) for lanes in (8, 16))
    for name, one, other in zip(NAMES, narrow, wide, strict=True):
        assert kernels.same(one, other), name


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_rounding_to_integers_is_exact(kernels, level, kind):
    halves = np.arange(-16, 16) / 2
    edges = [2.0**23 - 0.5, 2.0**22 + 0.5, 2.0**52 - 0.5, 2.0**51 + 0.5, 0.49999997, 0.49999999999999994]
    x = np.concatenate([halves, edges, np.negative(edges), *arguments("exp", "f64"), np.zeros(4)])
    with np.errstate(over="ignore"):
        x = x[: x.size // 8 * 8].astype({"f32": np.float32, "f64": np.float64}[kind])
    outputs = computed(kernels, list(ROUNDING), [[x]] * len(ROUNDING), kind, level)
    for function, got in zip(ROUNDING.values(), outputs, strict=True):
        assert kernels.same(got, function(x))


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_twins_agree_to_the_bit(kernels, level, kind):
    (row,), generator = special("exp", kind), np.random.default_rng(3)
    row = np.concatenate([row, np.ones(-row.size % 16, row.dtype)])
    rows = {f"special{start}": row[start : start + 16] for start in range(0, row.size, 16)}
    rows |= {"normal": generator.normal(0, 3, 16).astype(row.dtype), "number": row.dtype.type(0.3)}
    rows |= {"large": samples("sin", kind, generator, 16)[0], "inside": generator.uniform(-1, 1, 16).astype(row.dtype)}
    names = [name for name in (*NAMES, *ROUNDING) if name not in BINARY]
    kernels.evaluate([f"{name}({one})" for name in names for one in rows], rows, level)
    pairs = [("special0", "special16"), ("special16", "special32"), ("inside", "normal"), ("number", "number")]
    kernels.evaluate([f"{name}({one}, {other})" for name in BINARY for one, other in pairs], rows, level)


def test_powers_of_the_base_have_exact_logarithms(kernels, level):
    ten, two = 10.0 ** np.arange(16), 2.0 ** np.arange(-8, 8)
    got = kernels.evaluate(["log10(ten)", "log2(two)", "exp2(log2(two))"], {"ten": ten, "two": two}, level)
    assert got["log10(ten)"].tolist() == list(range(16))
    assert got["log2(two)"].tolist() == list(range(-8, 8))
    assert got["exp2(log2(two))"].tolist() == two.tolist()


def test_powers_that_are_floats_are_exact(kernels, level):
    x = np.array([3.0, -3.0, 7.0, 10.0, -2.0, 1.5, 12.0, 25.0])
    y = np.array([4.0, 3.0, 5.0, 15.0, -9.0, 6.0, -1.0, 0.5])
    got = kernels.evaluate(["pow(x, y)"], {"x": x, "y": y}, level)["pow(x, y)"]
    assert got.tolist() == [81.0, -27.0, 16807.0, 1e15, -(2.0**-9), 1.5**6, 1 / 12, 5.0]
    (x,) = samples("log", "f64", np.random.default_rng(2), 4096)
    (got,) = computed(kernels, ["pow"], [[np.abs(x), np.ones_like(x)]], "f64", level)
    assert kernels.same(got, np.abs(x))


def test_sine_of_the_hardest_arguments(kernels, level):
    # The doubles nearest to multiples of pi/2 (Muller, Elementary Functions, section 11); cosines as there, to 17 digits.
    x = np.array([6381956970095103.0 * 2.0**797, 2.0**1023, 1e22, 6381956970095103.0 * 2.0**797])
    got = kernels.evaluate(["cos(x)", "sin(x)"], {"x": x}, level)
    assert got["cos(x)"][0] == pytest.approx(-4.6871659242546277e-19, rel=2e-16)
    assert got["sin(x)"][1:3] == pytest.approx([0.5631277798508840, -0.8522008497671888], rel=2e-16)


def test_roots_next_to_the_middle_of_two_floats(kernels, level):
    # x = (o^2 + c) / 2^54, for odd o of 54 bits and a small c: its root is o / 2^27 and next to nothing more or less.
    found = {}
    for c in range(-801, 800, 8):
        o = 1
        for bit in range(3, 54):  # o^2 + c divisible by ever higher powers of 2 (Hensel)
            o += ((o * o + c) >> bit & 1) << (bit - 1)
        for root in (o % 2**53 + 2**53, -o % 2**53 + 2**53):
            x, left = divmod(root * root + c, 2**54)
            assert left == 0
            if int(float(x)) == x:
                found[float(x)] = (root + (1 if c > 0 else -1)) / 2**27
    x = np.array(list(found)[: len(found) // 8 * 8])
    assert x.size >= 200
    got = kernels.evaluate(
        [f"sqrt(x{n})" for n in range(0, x.size, 8)], {f"x{n}": x[n : n + 8] for n in range(0, x.size, 8)}, level
    )
    assert [value for part in got.values() for value in part] == list(found.values())[: x.size]
