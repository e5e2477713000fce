"""What an object file says of itself: its symbols, and the CPU level it was made for (read from the ELF bytes).

MCJIT resolves a symbol that it cannot find to address 0 and says nothing, so every object is checked before it is
stored or loaded.
"""

import struct
from dataclasses import dataclass

from graphc.errors import CompileError

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
# The linker's own name, which the loader resolves itself.
OFFSET_TABLE = "_GLOBAL_OFFSET_TABLE_"

ALLOWED = frozenset((*_MATH, *(f"{name}f" for name in _MATH), *_SYSTEM, OFFSET_TABLE))

LEVEL_MARK = "graphc for "  # before the level's name in the object's comment section

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMBOL_TABLE = 2


@dataclass(frozen=True)
class ObjectSymbols:
    """The global names that an object defines and needs, and the name of its CPU level (empty: not graphc's object)."""

    defined: frozenset[str]
    undefined: frozenset[str]
    level: str

    @property
    def foreign(self) -> list[str]:
        """The needed names that are not on the allow-list."""
        return sorted(self.undefined - ALLOWED)


def _text(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode()


def read_symbols(data: bytes) -> ObjectSymbols:
    """Read a little-endian ELF64 object; raises CompileError when the bytes are not one."""
    try:
        return _read(data)
    except (struct.error, ValueError, IndexError) as error:
        raise CompileError(f"not an object file: {error}") from None


def _read(data: bytes) -> ObjectSymbols:
    header = _HEADER.unpack_from(data)
    if header[0][:6] != b"\x7fELF\x02\x01":
        raise ValueError("no little-endian ELF64 header")
    start, size, count, names_index = header[6], header[11], header[12], header[13]
    sections = [_SECTION.unpack_from(data, start + size * index) for index in range(count)]

    def content(index: int) -> bytes:
        offset, nbytes = sections[index][4], sections[index][5]
        return data[offset : offset + nbytes]

    names = content(names_index)
    defined: set[str] = set()
    undefined: set[str] = set()
    level = ""
    for index, section in enumerate(sections):
        if section[1] == _SYMBOL_TABLE:
            strings = content(section[6])
            for name, info, _, where, _, _ in _SYMBOL.iter_unpack(content(index)):
                if name and where == 0:
                    undefined.add(_text(strings, name))
                elif name and info >> 4:  # not local
                    defined.add(_text(strings, name))
        elif _text(names, section[0]) == ".comment":
            comment = content(index).decode(errors="replace")
            level = comment.partition(LEVEL_MARK)[2].partition("\0")[0]
    return ObjectSymbols(frozenset(defined), frozenset(undefined), level)
