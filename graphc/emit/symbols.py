"""What an object file says of itself: its symbols, and the CPU level it was made for.

LLVM's loader resolves a symbol that it cannot find to address 0 and says nothing, so every object is checked before it is
stored or loaded.
"""

from __future__ import annotations

import struct

from graphc.emit import elf
from graphc.errors import CompileError
from graphc.records import record

# The C library's functions of numbers: what Python's math module becomes in a user's function, and fmod, which floor
# division and remainder of floats need (it is exact, so no formula will do). LLVM joins a sine and a cosine to sincos.
_MATH = (
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "copysign", "cos", "cosh",
    "erf", "erfc", "exp", "exp2", "expm1", "fabs", "floor", "fma", "fmod", "hypot", "ldexp", "lgamma", "log",
    "log10", "log1p", "log2", "nearbyint", "nextafter", "pow", "remainder", "rint", "round", "sin", "sincos",
    "sinh", "sqrt", "tan", "tanh", "tgamma", "trunc",
)  # fmt: skip
# What LLVM itself calls for (memory), and the runtime's two system calls.
_SYSTEM = ("memcpy", "memmove", "memset", "sched_yield", "clock_gettime")

ALLOWED = frozenset((*_MATH, *(f"{name}f" for name in _MATH), *_SYSTEM, elf.OFFSET_TABLE))

LEVEL_MARK = "graphc for "  # before the level's name in the object's comment section


@record
class ObjectSymbols:
    """The global names that an object defines and needs, and the name of its CPU level (empty: not graphc's object)."""

    defined: frozenset[str]
    undefined: frozenset[str]
    level: str

    @property
    def foreign(self) -> list[str]:
        """The needed names that are not on the allow-list."""
        return sorted(self.undefined - ALLOWED)


def read_symbols(data: bytes) -> ObjectSymbols:
    """Read an object; raises CompileError when the bytes are not one."""
    try:
        return _read(elf.read_object(data))
    except (struct.error, ValueError, IndexError) as error:
        raise CompileError(f"not an object file: {error}") from None


def _read(file: elf.ObjectFile) -> ObjectSymbols:
    defined: set[str] = set()
    undefined: set[str] = set()
    level = ""
    for section in file.sections:
        if section.kind == elf.SYMBOL_TABLE:
            symbols, names = file.symbols(section)
            for symbol in symbols:
                if symbol.name and symbol.section == 0:
                    undefined.add(elf.text(names, symbol.name))
                elif symbol.name and symbol.is_global:
                    defined.add(elf.text(names, symbol.name))
        elif file.name(section) == ".comment":
            comment = file.content(section).decode(errors="replace")
            level = comment.partition(LEVEL_MARK)[2].partition("\0")[0]
    return ObjectSymbols(frozenset(defined), frozenset(undefined), level)
