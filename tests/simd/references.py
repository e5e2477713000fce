"""Element functions in more precision than they are tested in, and errors in units of the last place.

NumPy has most of them in extended precision (x86's 80 bits, elsewhere 128); C's libm has the others.
"""

import ctypes
import functools
import platform

import llvmlite.binding as llvm
import numpy as np

WIDE = np.longdouble
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "pow": "power"}
_ALIASES |= {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}

_LOOP = """
declare {type} @{name}({type})
define void @loop(ptr %x, ptr %y, i64 %count) {{
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %head]
  %from = getelementptr {type}, ptr %x, i64 %i
  %to = getelementptr {type}, ptr %y, i64 %i
  %value = load {type}, ptr %from
  %result = call {type} @{name}({type} %value)
  store {type} %result, ptr %to
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %head, label %done
done:
  ret void
}}
"""


@functools.cache
def library(name, dtype):
    """Return a function of C's libm, applied to arrays of this dtype (float64 or longdouble)."""
    wide = "x86_fp80" if platform.machine() in ("x86_64", "AMD64") else "fp128"
    symbol, kind = (name, "double") if dtype == np.float64 else (f"{name}l", wide)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.load_library_permanently("libm.so.6")
    module = llvm.parse_assembly(_LOOP.format(type=kind, name=symbol))
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(engine.get_function_address("loop"))

    def apply(x, engine=engine):
        x = np.ascontiguousarray(x, dtype)
        y = np.empty_like(x)
        if x.size:
            call(x.ctypes.data, y.ctypes.data, x.size)
        return y

    return apply


def reference(name, *arguments):
    """Return the function's value, in the precision of the arguments (float64 or longdouble)."""
    x = arguments[0]
    with np.errstate(all="ignore"):
        match name:
            case "sigmoid":
                small = np.exp(-np.abs(x))
                return np.where(x >= 0, 1, small) / (1 + small)
            case "softplus":
                return np.where(np.isnan(x), x, np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))
            case "rsqrt":
                return 1 / np.sqrt(x)
            case "erf" | "erfc":
                return library(name, x.dtype)(x)
            case "normal_cdf":
                return _normal_cdf(x)
            case "normal_pdf":
                return _normal_pdf(x)
            case _:
                return getattr(np, _ALIASES.get(name, name))(*arguments)


def _normal_cdf(x):
    """erfc(-x / sqrt(2)) / 2, made good for the rounding of its argument, which far out is multiplied by x^2."""
    high = 0.70703125
    low = x.dtype.type("7.553118654752440084436210484903928e-5")  # sqrt(1/2) less that
    x = np.clip(x, -100, 100)
    argument = -(x * high + x * low)
    rest = -((x * high + argument) + x * low)
    with np.errstate(all="ignore"):
        return library("erfc", x.dtype)(argument) / 2 - np.exp(-argument * argument) * rest / np.sqrt(
            x.dtype.type(np.pi)
        )


def _normal_pdf(x):
    """e^(-x^2 / 2) / sqrt(2 pi), the square as the sum of an exact number and a small one."""
    x = np.clip(x, -100, 100)
    high = x.astype(np.float32).astype(x.dtype)
    low = x - high
    root = np.sqrt(2 * x.dtype.type("3.14159265358979323846264338327950288"))
    return np.exp(high * high / -2) * np.exp((2 * high + low) * low / -2) / root


def errors(got, exact):
    """Return the errors in units of the last place of the rounded exact value, a denormal's the smallest one.

    An infinite result counts as the power of two that the format ends at. A wrong NaN, or a zero's wrong sign, is an
    infinite error.
    """
    info = np.finfo(got.dtype)
    end = np.ldexp(exact.dtype.type(1), info.maxexp)
    with np.errstate(all="ignore"):
        rounded = exact.astype(got.dtype)
        # The spacing at the very largest float is infinite.
        unit = np.spacing(np.clip(np.abs(rounded), info.tiny, info.max / 2)).astype(exact.dtype)
        unit = np.where(np.abs(rounded) > info.max / 2, 2 * unit, unit)
        value, limited = (np.clip(one, -end, end) for one in (got.astype(exact.dtype), exact))
        distance = np.abs(value - limited) / unit
    distance = np.where(np.isnan(got) & np.isnan(exact), 0, distance)
    wrong_sign = (got == 0) & (rounded == 0) & (np.signbit(got) != np.signbit(rounded))
    return np.where(np.isnan(distance) | wrong_sign, np.inf, distance)
