"""The dialect as an extension of Numba: what a kernel's source means to Numba itself.

Vectors are types, each function and each operator on vectors is a template that types by the record's rule and calls the
record's code, written by `graphc.simd.emitter`. Everything else, control flow, scalars and variables, is Numba's.
"""

import builtins
import functools
import itertools
import operator
import sys
from types import ModuleType

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, typing
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import lower_builtin, models, register_model

from graphc.simd.arithmetic import Value
from graphc.simd.dialect import FUNCTIONS, OPERATORS
from graphc.simd.emitter import Emitter
from graphc.simd.kinds import SCALARS
from graphc.simd.levels import host_level
from graphc.simd.listing import VOID, Function, Module

_KINDS = (types.float32, types.float64, types.int32, types.int64, types.uint32, types.uint8, types.boolean)
_SCALARS = dict(zip(SCALARS, _KINDS, strict=True))
_NUMBERS = itertools.count()


class Vector(types.Type):
    def __init__(self, simd):
        self.simd = simd
        super().__init__(str(simd))


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        element = {"f32": ir.FloatType(), "f64": ir.DoubleType()}.get(vector.simd.kind, ir.IntType(vector.simd.bits))
        super().__init__(manager, vector, ir.VectorType(element, vector.simd.lanes))


@functools.cache
def numba_type(kind):
    if kind is None:
        return types.void
    return _SCALARS[kind] if kind.lanes == 1 else Vector(kind)


def simd_type(found):
    if isinstance(found, Vector):
        return found.simd
    plain = types.unliteral(found)
    return next((kind for kind, known in _SCALARS.items() if known == plain), None)


def code(record, kinds, result):
    """Return the name and the LLVM module of a function that is this record's code for these types."""
    module, name = Module(), f"simd_{next(_NUMBERS)}"
    head = f"{result.llvm if result else VOID} @{name}({', '.join(f'{k.llvm} %p{n}' for n, k in enumerate(kinds))})"
    emitter = Emitter(Function(module, name, f"{head} alwaysinline"), host_level())
    made = record.build(emitter, *(Value(emitter, kind, f"%p{n}") for n, kind in enumerate(kinds)))
    emitter.function.do(f"ret {made.typed}" if result else f"ret {VOID}")
    machine = llvm.Target.from_default_triple().create_target_machine()
    return name, module.text(llvm.get_process_triple(), str(machine.target_data), "numba")


def typed(record, args, kws):
    kinds = [simd_type(one) for one in args]
    if kws or None in kinds:
        return None
    # Numba's small integers become wide in arithmetic; the dialect wants one type.
    try:
        return typing.signature(numba_type(record.infer(*kinds)), *map(numba_type, kinds))
    except TypeError:
        return None


def lowering(record):
    def lower(context, builder, signature, arguments):
        kinds, result = [simd_type(one) for one in signature.args], simd_type(signature.return_type)
        name, text = code(record, kinds, result)
        library = context.codegen().create_library(name)
        library.add_llvm_module(llvm.parse_assembly(text))
        library.finalize()
        context.active_code_library.add_linking_library(library)
        parts = [context.get_value_type(one) for one in signature.args]
        returned = context.get_value_type(signature.return_type) if result else ir.VoidType()
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(returned, parts), name)
        made = builder.call(function, arguments)
        return made if result else context.get_dummy_value()

    return lower


def registered(record, target, only_vectors):
    @infer_global(target)
    class Template(AbstractTemplate):
        key = target

        def generic(self, args, kws):
            if only_vectors and not any(isinstance(one, Vector) for one in args):
                return None
            return typed(record, args, kws)

    if only_vectors:
        for count in (1, 2):
            lower_builtin(target, *[Vector] * count)(lowering(record))
    else:
        lower_builtin(target, types.VarArg(types.Any))(lowering(record))


@functools.cache
def names():
    """Return the dialect's names as functions that Numba compiles."""
    # Numba wants a module in which it finds them.
    place = sys.modules[f"{__name__}.names"] = ModuleType(f"{__name__}.names")
    made = place.__dict__
    for name, record in FUNCTIONS.items():
        if not name.startswith("view_"):
            exec(f"def {name}(*arguments):\n    raise NotImplementedError\n", made)
            registered(record, made[name], only_vectors=False)
    for meaning, record in OPERATORS.items():
        if getattr(operator, meaning.__name__, None) is meaning and meaning is not operator.not_:
            registered(record, meaning, only_vectors=True)
    return {**made, "__builtins__": builtins}


def compiled(source, name):
    """Return the kernel NAME of a source as Numba compiles it."""
    scope = dict(names())
    exec(source, scope)
    word = types.int64
    return njit(types.void(word, word, word), error_model="numpy")(scope[name])
