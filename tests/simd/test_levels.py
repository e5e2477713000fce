import subprocess
import sys

import pytest

from graphc.emit.objects import assembly, compile_kernel
from graphc.emit.symbols import read_symbols
from graphc.simd import twin
from graphc.simd.levels import LEVELS, host_level, supported_levels
from graphc.simd.record import FUNCTIONS
from tests.simd.samples import BINARY, NAMES

SOURCE = """
def kernel(args, thread, threads):
    total = f32x16(0.0)
    for i in range(0, word(args, 1), 64):
        x = load_f32x16(word(args, 0) + i)
        total = fma(x, x, total)
    pause()
    store(exp(floor(total)), word(args, 0))
"""


@pytest.mark.parametrize(
    ("name", "instruction", "register", "absent"),
    [
        ("x86-64-v4", "vfmadd", "%zmm", "call"),
        ("x86-64-v3", "vfmadd", "%ymm", "zmm"),
        ("x86-64", "mulps", "%xmm", "call"),
        ("aarch64", "fmla", ".4s", "\tbl\t"),
    ],
)
def test_each_level_gets_its_own_instructions(name, instruction, register, absent):
    text = assembly(SOURCE, "kernel", LEVELS[name])
    assert any(instruction in line and register in line for line in text.splitlines())
    assert absent not in text


def test_multiply_and_add_are_not_fused_unasked():
    source = (
        "def kernel(args, thread, threads):\n    p = word(args, 0)\n    x = load_f32x16(p)\n    store(x * x + x, p)\n"
    )
    for name in ("x86-64-v4", "aarch64"):
        text = assembly(source, "kernel", LEVELS[name])
        assert "fmadd" not in text
        assert "fmla" not in text


def test_a_line_is_claimed_for_writing_where_that_can_be_asked():
    source = "def kernel(args, thread, threads):\n    claim(word(args, 0) + 512)\n"
    asked = {name: assembly(source, "kernel", level) for name, level in LEVELS.items()}
    assert "prefetchw" in asked["x86-64-v4"]
    assert "prfm\tpstl1keep" in asked["aarch64"]
    assert "prefetch" not in asked["x86-64-v3"] + asked["x86-64"]


def test_every_level_compiles_an_object():
    for level in LEVELS.values():
        assert compile_kernel(SOURCE, "kernel", level)[:4] == b"\x7fELF"


@pytest.mark.parametrize("kind", ["f32x16", "f64x8", "f64"])
@pytest.mark.parametrize("level", LEVELS.values(), ids=lambda level: level.name)
def test_element_functions_call_no_library(level, kind):
    lines = ["def kernel(args, thread, threads):", f"    x = load_{kind}(word(args, 0))"]
    for name in (*NAMES, "floor", "ceil", "trunc", "round"):
        operands = "x, x" if name in BINARY else "x"
        lines.append(f"    store({name}({operands}), word(args, 1))")
    needed = read_symbols(compile_kernel("\n".join(lines), "kernel", level)).undefined
    assert needed <= {"_GLOBAL_OFFSET_TABLE_"}


def test_level_is_forced_by_the_environment(monkeypatch):
    monkeypatch.setenv("GRAPHC_CPU", "x86-64")
    assert host_level().name == "x86-64"
    monkeypatch.setenv("GRAPHC_CPU", "z80")
    with pytest.raises(ValueError, match="the levels are"):
        host_level()
    monkeypatch.delenv("GRAPHC_CPU")
    assert host_level().name in supported_levels()


def test_import_is_light():
    code = (
        "import sys, graphc.simd, graphc.emit.objects, graphc.emit.loader, graphc.emit.cache;"
        "assert not {'numba', 'llvmlite', 'networkx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wrong_types_are_refused_by_name():
    names = twin.namespace()
    with pytest.raises(TypeError, match=r"exp\(i64\): expected one of f32, f64"):
        names["exp"](3)
    with pytest.raises(TypeError, match="arguments of one type"):
        names["maximum"](1, 2.0)
    assert "load_f32x16" in FUNCTIONS
