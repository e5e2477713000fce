"""Objects are linked as LLVM links them: constants, tables of jumps, functions of the library; the rest it links itself."""

import ctypes
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest

from graphc.emit import elf, loader
from graphc.emit.linking import Image, Unlinked
from graphc.emit.loader import Loader, library_address
from graphc.simd import levels
from graphc.simd.levels import LEVELS, supported_levels

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not supported_levels()[0].startswith("x86"), reason="LLVM links elsewhere"
)

# args[0] is what is asked for, args[1] where the answer goes.
HEAD = """
define void @{name}(ptr %args, i64 %b, i64 %c) {{
  %x = load i64, ptr %args
  %out = getelementptr i64, ptr %args, i64 1
"""
CONSTANTS = (
    "@{name}_table = internal constant [4 x i64] [i64 11, i64 22, i64 33, i64 44]\n"
    + HEAD
    + "  %p = getelementptr [4 x i64], ptr @{name}_table, i64 0, i64 %x\n  %y = load i64, ptr %p\n"
    + "  store i64 %y, ptr %out\n  ret void\n}}\n"
)
CALLS = (
    "declare double @fmod(double, double)\ndeclare double @hypot(double, double)\n"
    + HEAD
    + "  %v = sitofp i64 %x to double\n  %m = call double @fmod(double %v, double 7.0)\n"
    + "  %h = call double @hypot(double %m, double 4.0)\n  %y = fptosi double %h to i64\n"
    + "  store i64 %y, ptr %out\n  ret void\n}}\n"
)
INDIRECT = (
    "declare double @sqrt(double)\n"
    + HEAD
    + "  %v = sitofp i64 %x to double\n  %place = alloca ptr\n  store volatile ptr @sqrt, ptr %place\n"
    + "  %f = load volatile ptr, ptr %place\n"
    + "  %s = call double %f(double %v)\n  %y = fptosi double %s to i64\n  store i64 %y, ptr %out\n  ret void\n}}\n"
)
JUMPS = (
    HEAD
    + "  switch i64 %x, label %none ["
    + " ".join(f"i64 {n}, label %c{n}" for n in range(12))
    + "]\nnone:\n  store i64 -1, ptr %out\n  ret void\n"
    + "".join(f"c{n}:\n  store volatile i64 {n * n}, ptr %out\n  ret void\n" for n in range(12))
    + "}}\n"
)
VARIABLE = (
    "@{name}_last = internal global [64 x i64] zeroinitializer\n"
    + HEAD
    + "  %old = load volatile i64, ptr @{name}_last\n  store volatile i64 %x, ptr @{name}_last\n"
    + "  store i64 %old, ptr %out\n  ret void\n}}\n"
)


def made(text, name):
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(LEVELS[supported_levels()[0]].triple)
    machine = target.create_target_machine(reloc="pic", codemodel="small", opt=2)
    return machine.emit_object(llvm.parse_assembly(text.format(name=name)))


def answer(address, question):
    words = np.array([question, 99])
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(address)(words.ctypes.data, 0, 1)
    return int(words[1])


CASES = {
    "constants": (CONSTANTS, {0: 11, 3: 44}),
    "calls": (CALLS, {10: 5, 703: 5}),
    "indirect": (INDIRECT, {49: 7, 10_000: 100}),
    "jumps": (JUMPS, {0: 0, 7: 49, 11: 121, 40: -1}),
}


@pytest.mark.parametrize("case", CASES)
def test_references_lead_to_what_they_name(case):
    text, expected = CASES[case]
    image = Image([made(text, "one"), made(text, "two")], library_address)
    for name in ("one", "two"):
        assert {x: answer(image.address(name), x) for x in expected} == expected


def test_objects_of_all_kinds_stand_together():
    image = Image([made(text, f"f_{case}") for case, (text, _) in CASES.items()], library_address)
    for case, (_, expected) in CASES.items():
        assert {x: answer(image.address(f"f_{case}"), x) for x in expected} == expected


def test_the_cases_have_the_references_that_they_are_for():
    kinds = {}
    for case, (text, _) in CASES.items():
        file = elf.read_object(made(text, "one"))
        tables = [s for s in file.sections if s.kind == elf.RELOCATIONS and file.sections[s.info].flags & elf.LOADED]
        kinds[case] = {
            (what & 0xFFFFFFFF, bool(file.sections[table.info].flags & elf.EXECUTABLE))
            for table in tables
            for _, what, _ in file.relocations(table)
        }
    assert any(kind == 2 for kind, _ in kinds["constants"])
    assert any(kind == 4 for kind, _ in kinds["calls"])
    assert any(kind in (9, 41, 42) for kind, _ in kinds["indirect"])
    assert any(not code for _, code in kinds["jumps"]), "a table of jumps refers to code"


def test_code_cannot_be_written_once_it_is_linked():
    image = Image([made(CONSTANTS, "one")], library_address)
    with open("/proc/self/maps") as lines:
        spans = [(line.split()[0].split("-"), line.split()[1]) for line in lines]
    address = image.address("one")
    (rights,) = {rights for (low, high), rights in spans if int(low, 16) <= address < int(high, 16)}
    assert rights == "r-xp"


@pytest.mark.parametrize(("first", "value"), [(0, "zeroinitializer"), (3, f"[{', '.join(['i64 3'] * 64)}]")])
def test_variables_are_linked_by_llvm(first, value):
    data = made(VARIABLE.replace("zeroinitializer", value), "one")
    with pytest.raises(Unlinked, match="memory that code writes"):
        Image([data], library_address)
    address = Loader({"one": data}).address
    assert [answer(address("one"), x) for x in (5, 6, 7)] == [first, 5, 6]


def test_what_cannot_be_linked_here_is_linked_by_llvm(monkeypatch):
    monkeypatch.setattr(loader, "Image", lambda *_: (_ for _ in ()).throw(Unlinked()))
    for case in CASES.keys() - {"calls"}:  # its loader ends the process where a call needs a jump
        text, expected = CASES[case]
        by_llvm = Loader({case: made(text, case)})
        assert {x: answer(by_llvm.address(case), x) for x in expected} == expected


def test_linux_and_llvm_agree_about_the_processor(monkeypatch):
    found = supported_levels()
    monkeypatch.setattr(levels, "_kernel_says", lambda _: "")
    assert levels.supported_levels.__wrapped__() == found
