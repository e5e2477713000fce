import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

from graphc.emit.elf import OFFSET_TABLE
from graphc.emit.loader import Loader, library_address
from graphc.emit.objects import compile_kernel
from graphc.emit.symbols import ALLOWED, read_symbols
from graphc.errors import CompileError
from graphc.simd.levels import LEVELS, supported_levels

HOST = next(LEVELS[name] for name in supported_levels())
ADD = "def {0}(args, thread, threads):\n    store(word(args, 0) + {1}, args)\n"


def kernel(name, number, level=HOST):
    return compile_kernel(ADD.format(name, number), name, level)


def foreign_object(symbol):
    text = (
        f"declare void @{symbol}()\ndefine void @kernel(i64 %a, i64 %b, i64 %c) {{\ncall void @{symbol}()\nret void\n}}"
    )
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(HOST.triple).create_target_machine(reloc="pic", codemodel="small")
    return machine.emit_object(llvm.parse_assembly(text))


def test_many_kernels_in_one_engine():
    objects = {f"k{number}": kernel(f"k{number}", number) for number in range(5)}
    loader = Loader(objects)
    word = np.zeros(1, np.int64)
    for number in range(5):
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(loader.address(f"k{number}"))(word.ctypes.data, 0, 1)
    assert word[0] == 10


def test_libc_calls_are_resolved():
    source = """
def kernel(args, thread, threads):
    p = word(args, 0)
    x = load_f32x16(p)
    store(remainder(x, f32x16(3.0)), p)
    store(remainder(load_f64x8(p + 64), f64x8(3.0)), p + 64)
    for i in range(64):
        store(u8(0), p + 128 + i)
    start = nanoseconds()
    yield_thread()
"""
    data = compile_kernel(source, "kernel", HOST)
    assert read_symbols(data).undefined >= {"fmodf", "fmod", "sched_yield", "clock_gettime"}
    buffer = np.arange(64, dtype=np.float32)
    buffer[16:32].view(np.float64)[:] = np.arange(8)
    row = np.array([buffer.ctypes.data])
    loader = Loader({"kernel": data})
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(loader.address("kernel"))(row.ctypes.data, 0, 1)
    assert np.array_equal(buffer[:16], np.arange(16) % 3)
    assert np.array_equal(buffer[16:32].view(np.float64), np.arange(8) % 3)
    assert np.all(buffer[32:48] == 0)
    assert buffer[48] == 48


def test_a_function_that_the_machine_lacks_is_refused_and_not_taken_for_address_0():
    assert all(library_address(name) for name in ALLOWED - {OFFSET_TABLE})
    with pytest.raises(CompileError, match="has no 'no_such_function'"):
        library_address("no_such_function")


@pytest.mark.parametrize("symbol", ["system", "PyErr_SetString", "does_not_exist"])
def test_foreign_symbol_is_refused(symbol):
    with pytest.raises(CompileError, match=f"needs {symbol}"):
        Loader({"kernel": foreign_object(symbol)})


def test_wrong_or_repeated_names_are_refused():
    data = kernel("kernel", 1)
    with pytest.raises(CompileError, match="defines only kernel"):
        Loader({"other": data})
    with pytest.raises(CompileError, match="no kernel 'other'"):
        Loader({"kernel": data}).address("other")


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", b"text" * 100])
def test_what_is_no_object_is_refused(damage):
    with pytest.raises(CompileError, match="not an object file"):
        Loader({"kernel": damage})


def test_truncated_object_is_refused():
    with pytest.raises(CompileError, match="not an object file"):
        Loader({"kernel": kernel("kernel", 1)[:-100]})


def test_level_of_another_machine_is_refused():
    other = LEVELS["aarch64" if HOST.name.startswith("x86") else "x86-64"]
    data = kernel("kernel", 1, other)
    assert read_symbols(data).level == other.name
    with pytest.raises(CompileError, match=f"is for {other.name}, which this machine cannot run"):
        Loader({"kernel": data})
