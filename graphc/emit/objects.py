# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
"""Kernel source to object code.

The source becomes LLVM IR (`graphc.simd.translate`), which is optimised here, once, and turned into an object by a
TargetMachine of our own: so a forced CPU level really is that level, and an aarch64 object can be looked at on an x86
machine.
"""

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from graphc.emit.symbols import ALLOWED, LEVEL_MARK, read_symbols
from graphc.errors import CompileError
from graphc.simd.expressions import DialectError
from graphc.simd.lanewise import Lanewise
from graphc.simd.levels import Level
from graphc.simd.natives import RAISES, NativeError
from graphc.simd.translate import Translation, translate

Natives = Mapping[str, Callable[..., Any]]

_REASONS = (
    (RAISES, "it can raise an exception (an explicit raise, an assert, a failing check)"),
    ("NRT_", "it allocates memory (np.empty, an array expression, a list): write into arrays that are passed in"),
    ("PyErr", "it raises an exception or prints"),
    ("Py", "it uses Python objects, prints, or raises"),
    (
        "numba_",
        "it uses Numba's runtime (allocation, exceptions, random numbers, linear algebra, math.gamma, ldexp, frexp)",
    ),
)


def compile_kernel(source: str, name: str, level: Level, natives: Natives | None = None) -> bytes:
    """Compile a kernel's source to an object that defines `void NAME(int64 args, int64 thread, int64 threads)`.

    `natives` are Python functions that the source may call by these names: they are compiled by Numba (nopython,
    NumPy's error model), take the dialect's scalars and C-contiguous arrays made by `view_KIND(address, dim, ...)`,
    and must neither allocate, raise nor print. Raises CompileError, with the line of the source where it can be told.
    """
    module, machine = _optimised(source, name, level, natives)
    data: bytes = machine.emit_object(module)
    foreign = read_symbols(data).foreign
    if foreign:
        raise CompileError(_explain_foreign(name, foreign, natives))
    return data


def prepare(level: Level) -> None:
    """Import and make what every compilation needs, so that forked processes need not."""
    compile_kernel("def graphc_nothing(args, thread, threads):\n    return\n", "graphc_nothing", level)


def assembly(source: str, name: str, level: Level, natives: Natives | None = None) -> str:
    """Return the assembly of the same object, for reading."""
    module, machine = _optimised(source, name, level, natives)
    return str(machine.emit_assembly(module))


def _explain_foreign(name: str, foreign: list[str], natives: Natives | None) -> str:
    message = f"kernel {name!r} needs {', '.join(foreign)}, which no kernel may call"
    if natives:
        reasons = [why for mark, why in _REASONS if any(symbol.startswith(mark) for symbol in foreign)]
        called = ", ".join(_place(function) for function in natives.values())
        message = f"{called} cannot run without Python: {' or '.join(reasons or ['it calls a library'])}\n  {message}"
    return message


@functools.cache
def _machine(level: Level) -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(level.triple)
    return target.create_target_machine(cpu=level.cpu, features=level.features, opt=2, reloc="pic", codemodel="small")


def _optimised(source: str, name: str, level: Level, natives: Natives | None) -> tuple[Any, Any]:
    import llvmlite.binding as llvm

    kernel = _translated(source, name, level, natives or {})
    machine = _machine(level)
    try:
        module = _linked(kernel, name, level, machine)
    except RuntimeError as error:
        raise CompileError(f"kernel {name!r}: LLVM rejects what was made of it: {error}") from None
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, tuning)
    if natives:
        builder.getModulePassManager().run(module, builder)
        return module, machine
    # The source states its vectors, computes each value once and in the outermost loop, and calls nothing to be inlined. What
    # is left of the usual pipeline takes a quarter of its time, and the code is as fast.
    passes = llvm.create_new_function_pass_manager()
    passes.add_simplify_cfg_pass()
    passes.add_loop_rotate_pass()
    passes.add_loop_unroll_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return module, machine


def _linked(kernel: Translation, name: str, level: Level, machine: Any) -> Any:
    """Return the module with the bitcode of its natives, everything but the kernel internal."""
    import llvmlite.binding as llvm

    layout = str(machine.target_data)
    module = llvm.parse_assembly(kernel.module.text(level.triple, layout, LEVEL_MARK + level.name))
    for text in kernel.natives:
        native = llvm.parse_assembly(text)
        for function in native.functions:
            if function.is_declaration and function.name in ALLOWED:
                function.add_function_attribute("nonlazybind")
        native.triple, native.data_layout = level.triple, layout
        module.link_in(native)
    if kernel.natives:
        for symbol in [*module.functions, *module.global_variables]:
            if not symbol.is_declaration and symbol.name != name:
                symbol.linkage = "internal"
    return module


def _translated(source: str, name: str, level: Level, natives: Natives) -> Translation:
    try:
        return translate(source, name, level, natives)
    except NativeError as error:
        raise CompileError(_explain_native(error.function, error.message)) from None
    except DialectError as error:
        text = source.splitlines()[error.line - 1].strip()
        raise CompileError(f"kernel {name!r}, line {error.line}: {text}\n{error.message}") from None
    except SyntaxError as error:
        raise CompileError(f"kernel {name!r}, line {error.lineno}: {error.msg}") from None


def _explain_native(function: Callable[..., Any], message: str) -> str:
    """Return what Numba says of a user's function, at the user's line, without what it says of itself."""
    code = function.__code__
    lines = [
        int(line)
        for file, line in re.findall(r'File "([^"]+)", line (\d+)', message)
        if code.co_filename.endswith(file)
    ]
    cause = [line.strip() for line in re.split(r'\n *(?:File "|During:|There are )', message)[0].splitlines()]
    said = "\n  ".join(line for line in cause if line and not line.startswith(("Failed in nopython", "Cannot ")))
    return f"{_place(function, lines[0] if lines else None)} cannot be compiled\n  {said}"


def _place(function: Callable[..., Any], line: int | None = None) -> str:
    """Return a user's function by name, and where it stands."""
    function = function.function if isinstance(function, Lanewise) else function
    code = getattr(function, "__code__", None)
    name = getattr(function, "__name__", repr(function))
    return name if code is None else f"{name} at {Path(code.co_filename).name}:{line or code.co_firstlineno}"
