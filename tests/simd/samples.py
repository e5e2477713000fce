"""Arguments for measuring an element function: its whole range, and more where an error or a special case may hide."""

import numpy as np

# Zeros, denormals, infinities, NaN, ones, halves, the ends of exp's and pow's ranges, and large arguments of sin.
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1e-310, -1e-310, 5e-324, 1.0, -1.0, -2.0, 0.5, 88.7, 89.0]
SPECIAL += [-87.5, -103.0, -104.0, 700.0, 709.7, 710.0, -708.5, -745.2, -750.0, 1e308, 3e38, -3e38, -17.5, 40.0, -40.0]
SPECIAL += [0.625, -0.5, 2.0, 3.0, -3.0, 1.5, 27.3, -6.0, 1e5, -1e15, 1e22, 1e38, 8e305, 2.0**52 + 0.5, 1025.0, -1075.0]
SPECIAL += [0.9999999, 1.0000001, 1e-20, -1e-20, 1e-160, 1e160]

BINARY = ("atan2", "pow")
NAMES = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "sqrt", "rsqrt", "cbrt", "sin", "cos", "tan", "asin",
    "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "sigmoid", "softplus",
    "normal_cdf", "normal_pdf",
)  # fmt: skip


def line(low, high):
    """Evenly between two numbers."""
    return lambda generator, count: generator.uniform(low, high, count)


def scale(low, high):
    """Of every size between two powers of ten, with both signs."""
    return lambda generator, count: 10.0 ** generator.uniform(low, high, count) * generator.choice([-1, 1], count)


def around(*points):
    """Near some numbers, at every distance."""
    return lambda generator, count: (
        generator.choice(points, count)
        * (1 + 10.0 ** generator.uniform(-17, -1, count) * generator.choice([-1, 1], count))
    )


def quarter_turns(generator, count):
    """Floats nearest multiples of pi/2."""
    return np.round(10.0 ** generator.uniform(0, 15, count)) * (np.pi / 2)


def regions(name, kind):
    """Return the functions that make samples of an element function's argument, all as likely."""
    most = {"f32": 38, "f64": 307}[kind]
    top = {"f32": 104.0, "f64": 746.0}[kind]
    every, small = scale(-most, most), scale(-20, 0.5)
    match name:
        case "exp" | "expm1" | "sinh" | "cosh" | "softplus" | "sigmoid":
            return [line(-top, top), line(-2.0, 2.0), line(-40.0, 40.0), small]
        case "exp2":
            return [line(-1.45 * top, 1.45 * top), line(-2.0, 2.0), small]
        case "tanh" | "erf":
            return [line(-6.0, 6.0), line(-1.1, 1.1), small]
        case "erfc":
            return [line(-6.0, {"f32": 10.1, "f64": 27.3}[kind]), line(-1.1, 1.1), line(1.0, 3.0), small]
        case "normal_cdf":
            return [line({"f32": -14.5, "f64": -38.6}[kind], 6.0), line(-1.1, 1.1), small]
        case "normal_pdf":
            return [line(*{"f32": (-14.5, 14.5), "f64": (-38.6, 38.6)}[kind]), line(-1.1, 1.1), small]
        case "asin" | "acos" | "atanh":
            return [line(-1.0, 1.0), around(1.0, -1.0, 0.5), small]
        case "acosh":
            return [line(1.0, 4.0), around(1.0), scale(0, most)]
        case "asinh" | "atan":
            return [line(-4.0, 4.0), around(1.0, 2.0**0.5 - 1, 2.0**0.5 + 1), every]
        case "log1p":
            return [line(-1.0, 3.0), around(-1.0, 2.0**0.5 - 1), small, every]
        case "sin" | "cos" | "tan":
            return [line(-8.0, 8.0), line(-(2.0**21), 2.0**21), quarter_turns, every]
        case _:
            return [line(0.0, 4.0), around(1.0, 0.5**0.5), every]


def samples(name, kind, generator, count):
    """Return a tuple of `count` arguments for each operand, the special ones first if there is room."""
    dtype = {"f32": np.float32, "f64": np.float64}[kind]
    with np.errstate(all="ignore"):
        return tuple(one.astype(dtype) for one in _arguments(name, kind, generator, count))


def special(name, kind):
    """Return the special arguments: of two operands, every pair."""
    with np.errstate(all="ignore"):
        row = np.array(SPECIAL, {"f32": np.float32, "f64": np.float64}[kind])
    return tuple(one.ravel() for one in np.meshgrid(row, row)) if name in BINARY else (row,)


def _arguments(name, kind, generator, count):
    if name == "pow":
        half = count // 2
        x = 10.0 ** generator.uniform(-37, 37, count)
        x[:half] = around(1.0, 2.0, 0.5)(generator, half)
        x = np.abs(x)
        limit = {"f32": 151.0, "f64": 1076.0}[kind]
        y = generator.uniform(-limit, limit, count) / np.log2(x)
        y[::7] = np.round(y[::7])
        x[::7] *= generator.choice([-1, 1], x[::7].size)
        y[::5] = generator.integers(-9, 10, y[::5].size) / 2
        return x, y
    if name == "atan2":
        size = 10.0 ** generator.uniform(-30, 30, count) * generator.choice([-1, 1], count)
        ratio = np.concatenate([make(generator, -(-count // 3)) for make in regions("atan", "f32")])[:count]
        return generator.permutation(size * ratio), size
    parts = regions(name, kind)
    return (np.concatenate([make(generator, -(-count // len(parts))) for make in parts])[:count],)
