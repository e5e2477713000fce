# pyright: basic
"""Kernel source to object code."""

from graphc.errors import CompileError
from graphc.simd.binding import kernel_namespace, llvm_module
from graphc.simd.levels import Level


def _module(source, name, level):
    namespace = dict(kernel_namespace())
    exec(compile(source, f"<{name}>", "exec"), namespace)
    return str(llvm_module(namespace[name], name, level))


def _optimised(source, name, level):
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(_module(source, name, level))
    module.triple = level.triple
    machine = llvm.Target.from_triple(level.triple).create_target_machine(
        cpu=level.cpu, features=level.features, opt=2, reloc="pic", codemodel="small"
    )
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, tuning)
    passes = builder.getModulePassManager()
    passes.run(module, builder)
    return module, machine


def compile_kernel(source: str, name: str, level: Level) -> bytes:
    module, machine = _optimised(source, name, level)
    return machine.emit_object(module)


def assembly(source: str, name: str, level: Level) -> str:
    module, machine = _optimised(source, name, level)
    return machine.emit_assembly(module)
