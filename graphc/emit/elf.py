"""The parts of an object file that graphc reads: sections, symbols, relocations (little-endian ELF64).

Tool Interface Standard, Executable and Linking Format, version 1.2, and the 64-bit supplements to it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import starmap
from typing import NamedTuple

from graphc.records import record

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
SYMBOL_TABLE, RELOCATIONS = 2, 4
EMPTY = 8  # a section that takes memory and has no content
WRITTEN, LOADED, EXECUTABLE = 1, 2, 4  # flags of sections
X86_64 = 62
OFFSET_TABLE = "_GLOBAL_OFFSET_TABLE_"  # the linker's own name, which no object defines


class Section(NamedTuple):
    """A section as its header describes it."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    nbytes: int
    link: int
    info: int
    alignment: int
    entry: int


class Symbol(NamedTuple):
    """A symbol: `section` is 0 where the object needs it, and has more than 0xff00 where it has no place."""

    name: int
    info: int
    other: int
    section: int
    value: int
    nbytes: int

    @property
    def is_global(self) -> bool:
        """Whether other objects may see it."""
        return self.info >> 4 != 0


@record
class ObjectFile:
    """An object's bytes, and what its headers say."""

    data: bytes
    machine: int
    sections: tuple[Section, ...]
    names: bytes

    def content(self, section: Section) -> bytes:
        """Return the bytes of a section."""
        return self.data[section.offset : section.offset + section.nbytes]

    def name(self, section: Section) -> str:
        """Return the name of a section."""
        return text(self.names, section.name)

    def symbols(self, table: Section) -> tuple[list[Symbol], bytes]:
        """Return the symbols of a table, and the bytes in which their names stand."""
        found = list(starmap(Symbol, _SYMBOL.iter_unpack(self.content(table))))
        return found, self.content(self.sections[table.link])

    def relocations(self, section: Section) -> Iterator[tuple[int, int, int]]:
        """Yield place, kind and symbol (in one number), and addend of each relocation of a section."""
        return _RELOCATION.iter_unpack(self.content(section))


def text(table: bytes, offset: int) -> str:
    """Return the name that begins there."""
    return table[offset : table.index(b"\0", offset)].decode()


def read_object(data: bytes) -> ObjectFile:
    """Read the headers; raises ValueError, struct.error or IndexError when the bytes are no such object."""
    header = _HEADER.unpack_from(data)
    if header[0][:6] != b"\x7fELF\x02\x01":
        raise ValueError("no little-endian ELF64 header")
    start, size, count = header[6], header[11], header[12]
    names: int = header[13]
    sections = tuple(Section(*_SECTION.unpack_from(data, start + size * index)) for index in range(count))
    where: Section = sections[names]
    return ObjectFile(data, header[2], sections, data[where.offset : where.offset + where.nbytes])
