# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
"""Object code to callable addresses: a warm start has its kernels in the cache, and needs neither LLVM nor Numba."""

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from graphc.emit.elf import OFFSET_TABLE
from graphc.emit.linking import Image, Unlinked
from graphc.emit.symbols import ObjectSymbols, read_symbols
from graphc.errors import CompileError
from graphc.simd.levels import supported_levels


class Loader:
    """Kernels in memory; their addresses are valid for as long as the loader lives."""

    def __init__(self, objects: Mapping[str, bytes]):
        """Load objects by the names of the functions they define.

        Raises CompileError when an object is damaged, needs a symbol that is not on the allow-list, defines a name
        that another one defines or not the name it is given by, or is for a CPU level that this machine cannot run.
        """
        self._names: set[str] = set()
        self._needed: set[str] = set()
        for name, data in objects.items():
            self._admit(name, read_symbols(data))
        code = tuple(objects.values())
        try:
            self._image: Image | _Engine = Image(code, library_address)
        except Unlinked:
            self._image = _Engine(code, self._needed)

    def _admit(self, name: str, symbols: ObjectSymbols) -> None:
        if symbols.foreign:
            raise CompileError(f"kernel {name!r} needs {', '.join(symbols.foreign)}, which no kernel may call")
        if name not in symbols.defined:
            raise CompileError(f"the object for kernel {name!r} defines only {', '.join(sorted(symbols.defined))}")
        if symbols.level and symbols.level not in supported_levels():
            raise CompileError(
                f"kernel {name!r} is for {symbols.level}, which this machine cannot run (it runs "
                f"{', '.join(supported_levels())}); GRAPHC_CPU forces a level for inspection only"
            )
        twice = self._names & symbols.defined
        if twice:
            raise CompileError(f"two objects define {', '.join(sorted(twice))}")
        self._names |= symbols.defined
        self._needed |= symbols.undefined

    def address(self, name: str) -> int:
        """Return the address of a kernel `void NAME(int64, int64, int64)`; raises CompileError for another name."""
        if name not in self._names:  # LLVM's engine would end the process
            raise CompileError(f"no kernel {name!r} was loaded")
        return self._image.address(name)


class _Engine:
    """Objects loaded by LLVM, which knows every machine and every reference, and takes 30 ms to import."""

    def __init__(self, objects: Sequence[bytes], needed: Iterable[str]) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        for name in sorted(set(needed) - {OFFSET_TABLE}):
            llvm.add_symbol(name, library_address(name))
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        # llvmlite's memory manager keeps the sections of an object within reach of each other, as its small code
        # model needs.
        self._engine: Any = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=True)
        for data in objects:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Return where a function starts."""
        return self._engine.get_function_address(name)


@cache
def library_address(name: str) -> int:
    """Return the address of a function of the C library; CompileError if this machine has none.

    The engine would look for it in the process alone, and take address 0 for what it does not find there.
    """
    for library in ("", "m"):
        try:
            function = getattr(_library(library), name)
        except (AttributeError, OSError):
            continue
        address = ctypes.cast(function, ctypes.c_void_p).value
        assert address
        return address
    raise CompileError(f"the C library of this machine has no {name!r}, which a kernel calls")


@cache
def _library(name: str) -> ctypes.CDLL:
    """Return a library by name; "" is what this process has loaded already (searching for another takes long)."""
    if not name:
        return ctypes.CDLL(None)
    from ctypes.util import find_library  # of use to few kernels, and slow to import

    return ctypes.CDLL(find_library(name))
