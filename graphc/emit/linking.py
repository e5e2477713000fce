"""Objects into executable memory without LLVM, whose import is a tenth of a warm start.

Kernels refer to little: their constants, tables of jumps, functions of the C library. What is not known here (another machine,
another kind of reference, a system that lets no memory become executable) raises `Unlinked`; LLVM's loader knows it.
"""

import ctypes
import mmap
import struct
import sys
from collections.abc import Callable, Sequence

from graphc.emit import elf

# Kinds of references by number: System V Application Binary Interface, AMD64 Architecture Processor Supplement, section 4.4.
_RELATIVE, _CALL = 2, 4
_BY_WORD = (9, 41, 42)  # relative, to a word that holds the address
# What stands for a function that is too far away to be called: its address, and behind it jmp [rip - 14].
_JUMP = b"\xff\x25\xf2\xff\xff\xff\x00\x00"
_WORD = 8


class Unlinked(Exception):
    """Something that LLVM must link."""


class Image:
    """Objects in memory, of which each defines the names that it is asked for; it may be run as long as this lives.

    `external` gives the addresses of functions that the objects need.
    """

    def __init__(self, objects: Sequence[bytes], external: Callable[[str], int]) -> None:
        self._addresses: dict[str, int] = {}
        self._files = [elf.read_object(data) for data in objects]
        if sys.platform != "linux" or any(file.machine != elf.X86_64 for file in self._files):
            raise Unlinked("another machine")
        self._nbytes = 0
        # Where sections begin, by object and number; then, by name, what stands for functions.
        self._places: dict[tuple[int, int], int] = {}
        for n, file in enumerate(self._files):
            for number, section in enumerate(file.sections):
                if section.flags & elf.LOADED:
                    self._places[n, number] = self._take(section.nbytes, section.alignment)
        self._symbols = [self._named(file) for file in self._files]
        needed = {name for symbols in self._symbols for name, symbol in symbols if name and symbol.section == 0}
        functions = {name: external(name) for name in sorted(needed - {elf.OFFSET_TABLE})}
        self._functions = {name: self._take(2 * _WORD, _WORD) for name in functions}
        self._memory = mmap.mmap(-1, max(self._nbytes, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        for name, at in self._functions.items():
            self._memory[at : at + 2 * _WORD] = struct.pack("<Q", functions[name]) + _JUMP
        for n, file in enumerate(self._files):
            self._load(n, file)
        protect = ctypes.CDLL(None).mprotect
        if protect(ctypes.c_void_p(self._base), ctypes.c_size_t(self._nbytes), mmap.PROT_READ | mmap.PROT_EXEC):
            raise Unlinked("no memory may become executable")
        del self._files, self._symbols  # which are larger than the code

    def address(self, name: str) -> int:
        """Return where a function starts that an object defines."""
        return self._addresses[name]

    def _take(self, nbytes: int, alignment: int) -> int:
        start = -(-self._nbytes // max(alignment, 1)) * max(alignment, 1)
        self._nbytes = start + nbytes
        return start

    def _named(self, file: elf.ObjectFile) -> list[tuple[str, elf.Symbol]]:
        for section in file.sections:
            if section.kind == elf.SYMBOL_TABLE:
                symbols, names = file.symbols(section)
                return [(elf.text(names, symbol.name), symbol) for symbol in symbols]
        return []

    def _load(self, n: int, file: elf.ObjectFile) -> None:
        """Copy an object's sections, fill in what they refer to, and note the names that it defines."""
        for number, section in enumerate(file.sections):
            if (n, number) in self._places:
                if section.nbytes and (section.flags & elf.WRITTEN or section.kind == elf.EMPTY):
                    raise Unlinked("memory that code writes")
                at = self._places[n, number]
                self._memory[at : at + section.nbytes] = file.content(section)
        for section in file.sections:
            if section.kind == elf.RELOCATIONS and (n, section.info) in self._places:
                for where, reference, addend in file.relocations(section):
                    name, symbol = self._symbols[n][reference >> 32]
                    self._refer(self._places[n, section.info] + where, reference & 0xFFFFFFFF, addend, n, name, symbol)
        for name, symbol in self._symbols[n]:
            if symbol.is_global and (n, symbol.section) in self._places:
                self._addresses[name] = self._base + self._places[n, symbol.section] + symbol.value

    def _refer(self, at: int, kind: int, addend: int, n: int, name: str, symbol: elf.Symbol) -> None:
        """Write a reference at a place: to a symbol of object n, or to what stands for a function."""
        if (n, symbol.section) in self._places and kind in (_RELATIVE, _CALL):
            target = self._places[n, symbol.section] + symbol.value + addend
        elif name in self._functions and kind == _CALL:
            target = self._functions[name] + _WORD + addend
        elif name in self._functions and kind in _BY_WORD:
            target = self._functions[name] + addend
        else:
            raise Unlinked(f"a reference of kind {kind} to {name!r}")
        self._memory[at : at + 4] = struct.pack("<i", target - at)
